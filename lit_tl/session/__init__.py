"""What was on a page, as one file: see `lit_tl.session.session`."""

from lit_tl.session.session import Session, SessionError

__all__ = ["Session", "SessionError"]
