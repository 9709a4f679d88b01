"""A statistic's mean over a data set, layer by layer, with its spread."""

import dataclasses
import functools
from typing import Any, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.lens_reading import (
    UNEMBED_IN_HELP,
    LensSettings,
    UnembedIn,
    kind_of,
    layer_names,
    prompt_of_tokens,
    rounding,
    unavailable,
)
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine import jobs
from lit_tl.engine.requests import Batch
from lit_tl.engine.targets import said_of_several
from lit_tl.figures.lens import band_over_layers
from lit_tl.lens import measures
from lit_tl.lens.statistics import OF_PAGE, Declared, Single
from lit_tl.lens.sweeps import kept, observed
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensOverDataSettings(LensSettings):
    """Which number, of how many prompts."""

    statistic: Single = setting("forward KL", "What to average.")
    unembed_in: UnembedIn = setting("float32", UNEMBED_IN_HELP)
    max_prompts: int = setting(50, "Most prompts to read.", low=1, high=10_000)


@analysis("Lens over the data set", figure=band_over_layers, uses=("examples",), tab="Lens")
def lens_over_data(subject: Subject, settings: LensOverDataSettings) -> Iterator[xr.Dataset]:
    """Mean over all positions of the data set's prompts, for each layer, and one standard deviation
    to either side."""
    model, statistic = subject.model, OF_PAGE[settings.statistic]
    if not subject.examples:
        raise ValueError("there is no data set to average over: give examples=[...]")
    chosen = subject.examples[: settings.max_prompts]
    values: list[npt.NDArray[Any]] = []
    off = ""
    several, read, due = 0, 0, 1
    for batch, found, said in read_batches(model, chosen, settings):
        values.append(found)
        off = off or said
        several += _of_several(model, statistic, [chosen[i] for i in batch.index])
        read += len(batch.prompts)
        if read >= due and read < len(chosen):
            due = 2 * read
            yield _summary(model, settings, values, several, read, off)
    yield _summary(model, settings, values, several, read, off)


def read_batches(
    model: LoadedModel, examples: Sequence[Example], settings: LensOverDataSettings
) -> Iterator[tuple[Batch, "npt.NDArray[Any]", str]]:
    """A statistic of every layer and token, batch by batch.

    Args:
        model: to be read.
        examples: what is read, all of it.
        settings: which statistic, through which lens.

    Returns:
        A batch; the statistic `[layer, token]`, its prompts one behind the other; and how far off
        it is, as words.
    """
    statistic = OF_PAGE[settings.statistic]
    lens = model.lenses.lenses[kind_of(model, settings.lens)]
    prompts = [prompt_of_tokens(model, example) for example in examples]
    reduces = {"values": getattr(measures, statistic.function)}
    read, off = 0, ""
    for batch in model.runner.run(
        prompts,
        observe=observed(model.runner, settings.residual_component),
        logits=kept(model.runner),
    ):
        share = len(batch.prompts) / len(prompts)
        with jobs.current().part(read / len(prompts), read / len(prompts) + share):
            trajectory = PredictionTrajectory.from_batch(lens, batch, settings.residual_component)
            if "targets" in statistic.needs:
                _set_targets(trajectory, model, [examples[i] for i in batch.index], batch)
            trajectory = trajectory.unembedded_in(settings.unembed_in)
            values = trajectory.sweep(reduces)["values"]
            off = off or rounding(trajectory, statistic, settings.unembed_in, settings.statistic)
        read += len(batch.prompts)
        yield batch, values, off


def _of_several(model: LoadedModel, statistic: Declared, examples: Sequence[Example]) -> int:
    """Of how many prompts the answer has several tokens, where a statistic reads it."""
    if "targets" not in statistic.needs:
        return 0
    said = (said_of_several(model.prompter, each.get("answer"), "the answer") for each in examples)
    return sum(map(bool, said))


def _set_targets(
    trajectory: PredictionTrajectory, model: LoadedModel, examples: Sequence[Example], batch: Batch
) -> None:
    """Set targets as `lens_grid.set_targets` does, of each prompt of a batch."""
    prompter = model.prompter
    firsts = [prompter.first_token(example.get("answer")) for example in examples]
    ends = np.cumsum(batch.lengths) - 1
    targets = np.roll(trajectory.input_ids, -1)
    if None in firsts:  # what the model says
        top = functools.partial(measures.ids_and_probabilities, count=1)
        last = [trajectory.num_layers]
        said = trajectory.sweep({"top": top}, rows=last)["top"][0, :, 0, 0].astype(np.int64)
        firsts = [
            said[end] if first is None else first for first, end in zip(firsts, ends, strict=True)
        ]
    targets[ends] = firsts
    trajectory.targets = targets


def _summary(
    model: LoadedModel,
    settings: LensOverDataSettings,
    values: list["npt.NDArray[Any]"],
    several: int,
    read: int,
    off: str,
) -> xr.Dataset:
    """Of the prompts that were read so far."""
    statistic = OF_PAGE[settings.statistic]
    said = (
        f" Of {several} prompts the answer has several tokens: its first one counts."
        if several
        else ""
    )
    joined = np.concatenate(values, axis=1).astype(float)  # layer position
    name = settings.statistic
    return xr.Dataset(
        {
            f"mean {name}": ("layer", joined.mean(1)),
            "standard deviation": ("layer", joined.std(1)),
        },
        coords={"layer": layer_names(model, settings.residual_component)},
        attrs={
            "value": f"mean {name}",
            "value_first": True,
            "unit": "nats" if statistic.unit == "nats" else "",
            "title": f"{name}, {read} prompts, {joined.shape[1]} tokens",
            "note": f"{off} {model.lenses.note}{said}".strip(),
            "unavailable": unavailable(model),
        },
    )
