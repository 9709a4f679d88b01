"""What the lens analyses share: reading one prompt through a lens."""

import dataclasses
from typing import Literal, Optional, Sequence

import numpy as np

from lit_tl.analyses.subject import Example, LoadedModel
from lit_tl.lens.streams import ResidualComponent
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.settings import Settings, setting

LensKind = Literal["best", "logit", "tuned", "jacobian"]
_SUFFIXES = {"resid_pre": "", "resid_mid": " mid", "resid_post": " post"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensSettings(Settings):
    """What every reading through a lens can be asked."""

    lens: LensKind = setting("best", "Which lens; best is tuned, or else Jacobian, or else logit.")
    residual_component: ResidualComponent = setting("resid_pre", "What the lens reads.")


def kind_of(model: LoadedModel, kind: LensKind) -> str:
    """The lens that is meant.

    Raises:
        ValueError: the model has no such lens.
    """
    choice = model.lenses
    found = choice.best if kind == "best" else kind
    if found not in choice.lenses:
        has = ", ".join(choice.lenses)
        raise ValueError(f"this model has no {found} lens, but {has}: give one with --lens")
    return found


def read(
    model: LoadedModel, kind: LensKind, example: Example, component: ResidualComponent
) -> PredictionTrajectory:
    """A trajectory of one example.

    Its targets are the prompt's own next tokens, and last the data's answer, or else what the model
    says. Its anti-targets are the data's foil.

    Raises:
        ValueError: the model has no such lens, or no such residual.
    """
    lens = model.lenses.lenses[kind_of(model, kind)]
    ids = np.array(model.prompt(example).ids)
    trajectory = PredictionTrajectory.from_lens_and_model(
        lens, model.runner, ids, residual_component=component
    )
    answer, foil = (model.prompter.first_token(example.get(name)) for name in ("answer", "foil"))
    last = likeliest(trajectory, len(ids) - 1, 1)[0] if answer is None else answer
    trajectory.targets = np.array([*ids[1:], last])
    trajectory.anti_targets = None if foil is None else np.full(len(ids), foil)
    return trajectory


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
