"""Examples of the paired tasks: those that are shipped, or new ones."""

import dataclasses
import json
import pathlib
from typing import Any, Iterable, Mapping, Optional, Sequence

from lit_tl.data import paired
from lit_tl.data.columns import Column, PromptData
from lit_tl.data.errors import DataError
from lit_tl.engine.prompts import Prompter, first_difference

_PACKAGED = pathlib.Path(__file__).parent / "shipped"
_CHECKOUT = pathlib.Path(__file__).parent.parent.parent / "datasets"
SHIPPED_COUNT = 100
SHIPPED_SEED = 20_24


def shipped_folder() -> pathlib.Path:
    """Where the shipped JSON lines are: inside an installed package, or at the top of a
    checkout."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def read_task(task: str, seed: Optional[int] = None, count: int = SHIPPED_COUNT) -> PromptData:
    """Prompts with an answer, a foil and a corrupted twin of equal length in tokens.

    Args:
        task: one of ioi, induction, greater_than, agreement, pronoun, capital, docstring.
        seed: None gives the shipped examples, a number makes new ones.
        count: how many examples.

    Raises:
        DataError: there is no such task, or the count is below 1.
    """
    if task not in paired.TASKS:
        raise DataError(f"unknown task {task!r}: there are {', '.join(paired.TASKS)}")
    if count < 1:
        raise DataError(f"{task}: a count of {count} makes no examples, ask for at least 1")
    if seed is None and count <= SHIPPED_COUNT:
        text = (shipped_folder() / f"{task}.jsonl").read_text("utf-8")
        examples = [json.loads(line) for line in text.splitlines()]
    else:
        new_seed = SHIPPED_SEED if seed is None else seed
        examples = records(paired.TASKS[task](4 * count, new_seed, True))
    examples = list({example["text"]: example for example in examples}.values())[:count]
    summary = (paired.TASKS[task].__doc__ or "").split("\n")[0]
    fewer = ""
    if len(examples) < count:
        fewer = f" There are no more than {len(examples)} different ones."
    return PromptData(
        examples=examples,
        columns=_columns(examples),
        description=f"{task}: {summary}{fewer}",
    )


def _columns(examples: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    templates = tuple(sorted({example["template"] for example in examples}))
    optional = {name: Column(kind="text") for name in ("answer", "foil", "corrupted_text")}
    template = Column(kind="label", labels=templates)
    return {"text": Column(kind="text", required=True), **optional, "template": template}


def records(examples: Iterable[paired.PairedExample]) -> list[dict[str, Any]]:
    """Examples as they stand in a JSON line."""
    wholes = (dataclasses.asdict(example) for example in examples)
    return [{key: value for key, value in whole.items() if key != "task"} for whole in wholes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Misfit:
    """An example that a tokenizer cuts in a way that the paired comparison can't use."""

    index: int
    text: str
    reason: str


def misfits(examples: Sequence[Mapping[str, Any]], prompter: Prompter) -> list[Misfit]:
    """Which paired examples do not fit a tokenizer, and why: an answer and foil that no token tells
    apart, or a corrupted prompt of another length. Examples without an answer and a foil are passed
    over."""
    reasons = (
        (i, example["text"], _misfit(example, prompter)) for i, example in enumerate(examples)
    )
    return [Misfit(index=i, text=text, reason=reason) for i, text, reason in reasons if reason]


def _misfit(example: Mapping[str, Any], prompter: Prompter) -> Optional[str]:
    ids = {}
    for field in ("answer", "foil"):
        if not example.get(field):
            return None
        ids[field] = prompter.answer(example[field])
    if first_difference(ids["answer"], ids["foil"]) is None:
        return "no token tells its answer from its foil"
    if example.get("corrupted_text"):
        fields = ("text", "corrupted_text")
        lengths = [len(prompter.from_text(example[field])) for field in fields]
        if lengths[0] != lengths[1]:
            return f"its prompt has {lengths[0]} tokens, but the corrupted one {lengths[1]}"
    return None
