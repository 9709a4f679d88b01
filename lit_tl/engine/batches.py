"""Which prompts run together, and as which numbers."""

from typing import Sequence

import torch

from lit_tl.engine.prompts import Prompt


def plan_batches(lengths: Sequence[int], *, batch_size: int, token_budget: int) -> list[list[int]]:
    """Indices of the prompts in each batch: like lengths together, longest first.

    A batch holds at most `batch_size` prompts and, padding included, at most `token_budget` tokens;
    a prompt that is longer than that runs alone. Longest first, so that a run which is too large
    for the memory fails at its start.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    for index in order:
        batch = batches[-1] if batches else None
        if (
            batch
            and len(batch) < batch_size
            and (len(batch) + 1) * lengths[batch[0]] <= token_budget
        ):
            batch.append(index)
        else:
            batches.append([index])
    return batches


def pad(prompts: Sequence[Prompt]) -> torch.Tensor:
    """The prompts' ids `[batch, pos]`, right-padded with id 0."""
    width = max(len(prompt.ids) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt.ids)] = torch.tensor(prompt.ids)
    return ids
