"""What an analysis is: one function, one settings class, one figure.

    @analysis("Head scores", figure=layer_by_head)
    def head_scores(subject: Subject, settings: HeadScoreSettings) -> Iterator[xr.Dataset]:
        '''One line that says what the numbers are.'''
        ...
        yield result

The function yields results, each better than the one before; the last is the answer. A result is an
`xarray.Dataset`: named axes with coordinates, and the attribute `value`, which names the variable
that the figure shows. Everything else follows from the declaration: LIT's interpreter, the panel's
controls, the command line, tables, `lit_tl.draw`, "copy as Python" and the cache of results.
"""

import dataclasses
import inspect
import typing
from typing import Any, Callable, Iterator, Literal

import plotly.graph_objects as go
import xarray as xr

from lit_tl.analyses.subject import Subject
from lit_tl.settings import Settings

Use = Literal["example", "counterpart", "other_model", "examples"]
Figure = Callable[[xr.Dataset], go.Figure]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """One analysis, as `analysis` makes it.

    Args:
        name: what people call it.
        function: from a subject and settings to results.
        settings: the class of its settings.
        figure: from a result to Plotly's figure.
        uses: the parts of a subject that it looks at, beside the model.
        description: one line.
    """

    name: str
    function: Callable[[Subject, Any], Iterator[xr.Dataset]]
    settings: type[Settings]
    figure: Figure
    uses: frozenset[Use]
    description: str

    def results(self, subject: Subject, settings: Settings) -> Iterator[xr.Dataset]:
        """Results, each better than the one before. An answer that is in the model's cache comes at
        once, alone, and costs no pass.

        Raises:
            ValueError: the subject lacks something, or a setting does not fit it.
        """
        subject = self._used(subject)
        key = (self.name, settings, subject.key())
        known = subject.model.results.get(key)
        if known is not None:
            yield known[0]
            return
        result = None
        for result in self.function(subject, settings):
            yield result
        if result is None:
            raise ValueError(f"{self.name} gave no result")
        subject.model.results.put(key, result, size=result.nbytes)

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
    name: str, *, figure: Figure, uses: tuple[Use, ...] = ("example",)
) -> Callable[[Callable[[Subject, Any], Iterator[xr.Dataset]]], Analysis]:
    """Make an analysis of a function.

    The class of its settings is the annotation of its second parameter, and its description the
    first line of its docstring.

    Args:
        name: what people call it; letters, digits, spaces and dots.
        figure: draws a result.
        uses: the parts of a subject that it looks at, beside the model.

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
        )

    return declare
