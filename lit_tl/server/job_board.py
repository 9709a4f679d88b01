"""Requests as jobs: in threads of their own, with a queue that is fair, and followers.

Whoever asks for what another already waits for follows that job. A follower holds a ticket: for as
long as its connection is open, or, where it asked for a reply at once, until it has not looked for
30 seconds, so that a page that is loaded again finds its job. A job that nobody follows stops.
"""

import collections
import dataclasses
import math
import secrets
import threading
import time
from typing import Any, Callable, Mapping, Optional

from absl import logging

from lit_tl.engine import freed_memory
from lit_tl.engine.jobs import Cancelled, Job, working_on

KEEP_SECONDS = 30.0
"""How long a job goes on, or its answer is kept, when nobody looks."""
_RUNNING = {False: 16, True: 8}
_OF_A_CLIENT = {False: 8, True: 2}
"""Most jobs that run at once, of all clients and of one: those that somebody waits for, and
background work."""
_WAITING_OF_A_CLIENT = 200
_LARGE = 2**20
_BYTES_OF_A_CLIENT, _BYTES = 48 * 2**20, 96 * 2**20
"""Most bytes of the bodies of requests that wait or run, of one client and of all."""
_LOOK_AROUND_SECONDS = 0.1


class TooManyJobs(Exception):
    """A client asks for more while much of what it asked for waits."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a request is answered with.

    Args:
        status: of HTTP.
        body: JSON.
    """

    status: int
    body: bytes


CANCELLED = Outcome(499, b'{"error": "cancelled"}')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a job is to do.

    Args:
        key: the same for requests with the same answer.
        title: for people.
        client: who asks.
        background: whether it takes long, and others go first.
        size: of the request, in bytes.
        work: the answer.
        partial: makes a body of what the work offers while it goes on.
    """

    key: str
    title: str
    client: str
    background: bool
    size: int
    work: Callable[[], Outcome]
    partial: Callable[[Any], bytes]


class RunningJob:
    """A task under way.

    Args:
        task: what it does.
    """

    def __init__(self, task: Task):
        self.task = task
        self.id = secrets.token_hex(4)
        self.outcome: Optional[Outcome] = None
        self.share = 0.0
        """Of the work that is finished."""
        self.partial: tuple[int, bytes] = (0, b"")
        """How many partial results have come, and the last one."""
        self.started: Optional[float] = None
        self.tickets: dict[str, float] = {}
        """Until when each follower is taken to wait."""
        self._changed = threading.Condition()
        self.job = Job(
            self._report, background=task.background, client=task.client, offer=self._offer
        )

    @property
    def seconds_left(self) -> Optional[float]:
        """By the pace so far; None where nothing can be said yet."""
        elapsed = 0.0 if self.started is None else time.monotonic() - self.started
        if elapsed < 1.0 or not 0.0 < self.share < 1.0:
            return None
        return elapsed * (1.0 / self.share - 1.0)

    def run(self) -> None:
        """Do the work; `outcome` is there afterwards."""
        self.started = time.monotonic()
        try:
            with working_on(self.job):
                self.job.check()
                outcome = self.task.work()
        except Cancelled:
            outcome = CANCELLED
        except BaseException:  # noqa: BLE001  (the thread's outer edge: followers must hear of it)
            logging.exception("the job %s failed", self.task.title)
            outcome = Outcome(500, b'{"error": "the server failed; its log has the reason"}')
        self.task = dataclasses.replace(self.task, work=lambda: CANCELLED)  # lets go of the request
        with self._changed:
            self.outcome = outcome
            self._changed.notify_all()

    def wait(self, seconds: float) -> Optional[Outcome]:
        """The answer, if it comes within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.outcome is not None, timeout=seconds)
            return self.outcome

    def _report(self, share: float) -> None:
        self.share = share

    def _offer(self, result: Any) -> None:
        self.partial = (self.partial[0] + 1, self.task.partial(result))


class JobBoard:
    """Starts jobs, tells how far they are, and stops those that nobody follows.

    Args:
        keep_seconds: how long a follower that asked for a reply at once may look away.
    """

    def __init__(self, keep_seconds: float = KEEP_SECONDS):
        self._keep = keep_seconds
        self._guard = threading.Condition()
        self._jobs: dict[str, RunningJob] = {}
        self._tickets: dict[str, RunningJob] = {}
        self._queue: list[RunningJob] = []
        self._running: list[RunningJob] = []
        self._sweeper: Optional[threading.Thread] = None
        self.finished: "collections.Counter[str]" = collections.Counter()
        """How many jobs have ended, by how they ended."""

    def start(self, task: Task) -> tuple[RunningJob, str]:
        """A job and a ticket for it: the one that is under way for this key, or a new one.

        Raises:
            TooManyJobs: much of what this client asked for waits already.
        """
        with self._guard:
            running = self._jobs.get(task.key)
            if running is None or running.outcome is not None:
                self._check_room(task)
                running = self._jobs[task.key] = RunningJob(task)
                self._queue.append(running)
            ticket = secrets.token_urlsafe(16)
            running.tickets[ticket] = math.inf
            self._tickets[ticket] = running
            self._dispatch()
        return running, ticket

    def _check_room(self, task: Task) -> None:
        waiting = sum(job.task.client == task.client for job in self._queue)
        if waiting >= _WAITING_OF_A_CLIENT:
            raise TooManyJobs(f"{waiting} of your requests wait: try again later")
        under_way = [*self._queue, *self._running]
        own = sum(job.task.size for job in under_way if job.task.client == task.client)
        whole = sum(job.task.size for job in under_way)
        if under_way and (own + task.size > _BYTES_OF_A_CLIENT or whole + task.size > _BYTES):
            raise TooManyJobs("requests with much data wait already: try again later")

    def wait(
        self, running: RunningJob, ticket: str, seconds: float, left: Callable[[], bool]
    ) -> Optional[Outcome]:
        """The answer, if it comes within so many seconds and the follower does not leave.

        With the answer the ticket ends, and it ends where the follower leaves.
        """
        end = time.monotonic() + seconds
        while True:
            remaining = max(0.0, end - time.monotonic())
            outcome = running.wait(min(remaining, _LOOK_AROUND_SECONDS))
            if outcome is not None or left():
                self.leave(ticket)
                return outcome
            if not remaining:
                return None

    def look(self, ticket: str, *, wait: float) -> Optional[RunningJob]:
        """The job of a ticket, after its answer or so many seconds; None where there is none. From
        now on the follower may look away for a while."""
        with self._guard:
            running = self._tickets.get(ticket)
            if running is None:
                return None
            running.tickets[ticket] = time.monotonic() + self._keep + wait
            self._start_sweeping()
        running.wait(wait)
        return running

    def leave(self, ticket: str) -> None:
        """A follower needs the answer no more. A job without followers stops."""
        with self._guard:
            running = self._tickets.pop(ticket, None)
            if running is None:
                return
            running.tickets.pop(ticket, None)
            if not running.tickets:
                self._end(running)
        if running.task.size > _LARGE:
            freed_memory.collect_and_give_back()

    def jobs_of(self, client: str) -> list[tuple[RunningJob, str]]:
        """A client's jobs that have not ended, each with a new ticket: a page that was loaded again
        follows them."""
        with self._guard:
            found = []
            for running in self._jobs.values():
                if running.task.client == client and running.outcome is None:
                    ticket = secrets.token_urlsafe(16)
                    running.tickets[ticket] = time.monotonic() + self._keep
                    self._tickets[ticket] = running
                    found.append((running, ticket))
            if found:
                self._start_sweeping()
            return found

    def counts(self) -> Mapping[str, int]:
        """How many jobs wait and run."""
        with self._guard:
            return {"queued": len(self._queue), "running": len(self._running)}

    def stop(self) -> None:
        """Cancel everything."""
        with self._guard:
            for running in [*self._queue, *self._running]:
                running.job.cancel()

    def _end(self, running: RunningJob) -> None:
        running.job.cancel()
        if self._jobs.get(running.task.key) is running:
            del self._jobs[running.task.key]
        if running in self._queue:
            self._queue.remove(running)
            self.finished["cancelled"] += 1

    def _dispatch(self) -> None:
        """Start what may start: of the client with the fewest running jobs, the oldest."""
        for background in (False, True):
            while True:
                running = [job for job in self._running if job.task.background is background]
                of_client = collections.Counter(job.task.client for job in running)
                ready = [
                    job
                    for job in self._queue
                    if job.task.background is background
                    and of_client[job.task.client] < _OF_A_CLIENT[background]
                ]
                if not ready or len(running) >= _RUNNING[background]:
                    break
                chosen = min(ready, key=lambda job: of_client[job.task.client])
                self._queue.remove(chosen)
                self._running.append(chosen)
                name = f"lit_tl: {chosen.task.title}"
                threading.Thread(target=self._run, args=(chosen,), daemon=True, name=name).start()

    def _run(self, running: RunningJob) -> None:
        running.run()
        assert running.outcome is not None
        with self._guard:
            self._running.remove(running)
            status = running.outcome.status
            ended = "done" if status < 400 else "cancelled" if status == 499 else "failed"
            self.finished[ended] += 1
            self._dispatch()
        if running.task.size > _LARGE:
            freed_memory.collect_and_give_back()

    def _start_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweeper = threading.Thread(
                target=self._sweep, daemon=True, name="lit_tl: jobs that nobody follows"
            )
            self._sweeper.start()

    def _sweep(self) -> None:
        """Take the tickets of those who have not looked for long."""
        while True:
            with self._guard:
                now = time.monotonic()
                until = [(t, job.tickets[t]) for t, job in self._tickets.items()]
                gone = [ticket for ticket, end in until if end < now]
                if not any(end < math.inf for _, end in until):
                    self._sweeper = None
                    return
            for ticket in gone:
                self.leave(ticket)
            time.sleep(min(1.0, self._keep / 10))
