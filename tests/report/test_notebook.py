"""The notebook of a session, in a fresh kernel."""

import ast
import json
import pathlib
import subprocess
import sys
from typing import Any

import nbformat
import numpy as np
import pytest

from lit_tl import Session
from lit_tl.figures.grid_text import read_grid
from lit_tl.report.__main__ import main
from lit_tl.report.notebook import notebook
from tests.report.conftest import NASTY


def test_it_runs_from_top_to_bottom_and_gives_equal_numbers(
    session: Session, tmp_path: pathlib.Path
) -> None:
    """By nbmake, as notebooks are tested; behind each figure, its numbers are written down."""
    path = tmp_path / "names.ipynb"
    book = nbformat.reads(notebook(session), as_version=4)
    numbers = "import json, plotly\nwith open('numbers.jsonl', 'a') as file:\n"
    numbers += "    shown = figure if hasattr(figure, 'parts') else json.loads(figure.to_json())\n"
    numbers += "    content = shown.to_json() if hasattr(figure, 'parts') else shown\n"
    numbers += "    file.write(json.dumps(content) + '\\n')"
    cells = []
    for cell in book.cells:
        cells.append(cell)
        if cell.cell_type == "code" and "lit_tl.draw(" in cell.source:
            cells.append(nbformat.v4.new_code_cell(numbers))
    book.cells = cells
    nbformat.write(book, path)
    command = [sys.executable, "-m", "pytest", "--nbmake", "-p", "no:randomly", "-q", str(path)]
    command += ["-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", "/dev/null"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    lines = (tmp_path / "numbers.jsonl").read_text().splitlines()
    assert len(lines) == len(session.figures)
    for line, figure in zip(lines, session.figures, strict=True):
        same(json.loads(line), figure)


def same(content: Any, figure: Any) -> None:
    """The numbers of both, to float32's last digits."""
    if "grid" in figure:
        drawn, kept = read_grid(content), read_grid(figure["grid"])
        for one, other in zip(drawn.parts, kept.parts, strict=True):
            np.testing.assert_allclose(one.values, other.values, rtol=1e-4, atol=1e-5)
            assert one.columns.labels == other.columns.labels
        return
    for one, other in zip(content["data"], figure["figure"]["data"], strict=True):
        assert one.get("type") == other.get("type")
        ys = [
            np.array([np.nan if y is None else y for y in numbers(trace.get("y"))], float)
            for trace in (one, other)
            if trace.get("type") != "table"
        ]
        if ys:
            np.testing.assert_allclose(ys[0], ys[1], rtol=1e-4, atol=1e-5)


def numbers(column: Any) -> Any:
    from lit_tl.figures.plot_paper import _values

    return _values(column)


def test_no_text_of_a_session_becomes_code(session: Session) -> None:
    """A session of somebody else's is data: names that are none are left out, values are quoted."""
    figure = {
        **session.figures[0],
        "model": "a'); import os; os.system('x') #",
        "settings": {"statistic": "'); bad(", "x=1, **bad": 1, "lambda": 2},
        "example": {"text": "'); bad('"},
        "python": "bad()",
    }
    model = {
        **session.models[0],
        "label": figure["model"],
        "source": {"model_name": "'); bad('", "device=bad()": 1},
        "changes": ["'); bad("],
    }
    hostile = Session.of(models=[model], figures=[figure])
    for cell in nbformat.reads(notebook(hostile), as_version=4).cells:
        if cell.cell_type == "code":
            every = ast.walk(ast.parse(cell.source))
            names = {node.id for node in every if isinstance(node, ast.Name)}
            assert names <= {"lit_tl", "figure", "a_import_os_os_system_x"}


def test_nothing_that_a_user_wrote_is_markup_in_it(session: Session) -> None:
    """Notes are shown as they are."""
    book = nbformat.reads(notebook(session), as_version=4)
    for cell in book.cells:
        if cell.cell_type == "markdown":
            assert "<script" not in cell.source.split("```")[0]
    assert sum("&lt;script" in cell.source for cell in book.cells) >= len(session.figures)
    assert NASTY not in notebook(session)


def test_the_same_session_gives_the_same_file(session: Session) -> None:
    """To the byte."""
    assert notebook(session) == notebook(session)


def test_a_session_without_figures_has_no_notebook() -> None:
    """And says so."""
    with pytest.raises(ValueError, match="no figure is kept in this session"):
        notebook(Session.of())


def test_the_command_writes_both_and_refuses_the_rest(
    session: Session, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m lit_tl.report SESSION -o FILE`."""
    path = tmp_path / "names.json"
    session.save(path)
    for name in ("report.html", "names.ipynb"):
        assert main([str(path), "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 1000
    assert "6 figures" in capsys.readouterr().out
    (tmp_path / "cut.json").write_bytes(path.read_bytes()[:500])
    assert main([str(tmp_path / "cut.json"), "-o", str(tmp_path / "a.html")]) == 1
    assert "no session: it is cut off" in capsys.readouterr().err
    assert main([str(path), "-o", str(tmp_path / "nowhere" / "a.html")]) == 1
    assert "can't be written" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        main([str(path), "-o", str(tmp_path / "a.txt")])
    assert error.value.code == 2
    assert "ends in .html or .ipynb" in capsys.readouterr().err
