"""What each part of a model writes into the logit of an answer."""

import dataclasses
from typing import Iterator, Literal, Union

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.causal.logit_attribution import By, logit_attribution
from lit_tl.causal.model import CausalModel
from lit_tl.figures.causal import share_bars
from lit_tl.figures.tokens import visible
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitSharesSettings(Settings):
    """Of what, and by which parts."""

    by: By = setting(
        "component", "Layers, heads, heads by the token that they attend to, or neurons."
    )
    of: Literal["answer less foil", "answer", "likeliest token"] = setting(
        "answer less foil", "What is explained."
    )
    top: int = setting(30, "How many heads or neurons to show.", low=1, high=200)


@analysis("Logit attribution", figure=share_bars, tab="Causes")
def logit_shares(subject: Subject, settings: LogitSharesSettings) -> Iterator[xr.Dataset]:
    """What each part writes into the logit after the prompt, the final norm's scale held at the
    run's own; parts and the remainder add up to the logit."""
    example = subject.need_example()
    model = CausalModel(subject.model.runner, subject.model.prompter)
    text = str(example.get("text") or "")
    answer: Union[str, int] = str(example.get("answer") or "")
    foil = str(example.get("foil") or "")
    if settings.of == "likeliest token":
        answer, foil = _likeliest(model, text), ""
    elif settings.of == "answer":
        foil = ""
    elif not (answer and foil):
        raise ValueError(
            "this prompt has no answer and foil to set against each other: fill them in, or choose "
            "the likeliest token"
        )
    shares = logit_attribution(model, text, answer, foil or None, by=settings.by, top=settings.top)
    names, values = _listed(shares, settings)
    attrs = shares.attrs
    rest = attrs["logit"] - float(values.sum())
    data: dict[str, object] = {"share": ("part", values)}
    if settings.by == "component":
        data["cumulative"] = ("part", np.cumsum(values))
    yield xr.Dataset(
        data,
        coords={"part": names},
        attrs={
            "value": "share",
            "unit": "logits",
            "title": f"{attrs['of']}: {attrs['logit']:.3f} logits; not shown: {rest:.3f}",
            "method": attrs["method"],
            "note": attrs["note"],
            "tokens": [],
        },
    )


def _likeliest(model: CausalModel, text: str) -> int:
    if not text:
        raise ValueError("the prompt is empty: give a text")
    (batch,) = model.runner.run([model.prompter.prompt({"text": text})])
    return int(batch.last_logits()[0].argmax())


def _listed(shares: xr.Dataset, settings: LogitSharesSettings) -> tuple[list[str], "np.ndarray"]:
    """Names of parts and their shares: all components in order, or the largest of others."""
    values = shares["share"].values
    if settings.by == "component":
        return [str(name) for name in shares["component"].values], values
    if settings.by == "neuron":
        return [str(name) for name in shares["neuron"].values], values
    order = np.argsort(-np.abs(values).ravel(), kind="stable")[: settings.top]
    places = np.stack(np.unravel_index(order, values.shape), 1).tolist()
    layers = shares["layer"].values
    names = []
    for layer, head, *position in places:
        name = f"L{layers[layer]}H{head}"
        if position:
            token = shares["token"].values[position[0]]
            name = f"{name} from {position[0]} {visible(str(token))}"
        names.append(name)
    return names, values.ravel()[order]
