"""The residual stream of each layer, as lenses read it."""

from typing import Any, Literal, Union, get_args

import torch
from jaxtyping import Float, Int

from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site

ResidualComponent = Literal["resid_pre", "resid_mid", "resid_post"]
"""TransformerLens' names: before attention, between attention and MLP, after the MLP."""


_INPUTS, _OUTPUTS = Site("resid_pre"), Site("resid_post")


def check_component(component: str) -> None:
    """Refuse any other name.

    Raises:
        ValueError: the name is not one of `ResidualComponent`.
    """
    if component not in get_args(ResidualComponent):
        names = ", ".join(get_args(ResidualComponent))
        raise ValueError(f"residual_component={component!r} does not exist: choose from {names}")


def as_runner(model: Union[Runner, Any]) -> Runner:
    """A runner, or the runner of a TransformerLens or Hugging Face model.

    Raises:
        TypeError: the model is of another kind.
    """
    return model if isinstance(model, Runner) else Runner(model)


def residual_streams(
    model: Any, input_ids: Int[torch.Tensor, "batch pos"], component: str = "resid_pre"
) -> tuple[
    Float[torch.Tensor, "batch layer pos d_model"], Float[torch.Tensor, "batch pos d_vocab"]
]:
    """One forward pass: every layer's residual, and the model's logits.

    A user's hooks on the model and the interventions of a runner take part.

    Args:
        model: a `Runner`, or a TransformerLens or Hugging Face model.
        input_ids: without padding.
        component: what to read.

    Raises:
        ValueError: the component is unknown, or the model has none: attention and MLP run side by
            side in it, or it is a Hugging Face model asked for `resid_mid`.
    """
    check_component(component)
    runner = as_runner(model)
    layers = range(runner.shape.n_layers)
    site = Site(component)  # type: ignore[arg-type]  # check_component has seen it
    batch = runner.run_ids(
        input_ids, observe={"residual": Observe(site, layers=layers, stack=True)}
    )
    return batch.observed["residual"].transpose(
        0, 1
    ), batch.need_logits()  # batch layer pos d_model


def all_residuals(
    model: Any, input_ids: Int[torch.Tensor, "batch pos"]
) -> Float[torch.Tensor, "layer_and_final batch pos d_model"]:
    """Every layer's input, and last the final residual, in one tensor.

    One forward pass that stops short of the unembedding: training and evaluation make what they
    need of the logits themselves.

    Args:
        model: a `Runner`, or a TransformerLens or Hugging Face model.
        input_ids: without padding.
    """
    runner = as_runner(model)
    n_layers = runner.shape.n_layers
    stack: list[torch.Tensor] = []

    def put_input(residual: torch.Tensor, seen: Seen) -> None:
        if not stack:
            stack.append(residual.new_empty(n_layers + 1, *residual.shape))
        stack[0][seen.layer] = residual  # to the first layer's device

    def put_final(residual: torch.Tensor, seen: Seen) -> None:
        stack[0][seen.layer + 1] = residual

    observe = {
        "inputs": Observe(_INPUTS, put_input),
        "final": Observe(_OUTPUTS, put_final, layers=[n_layers - 1]),
    }
    runner.run_ids(input_ids, observe=observe, logits="none")
    return stack[0]


def last_hidden(
    model: Any, input_ids: Int[torch.Tensor, "batch pos"], layer: int
) -> Float[torch.Tensor, "batch d_model"]:
    """The residual at the input of a layer, at the last position; of `n_layers`, the final
    residual.

    Raises:
        IndexError: the layer does not exist.
    """
    runner = as_runner(model)
    n_layers = runner.shape.n_layers
    if not 0 <= layer <= n_layers:
        raise IndexError(
            f"layer {layer} is out of range: this model has layers 0 to {n_layers - 1}, and "
            f"{n_layers} for its output"
        )
    site = Site("resid_pre", layer=layer, positions=-1)
    if layer == n_layers:
        site = Site("resid_post", layer=n_layers - 1, positions=-1)
    batch = runner.run_ids(input_ids, observe={"residual": Observe(site)}, logits="none")
    hidden: torch.Tensor = batch.observed["residual"]
    return hidden
