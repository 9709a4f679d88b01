"""Paired tasks as LIT data sets, from the files that are shipped or freshly generated."""

import dataclasses
import json
import pathlib
from typing import Any, Iterable, Mapping, Optional, Sequence

from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types

from lit_tl.data import paired
from lit_tl.data.errors import DataError
from lit_tl.passes.prompts import Prompter

_PACKAGED = pathlib.Path(__file__).parent / "shipped"
_CHECKOUT = pathlib.Path(__file__).parent.parent.parent / "datasets"
SHIPPED_COUNT = 100
SHIPPED_SEED = 20_24


def shipped_folder() -> pathlib.Path:
    """Where the shipped JSON lines are: inside an installed package, or at the top of a checkout."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def task_spec(task: str, examples: Sequence[Mapping[str, Any]]) -> lit_types.Spec:
    """The LIT spec of a paired task."""
    return {
        "text": lit_types.TextSegment(),
        "answer": lit_types.TextSegment(required=False),
        "foil": lit_types.TextSegment(required=False),
        "corrupted_text": lit_types.TextSegment(required=False),
        "template": lit_types.CategoryLabel(vocab=sorted({example["template"] for example in examples}), required=False),
    }


class PairedTask(lit_dataset.Dataset):
    """Prompts with an answer, a foil and a corrupted twin of equal length in tokens.

    Args:
        task: one of ioi, induction, greater_than, agreement, pronoun, capital, docstring.
        seed: None gives the shipped examples, a number makes new ones.
        count: how many examples.

    Raises:
        DataError: no such task, or a count below 1.
    """

    def __init__(self, task: str, seed: Optional[int] = None, count: int = SHIPPED_COUNT):
        if task not in paired.TASKS:
            raise DataError(f"unknown task {task!r}: there are {', '.join(paired.TASKS)}")
        if count < 1:
            raise DataError(f"{task}: a count of {count} makes no examples, ask for at least 1")
        if seed is None and count <= SHIPPED_COUNT:
            examples = [json.loads(line) for line in (shipped_folder() / f"{task}.jsonl").read_text("utf-8").splitlines()]
        else:
            examples = records(paired.TASKS[task](4 * count, SHIPPED_SEED if seed is None else seed, True))
        examples = list({example["text"]: example for example in examples}.values())[:count]
        summary = (paired.TASKS[task].__doc__ or "").split("\n")[0]
        fewer = f" There are no more than {len(examples)} different ones." if len(examples) < count else ""
        super().__init__(spec=task_spec(task, examples), examples=examples, description=f"{task}: {summary}{fewer}")

    @classmethod
    def init_spec(cls) -> lit_types.Spec:
        """What LIT's dialog asks for."""
        return {
            "task": lit_types.CategoryLabel(default="ioi", vocab=list(paired.TASKS)),
            "seed": lit_types.Integer(default=0, min_val=0, max_val=2**31 - 1, required=False),
            "count": lit_types.Integer(default=SHIPPED_COUNT, min_val=1, max_val=10_000, required=False),
        }


def records(examples: Iterable[paired.PairedExample]) -> list[dict[str, Any]]:
    """Examples as they stand in a JSON line."""
    return [{key: value for key, value in dataclasses.asdict(example).items() if key != "task"} for example in examples]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Misfit:
    """An example that a model's tokenizer cuts in a way that the paired comparison can't use."""

    index: int
    text: str
    reason: str


def misfits(examples: Sequence[Mapping[str, Any]], prompter: Prompter) -> list[Misfit]:
    """Which paired examples do not fit a tokenizer, and why: an answer or foil of several tokens, the two beginning alike, or a
    corrupted prompt of another length. Examples without an answer and a foil are not looked at."""
    found = []
    for index, example in enumerate(examples):
        if reason := _misfit(example, prompter):
            found.append(Misfit(index=index, text=example["text"], reason=reason))
    return found


def _misfit(example: Mapping[str, Any], prompter: Prompter) -> Optional[str]:
    ids = {}
    for field in ("answer", "foil"):
        if not example.get(field):
            return None
        ids[field] = prompter.answer(example[field])
        if len(ids[field]) != 1:
            tokens = prompter.vocabulary.strings(ids[field])
            return f"its {field} {example[field]!r} is {len(tokens)} tokens ({', '.join(map(repr, tokens))})"
    if ids["answer"] == ids["foil"]:
        return "its answer and foil are the same token"
    if example.get("corrupted_text"):
        lengths = [len(prompter.from_text(example[field])) for field in ("text", "corrupted_text")]
        if lengths[0] != lengths[1]:
            return f"its prompt has {lengths[0]} tokens, but the corrupted one {lengths[1]}"
    return None
