"""Greedy continuations, batched without padding."""

import collections
from typing import Any, Sequence

import torch

from lit_tl.passes.activations import model_device
from lit_tl.passes.prompts import Prompt


def continue_greedily(model: Any, prompts: Sequence[Prompt], *, max_new_tokens: int, batch_size: int) -> list[str]:
    """The text that the model goes on with: its top token at each step, up to `max_new_tokens` of them, ending before an
    end-of-text token, or where the model's context is full. Empty for a prompt with embeddings of its own, whose tokens say
    something else.

    Prompts of one length run together, so that no padding can change a continuation.
    """
    texts = [""] * len(prompts)
    groups: dict[int, list[int]] = collections.defaultdict(list)
    for i, prompt in enumerate(prompts):
        if prompt.token_embeddings is not None:
            continue
        groups[len(prompt)].append(i)
    for length, members in groups.items():
        room = max_new_tokens if not model.cfg.n_ctx else min(max_new_tokens, int(model.cfg.n_ctx) - length)
        if room < 1:
            continue
        for first in range(0, len(members), batch_size):
            batch = members[first : first + batch_size]
            ids = torch.tensor([prompts[i].ids for i in batch], device=model_device(model))
            with torch.no_grad():
                full = model.generate(
                    ids, max_new_tokens=room, do_sample=False, stop_at_eos=True, return_type="tokens", verbose=False
                )
            for i, row in zip(batch, full[:, length:].tolist(), strict=True):
                texts[i] = _text(model.tokenizer, row)
    return texts


def _text(tokenizer: Any, ids: list[int]) -> str:
    if tokenizer.eos_token_id in ids:
        ids = ids[: ids.index(tokenizer.eos_token_id)]
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
