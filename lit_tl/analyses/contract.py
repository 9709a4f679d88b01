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
import functools
import hashlib
import inspect
import json
import math
import threading
import typing
from typing import Any, Callable, Iterator, Literal, Mapping, Optional, Sequence, Union

import cachetools
import numpy as np
import plotly.graph_objects as go
import xarray as xr

from lit_tl.engine import jobs
from lit_tl.engine.interventions import Intervention
from lit_tl.engine.prompts import Prompt, Prompter
from lit_tl.engine.runner import Runner
from lit_tl.figures.grid import Grid
from lit_tl.lens.choice import LensChoice, choose_lenses
from lit_tl.settings import Settings
from lit_tl.variants.ground import KnownVectors

Example = Mapping[str, Any]
"""A prompt as `text`, and where there are any: `answer`, `foil`, `target`, `tokens`, ..."""
RESULT_CACHE_BYTES = 64 * 2**20
_OF_LIT = frozenset({"_id", "_meta"})
"""What LIT's page adds to an example."""


def _new_results() -> "cachetools.LRUCache[Any, xr.Dataset]":
    return cachetools.LRUCache(RESULT_CACHE_BYTES, getsizeof=lambda result: result.nbytes)


class LoadedModel:
    """A model with what analyses ask of it.

    Args:
        runner: of the model.
        max_seq_length: longest prompt in tokens.
        prepend_bos: whether a beginning-of-text token comes first; None is what the model expects.
        lens: which lenses to read with, as in `HookedTransformerLITConfig.lens`.

    Raises:
        ValueError: the model has no tokenizer.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        max_seq_length: int = 4096,
        prepend_bos: Optional[bool] = None,
        lens: str = "auto",
    ):
        self.runner = runner
        self.prompter = Prompter(runner, max_length=max_seq_length, prepend_bos=prepend_bos)
        self.results = _new_results()
        """Finished analyses, for whoever holds `results_lock`."""
        self.results_lock = threading.Lock()
        self._lens = lens
        self.vectors = KnownVectors()
        """What stands at sites over data sets, for changes of the model."""
        self._settings = (max_seq_length, prepend_bos, lens)
        self._original: Optional[LoadedModel] = None

    @functools.cached_property
    def lenses(self) -> LensChoice:
        """The lenses; a published one is looked for when somebody first looks through it.

        Raises:
            LensError: a lens that is named can't be loaded.
        """
        if self._original is not None:
            return self._original.lenses
        return choose_lenses(self.runner.model, self._lens)

    def with_interventions(self, interventions: Sequence[Intervention]) -> "LoadedModel":
        """The model under further changes: the same weights, prompter and lenses, and results of
        its own.

        Raises:
            ValueError: an intervention is at a site that the model does not have.
        """
        changed = copy.copy(self)
        changed.runner = self.runner.with_interventions(interventions)
        changed.results = _new_results()
        changed.results_lock = threading.Lock()
        changed._original = self
        return changed

    def prompt(self, example: Example) -> Prompt:
        """What the model reads of an example; see `Prompter.prompt`."""
        return self.prompter.prompt(example)

    def tokens(self, example: Example) -> list[str]:
        """An example's tokens as people read them."""
        return self.prompter.vocabulary.strings(self.prompt(example).ids)

    def state(self) -> str:
        """What changes when the model, or how it reads text, does."""
        return f"{id(self):x}:{self.runner.state()}:{self._settings}"


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
Tab = Literal["Figures", "Predictions", "Lens", "Attention", "Salience", "Causes", "Details"]
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
        subject = self._used(subject)
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

    def _used(self, subject: Subject) -> Subject:
        """The subject without what the analysis does not look at, and the cache need not know."""
        return Subject(
            model=subject.model,
            example=subject.example if "example" in self.uses else None,
            counterpart=subject.counterpart if "counterpart" in self.uses else None,
            other_model=subject.other_model if "other_model" in self.uses else None,
            examples=subject.examples if "examples" in self.uses else (),
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
    """Make an analysis of a function.

    The class of its settings is the annotation of its second parameter, and its description the
    first line of its docstring.

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
