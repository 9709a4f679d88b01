"""One forward pass over a padded batch, and at most one backward pass to its input embeddings."""

import contextlib
import dataclasses
import inspect
from typing import Any, Callable, Iterator, Optional, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from lit_tl.passes.prompts import Prompt

EMBED = "hook_embed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Targets:
    """What a backward pass explains: for each example the sum of `weight * log p(token | tokens up to pos)`, in nats, over its
    entries. An answer with weight 1 and a foil with weight -1 make their logit difference."""

    example: Sequence[int]
    pos: Sequence[int]
    token: Sequence[int]
    weight: Sequence[float]

    def of(self, example: int) -> "Targets":
        """One example's entries, as the first example of a batch of its own."""
        mine = [i for i, owner in enumerate(self.example) if owner == example]
        return Targets(
            example=[0] * len(mine),
            pos=[self.pos[i] for i in mine],
            token=[self.token[i] for i in mine],
            weight=[self.weight[i] for i in mine],
        )

    def repeated(self, count: int) -> "Targets":
        """A first example's entries, for each of `count` examples."""
        return Targets(
            example=[i for i in range(count) for _ in self.pos],
            pos=list(self.pos) * count,
            token=list(self.token) * count,
            weight=list(self.weight) * count,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a pass should bring back."""

    token_embeddings: bool = False
    attention_layers: frozenset[int] = frozenset()
    value_norms: bool = False
    """For each layer in `attention_layers`, the norms of the value vectors."""
    residual_layers: frozenset[int] = frozenset()
    """Layers whose output (`resid_post`) is pooled over positions."""
    targets: Optional[Callable[["Activations"], Targets]] = None
    """Given the forward pass's results, what to take gradients of. None: no backward pass."""
    cache: bool = False
    """Keep keys and values to go on from, where the model has a way to."""


@dataclasses.dataclass(kw_only=True)
class Activations:
    """What one pass brought. Rows past an example's length are padding and mean nothing."""

    lengths: Sequence[int]
    logits: Float[torch.Tensor, "batch pos d_vocab"]
    token_embeddings: Optional[Float[torch.Tensor, "batch pos d_model"]] = None
    gradients: Optional[Float[torch.Tensor, "batch pos d_model"]] = None
    patterns: dict[int, Float[torch.Tensor, "batch head query_pos key_pos"]] = dataclasses.field(default_factory=dict)
    value_norms: dict[int, Float[torch.Tensor, "batch pos value_head"]] = dataclasses.field(default_factory=dict)
    last_residuals: dict[int, Float[torch.Tensor, "batch d_model"]] = dataclasses.field(default_factory=dict)
    mean_residuals: dict[int, Float[torch.Tensor, "batch d_model"]] = dataclasses.field(default_factory=dict)
    targets: Optional[Targets] = None
    cache: Optional[Any] = None
    """A Hugging Face cache of the whole padded batch."""


def run(model: Any, prompts: Sequence[Prompt], wanted: Wanted) -> Activations:
    """Run some prompts as one right-padded batch.

    A causal model's real positions never see the padding after them, so that no mask is needed and a batch equals its single
    runs. Parameters are frozen for the pass: a gradient goes to the input embeddings alone, and the unembedding's
    full-vocabulary product stays out of the graph. The caller holds the model's lock, since hooks are the model's state.
    """
    try:
        return _run(model, prompts, wanted, cut_unembed=wanted.targets is not None)
    except _ReadoutDiffers:
        return _run(model, prompts, wanted, cut_unembed=False)


class _ReadoutDiffers(Exception):
    """The model does more to the unembedding's output than is known here, so the graph must go through all of it."""


def _run(model: Any, prompts: Sequence[Prompt], wanted: Wanted, *, cut_unembed: bool) -> Activations:
    device = model_device(model)
    ids = pad(prompts).to(device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    tape = _Tape(prompts, lengths, wanted)
    needs_graph = wanted.targets is not None
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(needs_graph))
        if needs_graph:
            stack.enter_context(frozen_parameters(model))
        with tape.cut_unembed(model, cut_unembed), model.hooks(fwd_hooks=tape.hooks()):
            logits, cache = _forward(model, ids, wanted.cache)
        result = tape.activations(logits.detach())
        result.cache = cache
        if wanted.targets is not None:
            result.targets = wanted.targets(result)
            result.gradients = tape.gradients(model, logits, result.targets)
    return result


def _forward(model: Any, ids: torch.Tensor, keep_cache: bool) -> tuple[torch.Tensor, Optional[Any]]:
    if keep_cache and "past_key_values" in inspect.signature(model.forward).parameters:
        logits, cache = model(ids, return_type="logits_and_cache", padding_side="right", use_cache=True)
        return logits, cache
    return model(ids, return_type="logits", padding_side="right"), None


def target_values(done: Activations, targets: Targets) -> Float[torch.Tensor, " batch"]:
    """What `Targets` adds up, for each example of a pass."""
    device = done.logits.device
    rows = torch.tensor(targets.example, device=device)
    read = done.logits[rows, torch.tensor(targets.pos, device=device)].float().log_softmax(-1)
    values = read.gather(-1, torch.tensor(targets.token, device=device)[:, None])[:, 0]
    total = torch.zeros(len(done.lengths), device=device)
    return total.index_add(0, rows, values * torch.tensor(targets.weight, device=device))


def pad(prompts: Sequence[Prompt]) -> Int[torch.Tensor, "batch pos"]:
    """The prompts' ids, right-padded with id 0."""
    ids = torch.zeros(len(prompts), max(len(prompt) for prompt in prompts), dtype=torch.long)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt.ids)
    return ids


def model_device(model: Any) -> torch.device:
    """The device that token ids go to."""
    return torch.device(model.cfg.device if model.cfg.device is not None else "cpu")


@contextlib.contextmanager
def frozen_parameters(*modules: Any) -> Iterator[None]:
    """No parameter asks for a gradient inside; afterwards each is as it was."""
    trainable = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


class _Tape:
    """Collects what hooks see during one forward pass."""

    def __init__(self, prompts: Sequence[Prompt], lengths: torch.Tensor, wanted: Wanted):
        self._prompts = prompts
        self._lengths = lengths
        self._wanted = wanted
        self._embeddings: Optional[torch.Tensor] = None
        self._final: Optional[torch.Tensor] = None
        self._patterns: dict[int, torch.Tensor] = {}
        self._value_norms: dict[int, torch.Tensor] = {}
        self._last: dict[int, torch.Tensor] = {}
        self._mean: dict[int, torch.Tensor] = {}

    def hooks(self) -> list[tuple[str, Callable[..., Any]]]:
        hooks: list[tuple[str, Callable[..., Any]]] = []
        given = any(prompt.token_embeddings is not None for prompt in self._prompts)
        if given or self._wanted.token_embeddings or self._wanted.targets is not None:
            hooks.append((EMBED, self._embed))
        for layer in sorted(self._wanted.attention_layers):
            hooks.append((f"blocks.{layer}.attn.hook_pattern", self._keep_pattern(layer)))
            if self._wanted.value_norms:
                hooks.append((f"blocks.{layer}.attn.hook_v", self._keep_value_norms(layer)))
        for layer in sorted(self._wanted.residual_layers):
            hooks.append((f"blocks.{layer}.hook_resid_post", self._pool(layer)))
        return hooks

    def _embed(self, embeddings: torch.Tensor, hook: Any) -> torch.Tensor:
        del hook
        embeddings = embeddings.detach()
        if any(prompt.token_embeddings is not None for prompt in self._prompts):
            embeddings = embeddings.clone()
            for row, prompt in zip(embeddings, self._prompts, strict=True):
                if prompt.token_embeddings is not None:
                    row[: len(prompt)] = torch.as_tensor(np.asarray(prompt.token_embeddings)).to(row)
        if self._wanted.targets is not None:
            embeddings.requires_grad_(True)
        self._embeddings = embeddings
        return embeddings

    def _keep_pattern(self, layer: int) -> Callable[..., None]:
        def keep(pattern: torch.Tensor, hook: Any) -> None:
            del hook
            self._patterns[layer] = pattern.detach()

        return keep

    def _keep_value_norms(self, layer: int) -> Callable[..., None]:
        def keep(values: torch.Tensor, hook: Any) -> None:
            del hook
            self._value_norms[layer] = values.detach().float().norm(dim=-1)

        return keep

    def _pool(self, layer: int) -> Callable[..., None]:
        def pool(residual: torch.Tensor, hook: Any) -> None:
            del hook
            residual = residual.detach()
            lengths = self._lengths.to(residual.device)
            rows = torch.arange(len(residual), device=residual.device)
            real = torch.arange(residual.shape[1], device=residual.device) < lengths[:, None]
            self._last[layer] = residual[rows, lengths - 1]
            total = torch.einsum("bpd,bp->bd", residual.float(), real.float())
            self._mean[layer] = total / lengths[:, None]

        return pool

    @contextlib.contextmanager
    def cut_unembed(self, model: Any, wanted: bool) -> Iterator[None]:
        """Inside, keep the unembedding's input with its graph, and let the full product run without one."""

        def cut(module: Any, args: tuple[Any, ...]) -> Optional[tuple[Any, ...]]:
            del module
            if not args:
                return None
            self._final = args[0]
            return (args[0].detach(), *args[1:])

        handle = model.unembed.register_forward_pre_hook(cut) if wanted else None
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()

    def activations(self, logits: torch.Tensor) -> Activations:
        return Activations(
            lengths=[len(prompt) for prompt in self._prompts],
            logits=logits,
            token_embeddings=None if self._embeddings is None else self._embeddings.detach(),
            patterns=self._patterns,
            value_norms=self._value_norms,
            last_residuals=self._last,
            mean_residuals=self._mean,
        )

    def gradients(self, model: Any, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        assert self._embeddings is not None
        rows = torch.tensor(targets.example, device=logits.device)
        positions = torch.tensor(targets.pos, device=logits.device)
        tokens = torch.tensor(targets.token, device=logits.device)
        read = self._read(model, logits, rows, positions)
        weights = torch.tensor(targets.weight, device=logits.device)
        total = (read.float().log_softmax(-1).gather(-1, tokens[:, None])[:, 0] * weights).sum()
        gradients: torch.Tensor = torch.autograd.grad(total, self._embeddings)[0]
        return gradients

    def _read(self, model: Any, logits: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """`logits[rows, positions]` with a graph."""
        if logits.requires_grad:
            return logits[rows, positions]
        assert self._final is not None
        read = model.unembed(self._final[rows, positions][None].clone())[0]
        cap = getattr(model.cfg, "output_logits_soft_cap", None)
        if cap is not None and cap > 0:
            read = cap * torch.tanh(read / cap)
        expected = logits[rows, positions]
        tolerance = 1e-3 if expected.dtype == torch.float32 else 3e-2
        if not torch.allclose(read.detach(), expected, rtol=tolerance, atol=tolerance * float(expected.abs().max())):
            raise _ReadoutDiffers
        return read
