"""The recipe of ARCHITECTURE.md: a new analysis in one small file, found in Python and on the
command line. `tests/browser/test_recipe.py` finds it on the page."""

import pathlib

import numpy as np
import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses import __main__ as command_line
from lit_tl.analyses.catalog import CatalogError, analyses_in
from lit_tl.figures.grid import Grid
from tests.own_analysis import ANALYSIS

TEXT = "The capital of France is"


@pytest.fixture
def own(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "mine.py"
    file.write_text(ANALYSIS)
    return file


def lengths(bundled: HookedTransformerLIT, text: str = TEXT) -> np.ndarray:
    """What the analysis gives, `[layer, head]`, by TransformerLens' own cache."""
    model = bundled.model
    model.set_use_attn_result(True)
    try:
        _, cache = model.run_with_cache(model.to_tokens(text))
    finally:
        model.set_use_attn_result(False)
    rows = [cache[f"blocks.{layer}.attn.hook_result"][0, -1].norm(dim=-1) for layer in range(4)]
    return np.array([row.detach().numpy() for row in rows])


def test_the_analysis_has_fewer_than_forty_lines_of_its_own(own: pathlib.Path) -> None:
    lines = [line for line in own.read_text().splitlines() if line.strip()]
    print(f"{len(lines)} lines")
    assert len(lines) < 40


def test_python_has_it(own: pathlib.Path, bundled: HookedTransformerLIT) -> None:
    (analysis,) = analyses_in(str(own))
    figure = lit_tl.draw(analysis, bundled, {"text": TEXT})
    assert isinstance(figure, Grid)
    assert np.allclose(figure.parts[0].values, lengths(bundled), atol=1e-4)


def test_the_command_line_has_it(
    own: pathlib.Path, bundled: HookedTransformerLIT, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line.main(["analyses", "list", f"--analyses={own}"])
    assert "Head output norms: The length of what each head writes" in capsys.readouterr().out
    output = own.parent / "norms.csv"
    words = ["Head output norms", "--analyses", str(own), "--text", TEXT, "--output", str(output)]
    command_line.main(["analyses", *words])
    head, *rows = [line.split(",") for line in output.read_text().splitlines()]
    assert head == ["layer", "head", "norm"]
    values = np.array([float(row[2]) for row in rows]).reshape(4, 4)
    assert np.allclose(values, lengths(bundled), atol=1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.py", "none.py does not exist"),
        ("no.such.module", "there is no module 'no.such.module'"),
        ("json", "json defines no analysis: decorate a function with @analysis"),
    ],
)
def test_what_holds_no_analysis_is_refused(source: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        analyses_in(source)
