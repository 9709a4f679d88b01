"""Greedy continuations of a batch that has just run."""

import collections
import contextlib
import dataclasses
from typing import Any, Callable, Iterator, Sequence

import torch
import transformers

from lit_tl.engine import jobs
from lit_tl.engine.agreement import near, probe_ids
from lit_tl.engine.passes import Pass
from lit_tl.engine.placing import ByPoint, Placed, with_tokens_behind
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import ModelAdapter, Point
from lit_tl.engine.requests import Batch
from lit_tl.engine.tree_state import TreeState, tree_state

_FAILURES = (
    ImportError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def continue_greedily(
    tree: ModelAdapter,
    batch: Batch,
    placed: ByPoint,
    *,
    max_new_tokens: int,
    batch_size: int,
) -> list[str]:
    """The text that a model goes on with: its top token at each step.

    A continuation has up to `max_new_tokens` tokens, and ends before an end-of-text token or where
    the context is full. It is empty for a prompt with embeddings of its own, whose tokens say
    something else.

    It goes on from the pass's own keys and values, one step of all prompts at a time, each row's
    padding masked. That is done where it changes no continuation: for prompts of one length, and
    for architectures that take a token's place from its position alone. Others count keys
    (GPT-Neo's local attention, ALiBi), have a window shorter than the text, or keep no such cache
    (state-space models, TransformerLens 3): there prompts of one length run again together.

    Before a cache is gone on from for the first time, one step is compared with a plain pass. A
    library that loses the cache (transformers 5.24 does under TransformerLens 4.3) is then not
    relied on: each token costs a plain pass.

    Args:
        tree: holds its lock.
        batch: with logits, and a cache where there is one.
        placed: interventions; see `Placed.goes_on` for which hold in generated tokens too.
        max_new_tokens: of each continuation.
        batch_size: most prompts that run again together.
    """
    room = [
        _room(tree, len(prompt), max_new_tokens) if prompt.token_embeddings is None else 0
        for prompt in batch.prompts
    ]
    if not any(room):
        return [""] * len(batch.prompts)
    if can_resume(tree, batch, max(room), placed):
        rows = _resume(tree, batch, max(room), placed)
    elif placed:
        rows = [
            _changed_loop(tree, prompt, steps, placed)
            for prompt, steps in zip(batch.prompts, room, strict=True)
        ]
    else:
        rows = _run_again(tree, batch.prompts, room, batch_size)
    return [_text(tree.tokenizer, row[:count]) for row, count in zip(rows, room, strict=True)]


def _room(tree: ModelAdapter, length: int, max_new_tokens: int) -> int:
    context = tree.shape.context
    return max_new_tokens if context is None else max(0, min(max_new_tokens, context - length))


def can_resume(tree: ModelAdapter, batch: Batch, steps: int, placed: ByPoint) -> bool:
    """Whether a batch can be gone on from its cache for some steps, under changes that go on. The
    caller holds the lock."""
    shortest = min(batch.lengths)
    every = (each for here in placed.values() for each in here if each.goes_on)
    if any(e.intervention.counts_positions or e.begins_behind(shortest) for e in every):
        return False
    return _resumable(tree, batch, steps) and _resumes_rightly(tree)


def _resumable(tree: ModelAdapter, batch: Batch, steps: int) -> bool:
    """Whether the cache holds every position until the last step, and its padding can be masked."""
    if not isinstance(batch.cache, transformers.DynamicCache):
        return False
    final_length = max(batch.lengths) + steps
    if tree.shape.context is not None and final_length - 1 > tree.shape.context:
        return False
    if min(batch.lengths) < max(batch.lengths) and not tree.masks_padding_by_position():
        return False
    return all(
        hasattr(layer, "keys") and final_length < getattr(layer, "sliding_window", final_length + 1)
        for layer in batch.cache.layers
    )


def _resume(tree: ModelAdapter, batch: Batch, steps: int, placed: ByPoint) -> list[list[int]]:
    device = tree.device
    lengths = torch.tensor(batch.lengths, device=device)
    width = int(lengths.max())
    mask = (torch.arange(width, device=device) < lengths[:, None]).long()
    token = batch.last_logits().argmax(-1).to(device)
    last_position = width + steps if tree.shape.context is None else tree.shape.context - 1
    tokens = [token]
    with changes_in_steps(tree, len(lengths), placed):
        for step in range(steps - 1):
            jobs.current().check()
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            positions = (lengths + step).clamp(max=last_position)[:, None]
            token = (
                tree.step(token[:, None], batch.cache, mask, positions)[:, -1].argmax(-1).to(device)
            )
            tokens.append(token)
    return torch.stack(tokens, dim=1).tolist()


def _in_steps(placed: ByPoint) -> dict[Point, list[Placed]]:
    """The interventions that hold in generated tokens, for passes of one of them."""

    def of_a_step(each: Placed) -> Placed:
        whole = dataclasses.replace(each.intervention.site, positions=None)
        return dataclasses.replace(
            each, intervention=dataclasses.replace(each.intervention, site=whole)
        )

    held = {
        point: [of_a_step(each) for each in here if each.goes_on] for point, here in placed.items()
    }
    return {point: here for point, here in held.items() if here}


@contextlib.contextmanager
def changes_in_steps(tree: ModelAdapter, rows: int, placed: ByPoint) -> Iterator[None]:
    """Inside, changes that go on hold in passes of one token of so many rows."""
    in_steps = _in_steps(placed)
    if not in_steps:
        yield
        return
    step = Pass(tree, [Prompt(ids=(0,))] * rows, observe={}, placed=in_steps)
    with tree.hooked(step.handlers()):
        yield


def _changed_loop(tree: ModelAdapter, prompt: Prompt, steps: int, placed: ByPoint) -> list[int]:
    """One prompt, a whole pass for each token: positions are counted in the prompt alone, and what
    goes on behind it reaches each new token."""
    ids, generated = list(prompt.ids), list[int]()
    for _ in range(steps):
        jobs.current().check()
        run = Pass(tree, [prompt], observe={}, placed=with_tokens_behind(placed, prompt, generated))
        with tree.hooked(run.handlers()):
            logits, _ = tree.forward(
                torch.tensor([ids], device=tree.device), keep_cache=False, last=1
            )
        generated.append(int(logits[0, -1].argmax()))
        ids.append(generated[-1])
    return generated


def _run_again(
    tree: ModelAdapter, prompts: Sequence[Prompt], room: Sequence[int], batch_size: int
) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in prompts]
    for group in _of_one_length(prompts, room, batch_size):
        ids = torch.tensor([prompts[i].ids for i in group], device=tree.device)
        generate = tree.generate if _generates_rightly(tree) else _plainly(tree)
        whole = generate(ids, room[group[0]])
        for i, row in zip(group, whole[:, ids.shape[1] :].tolist(), strict=True):
            rows[i] = row
    return rows


def _resumes_rightly(tree: ModelAdapter) -> bool:
    """Whether a cache can be relied on in this tree."""
    state = tree_state(tree.module)
    if state.resumes is None:
        with _wrong_if_it_fails(state, "resumes"):
            state.resumes = _step_is_right(tree)
    return bool(state.resumes)


@contextlib.contextmanager
def _wrong_if_it_fails(state: TreeState, name: str) -> Iterator[None]:
    """Inside, what a library does not manage counts as wrong; plain passes are right anyway."""
    try:
        yield
    except _FAILURES:
        setattr(state, name, False)


def _step_is_right(tree: ModelAdapter) -> bool:
    """Whether a step from a cache gives the logits of a plain pass."""
    ids = _probe(tree)
    whole, _ = tree.forward(ids, keep_cache=False, last=1)
    _, cache = tree.forward(ids[:, :-1], keep_cache=True, last=1)
    mask, last = torch.ones_like(ids), torch.full_like(ids[:, :1], ids.shape[1] - 1)
    return near(tree.step(ids[:, -1:], cache, mask, last)[:, -1], whole[:, -1])


def _generates_rightly(tree: ModelAdapter) -> bool:
    """Whether the library's own `generate` gives the tokens of plain passes."""
    state = tree_state(tree.module)
    if state.generates is None:
        with _wrong_if_it_fails(state, "generates"):
            state.generates = all(
                _same_until_end(
                    tree.tokenizer, tree.generate(row[None], 4)[0], _plainly(tree)(row[None], 4)[0]
                )
                for row in _probe(tree)
            )
    return bool(state.generates)


def _probe(tree: ModelAdapter) -> torch.Tensor:
    """Two prompts of 6 tokens from all over the vocabulary."""
    return probe_ids(tree.shape.d_vocab, 12).reshape(2, 6).to(tree.device)


def _plainly(tree: ModelAdapter) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """Continuations of prompts of one length, a plain pass for each token."""

    def generate(ids: torch.Tensor, steps: int) -> torch.Tensor:
        for _ in range(steps):
            jobs.current().check()
            logits, _ = tree.forward(ids, keep_cache=False, last=1)
            ids = torch.cat([ids, logits[:, -1:].argmax(-1).to(ids.device)], dim=1)
        return ids

    return generate


def _same_until_end(tokenizer: Any, first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two continuations of 6 tokens are one text."""
    return _text(tokenizer, first[6:].tolist()) == _text(tokenizer, second[6:].tolist())


def _of_one_length(
    prompts: Sequence[Prompt], room: Sequence[int], batch_size: int
) -> Iterator[list[int]]:
    groups: dict[int, list[int]] = collections.defaultdict(list)
    for i, prompt in enumerate(prompts):
        if room[i]:
            groups[len(prompt)].append(i)
    for members in groups.values():
        yield from (members[i : i + batch_size] for i in range(0, len(members), batch_size))


def _text(tokenizer: Any, ids: list[int]) -> str:
    if tokenizer.eos_token_id in ids:
        ids = ids[: ids.index(tokenizer.eos_token_id)]
    decoded = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(decoded)
