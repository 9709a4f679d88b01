"""What Ctrl-C does to a command."""

import contextlib
import signal
from typing import Iterator


def ends_the_command() -> None:
    """From here on Ctrl-C ends the process, wherever it is.

    Python's own handler raises KeyboardInterrupt instead, which is lost where it comes while a
    destructor or a callback runs, as often happens while libraries load: the command would then go
    on as if nothing had been pressed. A process that was started with Ctrl-C ignored still ignores
    it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def raises_inside() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt again, for work that has something to finish before
    the command ends."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGINT, before)
