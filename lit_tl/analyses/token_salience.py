"""How much each token of a prompt counts for what the model says."""

import dataclasses
from typing import Any, Iterator, Literal

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Targets
from lit_tl.engine.targets import answer_against_foil, choose_targets, said_of_several
from lit_tl.figures.grids import salience_strip
from lit_tl.salience import integrated, methods
from lit_tl.settings import Settings, setting

Method = Literal[
    "gradient · input", "gradient norm", "integrated gradients", "occlusion", "attention-value"
]
_INTEGRATED: tuple[str, tuple[str, ...]] = ("method", ("integrated gradients",))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SalienceSettings(Settings):
    """By which method, and of what."""

    method: Method = setting("gradient · input", "How tokens are scored.")
    explain: Literal["target", "answer against foil"] = setting(
        "target", "The chosen token, or else the answer, or else the likeliest; or answer and foil."
    )
    tolerance: float = setting(
        0.05,
        "Completeness gap to reach, as a share of the sum.",
        low=0.001,
        high=1.0,
        only_with=_INTEGRATED,
    )
    budget: int = setting(
        400, "Most points on the path.", low=17, high=10_000, only_with=_INTEGRATED
    )


@dataclasses.dataclass(frozen=True)
class _Scored:
    scores: methods.Scores
    unit: str
    note: str = ""


@analysis(
    "Salience",
    figure=salience_strip,
    tab="Salience",
    slow={"method": ("integrated gradients", "occlusion")},
)
def token_salience(subject: Subject, settings: SalienceSettings) -> Iterator[xr.Dataset]:
    """How much each token counts for the target, which is chosen by a click in Predictions."""
    model, example = subject.model, subject.need_example()
    prompt, targets, said, value = _target(model, example, settings.explain)
    tokens = model.prompter.vocabulary.strings(prompt.ids)
    for scored in _scores(explained(model, prompt, targets), settings):
        yield xr.Dataset(
            {"salience": ("position", scored.scores.astype(float))},
            coords={"position": np.arange(len(tokens)), "token": ("position", tokens)},
            attrs={
                "value": "salience",
                "unit": scored.unit,
                "signed": scored.unit == "nats",
                "title": f"{settings.method}: {said} = {value:.3f} nats",
                "tokens": tokens,
                "explained": said,
                "target_value": value,
                "note": scored.note,
            },
        )


def explained(model: LoadedModel, prompt: Prompt, targets: Targets) -> methods.Explained:
    """A prompt and its target, with the model."""
    filler = model.prompter.filler_id
    return methods.Explained(runner=model.runner, prompt=prompt, targets=targets, filler_id=filler)


def _target(
    model: LoadedModel, example: Example, explain: str
) -> tuple[Prompt, Targets, str, float]:
    """The prompt, what to explain in it, that in words, and its value in nats."""
    prompt, string = model.prompt(example), model.prompter.vocabulary.string
    if explain == "answer against foil":
        contrast = answer_against_foil(model.prompter, example, prompt)
        prompt, targets = contrast.prompt, contrast.targets
        words = f", against {string(contrast.foil)!r}"
        (batch,) = model.runner.run([prompt])
    else:
        (batch,) = model.runner.run([prompt])
        targets = choose_targets(model.prompter, [example], batch)
        words = ""
        if list(targets.pos) == [len(prompt) - 1]:
            name = "target" if example.get("target") else "answer"
            several = said_of_several(model.prompter, example.get(name), f"the {name}")
            words = f" ({several})" if several else ""
    first, count = targets.pos[0], len(set(targets.pos))
    said = f"log p of {string(targets.token[0])!r} after {string(prompt.ids[first])!r}{words}"
    if count > 1:
        said = f"the sum of log p of {count} tokens"
    return prompt, targets, said, float(batch.target_values(targets)[0])


def _scores(what: methods.Explained, settings: SalienceSettings) -> Iterator[_Scored]:
    if settings.method == "integrated gradients":
        for estimate in integrated.integrated_gradients(
            what, tolerance=settings.tolerance, budget=settings.budget
        ):
            yield _Scored(estimate.scores, "nats", _sentence(estimate.describe()))
        return
    plain: dict[str, tuple[Any, str]] = {
        "gradient · input": (methods.grad_dot_input, "nats"),
        "gradient norm": (methods.grad_l2, "nats per unit of embedding"),
        "occlusion": (methods.occlusion, "nats"),
        "attention-value": (methods.attention_value, "share"),
    }
    method, unit = plain[settings.method]
    yield _Scored(method(what), unit)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
