"""How a long piece of work says how far it is, and how it is told to stop."""

import contextlib
import contextvars
import threading
from typing import Callable, Iterator, Optional

Report = Callable[[int, int], None]
"""Receives the units of work that are finished, and how many there are."""


class Cancelled(RuntimeError):
    """The work was cancelled between two batches."""


class Job:
    """A piece of work that can be watched and cancelled from another thread.

    Args:
        report: is called between batches with the prompts that were run and their number.
    """

    def __init__(self, report: Optional[Report] = None):
        self._report = report
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Stop the work before its next batch."""
        self._cancelled.set()

    def advance(self, finished: int, total: int) -> None:
        """Report progress.

        Raises:
            Cancelled: somebody called `cancel`.
        """
        if self._cancelled.is_set():
            raise Cancelled(f"cancelled after {finished} of {total} prompts")
        if self._report is not None:
            self._report(finished, total)


_CURRENT: contextvars.ContextVar[Optional[Job]] = contextvars.ContextVar("lit_tl_job", default=None)


@contextlib.contextmanager
def working_on(job: Job) -> Iterator[Job]:
    """Inside, runs of models in this context report to a job and stop when it is cancelled."""
    token = _CURRENT.set(job)
    try:
        yield job
    finally:
        _CURRENT.reset(token)


def advance(finished: int, total: int) -> None:
    """Report to the current job, if there is one.

    Raises:
        Cancelled: the job was cancelled.
    """
    job = _CURRENT.get()
    if job is not None:
        job.advance(finished, total)
