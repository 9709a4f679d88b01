"""Which tokens a gradient explains."""

import dataclasses
from typing import Any, Mapping, Optional, Sequence

from lit_tl.engine.prompts import Prompt, Prompter, first_difference
from lit_tl.engine.requests import Batch, Targets


def choose_targets(
    prompter: Prompter, examples: Sequence[Mapping[str, Any]], batch: Batch
) -> Targets:
    """For each example: the tokens that `target_mask` marks, or else the first token of `target`,
    or else of `answer`, or else the model's own top next token, the last three after the prompt's
    end.

    Args:
        prompter: of the model.
        examples: in the order of the batch's rows.
        batch: with logits.

    Raises:
        ValueError: a mask does not have one number for each token, or marks the first token alone.
    """
    entries: list[tuple[int, int, int]] = []
    for row, (example, prompt) in enumerate(zip(examples, batch.prompts, strict=True)):
        marked = _marked(example, prompt)
        if marked:
            entries += [(row, pos - 1, prompt.ids[pos]) for pos in marked]
            continue
        end = len(prompt) - 1
        named = prompter.first_token(example.get("target") or example.get("answer"))
        if named is None:
            named = int(batch.last_logits()[row].argmax())
        entries.append((row, end, named))
    rows, positions, tokens = zip(*entries, strict=True)
    return Targets(example=rows, pos=positions, token=tokens, weight=[1.0] * len(rows))


@dataclasses.dataclass(frozen=True)
class Contrast:
    """An answer against a foil at one position: the first at which they differ.

    Args:
        prompt: with what answer and foil share behind it.
        answer: the token.
        foil: the token.
        shared: how many tokens they share before these.
        note: what is compared, as words; empty where answer and foil are one token each.
    """

    prompt: Prompt
    answer: int
    foil: int
    shared: int
    note: str

    @property
    def targets(self) -> Targets:
        """The difference of their log-probabilities, after the prompt's last token."""
        return difference(self.answer, self.foil, len(self.prompt) - 1)


def answer_against_foil(prompter: Prompter, example: Mapping[str, Any], prompt: Prompt) -> Contrast:
    """An example's answer against its foil, at the one position that tells them apart.

    Raises:
        ValueError: the example has no answer or no foil, one goes on from the other, or the prompt
            has embeddings of its own and can't be made longer.
    """
    ids = prompter.answers(example)
    if len(ids) < 2:
        raise ValueError(
            "this prompt has no answer and foil to set against each other: choose 'target', or "
            "fill them in"
        )
    answer, foil = ids["answer"], ids["foil"]
    place = first_difference(answer, foil)
    if place is None:
        raise ValueError("answer and foil begin alike to the end: no token tells them apart")
    if place and prompt.token_embeddings is not None:
        raise ValueError(
            "answer and foil begin alike, which embeddings of one's own can't go on to"
        )
    longer = (*prompt.ids, *answer[:place])
    if len(longer) > prompter.max_length:
        raise ValueError(
            f"what answer and foil share does not fit behind this prompt, of which "
            f"{prompter.max_length} tokens are read: shorten the prompt"
        )
    strings = prompter.vocabulary.string
    note = (
        f"token {place + 1} of the answer, {strings(answer[place])!r} against "
        f"{strings(foil[place])!r}"
    )
    several = max(len(answer), len(foil)) > 1
    return Contrast(
        prompt=dataclasses.replace(prompt, ids=longer) if place else prompt,
        answer=answer[place],
        foil=foil[place],
        shared=place,
        note=note if several else "",
    )


def said_of_several(prompter: Prompter, text: Optional[str], name: str) -> str:
    """That the first token stands for a text of several, as words; empty for one token.

    Args:
        prompter: of the model.
        text: an answer or a foil.
        name: what it is called, with its article.
    """
    ids = prompter.answer(text) if text else []
    if len(ids) < 2:
        return ""
    return f"{prompter.vocabulary.string(ids[0])!r} is the first of {len(ids)} tokens of {name}"


def difference(token: int, other: int, pos: int) -> Targets:
    """`log p(token) - log p(other)` of a first example, after the token at `pos`."""
    return Targets(example=[0, 0], pos=[pos, pos], token=[token, other], weight=[1.0, -1.0])


def _marked(example: Mapping[str, Any], prompt: Prompt) -> list[int]:
    """Positions that the example's mask marks, without the first one, which nothing predicts."""
    mask = example.get("target_mask")
    if mask is None or len(mask) == 0:
        return []
    weights = [float(value) for value in mask]
    if len(weights) != len(prompt):
        raise ValueError(
            f"target_mask has {len(weights)} numbers, but the prompt has {len(prompt)} tokens"
        )
    marked = [pos for pos, weight in enumerate(weights) if weight]
    if marked == [0]:
        raise ValueError(
            "target_mask marks the first token alone, which no token predicts: mark a later one"
        )
    return [pos for pos in marked if pos > 0]
