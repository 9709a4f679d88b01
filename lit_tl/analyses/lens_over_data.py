"""A statistic's mean over a data set, layer by layer, with its spread."""

import dataclasses
from typing import Any, Iterator

import numpy as np
import numpy.typing as npt
import xarray as xr

from lit_tl.analyses.contract import LoadedModel, Subject, analysis
from lit_tl.analyses.lens_grid import LensSettings, layer_names, read, set_targets
from lit_tl.engine import jobs
from lit_tl.figures.lens import band_over_layers
from lit_tl.lens import measures
from lit_tl.lens.statistics import OF_PAGE, Single
from lit_tl.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensOverDataSettings(LensSettings):
    """Which number, of how many prompts."""

    statistic: Single = setting("forward KL", "What to average.")
    max_prompts: int = setting(50, "Most prompts to read.", low=1, high=10_000)


@analysis("Lens over the data set", figure=band_over_layers, uses=("examples",), tab="Lens")
def lens_over_data(subject: Subject, settings: LensOverDataSettings) -> Iterator[xr.Dataset]:
    """Mean over all positions of the data set's prompts, for each layer, and one standard deviation
    to either side."""
    model, statistic = subject.model, OF_PAGE[settings.statistic]
    if not subject.examples:
        raise ValueError("there is no data set to average over: give examples=[...]")
    values, several, due = [], 0, 1
    chosen = subject.examples[: settings.max_prompts]
    for example in jobs.each(chosen):
        trajectory = read(model, settings.lens, example, settings.residual_component)
        if "targets" in statistic.needs and set_targets(trajectory, model, example):
            several += 1
        values.append(trajectory.sweep({"values": getattr(measures, statistic.function)})["values"])
        if len(values) == due and due < len(chosen):
            due *= 2
            yield _summary(model, settings, values, several)
    yield _summary(model, settings, values, several)


def _summary(
    model: LoadedModel,
    settings: LensOverDataSettings,
    values: list["npt.NDArray[Any]"],
    several: int,
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
            "title": f"{name}, {len(values)} prompts, {joined.shape[1]} tokens",
            "note": f"{model.lenses.note}{said}".strip(),
        },
    )
