"""Tokens over the layers at one position."""

import dataclasses
from typing import Any, Iterator

import torch
import xarray as xr

from lit_tl.analyses.contract import Example, LoadedModel, Subject, analysis
from lit_tl.analyses.lens_grid import LensSettings, layer_names, likeliest, read
from lit_tl.figures.lens import lines_over_layers, readable
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.settings import setting

_LIKELIEST = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensTrajectorySettings(LensSettings):
    """Where, and which tokens."""

    position: int = setting(-1, "After which token; -1 is the last.")
    tokens: str = setting(
        "",
        "The tokens to draw, with commas between them. Empty: the model's likeliest, and at the "
        "end the data's answer and foil.",
    )


@analysis("Lens trajectory", figure=lines_over_layers)
def lens_trajectory(subject: Subject, settings: LensTrajectorySettings) -> Iterator[xr.Dataset]:
    """The probability of chosen tokens at one position, layer by layer."""
    model, example = subject.model, subject.need_example()
    trajectory = read(model, settings.lens, example, settings.residual_component)
    n = trajectory.num_tokens
    if not -n <= settings.position < n:
        raise ValueError(
            f"position {settings.position} is out of range: this prompt has tokens 0 to {n - 1}, "
            "or -1 for the last"
        )
    position = settings.position % n
    ids = _tokens(model, example, trajectory, position, settings.tokens)
    chosen = torch.tensor(ids)

    def probabilities_of(log_probs: torch.Tensor, **known: Any) -> torch.Tensor:
        return log_probs[..., chosen.to(log_probs.device)].exp()

    here = trajectory.slice_sequence(slice(position, position + 1))
    probabilities = here.sweep({"p": probabilities_of})["p"][:, 0]
    after = readable(model.tokens(example)[position])
    yield xr.Dataset(
        {"probability": (("layer", "token"), probabilities)},
        coords={
            "layer": layer_names(model, settings.residual_component),
            "token": model.prompter.vocabulary.strings(ids),
        },
        attrs={
            "value": "probability",
            "unit": "probability",
            "title": f"after {position} {after}",
            "note": model.lenses.note,
        },
    )


def _tokens(
    model: LoadedModel,
    example: Example,
    trajectory: PredictionTrajectory,
    position: int,
    named: str,
) -> list[int]:
    first_token = model.prompter.first_token
    if named.strip():
        tokens = [first_token(part) for part in named.split(",") if part]
        chosen = list(dict.fromkeys(token for token in tokens if token is not None))
        if not chosen:
            raise ValueError(f"tokens is {named!r}: name tokens with commas between them")
        return chosen
    ids = likeliest(trajectory, position, _LIKELIEST)
    if position == trajectory.num_tokens - 1:
        of_data = (first_token(example.get(name)) for name in ("answer", "foil"))
        ids += [token for token in of_data if token is not None]
    return list(dict.fromkeys(ids))
