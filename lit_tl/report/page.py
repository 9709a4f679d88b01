"""A session as one HTML file that asks nobody for anything: prompts, figures to point at and zoom,
notes, numbers, and how each was made. Without scripts it has text and pictures."""

import base64
import csv
import functools
import gzip
import html
import importlib.resources
import io
from typing import Any, Iterator, Mapping

from lit_tl.figures import page as grid_page
from lit_tl.figures import plot_paper
from lit_tl.figures.grid_text import read_grid
from lit_tl.report import again
from lit_tl.report.code import Code
from lit_tl.session.session import Session

_MOST_ROWS = 200
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data: blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


def report(session: Session) -> str:
    """The file.

    Args:
        session: whose kept figures are in it.

    Raises:
        ValueError: a figure is damaged, or of a kind that is not drawn on paper.
    """
    figures = [_figure(i, figure, session) for i, figure in enumerate(session.figures, start=1)]
    plotly = ""
    if any(figure.get("figure") for figure in session.figures):
        plotly = f'<script type="text/plain" id="plotly">{_plotly()}</script>'
    title = html.escape(session.title or "A session of lit_tl")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{grid_page.style("style.css", "grid/grid.css", "report.css")}</style>
<script type="importmap">{grid_page.import_map("report.js")}</script>
</head>
<body>
<h1>{title}</h1>
{_written(session)}
{_models(session)}
{_prompts(session)}
{"".join(figures)}
{_whole_again(session)}
{plotly}
<script type="module">import 'lit_tl/report.js';</script>
</body>
</html>
"""


def _written(session: Session) -> str:
    written = session.content["written"]
    named = ", ".join(f"{name} {number}" for name, number in written["versions"].items())
    return f'<p class="of">{html.escape(written["time"])}; {html.escape(named)}</p>'


def _models(session: Session) -> str:
    rows = []
    for model in session.models:
        source = model.get("source") or {}
        made = source.get("model_name") or "made elsewhere"
        settings = {
            **{name: value for name, value in source.items() if name != "model_name"},
            **(model.get("settings") or {}),
        }
        facts = {
            "from": made if not model.get("original") else f"{model['original']}, changed",
            "changes": "; ".join(model.get("changes") or ()),
            "settings": ", ".join(f"{name} {again.plainly(v)}" for name, v in settings.items()),
            "weights": model["weights"],
        }
        rows.append(f"<h3>{html.escape(model['label'])}</h3>{_table(facts)}")
    for data in session.data:
        count = data.get("count", len(data["examples"]))
        facts = {"examples": str(count), "digest": data["digest"]}
        rows.append(f"<h3>data set {html.escape(data['label'])}</h3>{_table(facts)}")
    return f"<h2>Models and data</h2>{''.join(rows)}" if rows else ""


def _table(facts: Mapping[str, str]) -> str:
    rows = (
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
        if value
    )
    return f"<table>{''.join(rows)}</table>"


def _prompts(session: Session) -> str:
    """Those of the figures, and those with notes."""
    shown: dict[str, tuple[Mapping[str, Any], str]] = {}
    for figure in session.figures:
        for name in ("example", "counterpart"):
            example = figure.get(name)
            if example and example.get("text"):
                shown.setdefault(str(example["text"]), (example, ""))
    for example_id, note in session.notes.items():
        example = session.example(example_id)
        if example and example.get("text"):
            shown[str(example["text"])] = (example, note)
    parts = []
    for text, (example, note) in shown.items():
        facts = {
            name: str(example.get(name) or "")
            for name in ("answer", "foil", "target", "corrupted_text")
        }
        words = f'<p class="words">{html.escape(note)}</p>' if note else ""
        parts.append(f'<pre class="prompt">{html.escape(text)}</pre>{_table(facts)}{words}')
    return f"<h2>Prompts</h2>{''.join(parts)}" if parts else ""


def _figure(number: int, figure: Mapping[str, Any], session: Session) -> str:
    facts = {str(name): str(value) for name, value in (figure.get("facts") or {}).items()}
    heading = f"{number}. {figure['analysis']}, {figure.get('model') or ''}"
    if figure.get("grid"):
        grid = read_grid(figure["grid"])
        content, kind, picture = figure["grid"], "grid", grid.render("png")
    elif figure.get("figure"):
        content, kind = figure["figure"], "plot"
        try:
            picture = plot_paper.render(figure["figure"], "png")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"figure {number} can't be drawn: {error}") from error
    else:
        raise ValueError(f"figure {number}, {figure['analysis']}, has no result")
    shown = base64.b64encode(picture).decode()
    note = f"<p>{html.escape(str(figure['note']))}</p>" if figure.get("note") else ""
    words = f'<p class="words">{html.escape(figure["text"])}</p>' if figure.get("text") else ""
    return (
        f'<section id="figure-{number}"><h2>{html.escape(heading)}</h2>{words}{note}'
        f'<div class="drawing" data-draw="{kind}">'
        f'<img alt="{html.escape(heading)}" src="data:image/png;base64,{shown}">'
        f'<script type="application/json">{grid_page.in_script(content)}</script></div>'
        f"<details><summary>What was looked at</summary>{_table(facts)}</details>"
        f"{_numbers(number, str(figure.get('csv') or ''))}{_made(figure, session)}</section>"
    )


def _numbers(number: int, text: str) -> str:
    """As a table, and as a file."""
    if not text:
        return ""
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error:
        rows = [["numbers"], *([line] for line in text.splitlines())]
    cells = "".join(
        f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in row)}</tr>"
        for tag, row in _tagged(rows[: _MOST_ROWS + 1])
    )
    more = (
        f"<p>{len(rows) - 1 - _MOST_ROWS} more rows are in the file.</p>"
        if (len(rows) > _MOST_ROWS + 1)
        else ""
    )
    file = base64.b64encode(text.encode()).decode()
    return (
        f"<details><summary>Numbers ({len(rows) - 1} rows)</summary>"
        f'<p><a download="figure-{number}.csv" href="data:text/csv;base64,{file}">CSV</a></p>'
        f'<div class="numbers"><table>{cells}</table></div>{more}</details>'
    )


def _tagged(rows: list[list[str]]) -> Iterator[tuple[str, list[str]]]:
    for place, row in enumerate(rows):
        yield ("td" if place else "th"), row


def _made(figure: Mapping[str, Any], session: Session) -> str:
    line = again.command(figure, session.models)
    of_command = f"<p>The command:</p><pre>{html.escape(line)}</pre>" if line else ""
    return (
        "<details><summary>How to make it again</summary>"
        f"<p>Python:</p><pre>{html.escape(Code(session).alone(figure))}</pre>"
        f"{of_command}</details>"
    )


def _whole_again(session: Session) -> str:
    name = "SESSION.json"
    return (
        "<h2>All of it again</h2><p>The session's file opens the page as it was, and makes this "
        f"report:</p><pre>python -m lit_tl.launch --session {name}\n"
        f"python -m lit_tl.report {name} -o report.html</pre>"
        if session.figures
        else ""
    )


@functools.cache
def _plotly() -> str:
    """Plotly's script, packed, as text."""
    script = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js")
    return base64.b64encode(gzip.compress(script.read_bytes(), 9, mtime=0)).decode()
