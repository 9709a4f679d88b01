"""What an analysis is: one function, one settings class, one figure.

    @analysis("Head scores", figure=layer_by_head)
    def head_scores(subject: Subject, settings: HeadScoreSettings) -> Iterator[xr.Dataset]:
        '''One line that says what the numbers are.'''
        ...
        yield result

The function yields results, each better than the one before; the last is the answer. A result is an
`xarray.Dataset`: named axes with coordinates, and the attribute `value`, which names the variable
that the figure shows; where its x axis counts a prompt's tokens, the attribute `tokens` has them
all. Everything else follows from the declaration: LIT's interpreter, the panel's controls, the
command line, tables, `lit_tl.draw`, "copy as Python" and the cache of results.
"""

import collections.abc
import contextlib
import copy
import dataclasses
import hashlib
import inspect
import json
import math
import typing
from typing import Any, Callable, Iterator, Literal, Mapping, Optional, Sequence, Union

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine import jobs
from lit_tl.figures.grid import Grid
from lit_tl.settings import Settings

_OF_LIT = frozenset({"_id", "_meta"})
"""What LIT's page adds to an example."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """What one run of an analysis looks at. An analysis declares which parts it uses.

    Args:
        model: the model.
        example: the prompt.
        counterpart: a second prompt, to compare with.
        other_model: a second model.
        examples: a data set.

    Raises:
        ValueError: an example is not a mapping.
    """

    model: LoadedModel
    example: Optional[Example] = None
    counterpart: Optional[Example] = None
    other_model: Optional[LoadedModel] = None
    examples: Sequence[Example] = ()

    def __post_init__(self) -> None:
        for example in (self.example, self.counterpart):
            if example is not None:
                _check_example(example)
        for example in self.examples:
            _check_example(example)

    def need_example(self) -> Example:
        """The prompt.

        Raises:
            ValueError: there is none.
        """
        if self.example is None:
            raise ValueError("no prompt is given: select one, or give example={'text': ...}")
        return self.example

    def key(self) -> str:
        """What changes when something does that a result depends on."""
        digest = hashlib.sha256(self.model.state().encode())
        digest.update((self.other_model.state() if self.other_model else "").encode())
        for example in (self.example, self.counterpart, *self.examples):
            digest.update(_content(example))
        return digest.hexdigest()


def _check_example(example: Any) -> None:
    if not isinstance(example, collections.abc.Mapping):
        raise ValueError(f"an example is a mapping such as {{'text': '...'}}, and not {example!r}")


def _content(example: Optional[Example]) -> bytes:
    if example is None:
        return b"none\0"
    read = {name: value for name, value in sorted(example.items()) if name not in _OF_LIT}
    return json.dumps(read, default=_as_text).encode() + b"\0"


def _as_text(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [str(value.shape), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    return str(value)


Use = Literal["example", "counterpart", "other_model", "examples"]
Drawn = Union[go.Figure, Grid]
Figure = Callable[[xr.Dataset], Drawn]
Tab = Literal[
    "Chat",
    "Figures",
    "Predictions",
    "Lens",
    "Attention",
    "Salience",
    "Causes",
    "Interventions",
    "Details",
]
"""Of the page. `Details` are no tab: another panel asks for them."""
Cells = Callable[["Subject", Any], tuple[int, int]]
"""How many cells the figure of a subject with these settings will have, and how many tokens stand
in each."""


def _own_copy(result: xr.Dataset) -> xr.Dataset:
    """For whoever changes it. Arrays are copied as they are, since a deep copy of a hundred
    thousand strings takes half a second."""
    copied = {
        name: (of.dims, of.values.copy(), of.attrs)
        for name, of in (*result.data_vars.items(), *result.coords.items())
    }
    return xr.Dataset(
        {name: copied[name] for name in result.data_vars},
        coords={name: copied[name] for name in result.coords},
        attrs=copy.deepcopy(result.attrs),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """One analysis, as `analysis` makes it.

    Args:
        name: what people call it.
        function: from a subject and settings to results.
        settings: the class of its settings.
        figure: from a result to a grid, or to Plotly's figure.
        uses: the parts of a subject that it looks at, beside the model.
        description: one line.
        tab: of the page, on which it is drawn.
        cells: of the figure, where they may be many, so that a page can refuse it before it is
            computed.
        slow: values of settings, by name, with which other requests go first.
    """

    name: str
    function: Callable[[Subject, Any], Iterator[xr.Dataset]]
    settings: type[Settings]
    figure: Figure
    uses: frozenset[Use]
    description: str
    tab: Tab = "Figures"
    cells: Optional[Cells] = None
    slow: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def results(self, subject: Subject, settings: Settings) -> Iterator[xr.Dataset]:
        """Results, each better than the one before. An answer that is in the model's cache comes at
        once, alone, and costs no pass.

        Raises:
            ValueError: the subject lacks something, or a setting does not fit it.
        """
        subject = self._used(subject, settings)
        key = (self.function, settings, subject.key())
        with subject.model.results_lock:
            known = subject.model.results.get(key)
        if known is not None:
            yield _own_copy(known)
            return
        jobs.may_wait()
        result = None
        for result in self.function(subject, settings):
            yield _own_copy(result)
        if result is None:
            raise ValueError(f"{self.name} gave no result")
        with subject.model.results_lock, contextlib.suppress(ValueError):  # too large to be kept
            subject.model.results[key] = result

    def answer(self, subject: Subject, settings: Settings) -> xr.Dataset:
        """The last result; see `results`."""
        *_, answer = self.results(subject, settings)
        return answer

    def looks_at_data(self, settings: Settings) -> bool:
        """Whether it goes over the data set; a setting `over` says so where there is one."""
        return "examples" in self.uses and getattr(settings, "over", "data set") == "data set"

    def _used(self, subject: Subject, settings: Settings) -> Subject:
        """The subject without what the analysis does not look at, and the cache need not know."""
        return Subject(
            model=subject.model,
            example=subject.example if "example" in self.uses else None,
            counterpart=subject.counterpart if "counterpart" in self.uses else None,
            other_model=subject.other_model if "other_model" in self.uses else None,
            examples=subject.examples if self.looks_at_data(settings) else (),
        )


def analysis(
    name: str,
    *,
    figure: Figure,
    uses: tuple[Use, ...] = ("example",),
    tab: Tab = "Figures",
    cells: Optional[Cells] = None,
    slow: Optional[Mapping[str, tuple[str, ...]]] = None,
) -> Callable[[Callable[[Subject, Any], Iterator[xr.Dataset]]], Analysis]:
    """Make an analysis of a function. The class of its settings is the annotation of its second
    parameter, and its description the first line of its docstring.

    Args:
        name: what people call it; letters, digits, spaces and dots.
        figure: draws a result.
        uses: the parts of a subject that it looks at, beside the model.
        tab: of the page, on which it is drawn.
        cells: of the figure; see `Analysis`.
        slow: settings that take long; see `Analysis`.

    Raises:
        TypeError: the function is not `(subject, settings)` with an annotation, or has no
            docstring.
    """

    def declare(function: Callable[[Subject, Any], Iterator[xr.Dataset]]) -> Analysis:
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(function).parameters)
        settings = hints.get(parameters[1]) if len(parameters) == 2 else None
        if not (isinstance(settings, type) and issubclass(settings, Settings)):
            raise TypeError(
                f"{name}: write the function as (subject: Subject, settings: YourSettings)"
            )
        description = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        if not description:
            raise TypeError(f"{name}: say in a docstring what the numbers are")
        return Analysis(
            name=name,
            function=function,
            settings=settings,
            figure=figure,
            uses=frozenset(uses),
            description=description,
            tab=tab,
            cells=cells,
            slow=slow or {},
        )

    return declare


def table(result: xr.Dataset) -> tuple[list[str], list[list[Any]]]:
    """A row for each cell of the result's value: its coordinates, then every variable of the same
    axes, the value last.

    Args:
        result: of an analysis. Attributes: `value` names its value; `also` another on axes of its
            own, whose rows follow; `value_first` puts the value before the other variables;
            `skip_missing` leaves out cells without a value; `whole_numbers` says that values are
            counts.

    Returns:
        The names of the columns, and the rows. Where a row has no such column, there is None.
    """
    tables = [
        _table_of(result, str(result.attrs[key]))
        for key in ("value", "also")
        if key in result.attrs
    ]
    names = [*dict.fromkeys(name for columns, _ in tables for name in columns)]
    if len(tables) == 1:
        return tables[0]
    joined = []
    for columns, rows in tables:
        joined += [
            [dict(zip(columns, row, strict=True)).get(name) for name in names] for row in rows
        ]
    return names, joined


def _table_of(result: xr.Dataset, name: str) -> tuple[list[str], list[list[Any]]]:
    value = result[name]
    axes = [str(axis) for axis in value.dims]
    columns: dict[str, np.ndarray] = {}
    for axis in axes:
        columns[axis] = _spread(result[axis], value)
        for coordinate, along in result.coords.items():
            if along.dims == (axis,) and coordinate != axis:
                columns[str(coordinate)] = _spread(along, value)
    beside = [str(other) for other in result.data_vars if str(other) != name]
    before = [other for other in beside if result[other].dims == value.dims]
    for other in [*before, name]:
        columns[other] = result[other].values.ravel()
    if result.attrs.get("value_first"):
        columns = {**{key: columns[key] for key in columns if key not in before}, **columns}
    cells = [[_plain(cell) for cell in column] for column in columns.values()]
    rows = [list(row) for row in zip(*cells, strict=True)]
    place = list(columns).index(name)
    if result.attrs.get("skip_missing"):
        rows = [row for row in rows if row[place] is not None]
    if result.attrs.get("whole_numbers"):
        rows = [[int(cell) if at == place else cell for at, cell in enumerate(row)] for row in rows]
    return list(columns), rows


def _spread(coordinate: xr.DataArray, value: xr.DataArray) -> np.ndarray:
    spread: np.ndarray = coordinate.broadcast_like(value).transpose(*value.dims).values.ravel()
    return spread


def _plain(cell: Any) -> Any:
    value = cell.item() if isinstance(cell, np.generic) else cell
    return None if isinstance(value, float) and math.isnan(value) else value
