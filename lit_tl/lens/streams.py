"""The residual stream of each layer, with whatever hooks are in force."""

import contextlib
import functools
from typing import Any, Callable, Literal, get_args

import torch
from jaxtyping import Float, Int

from lit_tl.lens.readout import find_readout

ResidualComponent = Literal["resid_pre", "resid_mid", "resid_post"]
"""TransformerLens' names: before attention, between attention and MLP, after the MLP."""


def check_component(component: str) -> None:
    """Refuse any other name.

    Raises:
        ValueError: it is none of `ResidualComponent`.
    """
    if component not in get_args(ResidualComponent):
        raise ValueError(f"residual_component={component!r} is none of {', '.join(get_args(ResidualComponent))}")


def lens_index(component: str, layer: int) -> int:
    """Which translator reads a layer's component: that of the layer's input, and of the next one's for its output."""
    return layer + 1 if component == "resid_post" else layer


@torch.no_grad()
def residual_streams(
    model: Any, input_ids: Int[torch.Tensor, "batch pos"], component: str = "resid_pre"
) -> tuple[Float[torch.Tensor, "batch layer pos d_model"], Float[torch.Tensor, "batch pos d_vocab"]]:
    """One forward pass: every layer's residual, and the model's logits.

    Hooks and interventions that are on the model take part. The caller holds the model's lock where other threads use it.

    Raises:
        ValueError: the component is unknown, or the model has none: attention and MLP run side by side in it, or it is a Hugging
            Face model asked for `resid_mid`.
    """
    check_component(component)
    if hasattr(model, "hooks") and hasattr(model, "unembed"):
        kept: dict[int, torch.Tensor] = {}

        def keep(residual: torch.Tensor, hook: Any, layer: int) -> None:
            del hook
            kept[layer] = residual.detach()

        n_layers = int(model.cfg.n_layers)
        hooks = [(f"blocks.{layer}.hook_{component}", functools.partial(keep, layer=layer)) for layer in range(n_layers)]
        if component == "resid_mid" and hooks[0][0] not in model.hook_dict:
            raise ValueError(f"{model.cfg.model_name} runs attention and MLP side by side: it has no resid_mid")
        with model.hooks(fwd_hooks=hooks):
            logits = model(input_ids, return_type="logits")
        device = kept[n_layers - 1].device
        return torch.stack([kept[layer].to(device) for layer in range(n_layers)], dim=1), logits
    return _of_hugging_face(model, input_ids, component)


@torch.no_grad()
def all_residuals(
    model: Any, input_ids: Int[torch.Tensor, "batch pos"]
) -> Float[torch.Tensor, "layer_and_final batch pos d_model"]:
    """Every layer's input, and last the final residual: one forward pass that stops short of the unembedding.

    For training and evaluation, which make what they need of the logits themselves: the model unembeds one position alone.
    """
    readout = find_readout(model)
    blocks = model.blocks if hasattr(model, "unembed") else blocks_of(model, readout.n_layers)
    kept: list[torch.Tensor] = []

    def keep(layer: int, residual: torch.Tensor) -> None:
        if not kept:
            kept.append(residual.new_empty(readout.n_layers + 1, *residual.shape))
        kept[0][layer] = residual  # to the first layer's device, where layers are on several

    with contextlib.ExitStack() as stack:
        for layer, block in enumerate(blocks):
            stack.callback(block.register_forward_pre_hook(functools.partial(_give_input, keep, layer), with_kwargs=True).remove)
        stack.callback(blocks[-1].register_forward_hook(functools.partial(_give_output, keep, readout.n_layers)).remove)
        stack.callback(readout.unembedding.register_forward_pre_hook(_last_position).remove)
        model(input_ids, **({} if hasattr(model, "unembed") else {"use_cache": False}))
    return kept[0]


def _last_position(unembedding: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0][:, -1:], *args[1:])


def _of_hugging_face(model: Any, input_ids: torch.Tensor, component: str) -> tuple[torch.Tensor, torch.Tensor]:
    if component == "resid_mid":
        raise ValueError("resid_mid is read by TransformerLens' hooks: load the model with TransformerLens")
    kept: dict[int, torch.Tensor] = {}
    readout = find_readout(model)
    with contextlib.ExitStack() as stack:
        for layer, block in enumerate(blocks_of(model, readout.n_layers)):
            # Hooks rather than output_hidden_states, which is recorded before the user's own hooks on a block have run.
            if component == "resid_pre":
                handle = block.register_forward_pre_hook(functools.partial(_give_input, kept.__setitem__, layer), with_kwargs=True)
            else:
                handle = block.register_forward_hook(functools.partial(_give_output, kept.__setitem__, layer))
            stack.callback(handle.remove)
        logits = model(input_ids, use_cache=False).logits
    device = kept[readout.n_layers - 1].device
    return torch.stack([kept[layer].to(device) for layer in range(readout.n_layers)], dim=1), logits


def blocks_of(model: Any, n_layers: int) -> torch.nn.ModuleList:
    """The blocks of a model.

    Raises:
        ValueError: there is no list of so many modules in it.
    """
    for module in model.base_model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == n_layers:
            return module
    raise ValueError(f"the {n_layers} blocks of {type(model).__qualname__} are not found: load the model with TransformerLens")


def _give_input(keep: Callable[[int, torch.Tensor], None], layer: int, block: Any, args: Any, kwargs: Any) -> None:
    keep(layer, (args[0] if args else kwargs["hidden_states"]).detach())


def _give_output(keep: Callable[[int, torch.Tensor], None], layer: int, block: Any, args: Any, output: Any) -> None:
    keep(layer, (output[0] if isinstance(output, tuple) else output).detach())


def last_hidden(model: Any, input_ids: Int[torch.Tensor, "batch pos"], layer: int) -> Float[torch.Tensor, "batch d_model"]:
    """The residual at the input of a layer, at the last position; of `n_layers`, the final residual.

    Raises:
        IndexError: there is no such layer.
    """
    n_layers = find_readout(model).n_layers
    if not 0 <= layer <= n_layers:
        raise IndexError(f"layer {layer} is out of range: this model has layers 0 to {n_layers - 1}, and {n_layers} for its output")
    if layer == n_layers:
        return residual_streams(model, input_ids, "resid_post")[0][:, -1, -1]
    return residual_streams(model, input_ids)[0][:, layer, -1]
