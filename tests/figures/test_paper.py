"""Figures on paper are opened again: title, labels and values are those of the result."""

import dataclasses
import io
import itertools
import json
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import PIL.Image
import plotly.graph_objects as go
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lit_tl.figures import paper, plot_paper
from lit_tl.figures.grid import Axis, Colours, Grid, Part, table
from lit_tl.figures.paper_settings import Paper
from lit_tl.settings import SettingError

SVG = "{http://www.w3.org/2000/svg}"
TOKENS = ["<s>", " a", "\n", " $x$", "ü", " <b>"]
FACTS = {"model": "tiny", "prompt": "a & b\nc", "settings": "statistic rank"}


def grid(kind: str = "linear", parts: int = 1) -> Grid:
    values = np.geomspace(1, 40_000, 24).reshape(4, 6)
    values = values - 7.0 if kind == "diverging" else values
    values[1, 2] = np.nan
    top = np.array([f" t{i}" for i in range(24)], dtype=object).reshape(4, 6, 1)
    return Grid(
        title="Lens: rank",
        parts=tuple(
            Part(
                title=f"{name} lens",
                values=values,
                rows=Axis(name="layer", labels=["0", "1", "2", "output"], upwards=True),
                columns=Axis(name="position", labels=TOKENS, tokens=True),
                colours=Colours(name="rank", kind=kind, low=None),
                top_tokens=top,
                top_values=np.ones((4, 6, 1)),
            )
            for name in ("logit", "tuned")[:parts]
        ),
        facts=FACTS,
    )


def texts(svg: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in svg.iter(f"{SVG}text")]


def fills(svg: ElementTree.Element) -> list[str]:
    """The colour of each cell, row after row from the bottom, as they are drawn."""
    (cells,) = (group for group in svg.iter(f"{SVG}g") if group.get("id") == "cells")
    found = (re.search(r"fill: (#[0-9a-f]{6})", path.get("style", "")) for path in cells.iter())
    return [match[1] for match in found if match]


@pytest.mark.parametrize("kind", ["linear", "log", "root", "diverging"])
def test_an_svg_has_the_title_the_labels_and_the_values(kind: str) -> None:
    figure = grid(kind)
    svg = ElementTree.fromstring(figure.render("svg"))
    said = texts(svg)
    assert "Lens: rank" in said
    for fact in ("model: tiny", "prompt: a & b↵c", "settings: statistic rank"):
        assert fact in said
    for token in ("<s>", "·a", "↵", "·$x$", "ü", "·<b>"):
        assert token in said, "tokens are text, and nothing else"
    for label in ("0", "1", "2", "output", "layer", "position", "rank"):
        assert label in said
    assert {f"·t{i}" for i in range(24)} <= set(said)
    (part,) = figure.parts
    low, high = part.colours.span([part.values])
    known = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in table(part.colours.map).tolist()]
    drawn = fills(svg)
    assert len(drawn) == 24
    for colour, value in zip(drawn, part.values.ravel(), strict=True):
        if np.isnan(value):
            assert colour == "#f1f3f4"
            continue
        place = known.index(colour) / 255
        back = {
            "linear": low + place * (high - low),
            "diverging": low + place * (high - low),
            "root": low + place**2 * (high - low),
            "log": low * (high / max(low, 1e-30)) ** place if low > 0 else 0.0,
        }[kind]
        near = 0.045 * value if kind == "log" else 0.01 * (high - low)
        assert abs(back - value) <= max(near, 1e-9), "one of 256 colours, that of the value"


def test_two_matrices_share_a_scale() -> None:
    svg = ElementTree.fromstring(grid(parts=2).render("svg"))
    assert {"logit lens", "tuned lens"} <= set(texts(svg))
    assert texts(svg).count("rank") == 1, "one legend for both"


@pytest.mark.parametrize("kind", ["linear", "log", "root", "diverging"])
@pytest.mark.parametrize("parts", [1, 2])
def test_nothing_written_is_cut_or_covers_something_else(parts: int, kind: str) -> None:
    title = "gradient · input: log p of ' Den' after ' to' (the first of 2 tokens) = -2.519 nats"
    drawn = dataclasses.replace(grid(kind, parts), title=title)
    with matplotlib.rc_context(paper._SETTINGS):
        figure = paper._figure(drawn, Paper())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    outside = [*figure.texts]
    for axes in figure.axes:
        outside += [axes.title, axes.xaxis.label, axes.yaxis.label]
        outside += [*axes.get_xticklabels(), *axes.get_yticklabels()]
    boxes = {
        text: text.get_window_extent(canvas.get_renderer()) for text in outside if text.get_text()
    }
    width, height = canvas.get_width_height()
    for text, box in boxes.items():
        assert "mathdefault" not in text.get_text()
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, f"{text.get_text()} is cut"
    for (one, first), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not first.overlaps(second), f"{one.get_text()} covers {other.get_text()}"


def test_pdf_and_png_are_those_kinds_of_files_at_paper_size() -> None:
    assert grid().render("pdf").startswith(b"%PDF")
    image = PIL.Image.open(io.BytesIO(grid().render("png")))
    assert image.size[0] == 7 * 300
    assert len(set(image.convert("RGB").resize((200, 100)).getdata())) > 50


def test_a_large_matrix_has_a_few_labels_and_one_image() -> None:
    part = grid().parts[0]
    many = Part(
        values=np.random.default_rng(0).random((100, 2048)),
        rows=Axis(name="layer", labels=[str(i) for i in range(100)], upwards=True),
        columns=Axis(name="position", labels=["x"] * 2048, tokens=True),
        colours=part.colours,
    )
    svg = ElementTree.fromstring(Grid(title="many", parts=(many,)).render("svg"))
    assert len(list(svg.iter(f"{SVG}image"))) >= 1
    assert 20 < len(texts(svg)) < 200


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ValueError, match="written as svg, pdf, png, and not as 'gif'"):
        grid().render("gif")


def test_a_page_of_its_own_carries_its_scripts_and_asks_for_nothing() -> None:
    page = grid().to_html()
    assert "importmap" in page
    assert "Lens: rank" in page
    assert "prompt: a &amp; b" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<b>" not in page.split('id="grid">')[1].split("</script>")[0]


def _plot() -> dict[str, Any]:
    figure = go.Figure(
        [
            go.Bar(x=["<|a|>", "b"], y=[1.0, 2.0], name="one"),
            go.Scatter(x=["<|a|>", "b"], y=[2.0, 1.0], name="two"),
        ]
    )
    figure.update_layout(title="A & B")
    figure.update_yaxes(title="nats")
    content: dict[str, Any] = json.loads(figure.to_json())
    return content


@pytest.mark.parametrize("width", [85.0, 120.0, 177.8])
def test_a_figure_has_the_width_that_is_asked_for(width: float) -> None:
    """Grids and plots, to a tenth of a millimetre."""
    sizes = Paper(width_mm=width, font="serif", font_size=6)
    for content in (
        grid("linear", 1).render("svg", sizes),
        plot_paper.render(_plot(), "svg", sizes),
    ):
        points = float(re.search(rb'<svg [^>]*width="([\d.]+)pt"', content)[1])  # type: ignore[index]
        assert points * 25.4 / 72 == pytest.approx(width, abs=0.1)
        assert b"serif" in content
        assert b"6px" in content or b"font: 6" in content


def test_vector_files_keep_texts_as_texts_on_white() -> None:
    """So that they can be edited, and none is markup."""
    content = plot_paper.render(_plot(), "svg").decode()
    assert "A &amp; B" in content
    assert "&lt;|a|&gt;" in content
    assert "nats" in content
    assert 'style="fill: #ffffff"' in content
    assert plot_paper.render(_plot(), "pdf").startswith(b"%PDF")


def test_what_can_not_be_drawn_is_refused() -> None:
    """A font that is not there, no room, another kind of figure."""
    with pytest.raises(ValueError, match="the font 'No Such Font' is not installed"):
        grid("linear", 1).render("svg", Paper(font="No Such Font"))
    with pytest.raises(ValueError, match=r"45 mm leave no room for 2 matrices"):
        grid("linear", 2).render("svg", Paper(width_mm=45.0, font_size=12.0))
    with pytest.raises(SettingError, match="width_mm is 3"):
        Paper(width_mm=3.0)
    pie = json.loads(go.Figure(go.Pie(values=[1, 2])).to_json())
    with pytest.raises(ValueError, match="a figure of pie traces is not drawn on paper"):
        plot_paper.render(pie, "svg")
