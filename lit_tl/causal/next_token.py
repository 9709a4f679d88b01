"""A prompt whose next token is explained."""

import dataclasses
from typing import Optional, Union

import numpy as np

from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PairError
from lit_tl.engine.prompts import Prompt, first_difference


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """A prompt whose next token is explained.

    Args:
        prompt: with what answer and foil share behind it.
        answer: the token.
        foil: the token, or None.
        note: what is compared, as words.
    """

    prompt: Prompt
    answer: int
    foil: Optional[int]
    note: str


def read_question(
    model: CausalModel, text: str, answer: Optional[Union[str, int]], foil: Optional[str]
) -> Asked:
    """Tokenize a question.

    Raises:
        PairError: prompt or answer are empty or no texts, or the prompt is too long.
    """
    for name, given in (("the prompt", text), ("foil", foil or "")):
        if not isinstance(given, str):
            raise PairError(f"{name} is {given!r}: give a text")
    if not text:
        raise PairError("the prompt is empty: give a text")
    is_id = isinstance(answer, (int, np.integer)) and not isinstance(answer, bool)
    if answer is not None and not (is_id or isinstance(answer, str)):
        raise PairError(f"answer is {answer!r}: give a text, or a token's id")
    if answer is None or answer == "":
        raise PairError("no answer is given: name the token whose logit is explained")
    prompt = model.prompter.prompt({"text": text})
    if prompt.truncated:
        raise PairError(
            f"the prompt is longer than the {len(prompt)} tokens that are read of "
            f"{model.runner.shape.name}: shorten it"
        )
    ids = (int(answer),) if is_id else tuple(model.prompter.answer(str(answer)))
    if not 0 <= ids[0] < model.runner.shape.d_vocab:
        raise PairError(f"token {ids[0]} is out of range: {model.runner.shape.d_vocab} are known")
    strings = model.prompter.vocabulary.string
    if not foil:
        note = f"{strings(ids[0])!r}, the first of {len(ids)} tokens" if len(ids) > 1 else ""
        return Asked(prompt=prompt, answer=ids[0], foil=None, note=note)
    others = tuple(model.prompter.answer(foil))
    place = first_difference(ids, others)
    if place is None:
        raise PairError("answer and foil begin alike to the end: no token tells them apart")
    longer = dataclasses.replace(prompt, ids=(*prompt.ids, *ids[:place]))
    several = max(len(ids), len(others)) > 1
    note = (
        f"token {place + 1} of the answer, {strings(ids[place])!r} against "
        f"{strings(others[place])!r}"
    )
    return Asked(prompt=longer, answer=ids[place], foil=others[place], note=note if several else "")
