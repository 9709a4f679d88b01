"""What is written into the cells of a trajectory's figure."""

import dataclasses
import html
from typing import Any, Mapping, Optional

import numpy as np
import numpy.typing as npt

from lit_tl.lens.sweeps import strided


@dataclasses.dataclass
class TokenFormatter:
    """Writes tokens in a narrow cell: blanks visible, long ones cut at an ellipsis."""

    ellipsis: str = "…"
    newline_replacement: str = "\\n"
    newline_token: str = "Ċ"
    whitespace_token: str = "Ġ"
    whitespace_replacement: str = "_"
    max_string_len: Optional[int] = 7

    def format(self, token: str) -> str:
        """The token, at most `max_string_len` characters long."""
        if not isinstance(token, str):
            return "<unk>"
        text = token.replace(self.newline_token, "\n").replace(self.whitespace_token, " ")
        text = text.replace("\n", self.newline_replacement).replace(
            " ", self.whitespace_replacement
        )
        if self.max_string_len is not None and len(text) > self.max_string_len:
            text = text[: self.max_string_len - len(self.ellipsis)] + self.ellipsis
        return text

    def pad_token_repr_to_max_len(self, token_repr: str) -> str:
        """Centred in `max_string_len` characters."""
        return token_repr if self.max_string_len is None else token_repr.center(self.max_string_len)


def trunc_string_left(string: str, new_len: int) -> str:
    """The string in `new_len` characters: padded, or its beginning replaced by an ellipsis."""
    if len(string) <= new_len:
        return string.rjust(new_len)
    return "…" + string[len(string) - new_len + 1 :]


def escaped(text: str) -> str:
    """As Plotly shows it, which reads HTML: `<s>` and `&` stay what they are."""
    return html.escape(text, quote=False)


def in_common(
    strings: "npt.NDArray[np.character]", n_batch_axes: int
) -> "npt.NDArray[np.character]":
    """Strings `[*batch, ...]` as one of `[...]`, with `*` where those of a batch differ."""
    flat = strings.reshape(-1, *strings.shape[n_batch_axes:])
    return np.where((flat == flat[:1]).all(axis=0), flat[0], "*")


@dataclasses.dataclass
class TrajectoryLabels:
    """A label for each cell, and a small table to show when it is pointed at."""

    label_strings: "npt.NDArray[np.character]"
    """`[layer, pos]`"""
    hover_over_entries: Optional["npt.NDArray[np.character]"] = None
    """`[layer, pos, rows, cols]`, such as tokens and their probabilities."""

    def stride(self, stride: int) -> "TrajectoryLabels":
        """Every `stride`-th layer, and the last.

        Raises:
            ValueError: `stride` is below 1.
        """
        rows = strided(len(self.label_strings), stride)
        hover = None if self.hover_over_entries is None else self.hover_over_entries[rows]
        return TrajectoryLabels(self.label_strings[rows], hover)

    def template_and_customdata(
        self, col_width_limit: int = 10
    ) -> tuple[str, "npt.NDArray[np.character]"]:
        """Plotly's `hovertemplate`, and the `customdata` that it reads.

        Raises:
            ValueError: there are no hover entries.
        """
        if self.hover_over_entries is None:
            raise ValueError("these labels have no hover_over_entries to make a template of")
        n_rows, n_cols = self.hover_over_entries.shape[-2:]

        def shown(text: str) -> str:
            return escaped(trunc_string_left(text, col_width_limit))

        cut = np.vectorize(shown, otypes=[str])
        customdata = cut(self.hover_over_entries).reshape(
            *self.hover_over_entries.shape[:2], n_rows * n_cols
        )
        rows = [
            "&nbsp;".join(f"%{{customdata[{row * n_cols + col}]}}" for col in range(n_cols))
            for row in range(n_rows)
        ]
        return "<br>".join(rows) + "<extra></extra>", customdata


@dataclasses.dataclass(frozen=True)
class CellLabels:
    """How cells are written; see `PredictionTrajectory`.

    Args:
        formatter: of tokens.
        topk: tokens in a cell's table.
        least: what the first token's value, or the size of its change, must exceed.
        max_entries_to_show: sequences of a batch in the table.
        changes: values are differences of probabilities.
    """

    formatter: TokenFormatter
    topk: int
    least: float
    max_entries_to_show: int
    changes: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, changes: bool) -> "CellLabels":
        """From the keywords of a statistic.

        Raises:
            TypeError: there is no such setting for this statistic.
            ValueError: a count is below 1.
        """
        least = "min_prob_delta" if changes else "min_prob"
        known = ("formatter", "topk", least, "max_entries_to_show")
        for name in settings:
            if name not in known:
                raise TypeError(f"labels have no setting {name!r}: they have {', '.join(known)}")
        for name in ("topk", "max_entries_to_show"):
            if settings.get(name, 1) < 1:
                raise ValueError(f"{name} is {settings[name]}: give 1 or more")
        return cls(
            formatter=settings.get("formatter") or TokenFormatter(),
            topk=settings.get("topk", 10),
            least=settings.get(least, 0.0),
            max_entries_to_show=settings.get("max_entries_to_show", 3),
            changes=changes,
        )

    def write(
        self,
        tokens: "npt.NDArray[np.character]",
        values: "npt.NDArray[np.floating]",
        n_batch_axes: int,
    ) -> TrajectoryLabels:
        """Labels and tables.

        Args:
            tokens: `[*batch, layer, pos, topk]`.
            values: of each token, a share of 1.
            n_batch_axes: how many axes the batch has.
        """
        tokens = tokens.reshape(-1, *tokens.shape[n_batch_axes:])
        values = values.reshape(-1, *values.shape[n_batch_axes:])
        enough = (np.abs(values[..., 0]) > self.least).all(axis=0)
        percent = "Δ{:.2f}%" if self.changes else "{:.2f}%"
        written = np.vectorize(lambda value: percent.format(100 * value), otypes=[str])
        shown = slice(self.max_entries_to_show)
        table = np.stack([tokens[shown], written(values[shown])], axis=-1)
        # sequence layer pos topk 2 -> layer pos topk (sequence 2)
        table = np.moveaxis(table, 0, -2)
        return TrajectoryLabels(
            label_strings=np.where(enough, in_common(tokens[..., 0], 1), ""),
            hover_over_entries=table.reshape(*table.shape[:-2], -1),
        )
