"""An analysis from Python: its numbers, its figure, and files of both."""

import contextlib
import csv
import dataclasses
import io
import json
import typing
from typing import Any, Iterator, Literal, Mapping, Optional, Sequence, Union

import xarray as xr

from lit_tl.analyses.catalog import catalog, find
from lit_tl.analyses.contract import Analysis, Drawn, Subject, table
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine import jobs
from lit_tl.engine.prompts import text_of
from lit_tl.figures import plot_paper
from lit_tl.figures.difference import rows_of
from lit_tl.figures.grid import Grid
from lit_tl.figures.paper_settings import Paper
from lit_tl.settings import Settings

Named = Union[str, Analysis]
FILES: Mapping[str, str] = {
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "png": "image/png",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
}
"""Files of an analysis, and what browsers call them."""


def chosen(analysis: Named) -> Analysis:
    """The analysis of a name, or the analysis that is given.

    Raises:
        ValueError: there is none of that name.
    """
    return find(analysis, catalog()) if isinstance(analysis, str) else analysis


def analyze(
    analysis: Named,
    model: LoadedModel,
    example: Optional[Example] = None,
    *,
    counterpart: Optional[Example] = None,
    other_model: Optional[LoadedModel] = None,
    examples: Sequence[Example] = (),
    **settings: Any,
) -> xr.Dataset:
    """The numbers of an analysis.

    Args:
        analysis: its name, or an analysis of your own.
        model: what to look into.
        example: `{"text": ...}`, with `answer` and `foil` where the analysis needs them.
        counterpart: a second prompt, to compare with.
        other_model: a second model, to compare with.
        examples: a data set, for analyses of one.
        **settings: as on the page; what is left out has its default.

    Returns:
        The answer, with named axes, coordinates, and attributes such as `unit` and `note`.

    Raises:
        ValueError: there is no such analysis or setting, or the subject does not suit it.
    """
    selected = chosen(analysis)
    subject = Subject(
        model=model,
        example=example,
        counterpart=counterpart,
        other_model=other_model,
        examples=examples,
    )
    with progress_bar():
        return selected.answer(subject, selected.settings.read(settings))


@contextlib.contextmanager
def progress_bar() -> Iterator[None]:
    """Inside, work that takes over a second shows how far it is, on a terminal or in a notebook,
    unless it is part of a job that somebody watches already."""
    if jobs.is_watched():
        yield
        return
    from tqdm import auto

    shape = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"
    with auto.tqdm(total=1.0, bar_format=shape, disable=None, leave=False, delay=1.0) as bar:

        def show(finished: float) -> None:
            bar.update(finished - bar.n)

        with jobs.working_on(jobs.Job(show)):
            yield


def to_csv(result: xr.Dataset) -> str:
    """The table as comma-separated values, with a header."""
    columns, rows = table(result)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()


def facts(analysis: Analysis, subject: Subject, settings: Settings) -> dict[str, str]:
    """What an analysis looked at, in words."""
    said = {"model": _name(subject.model)}
    if "other_model" in analysis.uses and subject.other_model is not None:
        said["other model"] = _name(subject.other_model)
    for name, example in (("prompt", subject.example), ("against", subject.counterpart)):
        if (name == "prompt" or "counterpart" in analysis.uses) and example is not None:
            said[name] = str(example.get("text", ""))
            said |= {
                key: str(example[key])
                for key in ("answer", "foil")
                if name == "prompt" and example.get(key)
            }
    if analysis.looks_at_data(settings):
        said["prompts"] = str(len(subject.examples))
    values = {field: getattr(settings, field) for field in type(settings).__dataclass_fields__}
    said["settings"] = ", ".join(f"{name} {value}" for name, value in values.items())
    return said


def _name(model: LoadedModel) -> str:
    """A model's name, with what was changed of it."""
    changes = f" with {'; '.join(map(str, model.changes))}" if model.changes else ""
    return f"{model.runner.shape.name}{changes}"


def draw(analysis: Analysis, result: xr.Dataset, subject: Subject, settings: Settings) -> Drawn:
    """The figure of a result, which says what was looked at."""
    figure = analysis.figure(result)
    if isinstance(figure, Grid):
        known = figure.with_facts(facts(analysis, subject, settings))
        return known.with_roles(roles_of(subject))
    return figure


def roles_of(subject: Subject) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The roles of the tokens of a subject's conversations, by their tokens."""
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for model in (subject.model, subject.other_model):
        for example in (subject.example, subject.counterpart):
            for name in ("text", "corrupted_text"):
                if model is None or example is None:
                    continue
                with contextlib.suppress(ValueError):
                    prompt = model.prompter.from_text(text_of(example, name))
                    if prompt.roles:
                        tokens = model.prompter.vocabulary.strings(prompt.ids)
                        known[tuple(tokens)] = prompt.roles
    return known


Minus = Literal["nothing", "pinned prompt", "other model"]
"""What is taken away from a figure."""


def has_difference(analysis: Analysis) -> bool:
    """Whether figures of an analysis can be set against each other: grids of one prompt."""
    drawn = typing.get_type_hints(analysis.figure).get("return")
    return drawn is Grid and "example" in analysis.uses


def difference(analysis: Analysis, subject: Subject, settings: Settings, minus: Minus) -> Grid:
    """The figure of a subject less that of its counterpart, or of its other model.

    Args:
        analysis: that draws grids.
        subject: with a counterpart or another model.
        settings: for both.
        minus: which of the two is taken away.

    Raises:
        ValueError: there is no such thing to take away, or nothing in common.
    """
    if minus == "pinned prompt":
        if subject.counterpart is None:
            raise ValueError("no prompt is pinned: pin one to see the difference from it")
        taken, name = dataclasses.replace(subject, example=subject.counterpart), "minus prompt"
        said = str(subject.counterpart.get("text", ""))
    else:
        if subject.other_model is None:
            raise ValueError(
                "there is no other model to see the difference from: load one in the Configure "
                "dialog"
            )
        taken, name = dataclasses.replace(subject, model=subject.other_model), "minus model"
        said = _name(subject.other_model)
    figures = [
        draw(analysis, analysis.answer(each, settings), each, settings)
        for each in jobs.each([subject, taken])
    ]
    one, other = figures
    if not isinstance(one, Grid) or not isinstance(other, Grid):
        raise ValueError(f"{analysis.name} draws no grid: there is no difference to see")
    return one.minus(other).with_facts({name: said})


def grid_to_file(grid: Grid, kind: str, paper: Optional[Paper] = None) -> bytes:
    """A grid as a file.

    Args:
        grid: to be written.
        kind: one of `FILES`.
        paper: sizes of svg, pdf and png.
    """
    if kind in ("csv", "json"):
        columns, rows = rows_of(grid)
        if kind == "json":
            return json.dumps({**grid.facts, "columns": columns, "rows": rows}).encode()
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        return text.getvalue().encode()
    return grid.to_html().encode() if kind == "html" else grid.render(kind, paper)


def to_file(
    analysis: Analysis,
    result: xr.Dataset,
    subject: Subject,
    settings: Settings,
    kind: str,
    paper: Optional[Paper] = None,
) -> bytes:
    """A result as a file.

    Args:
        analysis: that gave it.
        result: its answer.
        subject: what it looked at.
        settings: with which settings.
        kind: one of `FILES`.
        paper: sizes of svg, pdf and png.

    Raises:
        ValueError: there is no such kind or font.
    """
    if kind not in FILES:
        raise ValueError(f"there is no file {kind!r}: choose from {', '.join(FILES)}")
    if kind == "csv":
        return to_csv(result).encode()
    if kind == "json":
        columns, rows = table(result)
        known = {"analysis": analysis.name, **facts(analysis, subject, settings)}
        return json.dumps({**known, "columns": columns, "rows": rows}).encode()
    figure = draw(analysis, result, subject, settings)
    if kind == "html":
        page = (
            figure.to_html() if isinstance(figure, Grid) else figure.to_html(include_plotlyjs=True)
        )
        return str(page).encode()
    if isinstance(figure, Grid):
        return figure.render(kind, paper)
    return plot_paper.render(json.loads(figure.to_json()), kind, paper)
