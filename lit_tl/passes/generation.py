"""Greedy continuations of a batch that has just run."""

import collections
from typing import Any, Iterator, Sequence

import torch
import transformers

from lit_tl.passes.activations import Activations, model_device
from lit_tl.passes.prompts import Prompt

_PLACE_IS_POSITION = frozenset(
    """gpt2 gptj gpt_neox codegen opt xglm llama mistral mixtral qwen2 qwen3 gemma gemma2 gemma3_text phi phi3 stablelm
    olmo olmo2""".split()
)
"""Architectures, by Hugging Face's `model_type`, whose attention knows where a key stands by its position embedding or rotation."""


def continue_greedily(
    model: Any, prompts: Sequence[Prompt], done: Activations, *, max_new_tokens: int, batch_size: int
) -> list[str]:
    """The text that the model goes on with: its top token at each step, up to `max_new_tokens` of them, ending before an
    end-of-text token, or where the model's context is full. Empty for a prompt with embeddings of its own, whose tokens say
    something else.

    Goes on from the pass's own keys and values, one step of all prompts at a time; each row's padding is masked. That is done
    where it changes no continuation: for prompts of one length, and for architectures that take a token's place from its
    position alone. Others count keys (GPT-Neo's local attention, ALiBi), have a window shorter than the text, or keep no such
    cache (state-space models, TransformerLens 3): there prompts of one length are run again together.
    """
    room = [_room(model, len(prompt), max_new_tokens) if prompt.token_embeddings is None else 0 for prompt in prompts]
    if not any(room):
        return [""] * len(prompts)
    steps = max(room)
    rows = _resume(model, done, steps) if _resumable(model, done, steps) else _run_again(model, prompts, room, batch_size)
    return [_text(model.tokenizer, row[:count]) for row, count in zip(rows, room, strict=True)]


def _room(model: Any, length: int, max_new_tokens: int) -> int:
    return max(0, min(max_new_tokens, int(model.cfg.n_ctx) - length)) if model.cfg.n_ctx else max_new_tokens


def _resumable(model: Any, done: Activations, steps: int) -> bool:
    """Whether the cache holds every position of every layer until the last step, and padding in it can be masked."""
    if not isinstance(done.cache, transformers.DynamicCache):
        return False
    final_length = max(done.lengths) + steps
    if model.cfg.n_ctx and final_length - 1 > int(model.cfg.n_ctx):
        return False
    family = getattr(getattr(model.original_model, "config", None), "model_type", "")
    if min(done.lengths) < max(done.lengths) and family not in _PLACE_IS_POSITION:
        return False
    return all(
        hasattr(layer, "keys") and final_length < getattr(layer, "sliding_window", final_length + 1) for layer in done.cache.layers
    )


@torch.no_grad()
def _resume(model: Any, done: Activations, steps: int) -> list[list[int]]:
    device = model_device(model)
    lengths = torch.tensor(done.lengths, device=device)
    width = int(lengths.max())
    mask = (torch.arange(width, device=device) < lengths[:, None]).long()
    token = done.logits[torch.arange(len(lengths)), [length - 1 for length in done.lengths]].argmax(-1).to(device)
    last_position = int(model.cfg.n_ctx) - 1 if model.cfg.n_ctx else width + steps
    tokens = [token]
    for step in range(steps - 1):
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        logits, _ = model(
            token[:, None],
            return_type="logits_and_cache",
            past_key_values=done.cache,
            attention_mask=mask,
            position_ids=(lengths + step).clamp(max=last_position)[:, None],
        )
        token = logits[:, -1].argmax(-1).to(device)
        tokens.append(token)
    return torch.stack(tokens, dim=1).tolist()


def _run_again(model: Any, prompts: Sequence[Prompt], room: Sequence[int], batch_size: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in prompts]
    for batch in _of_one_length(prompts, room, batch_size):
        ids = torch.tensor([prompts[i].ids for i in batch], device=model_device(model))
        with torch.no_grad():
            full = model.generate(
                ids, max_new_tokens=room[batch[0]], do_sample=False, stop_at_eos=True, return_type="tokens", verbose=False
            )
        for i, row in zip(batch, full[:, ids.shape[1] :].tolist(), strict=True):
            rows[i] = row
    return rows


def _of_one_length(prompts: Sequence[Prompt], room: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    groups: dict[int, list[int]] = collections.defaultdict(list)
    for i, prompt in enumerate(prompts):
        if room[i]:
            groups[len(prompt)].append(i)
    for members in groups.values():
        yield from (members[first : first + batch_size] for first in range(0, len(members), batch_size))


def _text(tokenizer: Any, ids: list[int]) -> str:
    if tokenizer.eos_token_id in ids:
        ids = ids[: ids.index(tokenizer.eos_token_id)]
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
