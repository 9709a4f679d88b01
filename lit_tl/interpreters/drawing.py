"""All figures by name, for the page and for notebooks."""

import difflib
from typing import Any, Mapping

import plotly.graph_objects as go
from lit_nlp.api import model as lit_model

from lit_tl.interpreters.figure import FigureInterpreter
from lit_tl.interpreters.heads import HeadScores
from lit_tl.interpreters.lenses import LensGrid, LensOverData, LensTrajectory
from lit_tl.interpreters.token_values import TokenValues

_ALL = (LensGrid(), LensTrajectory(), LensOverData(), HeadScores(), TokenValues())
FIGURES: Mapping[str, FigureInterpreter] = {figure.name: figure for figure in _ALL}


def draw(name: str, model: lit_model.Model, example: Mapping[str, Any], **settings: Any) -> go.Figure:
    """The figure that the page draws, in a notebook.

    Args:
        name: as the page calls it: one of `lit_tl.interpreters.drawing.FIGURES`.
        model: a `HookedTransformerLIT`.
        example: `{"text": ...}`, with `answer` and `foil` where the figure needs them.
        **settings: as on the page; what is left out has its default.

    Raises:
        ValueError: no such figure or setting.
    """
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=1, cutoff=0.4)
        raise ValueError(
            f"there is no figure {name!r}: " + (f"did you mean {near[0]!r}?" if near else f"choose from {list(FIGURES)}")
        )
    return FIGURES[name].draw(model, example, **FIGURES[name].settings(settings)).figure
