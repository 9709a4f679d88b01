"""Sessions that are kept in the user's data folder: autosaves, and those that links name."""

import contextlib
import hashlib
import os
import pathlib
import re
import threading
from typing import Any, Literal, Optional

import platformdirs

from lit_tl.session.session import Session, SessionError
from lit_tl.whole_files import replace

Kind = Literal["autosaves", "links"]
MOST = {"autosaves": 20, "links": 200}
MOST_BYTES = 200 * 2**20
"""Of each kind together."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SessionStore:
    """A folder of sessions, bounded: the oldest go first.

    Args:
        folder: None for `lit_tl/sessions` in the user's data folder.
    """

    def __init__(self, folder: Optional[pathlib.Path] = None):
        self._folder = folder or platformdirs.user_data_path("lit_tl") / "sessions"
        self._lock = threading.Lock()

    def keep(self, session: Session, kind: Kind, name: str = "") -> str:
        """Write a session.

        Args:
            session: to be written.
            kind: what it is kept for.
            name: of one that it takes the place of; "" for one that follows from its content.

        Returns:
            Its name.

        Raises:
            SessionError: it can't be written, or is larger than all that may be kept.
        """
        data = session.to_json()
        name = name or hashlib.blake2b(data, digest_size=12).hexdigest()
        if len(data) > MOST_BYTES:
            raise SessionError(f"this session has {len(data) / 1e6:.0f} MB, too much to be kept")
        file = self._file(kind, name)
        with self._lock:
            try:
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                replace(file, lambda to: to.write(data), 0o600)
                self._forget_oldest(kind)
            except OSError as error:
                raise SessionError(f"{file} can't be written: {error.strerror}") from error
        return name

    def find(self, name: str) -> Session:
        """The session of a name.

        Raises:
            SessionError: there is none, or it is damaged.
        """
        for kind in MOST:
            file = self._file(kind, name)  # type: ignore[arg-type]  # the keys are the kinds
            if file.is_file():
                return Session.load(file)
        raise SessionError(
            f"there is no session {name!r} on this server: the oldest are let go of, and links of "
            "another server's sessions open there alone"
        )

    def listing(self) -> list[dict[str, Any]]:
        """Autosaves, newest first: `name`, `title`, `time`, `bytes`."""
        found = []
        for file, known in self._newest_first("autosaves"):
            try:
                session = Session.load(file)
            except SessionError:
                continue  # it can't be opened: it is not offered
            found.append(
                {
                    "name": file.stem,
                    "title": session.title,
                    "time": session.content["written"]["time"],
                    "models": [model["label"] for model in session.models],
                    "bytes": known.st_size,
                }
            )
        return found

    def _file(self, kind: Kind, name: str) -> pathlib.Path:
        if not _NAME.fullmatch(name):
            raise SessionError(f"{name[:80]!r} is no session's name")
        return self._folder / kind / f"{name}.json"

    def _newest_first(self, kind: Kind) -> list[tuple[pathlib.Path, os.stat_result]]:
        found = []
        for file in (self._folder / kind).glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # another server has let go of it
                found.append((file, file.stat()))
        return sorted(found, key=lambda each: each[1].st_mtime_ns, reverse=True)

    def _forget_oldest(self, kind: Kind) -> None:
        size = 0
        for place, (file, known) in enumerate(self._newest_first(kind)):
            size += known.st_size
            if place and (place >= MOST[kind] or size > MOST_BYTES):
                file.unlink(missing_ok=True)
