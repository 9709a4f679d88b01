"""Where a model keeps what turns its last residual into logits: final norm, unembedding, soft-cap, scale."""

import dataclasses
import functools
from typing import Any, Callable, Optional

import torch

_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f", "ln_final", "layer_norm", "final_norm")
_STACKS = ("decoder", "transformer", "model", "gpt_neox", "backbone")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Readout:
    """The model's own modules, not copies: what is done to the model shows in its lens."""

    norm: torch.nn.Module
    unembedding: torch.nn.Module
    project: torch.nn.Module
    """Between norm and unembedding (OPT-350m's `project_out`); most models have none."""
    finish: Callable[[torch.Tensor], torch.Tensor]
    """What is done to the product with the unembedding: a soft-cap or a scale."""
    d_model: int
    n_layers: int
    name: str

    def modules(self) -> tuple[torch.nn.Module, ...]:
        """All of them."""
        return self.norm, self.project, self.unembedding

    def matrix(self) -> torch.Tensor:
        """From what the norm gives to logits, `[d_vocab, d_model]`."""
        project = getattr(self.project, "weight", None)
        return self.weight if project is None else self.weight @ project.detach()

    @property
    def weight(self) -> torch.Tensor:
        """The unembedding matrix as Hugging Face keeps it, `[d_vocab, d_model]`."""
        unembedding: Any = self.unembedding
        weight: torch.Tensor = unembedding.W_U.T if hasattr(unembedding, "W_U") else unembedding.weight
        return weight.detach()


def find_readout(model: Any) -> Readout:
    """The readout of a TransformerLens model or a Hugging Face causal language model.

    Raises:
        TypeError: `model` is neither.
        ValueError: the final norm is not found, or the model normalises twice.
    """
    if hasattr(model, "unembed") and hasattr(model, "ln_final") and hasattr(model, "cfg"):
        return _of_transformer_lens(model)
    if hasattr(model, "get_output_embeddings") and model.get_output_embeddings() is not None:
        return _of_hugging_face(model)
    raise TypeError(f"a lens reads a TransformerLens model or a Hugging Face causal language model, not {type(model).__qualname__}")


def _of_transformer_lens(model: Any) -> Readout:
    cfg = model.cfg
    cap = getattr(cfg, "output_logits_soft_cap", None)
    transform = getattr(getattr(model, "adapter", None), "apply_output_logits_transform", None)
    capped = functools.partial(_finish, cap=float(cap) if cap is not None and cap > 0 else None, scale=1.0)
    return Readout(
        norm=model.ln_final,
        unembedding=model.unembed,
        project=torch.nn.Identity(),
        finish=transform or capped,
        d_model=int(cfg.d_model),
        n_layers=int(cfg.n_layers),
        name=str(cfg.model_name),
    )


def _of_hugging_face(model: Any) -> Readout:
    config = model.config.get_text_config()
    norm, project = _norm_of(model.base_model, config)
    cap = getattr(config, "final_logit_softcapping", None)
    return Readout(
        norm=norm,
        unembedding=model.get_output_embeddings(),
        project=project or torch.nn.Identity(),
        finish=functools.partial(_finish, cap=float(cap) if cap else None, scale=_scale(config)),
        d_model=int(config.hidden_size),
        n_layers=int(config.num_hidden_layers),
        name=str(getattr(model, "name_or_path", "") or config.model_type),
    )


def _finish(logits: torch.Tensor, *, cap: Optional[float], scale: float) -> torch.Tensor:
    logits = logits * scale
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _norm_of(base: Any, config: Any) -> tuple[torch.nn.Module, Optional[torch.nn.Module]]:
    stacks = [base, *(getattr(base, name) for name in _STACKS if isinstance(getattr(base, name, None), torch.nn.Module))]
    for stack in reversed(stacks):
        for name in _NORMS:
            norm = getattr(stack, name, None)
            if isinstance(norm, torch.nn.Module):
                return norm, getattr(stack, "project_out", None)
    if config.model_type == "openai-gpt" or not getattr(config, "do_layer_norm_before", True):
        return torch.nn.Identity(), getattr(stacks[-1], "project_out", None)  # each block ends in a norm
    raise ValueError(
        f"the final norm of {type(base).__qualname__} is not under any of {', '.join(_NORMS)}: load the model with TransformerLens"
    )


def _scale(config: Any) -> float:
    """What a Hugging Face model of this type multiplies its logits by."""
    if config.model_type in ("cohere", "cohere2"):
        return float(config.logit_scale)
    if config.model_type.startswith("granite"):
        return 1.0 / float(config.logits_scaling)
    return float(config.lm_head_multiplier) if config.model_type == "falcon_h1" else 1.0
