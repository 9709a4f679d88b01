"""Which token a gradient explains."""

from typing import Any, Mapping, Sequence

from lit_tl.passes.activations import Activations, Targets
from lit_tl.passes.prompts import Prompt, Prompter


def choose_targets(
    prompter: Prompter, examples: Sequence[Mapping[str, Any]], prompts: Sequence[Prompt], done: Activations
) -> Targets:
    """For each example: the tokens that `target_mask` marks, or else the first token of `target`, or else of `answer`, or else
    the model's own top next token, the last three after the end of the prompt.

    Raises:
        ValueError: a mask does not have one number for each token, or marks the first token alone.
    """
    entries: list[tuple[int, int, int]] = []
    for i, (example, prompt) in enumerate(zip(examples, prompts, strict=True)):
        marked = _marked(example, prompt)
        if marked:
            entries += [(i, pos - 1, prompt.ids[pos]) for pos in marked]
            continue
        end = len(prompt) - 1
        named = target_token(prompter, example.get("target") or example.get("answer") or "")
        entries.append((i, end, int(done.logits[i, end].argmax()) if named is None else named))
    rows, positions, tokens = zip(*entries, strict=True)
    return Targets(example=rows, pos=positions, token=tokens, weight=[1.0] * len(rows))


def target_token(prompter: Prompter, text: str) -> int | None:
    """The first token of a continuation, or None for an empty one. A text that reads as one token is that token."""
    if not text:
        return None
    ids = prompter.answer(text)
    return ids[0] if ids else None


def _marked(example: Mapping[str, Any], prompt: Prompt) -> list[int]:
    """Positions of the tokens that the example's target mask marks, the first token left out since nothing predicts it."""
    mask = example.get("target_mask")
    if mask is None or len(mask) == 0:
        return []
    weights = [float(value) for value in mask]
    if len(weights) != len(prompt):
        raise ValueError(f"target_mask has {len(weights)} numbers, but the prompt has {len(prompt)} tokens")
    marked = [pos for pos, weight in enumerate(weights) if weight]
    if marked == [0]:
        raise ValueError("target_mask marks the first token alone, which no token predicts: mark a later one")
    return [pos for pos in marked if pos > 0]
