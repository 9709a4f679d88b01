"""A number for each layer and position, and its figure."""

import dataclasses
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from lit_tl.lens.labels import TrajectoryLabels, escaped
from lit_tl.lens.sweeps import strided


@dataclasses.dataclass
class TrajectoryStatistic:
    """A statistic of a trajectory: `stats[..., layer, pos]`, layer by layer from the embeddings to
    the model's output."""

    name: str
    stats: "npt.NDArray[np.number]"
    sequence_labels: Optional["npt.NDArray[np.character]"] = None
    trajectory_labels: Optional[TrajectoryLabels] = None
    units: Optional[str] = None
    max: Optional[float] = None
    min: Optional[float] = None
    includes_output: bool = True
    _layer_labels: Optional["npt.NDArray[np.character]"] = None

    def __post_init__(self) -> None:
        if self._layer_labels is None:
            count = self.stats.shape[-2]
            names = [str(layer) for layer in range(count)]
            if self.includes_output and count:
                names[-1] = "output"
            self._layer_labels = np.array(names)

    @property
    def num_layers(self) -> int:
        """How many rows, the model's output among them."""
        return int(self.stats.shape[-2])

    def mean(self) -> "TrajectoryStatistic":
        """The mean over batch axes, `stats[layer, pos]`."""
        axes = tuple(range(self.stats.ndim - 2))
        return dataclasses.replace(self, stats=self.stats.mean(axis=axes)) if axes else self

    def clip(self, min: float, max: float) -> "TrajectoryStatistic":
        """The same with values cut off at two ends, which the figure's colours then span.

        Raises:
            ValueError: `min` is not below `max`.
        """
        if min >= max:
            raise ValueError(f"clip from {min} to {max}: the first must be below the second")
        return dataclasses.replace(self, stats=np.clip(self.stats, min, max), min=min, max=max)

    def stride(self, stride: int) -> "TrajectoryStatistic":
        """Every `stride`-th layer, and the last.

        Raises:
            ValueError: `stride` is below 1.
        """
        assert self._layer_labels is not None
        rows = strided(self.num_layers, stride)
        labels = None if self.trajectory_labels is None else self.trajectory_labels.stride(stride)
        return dataclasses.replace(
            self,
            stats=self.stats[..., rows, :],
            trajectory_labels=labels,
            _layer_labels=self._layer_labels[rows],
        )

    def heatmap(
        self, colorscale: str = "rdbu_r", log_scale: bool = False, **kwargs: Any
    ) -> go.Heatmap:
        """Layers upwards, tokens to the right, coloured by the statistic. Tokens that are alike
        stay apart by characters that have no width. Of a batch, the mean is drawn.

        Args:
            colorscale: of Plotly.
            log_scale: colour by the logarithm; what is not above 0 has no colour.
            **kwargs: for Plotly's Heatmap.
        """
        stats = self.mean().stats
        heat = go.Heatmap(
            z=stats,
            y=self._layer_labels,
            colorscale=colorscale,
            zmin=self.min,
            zmax=self.max,
            colorbar={
                "title": {
                    "text": f"{self.name}{f' ({self.units})' if self.units else ''}",
                    "side": "right",
                }
            },
        )
        if log_scale:
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.log10(stats)
            logs = np.where(np.isfinite(logs), logs, np.nan)
            whole = (
                np.arange(np.floor(np.nanmin(logs)), np.ceil(np.nanmax(logs)) + 1)
                if np.isfinite(logs).any()
                else np.array([0.0])
            )
            heat.update(z=logs, zmin=None, zmax=None)
            heat.colorbar.update(tickvals=whole, ticktext=[f"1e{int(power)}" for power in whole])
        if self.sequence_labels is not None:
            tokens = enumerate(map(str, self.sequence_labels))
            heat.update(x=[escaped(token) + "\u200c" * place for place, token in tokens])
        if self.trajectory_labels is not None:
            written = np.vectorize(escaped, otypes=[str])(self.trajectory_labels.label_strings)
            heat.update(text=written, texttemplate="%{text}")
            if self.trajectory_labels.hover_over_entries is not None:
                template, customdata = self.trajectory_labels.template_and_customdata()
                heat.update(hovertemplate=template, customdata=customdata)
        return heat.update(**kwargs)

    def figure(
        self, title: str = "", colorscale: str = "rdbu_r", token_width: int = 80, **kwargs: Any
    ) -> go.Figure:
        """The heat map with its axes; x counts positions (`layout.meta["pos"]`), each `token_width`
        pixels wide.
        """
        length = self.stats.shape[-1]
        heat = self.heatmap(colorscale, **{"x": np.arange(length), **kwargs})
        figure = go.Figure(heat)
        labels = (
            [str(i) for i in range(length)]
            if self.sequence_labels is None
            else [escaped(str(label)) for label in self.sequence_labels]
        )
        figure.update_layout(title_text=title, width=200 + token_width * length, meta={"pos": "x"})
        figure.update_xaxes(
            title="input token", tickvals=list(range(length)), ticktext=labels, tickangle=-60
        )
        figure.update_yaxes(title="layer", type="category")
        return figure
