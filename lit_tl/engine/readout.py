"""From a residual to logits: a model's own final norm and unembedding, soft-cap and scale."""

import contextlib
import dataclasses
import functools
from typing import Any, Callable, Iterator, Optional, Union

import torch
from jaxtyping import Float

from lit_tl.engine.freezing import frozen_parameters
from lit_tl.engine.jobs import GivingWay, Turns

_NORMS = (
    "norm",
    "ln_f",
    "final_layer_norm",
    "final_layernorm",
    "norm_f",
    "ln_final",
    "layer_norm",
    "final_norm",
    "embedding_norm",
)
_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logits_soft_cap")
_STACKS = ("decoder", "transformer", "model", "gpt_neox", "backbone")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Readout:
    """The model's modules, not copies: what a user changes in them shows in every lens.

    Args:
        norm: the final norm.
        unembedding: the module whose product with the normed residual gives logits.
        project: what lies between norm and unembedding (OPT-350m's `project_out`); the identity
            in most models.
        finish: what the model does to that product: a soft-cap or a scale.
        d_model: width of the residual.
        n_layers: number of blocks.
        name: of the model.
        lock: of the module tree that the modules belong to, since passes hook them.
    """

    norm: torch.nn.Module
    unembedding: torch.nn.Module
    project: torch.nn.Module
    finish: Callable[[torch.Tensor], torch.Tensor]
    d_model: int
    n_layers: int
    name: str
    lock: Union[Turns, GivingWay]

    def alone(self) -> contextlib.AbstractContextManager[Any]:
        """Inside, nothing else computes on the model's device: for products with `weight`."""
        return self.lock

    def normed(
        self, h: Float[torch.Tensor, "*batch d_model"]
    ) -> Float[torch.Tensor, "*batch d_in"]:
        """The input of the unembedding, in the weights' dtype, with a graph where `h` has one."""
        whole = self._whole(h)
        frozen = self._frozen() if self._trainable() else contextlib.nullcontext()
        with self.lock, frozen:
            normed: torch.Tensor = self.project(self.norm(whole))
        return normed.reshape(*h.shape[:-1], -1)

    def norm_alone(
        self, h: Float[torch.Tensor, "*batch d_model"]
    ) -> Float[torch.Tensor, "*batch d_model"]:
        """What the final norm gives, in the weights' dtype, without a graph."""
        whole = self._whole(h)
        with self.lock, torch.no_grad():
            normed: torch.Tensor = self.norm(whole)
        return normed.reshape(h.shape)

    def logits(
        self, h: Float[torch.Tensor, "*batch d_model"]
    ) -> Float[torch.Tensor, "*batch d_vocab"]:
        """Logits of residuals, float32, with a graph where `h` has one."""
        whole = self._whole(h)
        frozen = self._frozen() if self._trainable() else contextlib.nullcontext()
        with self.lock, frozen:
            product = self.unembedding(self.project(self.norm(whole)))
            logits: torch.Tensor = self.finish(product)
        return logits.float().reshape(*h.shape[:-1], logits.shape[-1])

    def _trainable(self) -> bool:
        """Whether a graph that is made now would take in parameters of the model."""
        modules = (self.norm, self.project, self.unembedding)
        return torch.is_grad_enabled() and any(
            parameter.requires_grad for module in modules for parameter in module.parameters()
        )

    def _frozen(self) -> contextlib.AbstractContextManager[None]:
        """A graph leaves the model's own parameters out."""
        return frozen_parameters(self.norm, self.project, self.unembedding)

    def _whole(self, h: torch.Tensor) -> torch.Tensor:
        """One example of all rows, which is the shape that hooks on the modules expect."""
        return h.reshape(1, -1, h.shape[-1]).to(self.weight.device, self.weight.dtype)

    def matrix(self) -> Float[torch.Tensor, "d_vocab d_model"]:
        """From what the norm gives to logits."""
        project = getattr(self.project, "weight", None)
        return self.weight if project is None else self.weight @ project.detach()

    @property
    def weight(self) -> Float[torch.Tensor, "d_vocab d_in"]:
        """The unembedding matrix as Hugging Face keeps it."""
        unembedding: Any = self.unembedding
        weight: torch.Tensor = (
            unembedding.W_U.T if hasattr(unembedding, "W_U") else unembedding.weight
        )
        return weight.detach()


def variants(readout: Readout, model: Optional[Any]) -> Iterator[Readout]:
    """A readout, and those with a module between norm and unembedding (ModernBERT's head).

    Args:
        readout: as its adapter makes it.
        model: of Hugging Face, or None.
    """
    yield readout
    if model is None:
        return
    parts = (model.base_model, model.get_output_embeddings())
    for module in model.children():
        if not any(module is part for part in parts):
            yield dataclasses.replace(readout, project=module)


def capped(logits: torch.Tensor, *, cap: Optional[float], scale: float) -> torch.Tensor:
    """`scale * logits`, with a soft-cap where there is one: `cap * tanh(logits / cap)`."""
    logits = logits if scale == 1.0 else logits * scale
    return logits if cap is None else cap * torch.tanh(logits / cap)


def readout_of_hugging_face(model: Any, name: str, lock: Union[Turns, GivingWay]) -> Readout:
    """The readout of a Hugging Face causal language model.

    Raises:
        ValueError: the final norm is not found.
    """
    config = model.config.get_text_config()
    norm, project = _norm_of(model.base_model, config)
    cap = next((value for name in _CAPS if (value := getattr(config, name, None))), None)
    return Readout(
        norm=norm,
        unembedding=model.get_output_embeddings(),
        project=project or torch.nn.Identity(),
        finish=functools.partial(capped, cap=float(cap) if cap else None, scale=_scale(config)),
        d_model=int(config.hidden_size),
        n_layers=int(config.num_hidden_layers),
        name=name,
        lock=lock,
    )


def _norm_of(base: Any, config: Any) -> tuple[torch.nn.Module, Optional[torch.nn.Module]]:
    inner = (getattr(base, name, None) for name in _STACKS)
    stacks = [base, *(stack for stack in inner if isinstance(stack, torch.nn.Module))]
    for stack in reversed(stacks):
        for name in _NORMS:
            norm = getattr(stack, name, None)
            if isinstance(norm, torch.nn.Module):
                return norm, getattr(stack, "project_out", None)
    if config.model_type == "openai-gpt" or not getattr(config, "do_layer_norm_before", True):
        return torch.nn.Identity(), getattr(stacks[-1], "project_out", None)  # blocks end in a norm
    raise ValueError(
        f"the final norm of {type(base).__qualname__} is not under any of {', '.join(_NORMS)}: "
        "load the model with TransformerLens"
    )


def _scale(config: Any) -> float:
    """What a Hugging Face model of this type multiplies its logits by."""
    if config.model_type in ("cohere", "cohere2"):
        return float(config.logit_scale)
    if config.model_type.startswith("granite"):
        return 1.0 / float(config.logits_scaling)
    return float(config.lm_head_multiplier) if config.model_type == "falcon_h1" else 1.0
