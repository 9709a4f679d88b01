"""The folder of kept sessions, which several servers share."""

import pathlib
import threading

from lit_tl.session.session import Session
from lit_tl.session.store import MOST, SessionStore


def test_files_may_go_while_they_are_listed(tmp_path: pathlib.Path) -> None:
    """Another server lets go of the oldest whenever it keeps one more."""
    one, other = SessionStore(tmp_path), SessionStore(tmp_path)
    for i in range(MOST["autosaves"]):
        one.keep(Session.of(title=f"{i}"), "autosaves", f"first{i}")
    done = threading.Event()
    failed: list[OSError] = []

    def list_all() -> None:
        while not done.is_set():
            try:
                one.listing()
            except OSError as error:
                failed.append(error)
                return

    thread = threading.Thread(target=list_all)
    thread.start()
    for i in range(150):
        other.keep(Session.of(title=f"{i}"), "autosaves", f"second{i}")
    done.set()
    thread.join()
    assert failed == []
    assert len(one.listing()) == MOST["autosaves"]
