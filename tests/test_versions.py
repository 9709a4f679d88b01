"""What is said where libraries are not those that lit_tl was tested with."""

import importlib.metadata
import pathlib
import re

import pytest

from lit_tl import launch, versions
from lit_tl.lens import __main__ as lens

ROOT = pathlib.Path(__file__).parent.parent


def _with(other: str, version: str) -> "versions.Callable[[str], str]":
    return lambda name: version if name == other else importlib.metadata.version(name)


def test_what_is_installed_here_was_tested() -> None:
    assert versions.untested() is None


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("transformers", "5.24.0"),
        ("transformers", "5.0.0"),
        ("transformer-lens", "4.4.0"),
        ("torch", "2.15.0"),
        ("lit-nlp", "1.4"),
    ],
)
def test_a_version_that_was_not_tested_is_named(name: str, version: str) -> None:
    sentence = versions.untested(_with(name, version))
    assert sentence is not None
    assert sentence.startswith(f"numbers may be wrong with {name} {version} (tested: ")


def test_a_local_build_is_the_release_it_is_of() -> None:
    version = importlib.metadata.version("torch").split("+")[0]
    assert versions.untested(_with("torch", f"{version}+cpu")) is None
    assert versions.untested(_with("torch", f"{version}+cu130")) is None


def test_the_commands_say_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(versions.untested, "__defaults__", (_with("transformers", "5.24.0"),))
    launch.main(["launch", "--models=lit-tl-tiny", "--datasets=capital", "--check"])
    assert "warning: numbers may be wrong with transformers 5.24.0" in capsys.readouterr().err
    lens.main(["lens", "show", "--text=one two", "--lens=none", f"--output={tmp_path}/lens.html"])
    assert "warning: numbers may be wrong with transformers 5.24.0" in capsys.readouterr().err


def test_the_constraints_are_admitted() -> None:
    """`pip install -c constraints.txt .` must not be refused."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(
        re.fullmatch(r"([\w.-]+)==([^ ;]+)", line).groups() for line in lines if "==" in line
    )
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for line in importlib.metadata.requires("lit_tl") or []:
        wanted = versions.Requirement(line)
        name = wanted.name.lower().replace("_", "-")
        if name in pins and wanted.marker is None:
            assert wanted.specifier.contains(pins[name], prereleases=True), line
