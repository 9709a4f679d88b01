"""The wheel has all that it needs, and runs from an empty folder."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_runs_from_an_empty_folder(tmp_path: pathlib.Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(tmp_path),
            str(ROOT),
        ],
        check=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("lit_tl-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "lit_tl/py.typed",
        "lit_tl/bundled/tiny_gpt2/model.safetensors",
        "lit_tl/data/shipped/ioi.jsonl",
    ):
        assert name in names
    assert not any(name.startswith(("tests/", "datasets/")) for name in names)
    assert (
        sum(
            info.file_size
            for info in zipfile.ZipFile(wheel).infolist()
            if "lit_tl/bundled" in info.filename
        )
        < 8_000_000
    )
    unpacked, empty = tmp_path / "site", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(unpacked)
    empty.mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r}); import lit_tl.launch as launch; "
        f"assert launch.__file__.startswith({str(unpacked)!r}); launch.main(['lit_tl', '--check'])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=empty, capture_output=True, text=True, timeout=240
    )
    assert finished.returncode == 0, finished.stderr
    assert "model lit-tl-tiny: " in finished.stdout
    assert "data set docstring: 100 prompts" in finished.stdout
