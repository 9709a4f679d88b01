"""Variants from the command line, and in what is written of them."""

import json
import pathlib
import subprocess
import sys

import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses.catalog import catalog
from lit_tl.analyses.contract import Subject
from lit_tl.analyses.drawing import to_file
from lit_tl.lit.datasets import Prompts
from lit_tl.lit.snippets import snippet
from lit_tl.models.errors import LoadingError
from lit_tl.models.sources import ModelSource
from lit_tl.names import split_entries
from lit_tl.server import build
from tests.test_launch import command

EXAMPLE = {"text": "When Mary and John went to the store, John gave a drink to", "answer": " Mary"}
QUIET = build.StartLog(quiet=True)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a,b", ("a", "b")),
        ("a,,b", ("a", "", "b")),
        ("hf:x/y[train,text,:5],ioi", ("hf:x/y[train,text,:5]", "ioi")),
        ("a=m{L1H1 = zero; L2H2 = mean(x)},b", ("a=m{L1H1 = zero; L2H2 = mean(x)}", "b")),
        (
            "a{resid_post[1] += 1 * dir(\"x, y}\" - 'z,')},b",
            ("a{resid_post[1] += 1 * dir(\"x, y}\" - 'z,')}", "b"),
        ),
        ("it's,b", ("it's", "b")),
    ],
)
def test_entries_end_at_commas_outside_of_changes(text: str, entries: tuple[str, ...]) -> None:
    assert split_entries(text) == entries


def test_a_source_may_carry_changes() -> None:
    source = ModelSource.parse("cut=gpt2-small@step=3{L9H6 = zero; L9H9 = zero}")
    assert (source.label, source.name, source.checkpoint_value) == ("cut", "gpt2-small", 3)
    assert source.changes == "L9H6 = zero; L9H9 = zero"
    assert ModelSource.parse("gpt2-small{L9H6 = zero}").label == "gpt2-small-changed"
    with pytest.raises(LoadingError, match="close the brace, as in gpt2-small"):
        ModelSource.parse("gpt2-small{L9H6 = zero")
    with pytest.raises(LoadingError, match="leave them out here"):
        source.require_unchanged()


def test_variants_of_the_command_line_share_the_weights() -> None:
    models = build.load_models(
        [
            "base=lit-tl-tiny",
            "cut=lit-tl-tiny{L1H3 = zero}",
            "twice=base{L1H3 = mean(mine)}",
            "whole=lit-tl-tiny",
        ],
        build.BuildConfig(),
        QUIET,
        {"mine": Prompts([EXAMPLE])},
    )
    wrapped = [model for model in models.values() if isinstance(model, HookedTransformerLIT)]
    assert list(models) == ["base", "cut", "twice", "whole"]
    assert len({id(model.model) for model in wrapped}) == 1
    assert [[str(change) for change in model.loaded.changes] for model in wrapped] == [
        [],
        ["L1H3 = zero"],
        ["L1H3 = mean(mine)"],
        [],
    ]
    with pytest.raises(ValueError, match="head 7 is out of range"):
        build.load_models("lit-tl-tiny{L1H7 = zero}", build.BuildConfig(), QUIET)


def test_the_command_opens_a_variant(tmp_path: pathlib.Path) -> None:
    models = 'base=lit-tl-tiny,cut=lit-tl-tiny{L1H3 = zero; resid_post[2] += 0.5 * dir("a" - "b")}'
    finished = command("--models", models, "--datasets", "ioi", "--check", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert 'Changed: L1H3 = zero; resid_post[2] += 0.5 * dir("a" - "b").' in finished.stdout
    assert finished.stderr.count("loading model") == 1
    refused = command("--models", "lit-tl-tiny{L1H3 = nothing}", "--check", cwd=tmp_path)
    assert refused.returncode == 1
    assert "is not what can become of a site" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_analyses_command_takes_a_variant(tmp_path: pathlib.Path) -> None:
    line = [sys.executable, "-m", "lit_tl.analyses", "Logit attribution"]
    line += ["--model", "lit-tl-tiny{L1H3 = zero}", "--text", EXAMPLE["text"]]
    line += ["--answer", " Mary", "--of", "answer", "--output", str(tmp_path / "shares.json")]
    subprocess.run(line, check=True, capture_output=True, cwd=tmp_path)
    known = json.loads((tmp_path / "shares.json").read_text("utf-8"))
    assert known["model"] == "lit-tl-tiny with L1H3 = zero"


def test_copied_python_makes_the_variant(bundled: HookedTransformerLIT) -> None:
    model = HookedTransformerLIT.from_pretrained("lit-tl-tiny")
    variant = model.with_interventions('resid_post[1] += 0.5 * dir("love" - "hate")')
    analysis = catalog()["Logit attribution"]
    settings = analysis.settings.read({"of": "answer"})
    subject = Subject(model=variant.loaded, example=EXAMPLE)
    python = snippet(variant, analysis, subject, settings)
    assert 'with_interventions(\'resid_post[1] += 0.5 * dir("love" - "hate")\')' in python
    space: dict[str, object] = {}
    exec(python.replace("figure.show()", ""), space)
    drawn = lit_tl.draw("Logit attribution", variant, EXAMPLE, of="answer")
    own = lit_tl.draw("Logit attribution", bundled, EXAMPLE, of="answer")
    assert space["figure"] == drawn
    assert own != drawn


def test_files_name_what_was_changed(bundled: HookedTransformerLIT) -> None:
    variant = bundled.with_interventions("L1H3 = zero")
    analysis = catalog()["Lens"]
    settings = analysis.settings.read({})
    subject = Subject(model=variant.loaded, example=EXAMPLE)
    result = analysis.answer(subject, settings)
    for kind in ("json", "svg", "html"):
        assert b"L1H3 = zero" in to_file(analysis, result, subject, settings, kind)
