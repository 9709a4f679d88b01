"""Tokens over the layers at one position."""

import dataclasses
from typing import Any, Iterator, Optional

import torch
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.lens_reading import LensSettings, layer_names, likeliest, read
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine.prompts import Prompt, first_difference
from lit_tl.engine.targets import Contrast, answer_against_foil, said_of_several
from lit_tl.figures.lens import lines_over_layers, readable
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.settings import setting

_LIKELIEST = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensTrajectorySettings(LensSettings):
    """Where, and which tokens."""

    position: int = setting(-1, "After which token; -1 is the last.", low=-1, high=1_000_000)
    tokens: str = setting(
        "",
        "The tokens to draw, with commas between them. Empty: the model's likeliest, and at the "
        "end the data's answer and foil.",
    )


@analysis("Lens trajectory", figure=lines_over_layers, tab="Lens")
def lens_trajectory(subject: Subject, settings: LensTrajectorySettings) -> Iterator[xr.Dataset]:
    """The probability of chosen tokens at one position, layer by layer."""
    model, example = subject.model, subject.need_example()
    prompt = model.prompter.prompt(example)
    n = len(prompt)
    if not -n <= settings.position < n:
        raise ValueError(
            f"position {settings.position} is out of range: this prompt has tokens 0 to {n - 1}, "
            "or -1 for the last"
        )
    position, contrast = settings.position % n, None
    if position == n - 1 and not settings.tokens.strip():
        contrast = _contrast(model, example, prompt)
    if contrast is not None:
        prompt, position = contrast.prompt, len(contrast.prompt) - 1
    trajectory = read(model, settings.lens, example, settings.residual_component, prompt)
    if contrast is None:
        ids, said = _tokens(model, example, trajectory, position, settings.tokens)
    else:
        likely = likeliest(trajectory, position, _LIKELIEST)
        ids = list(dict.fromkeys([*likely, contrast.answer, contrast.foil]))
        said = [f"Behind what answer and foil share: {contrast.note}."]
    chosen = torch.tensor(ids)

    def probabilities_of(log_probs: torch.Tensor, **known: Any) -> torch.Tensor:
        return log_probs[..., chosen.to(log_probs.device)].exp()

    here = trajectory.slice_sequence(slice(position, position + 1))
    probabilities = here.sweep({"p": probabilities_of})["p"][:, 0]
    after = readable(model.prompter.vocabulary.string(prompt.ids[position]))
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
            "note": " ".join(filter(None, [model.lenses.note, *said])),
        },
    )


def _contrast(model: LoadedModel, example: Example, prompt: Prompt) -> Optional[Contrast]:
    """Answer against foil, where they begin alike and then differ."""
    answers = model.prompter.answers(example)
    if len(answers) < 2 or not first_difference(answers["answer"], answers["foil"]):
        return None
    return answer_against_foil(model.prompter, example, prompt)


def _tokens(
    model: LoadedModel,
    example: Example,
    trajectory: PredictionTrajectory,
    position: int,
    named: str,
) -> tuple[list[int], list[str]]:
    """Tokens to draw, and what is to be said of texts of several tokens."""
    prompter = model.prompter
    if named.strip():
        texts = {repr(part): part for part in named.split(",") if part}
        if not texts:
            raise ValueError(f"tokens is {named!r}: name tokens with commas between them")
        ids = []
    else:
        ids = likeliest(trajectory, position, _LIKELIEST)
        at_end = position == trajectory.num_tokens - 1
        names = ("answer", "foil") if at_end else ()
        texts = {f"the {name}": example[name] for name in names if example.get(name)}
    said = []
    for name, text in texts.items():
        token = prompter.first_token(text)
        if token is not None:
            ids.append(token)
            if several := said_of_several(prompter, text, name):
                said.append(f"{several}.")
    return list(dict.fromkeys(ids)), said
