"""Jobs: how far a piece of work is, how it is told to stop, and who computes next.

Two passes at once on one processor slow each other down more than they gain, and one that comes to
a queue of batches may have to wait for all of them. So one thread computes at a time on a device,
and when it is done with a batch, work that somebody waits for goes before background work, and
clients take turns, however many jobs each of them has. A background pass in a tree of its own gives
way between two layers.
"""

import collections
import contextlib
import contextvars
import dataclasses
import itertools
import threading
import time
from typing import Any, Callable, Iterator, Optional, Sequence, TypeVar

T = TypeVar("T")
Report = Callable[[float], None]
"""Receives the finished share of the work, 0 to 1."""


class Cancelled(Exception):
    """The work was cancelled between two batches."""


class WouldWait(Exception):
    """An answer that was to come at once needs the model."""


class Job:
    """A piece of work that can be watched and cancelled from another thread.

    Args:
        report: is called between batches with the finished share.
        background: whether work that somebody waits for goes first.
        client: whose work it is; clients take turns.
        left: is asked between batches whether nobody waits for the work any more.
        offer: receives results that are better than nothing, while the work goes on; None where
            nobody wants them.
    """

    def __init__(
        self,
        report: Optional[Report] = None,
        *,
        background: bool = False,
        client: str = "",
        left: Callable[[], bool] = lambda: False,
        offer: Optional[Callable[[Any], None]] = None,
    ):
        self.background, self.client, self.offer = background, client, offer
        self._report, self._left = report, left
        self.favoured_until = 0.0
        """Until when background work goes as if somebody waited for it, by `time.monotonic`."""
        self._cancelled = threading.Event()
        self._low, self._high, self._reported = 0.0, 1.0, 0.0

    def cancel(self) -> None:
        """Stop the work before its next batch."""
        self._cancelled.set()

    def check(self) -> None:
        """Stop here if the work was cancelled.

        Raises:
            Cancelled: somebody called `cancel`, or left.
        """
        if self._cancelled.is_set() or self._left():
            raise Cancelled("cancelled")

    def advance(self, finished: int, total: int) -> None:
        """Report progress within the part that is being done. What is reported never falls.

        Raises:
            Cancelled: see `check`.
        """
        self.check()
        if self._report is not None:
            share = finished / total if total else 1.0
            now = self._low + (self._high - self._low) * min(share, 1.0)
            self._reported = max(self._reported, now)
            self._report(self._reported)

    @contextlib.contextmanager
    def part(self, low: float, high: float) -> Iterator[None]:
        """Inside, what is reported counts as a part of the whole, from one share to another."""
        outer = self._low, self._high
        width = outer[1] - outer[0]
        self._low, self._high = outer[0] + width * low, outer[0] + width * high
        try:
            yield
        finally:
            self._low, self._high = outer


_NOBODY = Job()
_CURRENT: contextvars.ContextVar[Job] = contextvars.ContextVar("lit_tl_job", default=_NOBODY)
_AT_ONCE: contextvars.ContextVar[bool] = contextvars.ContextVar("lit_tl_at_once", default=False)


def current() -> Job:
    """The job of this context; outside of any, one that nobody watches."""
    return _CURRENT.get()


def is_watched() -> bool:
    """Whether this context has a job."""
    return _CURRENT.get() is not _NOBODY


@contextlib.contextmanager
def working_on(job: Job) -> Iterator[Job]:
    """Inside, runs of models in this context report to a job and stop when it is cancelled. While
    somebody waits for a job, background work gets no turn."""
    token = _CURRENT.set(job)
    awaited = not job.background
    _count_awaited(1 if awaited else 0)
    try:
        yield job
    finally:
        _CURRENT.reset(token)
        _count_awaited(-1 if awaited else 0)


def each(items: Sequence[T]) -> Iterator[T]:
    """The items in turn, each an equal part of the current job's work.

    Raises:
        Cancelled: the job was cancelled.
    """
    job, count = current(), len(items)
    for i, item in enumerate(items):
        job.check()
        with job.part(i / count, (i + 1) / count):
            yield item
        job.advance(i + 1, count)


@contextlib.contextmanager
def answering_at_once() -> Iterator[None]:
    """Inside, an answer that is kept somewhere comes, and anything that needs a model to run is
    refused.

    Raises:
        WouldWait: a model would have to run.
    """
    token = _AT_ONCE.set(True)
    try:
        yield
    finally:
        _AT_ONCE.reset(token)


def may_wait() -> None:
    """Called before anything waits for its turn with a model.

    Raises:
        WouldWait: see `answering_at_once`.
    """
    if _AT_ONCE.get():
        raise WouldWait("the answer needs the model")


_PATIENCE, _SLICE = 4.0, 0.8
"""Seconds after which background work goes before work that somebody waits for, and for how
long."""
_LOOK_AROUND_SECONDS = 0.5
_CLIENTS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class _Place:
    """In the queue."""

    thread: int
    gate: threading.Lock
    job: Job
    background: bool
    since: float


def _goes_last(job: Job) -> bool:
    return job.background and job.favoured_until < time.monotonic()


class Turns:
    """A reentrant lock that goes to whoever has the best claim among those who wait.

    Who that is says the current `Job`: its `background`, and its `client`, of which the
    one whose turn was longest ago comes first, and of one client who has waited longest.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: list[_Place] = []
        self._owner: Optional[int] = None
        self._depth = 0
        self._count = itertools.count(1)
        self._last_turn: "collections.OrderedDict[str, int]" = collections.OrderedDict()

    @property
    def waiting(self) -> int:
        """How many threads wait."""
        return len(self._waiting)

    def __enter__(self) -> "Turns":
        may_wait()
        me, job = threading.get_ident(), current()
        if self._owner == me:  # nobody else makes it so, or undoes it
            with self._guard:
                self._depth += 1
            return self
        gate = threading.Lock()
        gate.acquire()
        place = _Place(me, gate, job, _goes_last(job), time.monotonic())
        try:
            with self._guard:
                self._waiting.append(place)
                self._hand_over()
            while not gate.acquire(timeout=_LOOK_AROUND_SECONDS):
                job.check()
                self.hand_over()
        except BaseException:  # Ctrl-C while waiting: nobody may be left holding the lock
            self._give_up(place)
            raise
        return self

    def _give_up(self, place: _Place) -> None:
        with self._guard:
            if place in self._waiting:
                self._waiting.remove(place)
                return
        self._leave()  # it was handed over meanwhile

    def __exit__(self, *error: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        with self._guard:
            if self._owner != threading.get_ident():
                return  # it was lost in the middle of a pass that gave way, and was interrupted
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            self._hand_over()

    def give_way(self) -> None:
        """Between two layers of a background pass: let those go first who are waited for.

        Raises:
            Cancelled: the pass is not wanted any more.
        """
        if self._owner != threading.get_ident():
            return  # a backward pass on a GPU, in a thread of PyTorch's
        job = current()
        job.check()
        others = _AWAITED or any(not place.background for place in self._waiting)
        if not others or not _goes_last(job):
            return
        with self._guard:
            depth, self._depth = self._depth, 1
        self._leave()
        self.__enter__()
        self._depth = depth

    def hand_over(self) -> None:
        """Give the turn to whoever has the best claim now, if nobody has it."""
        with self._guard:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._owner is not None or not self._waiting:
            return
        now = time.monotonic()
        impatient = [
            place for place in self._waiting if place.background and place.since <= now - _PATIENCE
        ]
        candidates = (
            impatient
            or [place for place in self._waiting if not place.background]
            or ([] if _AWAITED else self._waiting)
        )
        if not candidates:
            return
        place = min(candidates, key=lambda it: (self._last_turn.get(it.job.client, 0), it.since))
        self._waiting.remove(place)
        self._remember(place.job.client)
        if impatient:
            place.job.favoured_until = now + _SLICE
        self._owner, self._depth = place.thread, 1
        place.gate.release()

    def _remember(self, client: str) -> None:
        self._last_turn[client] = next(self._count)
        self._last_turn.move_to_end(client)
        while len(self._last_turn) > _CLIENTS:
            self._last_turn.popitem(last=False)


_DEVICES: dict[str, Turns] = {}
_GUARD = threading.Lock()


def turns_on(device: str) -> Turns:
    """The turns of a device; work on another one does not wait for them."""
    with _GUARD:
        return _DEVICES.setdefault(device, Turns())


def passes_waiting() -> int:
    """How many threads wait for their turn, on all devices."""
    with _GUARD:
        return sum(turns.waiting for turns in _DEVICES.values())


_AWAITED = 0
"""How many jobs are under way that somebody waits for."""


def _count_awaited(change: int) -> None:
    global _AWAITED
    with _GUARD:
        _AWAITED += change
        devices = list(_DEVICES.values()) if change < 0 and not _AWAITED else []
    for turns in devices:
        turns.hand_over()


class PatientLock:
    """A reentrant lock that a job which is cancelled stops waiting for."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> "PatientLock":
        while not self._lock.acquire(timeout=_LOOK_AROUND_SECONDS):
            current().check()
        return self

    def __exit__(self, *error: Any) -> None:
        self._lock.release()


class GivingWay:
    """The lock of a tree for background passes, which let others have the turn between two layers:
    nobody else may use the tree meanwhile.

    Args:
        turns: of the tree's device.
    """

    def __init__(self, turns: Turns):
        self.turns, self._own = turns, PatientLock()

    def __enter__(self) -> "GivingWay":
        may_wait()
        with contextlib.ExitStack() as unless_entered:
            unless_entered.enter_context(self._own)
            self.turns.__enter__()
            unless_entered.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self.turns.__exit__(*error)
        self._own.__exit__(*error)
