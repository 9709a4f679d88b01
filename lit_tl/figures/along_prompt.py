"""Figures whose x axis counts the tokens of a prompt."""

import html
from typing import Optional, Sequence

import plotly.graph_objects as go


def token_bars(tokens: Sequence[str], values: Sequence[Optional[float]], *, unit: str, logarithmic: bool = False) -> go.Figure:
    """A bar for each token of a prompt; `layout.meta["pos"]` says that x counts tokens."""
    shown = [html.escape(token.replace(" ", "·").replace("\n", "↵")) for token in tokens]
    bars = go.Bar(x=list(range(len(tokens))), y=values, customdata=shown, marker={"color": "#00777b"})
    bars.hovertemplate = f"%{{x}} %{{customdata}}<br>{unit} %{{y:.3f}}<extra></extra>"
    figure = go.Figure(bars)
    step = max(1, len(tokens) // 40)
    figure.update_xaxes(tickvals=list(range(0, len(tokens), step)), ticktext=shown[::step], tickangle=-60)
    figure.update_yaxes(title=unit, type="log" if logarithmic else "linear")
    figure.update_layout(meta={"pos": "x"})
    return figure
