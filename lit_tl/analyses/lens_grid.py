"""What the model would say at each layer and position."""

import dataclasses
import functools
from typing import Any, Iterator, Literal, Optional, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.lens_reading import (
    UNEMBED_IN_HELP,
    LensKind,
    LensSettings,
    UnembedIn,
    kind_of,
    layer_names,
    read,
    rounding,
    set_targets,
    unavailable,
)
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine import jobs
from lit_tl.engine.targets import answer_against_foil
from lit_tl.figures.grids import lens_grids
from lit_tl.lens import measures
from lit_tl.lens.statistics import COMPARING, OF_PAGE, Declared, Statistic
from lit_tl.lens.sweeps import strided
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.settings import setting

_TOP_K = 10
_AT_ONCE, _EVERY = 4000, 4
"""Cells that are read in one go; of more, every so many rows first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensGridSettings(LensSettings):
    """Which lenses, and which number colours the cells."""

    beside: Literal["nothing", "logit", "tuned", "jacobian"] = setting(
        "nothing", "A second lens beside the first."
    )
    statistic: Statistic = setting("entropy", "What colours the cells.")
    against: Literal["nothing", "pinned prompt", "other model"] = setting(
        "nothing",
        "What a statistic of two predictions compares with.",
        only_with=("statistic", COMPARING),
    )
    unembed_in: UnembedIn = setting("float32", UNEMBED_IN_HELP)
    stride: int = setting(1, "Show every so many layers, and the last.", low=1, high=64)


def _cells(subject: Subject, settings: LensGridSettings) -> tuple[int, int]:
    rows = len(strided(subject.model.runner.shape.n_layers + 1, settings.stride))
    lenses = 1 if settings.beside == "nothing" else 2
    return rows * lenses * len(subject.model.prompt(subject.need_example()).ids), _TOP_K


@analysis(
    "Lens",
    figure=lens_grids,
    uses=("example", "counterpart", "other_model"),
    tab="Lens",
    cells=_cells,
)
def lens_grid(subject: Subject, settings: LensGridSettings) -> Iterator[xr.Dataset]:
    """What the model would say at each layer. Click a column for its tokens over the layers."""
    model, example = subject.model, subject.need_example()
    statistic = OF_PAGE[settings.statistic]
    against = _against(subject, example, settings)
    _check(settings, statistic, example, against)
    first = _read(model, example, settings, statistic, against)
    readings = [first]
    if settings.beside != "nothing":
        readings.append(first.through(model, settings.beside, against))
    rows = strided(model.runner.shape.n_layers + 1, settings.stride)
    off = ""
    turns, read = in_turn(rows, _cells(subject, settings)[0]), set[int]()
    for turn in turns:
        with jobs.current().part(len(read) / len(rows), (len(read) + len(turn)) / len(rows)):
            for reading in jobs.each(readings):
                reading.fill(model, statistic, rows, turn)
            off = off or rounding(
                first.trajectory, statistic, settings.unembed_in, settings.statistic
            )
        read.update(turn)
        said = "" if len(read) == len(rows) else f"{len(read)} of {len(rows)} rows so far."
        notes = (off, _note(against, settings, statistic), said)
        yield _result(model, settings, statistic, readings, rows, notes)


def in_turn(rows: Sequence[int], cells: int) -> list[list[int]]:
    """Rows to read first, and those in between: many cells take long.

    Args:
        rows: all of them.
        cells: how many they have together.
    """
    if cells <= _AT_ONCE or len(rows) <= _EVERY:
        return [[*rows]]
    first = rows[::-_EVERY][::-1]  # with the last one, the model's own
    return [[*first], [row for row in rows if row not in first]]


def _result(
    model: LoadedModel,
    settings: LensGridSettings,
    statistic: Declared,
    readings: Sequence["_Reading"],
    rows: Sequence[int],
    more: Sequence[str],
) -> xr.Dataset:
    axes = ("lens", "layer", "position")
    top_ids = np.stack([reading.ids for reading in readings])
    prompt = readings[0].prompt
    said = readings[0].said
    notes = [
        model.lenses.note,
        f"{said[0].upper()}{said[1:]}." if said else "",
        *more,
    ]
    strings = _strings(model, np.concatenate([top_ids.ravel(), prompt]))
    top, tokens = strings[: top_ids.size].reshape(top_ids.shape), strings[top_ids.size :]
    return xr.Dataset(
        {
            "top_token": (axes, top[..., 0]),
            "top_tokens": ((*axes, "top"), top),
            "top_probabilities": ((*axes, "top"), np.stack([r.probabilities for r in readings])),
            settings.statistic: (axes, np.stack([r.values for r in readings])),
        },
        coords={
            "lens": [reading.kind for reading in readings],
            "layer": layer_names(model, settings.residual_component, rows),
            "position": np.arange(top_ids.shape[2]),
            "token": ("position", tokens[: top_ids.shape[2]]),
        },
        attrs={
            "value": settings.statistic,
            "tokens": tokens.tolist(),
            "unit": "nats" if statistic.unit == "nats" else "",
            "scale": statistic.scale,
            "low": statistic.low,
            "high": statistic.high,
            "note": " ".join(filter(None, notes)),
            "unavailable": unavailable(model),
        },
    )


def _strings(model: LoadedModel, ids: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
    """Readable tokens for ids, `[n]`; "" for those that are not there yet."""
    distinct, places = np.unique(ids, return_inverse=True)
    there = distinct[distinct >= 0].tolist()
    missing = [""] * (len(distinct) - len(there))
    strings = [*missing, *model.prompter.vocabulary.strings(there)]
    return np.array(strings, dtype=object)[places]


Against = Optional[tuple[LoadedModel, Example]]


def _against(subject: Subject, example: Example, settings: LensGridSettings) -> Against:
    if settings.against == "pinned prompt":
        if subject.counterpart is None:
            raise ValueError(
                "no prompt is pinned: pin one to set this against it (in Python: counterpart=...)"
            )
        return subject.model, subject.counterpart
    if settings.against == "other model":
        if subject.other_model is None:
            raise ValueError(
                "there is no other model to set this against: load one in the Configure dialog "
                "(in Python: other_model=...)"
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


def _note(against: Against, settings: LensGridSettings, statistic: Declared) -> str:
    if against is None or "other" not in statistic.needs:
        return ""
    if settings.against == "pinned prompt":
        return "Against the pinned prompt, position by position."
    return f"Against {against[0].runner.shape.name}."


@dataclasses.dataclass
class _Reading:
    """One lens on the example, and what was read so far: NaN and -1 elsewhere."""

    kind: str
    trajectory: PredictionTrajectory
    other: Optional[PredictionTrajectory]
    prompt: "npt.NDArray[np.int64]"
    said: str
    values: "npt.NDArray[np.float64]" = dataclasses.field(init=False)  # layer pos
    ids: "npt.NDArray[np.int64]" = dataclasses.field(init=False)  # layer pos top
    probabilities: "npt.NDArray[np.float64]" = dataclasses.field(init=False)

    def through(self, model: LoadedModel, kind: LensKind, against: "Against") -> "_Reading":
        """The same passes, read through another lens."""
        other = self.other
        if other is not None and against is not None:
            other = other.through(against[0].lenses.lenses[kind_of(against[0], kind)])
        name = kind_of(model, kind)
        trajectory = self.trajectory.through(model.lenses.lenses[name])
        return dataclasses.replace(self, kind=name, trajectory=trajectory, other=other)

    def fill(
        self, model: LoadedModel, statistic: Declared, rows: Sequence[int], turn: Sequence[int]
    ) -> None:
        """Read some of the rows.

        Args:
            model: of the trajectory.
            statistic: to compute.
            rows: that there are to be.
            turn: those to read now.
        """
        count = min(_TOP_K, self.trajectory.vocab_size)
        reduces = {
            "values": getattr(measures, statistic.function),
            "top": functools.partial(measures.ids_and_probabilities, count=count),
        }
        arrays = self.trajectory.sweep(reduces, self.other, turn)
        if not hasattr(self, "values"):
            shape = (len(rows), self.trajectory.num_tokens)
            self.values = np.full(shape, np.nan)
            self.probabilities = np.full((*shape, count), np.nan)
            self.ids = np.full((*shape, count), -1)
        places = [rows.index(row) for row in turn]
        self.values[places] = arrays["values"]
        self.ids[places] = arrays["top"][..., 0]
        self.probabilities[places] = arrays["top"][..., 1]


def _read(
    model: LoadedModel,
    example: Example,
    settings: LensGridSettings,
    statistic: Declared,
    against: Against,
) -> _Reading:
    component, said, contrast = settings.residual_component, "", None
    if "anti_targets" in statistic.needs:
        contrast = answer_against_foil(model.prompter, example, model.prompter.prompt(example))
    prompt = contrast.prompt if contrast else None
    trajectory = read(model, settings.lens, example, component, prompt)
    ids, other = trajectory.input_ids, None
    if against is not None and "other" in statistic.needs:
        other = read(against[0], settings.lens, against[1], component)
        if other.vocab_size != trajectory.vocab_size:
            raise ValueError(
                "the other model has another vocabulary: their predictions can't be compared"
            )
        shared = slice(0, min(trajectory.num_tokens, other.num_tokens))
        trajectory, other = trajectory.slice_sequence(shared), other.slice_sequence(shared)
    if contrast is not None:
        trajectory.targets = np.full(trajectory.num_tokens, contrast.answer)
        trajectory.anti_targets = np.full(trajectory.num_tokens, contrast.foil)
        said = contrast.note
    elif "targets" in statistic.needs:
        said = set_targets(trajectory, model, example)
    if settings.unembed_in == "bfloat16":
        trajectory = trajectory.unembedded_in("bfloat16")
    return _Reading(kind_of(model, settings.lens), trajectory, other, ids, said)
