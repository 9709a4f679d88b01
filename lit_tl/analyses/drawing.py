"""An analysis from Python: its numbers, and its figure."""

import csv
import io
from typing import Any, Optional, Sequence, Union

import plotly.graph_objects as go
import xarray as xr

from lit_tl.analyses.catalog import catalog, find
from lit_tl.analyses.contract import Analysis, Example, LoadedModel, Subject, table

Named = Union[str, Analysis]


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
    chosen = find(analysis, catalog()) if isinstance(analysis, str) else analysis
    subject = Subject(
        model=model,
        example=example,
        counterpart=counterpart,
        other_model=other_model,
        examples=examples,
    )
    return chosen.answer(subject, chosen.settings.read(settings))


def draw(analysis: Named, *args: Any, **kwargs: Any) -> go.Figure:
    """The figure of an analysis; arguments are those of `analyze`."""
    chosen = find(analysis, catalog()) if isinstance(analysis, str) else analysis
    return chosen.figure(analyze(chosen, *args, **kwargs))


def to_csv(result: xr.Dataset) -> str:
    """The table as comma-separated values, with a header."""
    columns, rows = table(result)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()
