"""What a model thinks of answers of several tokens, after a pass over their prompts."""

import copy
import dataclasses
import math
from typing import Any, Iterator, Optional, Sequence

import torch

from lit_tl.engine import generation
from lit_tl.engine.passes import Pass
from lit_tl.engine.placing import ByPoint, with_tokens_behind
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import ModelAdapter
from lit_tl.engine.requests import Batch, at_least_float32
from lit_tl.engine.token_readings import ranks

NOT_NUMBERS = (
    "the model's logits are not numbers: its weights are damaged, or overflow in this number "
    "format (--dtype)"
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """A text that may come after a prompt.

    Args:
        row: of the prompt in its batch.
        ids: its tokens, at least one.
    """

    row: int
    ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a model thinks of an answer, token by token, each after those before it.

    Args:
        ids: its tokens, as far as they were read.
        log_probs: in nats; their sum is the answer's.
        ranks: of each token among all, 1 for the likeliest.
        whole: whether all of it was read; the first token always is.
    """

    ids: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    ranks: tuple[int, ...] = ()
    whole: bool = True

    def then(self, more: "Reading") -> "Reading":
        """This and what comes behind it."""
        return Reading(
            self.ids + more.ids, self.log_probs + more.log_probs, self.ranks + more.ranks
        )


def read_answers(
    tree: ModelAdapter, batch: Batch, answers: Sequence[Answer], placed: ByPoint
) -> list[Reading]:
    """Readings of answers, in their order.

    The first token is read from the pass that has been. Longer answers go on from its cache, all of
    them together a token at a time, where a cache can be gone on from; otherwise each prompt runs
    again with its answer.

    Args:
        tree: that ran the batch; holds its lock.
        batch: with logits, and a cache where there is one.
        answers: to its prompts.
        placed: interventions of the pass.

    Returns:
        Of an answer that does not fit into the context, or whose prompt can't run again, the first
        token alone.

    Raises:
        ValueError: the logits are not numbers.
    """
    first = batch.last_logits()
    readings = [_begin(first[answer.row], answer.ids[0]) for answer in answers]
    longer = [
        i for i, answer in enumerate(answers) if len(answer.ids) > 1 and _fits(tree, batch, answer)
    ]
    results = [
        dataclasses.replace(reading, whole=len(answer.ids) == 1)
        for reading, answer in zip(readings, answers, strict=True)
    ]
    if not longer:
        return results
    chosen = [answers[i] for i in longer]
    steps = max(len(answer.ids) for answer in chosen)
    rest: list[Optional[Reading]]
    if generation.can_resume(tree, batch, steps, placed):
        with generation.changes_in_steps(tree, len(chosen), placed):
            rest = [*_from_cache(tree, batch, chosen)]
    else:
        rest = [_again(tree, batch.prompts[answer.row], answer, placed) for answer in chosen]
    for i, more in zip(longer, rest, strict=True):
        if more is not None:
            results[i] = readings[i].then(more)
    return results


def _fits(tree: ModelAdapter, batch: Batch, answer: Answer) -> bool:
    context, length = tree.shape.context, len(batch.prompts[answer.row]) + len(answer.ids) - 1
    return context is None or length <= context


def _begin(logits: torch.Tensor, token: int) -> Reading:
    logits = at_least_float32(logits)
    log_prob = float(logits[token] - logits.logsumexp(-1))
    if math.isnan(log_prob):
        raise ValueError(NOT_NUMBERS)
    return Reading((token,), (log_prob,), (int(ranks(logits, logits[token, None])),))


def _from_cache(tree: ModelAdapter, batch: Batch, answers: Sequence[Answer]) -> list[Reading]:
    rows = torch.tensor([answer.row for answer in answers], device=tree.device)
    cache = _copied(batch.cache)
    cache.batch_select_indices(rows)
    lengths = torch.tensor(batch.lengths, device=tree.device)[rows]
    width = max(batch.lengths)
    mask = (torch.arange(width, device=tree.device) < lengths[:, None]).long()
    readings = [Reading() for _ in answers]
    limit = None if tree.shape.context is None else tree.shape.context - 1
    for step in range(max(len(answer.ids) for answer in answers) - 1):
        given = [answer.ids[min(step, len(answer.ids) - 1)] for answer in answers]
        token = torch.tensor(given, device=tree.device)[:, None]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        positions = (lengths + step).clamp(max=limit)[:, None]
        logits = tree.step(token, cache, mask, positions)[:, -1]
        for i, answer in enumerate(answers):
            if step + 1 < len(answer.ids):
                readings[i] = readings[i].then(_begin(logits[i], answer.ids[step + 1]))
    return readings


def _copied(cache: Any) -> Any:
    """A cache of its own, without the graph of the pass that wrote it."""
    tensors = {id(tensor): tensor.detach().clone() for tensor in _tensors(cache, set())}
    return copy.deepcopy(cache, tensors)


def _tensors(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """Those that an object holds, however deep."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        yield from _tensors(vars(value), seen)


def _again(
    tree: ModelAdapter, prompt: Prompt, answer: Answer, placed: ByPoint
) -> Optional[Reading]:
    if prompt.token_embeddings is not None:
        return None  # what the embeddings of its own say, no token says
    behind = with_tokens_behind(placed, prompt, answer.ids[:-1])
    run = Pass(tree, [prompt], observe={}, placed=behind)
    ids = torch.tensor([[*prompt.ids, *answer.ids[:-1]]], device=tree.device)
    with tree.hooked(run.handlers()):
        logits, _ = tree.forward(ids, keep_cache=False, last=None)
    reading = Reading()
    for row, token in zip(logits[0, len(prompt) :], answer.ids[1:], strict=True):
        reading = reading.then(_begin(row, token))
    return reading
