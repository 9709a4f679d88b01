"""What the model would say at each layer and position."""

import dataclasses
from typing import Any, Iterator, Literal, Optional

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import analysis
from lit_tl.analyses.lens_reading import LensSettings, kind_of, layer_names, read
from lit_tl.analyses.subject import Example, LoadedModel, Subject
from lit_tl.figures.lens import lens_grids
from lit_tl.lens import measures
from lit_tl.lens.labels import strided
from lit_tl.lens.statistics import Declared, Statistic, of_page
from lit_tl.settings import setting

_TOP_K = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensGridSettings(LensSettings):
    """Which lenses, and which number colours the cells."""

    beside: Literal["nothing", "logit", "tuned", "jacobian"] = setting(
        "nothing", "A second lens beside the first."
    )
    statistic: Statistic = setting("entropy", "What colours the cells.")
    against: Literal["nothing", "pinned prompt", "other model"] = setting(
        "nothing", "What a statistic of two predictions compares with."
    )
    stride: int = setting(1, "Show every so many layers, and the last.", low=1, high=64)


@analysis("Lens", figure=lens_grids, uses=("example", "counterpart", "other_model"))
def lens_grid(subject: Subject, settings: LensGridSettings) -> Iterator[xr.Dataset]:
    """What the model would say at each layer. Click a column for its tokens over the layers."""
    model, example = subject.model, subject.need_example()
    statistic = of_page(settings.statistic)
    against = _against(subject, settings)
    _check(settings, statistic, example, against)
    kinds = [settings.lens] + ([] if settings.beside == "nothing" else [settings.beside])
    rows = strided(model.runner.shape.n_layers + 1, settings.stride)
    readings = [
        _reading(model, kind, example, settings, statistic, against, rows) for kind in kinds
    ]
    length = min(reading["values"].shape[1] for reading in readings)
    axes = ("lens", "layer", "position")
    strings = model.prompter.vocabulary.strings
    top = np.array(
        [[[strings(c) for c in row] for row in r["ids"].tolist()] for r in readings], dtype=object
    )
    yield xr.Dataset(
        {
            "top_token": (axes, top[..., 0]),
            "top_tokens": ((*axes, "top"), top),
            "top_probabilities": ((*axes, "top"), np.stack([r["probabilities"] for r in readings])),
            settings.statistic: (axes, np.stack([r["values"] for r in readings])),
        },
        coords={
            "lens": [kind_of(model, kind) for kind in kinds],
            "layer": layer_names(model, settings.residual_component, rows),
            "position": np.arange(length),
            "token": ("position", model.tokens(example)[:length]),
        },
        attrs={
            "value": settings.statistic,
            "unit": "nats" if statistic.unit == "nats" else "",
            "colorscale": statistic.colorscale,
            "low": statistic.low,
            "high": statistic.high,
            "note": " ".join(filter(None, [model.lenses.note, _note(subject, settings)])),
        },
    )


Against = Optional[tuple[LoadedModel, Example]]


def _against(subject: Subject, settings: LensGridSettings) -> Against:
    example = subject.need_example()
    if settings.against == "pinned prompt":
        if subject.counterpart is None:
            raise ValueError("no prompt is pinned: pin one to set this against it")
        return subject.model, subject.counterpart
    if settings.against == "other model":
        if subject.other_model is None:
            raise ValueError(
                "there is no other model to set this against: load one in the Configure dialog"
            )
        return subject.other_model, example
    return None


def _check(
    settings: LensGridSettings, statistic: Declared, example: Example, against: Against
) -> None:
    if "other" in statistic.needs and against is None:
        raise ValueError(f"{settings.statistic} compares: choose what to set this against")
    needs_foil = "anti_targets" in statistic.needs
    if needs_foil and not (example.get("answer") and example.get("foil")):
        raise ValueError(
            f"{settings.statistic} needs an answer and a foil: fill them in in the datapoint editor"
        )


def _note(subject: Subject, settings: LensGridSettings) -> str:
    if settings.against == "pinned prompt":
        return "Against the pinned prompt, position by position."
    if settings.against == "other model" and subject.other_model is not None:
        return f"Against {subject.other_model.runner.shape.name}."
    return ""


def _reading(
    model: LoadedModel,
    kind: Any,
    example: Example,
    settings: LensGridSettings,
    statistic: Declared,
    against: Against,
    rows: list[int],
) -> dict[str, Any]:
    component = settings.residual_component
    trajectory, other = read(model, kind, example, component), None
    if against is not None and "other" in statistic.needs:
        other = read(against[0], kind, against[1], component)
        if other.vocab_size != trajectory.vocab_size:
            raise ValueError(
                "the other model has another vocabulary: their predictions can't be compared"
            )
        shared = slice(0, min(trajectory.num_tokens, other.num_tokens))
        trajectory, other = trajectory.slice_sequence(shared), other.slice_sequence(shared)
    if "anti_targets" in statistic.needs:
        answer = model.prompter.first_token(str(example["answer"]))
        trajectory.targets = np.full(trajectory.num_tokens, answer)
    count = min(_TOP_K, trajectory.vocab_size)
    ids, probabilities = measures.parts(measures.top_tokens, count)
    reduces = {"values": statistic.measure, "ids": ids, "probabilities": probabilities}
    return trajectory.sweep(reduces, other, rows)
