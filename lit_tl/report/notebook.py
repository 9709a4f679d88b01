"""A session as a notebook that runs from top to bottom and draws its figures."""

import json
from typing import Any, Mapping

import nbformat
from nbformat import v4

from lit_tl.report.code import Code
from lit_tl.session.session import Session


def notebook(session: Session) -> str:
    """The notebook, as the text of an `.ipynb` file.

    Args:
        session: whose kept figures are in it.

    Raises:
        ValueError: no figure was kept.
    """
    if not session.figures:
        raise ValueError("no figure is kept in this session: there is nothing to draw")
    code = Code(session)
    drawn = []
    for number, figure in enumerate(session.figures, start=1):
        drawn += [
            v4.new_markdown_cell(_about(number, figure)),
            v4.new_code_cell(code.figure(figure)),
        ]
    cells = [
        v4.new_markdown_cell(_opening(session)),
        v4.new_code_cell("import lit_tl"),
        *([v4.new_code_cell(code.data())] if code.data() else []),
        v4.new_code_cell(code.models()),
        *_prompts(session),
        *drawn,
    ]
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place}"  # the same session gives the same file
    book = v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.validate(book)
    return str(nbformat.writes(book)) + "\n"


def _opening(session: Session) -> str:
    written = session.content["written"]
    named = ", ".join(f"{name} {number}" for name, number in written["versions"].items())
    title = _plain(session.title or "A session of lit_tl")
    lines = [f"# {title}", f"{_plain(written['time'])}; {_plain(named)}."]
    for model in session.models:
        changes = "; ".join(model.get("changes") or ())
        under = f", changed: {_code(changes)}" if changes else ""
        lines.append(f"- model {_code(model['label'])}, weights {_code(model['weights'])}{under}")
    lines += [
        f"- data set {_code(data['label'])}, digest {_code(data['digest'])}"
        for data in session.data
    ]
    return "\n\n".join(lines)


def _prompts(session: Session) -> list[Any]:
    """Notes on examples."""
    cells = []
    for example_id, note in session.notes.items():
        example = session.example(example_id) or {}
        text = json.dumps(example.get("text", ""), ensure_ascii=False)
        cells.append(v4.new_markdown_cell(f"{_plain(note)}\n\n```\n{_fenced(text)}\n```"))
    return cells


def _about(number: int, figure: Mapping[str, Any]) -> str:
    lines = [f"## {number}. {_plain(figure['analysis'])}, {_plain(figure.get('model') or '')}"]
    if figure.get("text"):
        lines.append(_plain(figure["text"]))
    if figure.get("note"):
        lines.append(_plain(figure["note"]))
    return "\n\n".join(lines)


def _fenced(text: str) -> str:
    return text.replace("```", "` ` `")


def _code(text: str) -> str:
    """A text as code in Markdown, which it can't end."""
    return f"`{_plain(text.replace('`', ' ')) or ' '}`"


def _plain(text: str) -> str:
    """A text that Markdown shows as it is: nobody's tags."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;")
