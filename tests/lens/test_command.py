"""`python -m lit_tl.lens`, as a user types it."""

import base64
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lit_tl import HookedTransformerLIT
from lit_tl.lens import PredictionTrajectory
from lit_tl.lens import __main__ as command_line
from lit_tl.lens.choice import choose_lenses


def test_show_writes_the_figure_without_lit(
    tmp_path: pathlib.Path,
    bundled: HookedTransformerLIT,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "The capital of France is"
    show = ["show", "--text", text]
    finished = subprocess.run(
        [sys.executable, "-m", "lit_tl.lens", *show]
        + ["--output", "new/out.json", "--statistic", "max_probability"],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "tuned lens, 4 layers, 6 tokens" in finished.stdout
    drawn = json.loads((tmp_path / "new" / "out.json").read_text())["data"][0]
    lens = choose_lenses(bundled.model, "auto").lenses["tuned"]
    ids = bundled.model.to_tokens(text)[0].numpy()
    expected = PredictionTrajectory.from_lens_and_model(lens, bundled.model, ids).max_probability()
    got = np.frombuffer(base64.b64decode(drawn["z"]["bdata"]), drawn["z"]["dtype"]).reshape(5, 6)
    assert np.allclose(got, expected.stats, atol=1e-5)
    monkeypatch.chdir(tmp_path)
    command_line.main(["lens", *show, "--output", "out.html", "--lens", "none"])
    assert "logit lens" in capsys.readouterr().out
    assert "<html>" in (tmp_path / "out.html").read_text()[:200]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["show"], 2, "--text is missing: The prompt"),
        (["shwo"], 2, "'shwo' is no command: train, eval, show, push are"),
        (
            ["show", "--text", "a", "--output", "a.pdf"],
            2,
            "--output is 'a.pdf': give a name that ends in .html or .json",
        ),
        (["show", "--text", "a", "--lens", "./none"], 1, "the lens folder ./none does not exist"),
        (["show", "--statistic", "size"], 2, "statistic"),
    ],
)
def test_mistakes_are_said_in_a_sentence(
    tmp_path: pathlib.Path,
    arguments: list[str],
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        command_line.main(["lens", *arguments])
    assert ended.value.code == code
    assert sentence in capsys.readouterr().err
