"""What is written into the cells of a trajectory's figure."""

import dataclasses
from typing import Optional

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
        cut = np.vectorize(lambda text: trunc_string_left(text, col_width_limit), otypes=[str])
        customdata = cut(self.hover_over_entries).reshape(
            *self.hover_over_entries.shape[:2], n_rows * n_cols
        )
        rows = [
            "&nbsp;".join(f"%{{customdata[{row * n_cols + col}]}}" for col in range(n_cols))
            for row in range(n_rows)
        ]
        return "<br>".join(rows) + "<extra></extra>", customdata
