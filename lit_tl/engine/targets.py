"""Which tokens a gradient explains."""

from typing import Any, Mapping, Sequence

from lit_tl.engine.prompts import Prompt, Prompter
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
            named = int(batch.need_logits()[row, end].argmax())
        entries.append((row, end, named))
    rows, positions, tokens = zip(*entries, strict=True)
    return Targets(example=rows, pos=positions, token=tokens, weight=[1.0] * len(rows))


def answer_against_foil(prompter: Prompter, example: Mapping[str, Any], pos: int) -> Targets:
    """The difference of log-probabilities of an example's answer and foil, after the token at
    `pos`.

    Raises:
        ValueError: the example has no answer or no foil.
    """
    answer, foil = (prompter.first_token(example.get(name)) for name in ("answer", "foil"))
    if answer is None or foil is None:
        raise ValueError(
            "this prompt has no answer and foil to set against each other: choose 'target', or "
            "fill them in"
        )
    return difference(answer, foil, pos)


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
