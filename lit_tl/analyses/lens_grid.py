"""What the model would say at each layer and position, and what all lens analyses share."""

import dataclasses
import functools
from typing import Any, Iterator, Literal, Optional, Sequence, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from lit_tl.analyses.contract import Example, LoadedModel, Subject, analysis
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.targets import answer_against_foil, said_of_several
from lit_tl.figures.grids import lens_grids
from lit_tl.lens import measures
from lit_tl.lens.statistics import COMPARING, OF_PAGE, Declared, Statistic
from lit_tl.lens.streams import ResidualComponent
from lit_tl.lens.sweeps import strided
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
    prompt = prompt or model.prompter.prompt(example)
    if prompt.token_embeddings is not None:
        raise ValueError("a lens reads tokens: leave token_embeddings out")
    ids = np.array(prompt.ids)
    return PredictionTrajectory.from_lens_and_model(
        lens, model.runner, ids, residual_component=component
    )


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


_TOP_K = 10


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
    stride: int = setting(1, "Show every so many layers, and the last.", low=1, high=64)


def _cells(subject: Subject, settings: LensGridSettings) -> int:
    rows = len(strided(subject.model.runner.shape.n_layers + 1, settings.stride))
    lenses = 1 if settings.beside == "nothing" else 2
    return rows * lenses * len(subject.model.prompt(subject.need_example()).ids)


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
    kinds = [settings.lens] + ([] if settings.beside == "nothing" else [settings.beside])
    readings = [_reading(model, kind, example, settings, statistic, against) for kind in kinds]
    axes = ("lens", "layer", "position")
    top_ids = np.stack([reading["ids"] for reading in readings])
    prompt = readings[0]["prompt"]
    notes = [model.lenses.note, readings[0]["said"], _note(against, settings, statistic)]
    strings = _strings(model, np.concatenate([top_ids.ravel(), prompt]))
    top, tokens = strings[: top_ids.size].reshape(top_ids.shape), strings[top_ids.size :]
    yield xr.Dataset(
        {
            "top_token": (axes, top[..., 0]),
            "top_tokens": ((*axes, "top"), top),
            "top_probabilities": ((*axes, "top"), np.stack([r["probabilities"] for r in readings])),
            settings.statistic: (axes, np.stack([r["values"] for r in readings])),
        },
        coords={
            "lens": [kind_of(model, kind) for kind in kinds],
            "layer": layer_names(model, settings.residual_component, readings[0]["rows"]),
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


def unavailable(model: LoadedModel) -> dict[str, dict[str, str]]:
    """The lenses that a model has not: by setting and value, the reason."""
    kinds = [kind for kind in get_args(LensKind) if kind != "best"]
    reasons = {
        kind: f"this model has no {kind} lens: give one with --lens"
        for kind in kinds
        if kind not in model.lenses.lenses
    }
    return {"lens": reasons, "beside": reasons}


def _strings(model: LoadedModel, ids: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
    """Readable tokens for ids, `[n]`."""
    distinct, places = np.unique(ids, return_inverse=True)
    return np.array(model.prompter.vocabulary.strings(distinct.tolist()), dtype=object)[places]


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


def _reading(
    model: LoadedModel,
    kind: Any,
    example: Example,
    settings: LensGridSettings,
    statistic: Declared,
    against: Against,
) -> dict[str, Any]:
    component, said, contrast = settings.residual_component, "", None
    if "anti_targets" in statistic.needs:
        contrast = answer_against_foil(model.prompter, example, model.prompter.prompt(example))
    trajectory = read(model, kind, example, component, contrast.prompt if contrast else None)
    prompt, other = trajectory.input_ids, None
    if against is not None and "other" in statistic.needs:
        other = read(against[0], kind, against[1], component)
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
    top = functools.partial(
        measures.ids_and_probabilities, count=min(_TOP_K, trajectory.vocab_size)
    )
    reduces = {"values": getattr(measures, statistic.function), "top": top}
    rows = strided(model.runner.shape.n_layers + 1, settings.stride)
    arrays = trajectory.sweep(reduces, other, rows)
    return {
        "values": arrays["values"],
        "ids": arrays["top"][..., 0].astype(np.int64),
        "probabilities": arrays["top"][..., 1],
        "prompt": prompt,
        "rows": rows,
        "said": f"{said[0].upper()}{said[1:]}." if said else "",
    }
