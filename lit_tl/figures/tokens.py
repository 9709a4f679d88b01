"""Tokens as people read them."""

_CONTROL = {code: chr(0x2400 + code) for code in range(0x20)}
_VISIBLE = _CONTROL | str.maketrans({" ": "·", "\n": "↵", "\r": "␍", "\t": "⇥"})


def visible(token: str) -> str:
    """A token with its blanks and control characters visible."""
    return token.translate(_VISIBLE) or "∅"
