"""What each part of a model writes into the logit of an answer."""

import dataclasses
from typing import Iterator, Literal, Union

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.pair_of_prompts import Over
from lit_tl.causal.logit_attribution import By, logit_attribution
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PromptPair
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
    over: Over = setting("this pair", "The selected prompt, or the mean over the data set.")
    most: int = setting(20, "How many prompts of the data set.", low=1, high=10_000)


@analysis(
    "Logit attribution",
    figure=share_bars,
    uses=("example", "examples"),
    tab="Causes",
    slow={"over": ("data set",)},
)
def logit_shares(subject: Subject, settings: LogitSharesSettings) -> Iterator[xr.Dataset]:
    """What each part writes into the logit after the prompt, the final norm's scale held at the
    run's own; parts and the remainder add up to the logit."""
    model = CausalModel(subject.model.runner, subject.model.prompter)
    if settings.over == "data set":
        yield _over_data(model, subject, settings)
        return
    example = subject.need_example()
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


def _over_data(model: CausalModel, subject: Subject, settings: LogitSharesSettings) -> xr.Dataset:
    """The mean share of each part over the prompts of the data set that have an answer and a foil,
    with its interval."""
    if settings.of == "likeliest token":
        raise ValueError("prompts have no likeliest token in common: choose their answers")
    with_foil = settings.of == "answer less foil"
    pairs = [
        PromptPair(
            clean=str(example.get("text") or ""),
            corrupt="",
            answer=str(example.get("answer") or ""),
            foil=str(example.get("foil") or "") if with_foil else "",
        )
        for example in subject.examples[: settings.most]
    ]
    if not any(pair.answer and (pair.foil or not with_foil) for pair in pairs):
        raise ValueError(f"no prompt of this data set has an {settings.of.replace('less', 'and')}")
    mean = logit_attribution(model, pairs, by=settings.by)
    names, values = _listed(mean.assign(share=mean["mean"]), settings)
    order = [_place(mean, name) for name in names]
    low, high = (mean[bound].values.ravel()[order] for bound in ("low", "high"))
    return xr.Dataset(
        {"low": ("part", low), "high": ("part", high), "share": ("part", values)},
        coords={"part": names},
        attrs={
            "value": "share",
            "unit": "logits",
            "title": f"the mean of {mean.attrs['pairs']} prompts: {mean.attrs['logit']:.3f} logits",
            "method": mean.attrs["method"],
            "note": mean.attrs["note"],
            "tokens": [],
        },
    )


def _place(mean: xr.Dataset, name: str) -> int:
    """Where a part of a name is among all."""
    if "component" in mean.dims:
        return [str(each) for each in mean["component"].values].index(name)
    layer, head = name.removeprefix("L").split("H")
    row = mean["layer"].values.tolist().index(int(layer))
    return int(row * mean.sizes["head"] + int(head))


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
