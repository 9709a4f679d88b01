"""An analysis from Python: its numbers, and its table."""

import contextlib
import csv
import io
from typing import Any, Iterator, Optional, Sequence, Union

import xarray as xr

from lit_tl.analyses.catalog import catalog, find
from lit_tl.analyses.contract import Analysis, Example, LoadedModel, Subject, table
from lit_tl.engine import jobs

Named = Union[str, Analysis]


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
