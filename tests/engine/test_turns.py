"""One thread at a time; then what somebody waits for, and clients in turns."""

import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from lit_tl.engine import jobs
from lit_tl.engine.jobs import Turns


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_only_one_thread_is_inside() -> None:
    lock, inside, most = Turns(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(300):
            with lock, lock:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert (inside, most) == (0, 1)


def test_a_loop_lets_those_in_who_wait() -> None:
    lock, order, stop = Turns(), [], threading.Event()

    def loop() -> None:
        while not stop.is_set():
            with lock:
                order.append("loop")
                while not lock.waiting and not stop.is_set():
                    pass

    looping = threading.Thread(target=loop)
    looping.start()
    while not order:
        pass
    for _ in range(5):
        before = len(order)
        with lock:
            assert len(order) - before <= 1, "at most who was inside, or came just before"
    stop.set()
    looping.join()


def test_a_thread_that_is_interrupted_while_it_waits_leaves_the_lock_to_others() -> None:
    lock, entered, leave = Turns(), threading.Event(), threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job

    def hold() -> None:
        with lock:
            entered.set()
            leave.wait(timeout=60)

    def interrupt() -> None:
        while not lock.waiting:
            pass
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    holding, interrupting = threading.Thread(target=hold), threading.Thread(target=interrupt)
    holding.start()
    entered.wait(timeout=60)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt), lock:
        pass
    signal.signal(signal.SIGINT, before)
    leave.set()
    holding.join(timeout=60)
    interrupting.join(timeout=60)
    inside: list[bool] = []

    def enter() -> None:
        with lock:
            inside.append(True)

    after = threading.Thread(target=enter)
    after.start()
    after.join(timeout=60)
    assert inside == [True]


class Queue:
    """Threads that come one after another while the turn is taken, and the order they get it in."""

    def __init__(self) -> None:
        self.turns, self.order = Turns(), []
        self._threads: list[threading.Thread] = []

    def come(self, name: str, **who: object) -> None:
        """A thread of its own waits for its turn."""
        waiting = self.turns.waiting

        def work() -> None:
            with jobs.working_on(jobs.Job(**who)), self.turns:
                self.order.append(name)

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()
        while self.turns.waiting == waiting:
            pass

    def finish(self) -> list[str]:
        """The order, when all have had their turns."""
        for thread in self._threads:
            thread.join(timeout=60)
        return self.order


def test_what_somebody_waits_for_goes_before_background_work() -> None:
    queue = Queue()
    with queue.turns:
        queue.come("old background", background=True)
        queue.come("background", background=True)
        queue.come("asked")
        queue.come("asked too")
    assert queue.finish() == ["asked", "asked too", "old background", "background"]


def test_background_work_goes_first_when_it_has_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = Queue()
    with queue.turns:
        queue.come("background", background=True)
        queue.come("asked")
        monkeypatch.setattr("lit_tl.engine.jobs._PATIENCE", 0.0)
    assert queue.finish() == ["background", "asked"]


def test_a_client_with_many_jobs_takes_turns_with_one_who_has_one() -> None:
    queue = Queue()
    with queue.turns:
        for i in range(4):
            queue.come(f"many {i}", client="many", background=True)
        queue.come("one", client="one", background=True)
    assert queue.finish() == ["many 0", "one", "many 1", "many 2", "many 3"]


def test_an_answer_that_is_to_come_at_once_does_not_wait() -> None:
    with jobs.answering_at_once(), pytest.raises(jobs.WouldWait), Turns():
        pass
    with Turns():
        pass


def test_background_work_gets_a_share_beside_an_endless_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lit_tl.engine.jobs._PATIENCE", 0.2)
    monkeypatch.setattr("lit_tl.engine.jobs._SLICE", 0.1)
    turns, stop, shares = Turns(), threading.Event(), {"asked": 0, "background": 0}

    def work(name: str, background: bool) -> None:
        with jobs.working_on(jobs.Job(background=background, client=name)):
            while not stop.is_set():
                with turns:
                    shares[name] += 1
                    for _ in range(10):
                        time.sleep(0.001)
                        if background:
                            turns.give_way()

    threads = [
        threading.Thread(target=work, args=args)
        for args in (("asked", False), ("asked", False), ("background", True))
    ]
    for thread in threads:
        thread.start()
    wait_until = time.monotonic() + 30
    while shares["background"] < 12 and time.monotonic() < wait_until:
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert shares["background"] >= 12
    assert shares["asked"] > shares["background"]


def test_a_cancelled_job_stops_waiting_for_its_turn() -> None:
    turns, job, ended = Turns(), jobs.Job(background=True), threading.Event()

    def work() -> None:
        with jobs.working_on(job), pytest.raises(jobs.Cancelled), turns:
            pass
        ended.set()

    with turns:
        waiting = threading.Thread(target=work)
        waiting.start()
        while not turns.waiting:
            pass
        job.cancel()
        assert ended.wait(timeout=30)
        assert not turns.waiting
    waiting.join()


def test_a_pass_that_is_interrupted_while_it_gives_way_leaves_the_turn_to_others() -> None:
    turns, job = Turns(), jobs.Job(background=True)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with jobs.working_on(jobs.Job()), turns:
            inside.set()
            job.cancel()
            leave.wait(timeout=60)

    holding = threading.Thread(target=other)

    def a_pass() -> None:
        with turns:
            holding.start()
            while not turns.waiting:
                pass
            turns.give_way()

    with jobs.working_on(job), pytest.raises(jobs.Cancelled):
        a_pass()
    assert inside.is_set()
    third = threading.Thread(target=lambda: turns.__enter__())
    third.start()
    while not turns.waiting:
        pass
    assert turns._owner == holding.ident, "nobody else is in"
    leave.set()
    holding.join(timeout=60)
    third.join(timeout=60)
