"""Tokens as people read them."""

_VISIBLE = str.maketrans({" ": "·", "\n": "↵", "\r": "␍", "\t": "⇥"})


def visible(token: str) -> str:
    """A token with its blanks visible."""
    return token.translate(_VISIBLE) or "∅"
