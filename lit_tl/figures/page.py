"""A grid as a page of its own: the client's scripts in one file, which asks nobody for anything."""

import base64
import html
import json
import pathlib
import re
import tempfile
import webbrowser
from typing import Iterator

from lit_tl.figures.grid import Grid

_CLIENT = pathlib.Path(__file__).parents[1] / "client"
_IMPORT = re.compile(r"""(\bfrom ')(\.[^']+)(')""")
_HEIGHT = 620
_START = """
import {Grid} from 'lit_tl/grid/grid.js';
const place = document.querySelector('.panel');
place.append(new Grid(JSON.parse(document.getElementById('grid').textContent)).box);
"""


def import_map(start: str = "grid/grid.js") -> str:
    """A client's script and those that it needs, as an import map: `lit_tl/grid/grid.js`, ..."""
    modules = {f"lit_tl/{name.as_posix()}": _url(_absolute(name)) for name in _needed(start)}
    return json.dumps({"imports": modules})


def style(*names: str) -> str:
    """Style sheets of the client; without names, those of grids."""
    sheets = names or ("style.css", "grid/grid.css")
    return "".join((_CLIENT / name).read_text("utf-8") for name in sheets)


def in_script(content: object) -> str:
    """JSON inside a script element: nothing in it ends the element."""
    return json.dumps(content).replace("<", "\\u003c")


def standalone(grid: Grid) -> str:
    """The page."""
    data = in_script(grid.to_json())
    facts = "".join(
        f"<p>{html.escape(name)}: {html.escape(value)}</p>" for name, value in grid.facts.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{html.escape(grid.title)}</title>
<style>body {{ margin: 0; height: 100vh; display: flex; flex-direction: column; }}
.panel {{ flex: 1 1 0; min-height: 0; }} .facts {{ padding: 8px; font: 13px sans-serif; }}
.facts p {{ margin: 2px 0; }} .facts h1 {{ font-size: 16px; margin: 0; }}
{style()}</style>
<script type="importmap">{import_map()}</script>
</head>
<body>
<div class="facts"><h1>{html.escape(grid.title)}</h1>{facts}</div>
<div class="panel"></div>
<script type="application/json" id="grid">{data}</script>
<script type="module">{_START}</script>
</body>
</html>
"""


def frame(grid: Grid) -> str:
    """The page in a frame, for a notebook."""
    return (
        f'<iframe srcdoc="{html.escape(standalone(grid))}" width="100%" height="{_HEIGHT}" '
        f'style="border: 0" title="{html.escape(grid.title)}"></iframe>'
    )


def show(grid: Grid) -> None:
    """In a notebook, or else in a browser."""
    try:
        from IPython import display, get_ipython
    except ImportError:
        in_notebook = False
    else:
        in_notebook = get_ipython() is not None
    if in_notebook:
        display.display(grid)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False, encoding="utf-8") as file:
        file.write(standalone(grid))
    webbrowser.open(pathlib.Path(file.name).as_uri())


def _needed(start: str) -> Iterator[pathlib.PurePosixPath]:
    """A script and those that it imports."""
    found = [pathlib.PurePosixPath(start)]
    for name in found:  # grows
        for match in _IMPORT.finditer((_CLIENT / name).read_text("utf-8")):
            other = _beside(name, match[2])
            if other not in found:
                found.append(other)
    yield from found


def _beside(name: pathlib.PurePosixPath, other: str) -> pathlib.PurePosixPath:
    return pathlib.PurePosixPath(
        (_CLIENT / name.parent / other).resolve().relative_to(_CLIENT.resolve()).as_posix()
    )


def _absolute(name: pathlib.PurePosixPath) -> str:
    """A script whose imports are names of the page's import map."""
    return _IMPORT.sub(
        lambda match: f"{match[1]}lit_tl/{_beside(name, match[2]).as_posix()}{match[3]}",
        (_CLIENT / name).read_text("utf-8"),
    )


def _url(script: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(script.encode()).decode()}"
