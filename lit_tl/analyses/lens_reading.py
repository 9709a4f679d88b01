"""What all lens analyses share: a model, an example and a lens make a trajectory."""

import dataclasses
from typing import Literal, Optional, Sequence, get_args

import numpy as np
import torch

from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.targets import said_of_several
from lit_tl.lens import measures
from lit_tl.lens.blockwise import linear_readout
from lit_tl.lens.fused_readout import half_products
from lit_tl.lens.predictions import LensPredictions
from lit_tl.lens.statistics import Declared
from lit_tl.lens.streams import ResidualComponent
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.settings import Settings, setting

LensKind = Literal["best", "logit", "tuned", "jacobian"]
_CHECKED = 8
"""Positions at which bfloat16 is compared with float32."""
_SUFFIXES = {"resid_pre": "", "resid_mid": " mid", "resid_post": " post"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensSettings(Settings):
    """What every reading through a lens can be asked."""

    lens: LensKind = setting("best", "Which lens; best is tuned, or else Jacobian, or else logit.")
    residual_component: ResidualComponent = setting("resid_pre", "What the lens reads.")


UnembedIn = Literal["float32", "bfloat16"]


UNEMBED_IN_HELP = (
    "What the product with the unembedding is made in. bfloat16 is faster on processors that have "
    "units for it; the result says how far off it is."
)


def kind_of(model: LoadedModel, kind: LensKind) -> str:
    """The lens that is meant.

    Raises:
        ValueError: the model has no such lens.
    """
    choice = model.lenses
    chosen = choice.best if kind == "best" else kind
    if chosen not in choice.lenses:
        has = ", ".join(choice.lenses)
        raise ValueError(f"this model has no {chosen} lens, but {has}: give one with --lens")
    return chosen


def read(
    model: LoadedModel,
    kind: LensKind,
    example: Example,
    component: ResidualComponent,
    prompt: Optional[Prompt] = None,
) -> PredictionTrajectory:
    """A trajectory of one example, without targets.

    Args:
        model: to be read.
        kind: of lens.
        example: what is read.
        component: at which the lens reads.
        prompt: to read in its place.

    Raises:
        ValueError: the model has no such lens, or no such residual, or the example comes with
            embeddings.
    """
    lens = model.lenses.lenses[kind_of(model, kind)]
    ids = np.array((prompt or prompt_of_tokens(model, example)).ids)
    return PredictionTrajectory.from_lens_and_model(
        lens, model.runner, ids, residual_component=component
    )


def prompt_of_tokens(model: LoadedModel, example: Example) -> Prompt:
    """An example's prompt, for a lens.

    Raises:
        ValueError: the example comes with embeddings.
    """
    prompt = model.prompter.prompt(example)
    if prompt.token_embeddings is not None:
        raise ValueError("a lens reads tokens: leave token_embeddings out")
    return prompt


def set_targets(trajectory: PredictionTrajectory, model: LoadedModel, example: Example) -> str:
    """Set targets: the prompt's own next tokens, and last the first token of the data's answer, or
    else what the model says.

    Returns:
        What is to be said of the answer, if it has several tokens.
    """
    count, answer = trajectory.num_tokens, example.get("answer")
    last = model.prompter.first_token(answer)
    if last is None:
        last = likeliest(trajectory, count - 1, 1)[0]
    trajectory.targets = np.array([*trajectory.input_ids[1:], last])
    return said_of_several(model.prompter, answer, "the answer")


def likeliest(trajectory: PredictionTrajectory, position: int, count: int) -> list[int]:
    """The tokens that the model itself puts first after one position."""
    here = trajectory.slice_sequence(slice(position, position + 1))
    ids: list[int] = np.argsort(-here.model_log_probs[0])[:count].tolist()
    return ids


def layer_names(
    model: LoadedModel, component: str, rows: Optional[Sequence[int]] = None
) -> list[str]:
    """The rows of a trajectory: layers, and last the output."""
    layers = range(model.runner.shape.n_layers)
    names = [*(f"{layer}{_SUFFIXES[component]}" for layer in layers), "output"]
    return names if rows is None else [names[row] for row in rows]


def unavailable(model: LoadedModel) -> dict[str, dict[str, str]]:
    """The lenses that a model has not: by setting and value, the reason."""
    kinds = [kind for kind in get_args(LensKind) if kind != "best"]
    reasons = {
        kind: f"this model has no {kind} lens: give one with --lens"
        for kind in kinds
        if kind not in model.lenses.lenses
    }
    off = {"lens": reasons, "beside": reasons}
    if model.runner.readout.weight.dtype != torch.float32:
        off["unembed_in"] = {"bfloat16": "this model is in half precision already"}
    elif half_products(model.runner.device) is None:
        off["unembed_in"] = {"bfloat16": "this processor is not faster in bfloat16"}
    return off


def rounding(
    trajectory: PredictionTrajectory, statistic: Declared, unembed_in: UnembedIn, name: str
) -> str:
    """How far off bfloat16 makes a statistic, measured at a few positions, as words."""
    if unembed_in == "float32":
        return ""
    of = trajectory.predictions
    if (
        "other" in statistic.needs
        or not isinstance(of, LensPredictions)
        or of.final is None
        or linear_readout(of.lens.unembed) is None
    ):
        return "In float32: this is no statistic of one product with the unembedding."
    measure = getattr(measures, statistic.function)
    few = trajectory.slice_sequence(slice(0, _CHECKED))
    exact, rounded = (
        few.unembedded_in(dtype).sweep({"values": measure})["values"]
        for dtype in get_args(UnembedIn)
    )
    off = float(np.abs(rounded.astype(float) - exact).max())
    return f"In bfloat16: {name} is off by up to {off:.2g} at the first {few.num_tokens} positions."
