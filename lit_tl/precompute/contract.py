"""What an analysis of many prompts is: from a few examples to a record for each.

    @over_rows("predictions", columns=my_columns)
    def predictions(model: HookedTransformerLIT, examples: list[Example], settings: MySettings):
        '''One line that says what the numbers are.'''
        return [{"loss": ...} for example in examples]

It is called with some examples at a time, which it may run together. An example that it refuses
is found by halving, and becomes a row with the reason. `fold` keeps less than a record of each row,
and `finish` says something of all rows, when all files are there.
"""

import dataclasses
import inspect
import typing
from typing import Any, Callable, Mapping, Optional, Sequence

import pyarrow as pa

from lit_tl.analyses.loaded_model import Example
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.settings import Settings
from lit_tl.store import Described, Part, Store
from lit_tl.store.columns import Record

Columns = Callable[[HookedTransformerLIT, Any], Described]
"""What the records hold, with a model and settings."""
Compute = Callable[[HookedTransformerLIT, Sequence[Example], Any], Sequence[Record]]
Numbered = Sequence[tuple[int, Record]]
"""Records with the numbers of their rows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverRows:
    """An analysis of many prompts, as `over_rows` makes it.

    Args:
        name: what people call it.
        description: one line.
        settings: the class of its settings.
        columns: of its records.
        compute: from examples to a record for each, in their order.
        fold: from what is kept so far of a file's rows (None at first) and further records to what
            is kept; None keeps all records.
        reads_lens: whether its numbers depend on the model's lens.
        finish: from a store whose part is whole to what it says of all rows.
    """

    name: str
    description: str
    settings: type[Settings]
    columns: Columns
    compute: Compute
    fold: Optional[Callable[[Numbered, Numbered, Any], Numbered]] = None
    reads_lens: bool = False
    finish: Optional[Callable[[Store, Part, Any], pa.Table]] = None


def over_rows(
    name: str,
    *,
    columns: Columns,
    fold: Optional[Callable[[Numbered, Numbered, Any], Numbered]] = None,
    reads_lens: bool = False,
    finish: Optional[Callable[[Store, Part, Any], pa.Table]] = None,
) -> Callable[[Compute], OverRows]:
    """Make an analysis of many prompts of a function; see `OverRows`. The class of its settings is
    the annotation of its third parameter, and its description the first line of its docstring."""

    def declare(compute: Compute) -> OverRows:
        hints: Mapping[str, Any] = typing.get_type_hints(compute)
        parameter = list(inspect.signature(compute).parameters)[2]
        return OverRows(
            name=name,
            description=(inspect.getdoc(compute) or "").split("\n\n")[0].replace("\n", " "),
            settings=hints[parameter],
            columns=columns,
            compute=compute,
            fold=fold,
            reads_lens=reads_lens,
            finish=finish,
        )

    return declare
