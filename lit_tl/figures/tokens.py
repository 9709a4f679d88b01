"""Tokens in figures."""

import html


def readable(token: str) -> str:
    """A token with its blanks visible, safe in Plotly's HTML."""
    return html.escape(token.replace(" ", "·").replace("\n", "↵").replace("\t", "⇥") or "∅")
