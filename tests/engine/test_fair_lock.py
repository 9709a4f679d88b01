"""The lock is a lock, reentrant, and first come, first served."""

import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from lit_tl.engine.tree_state import FairLock


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_only_one_thread_is_inside() -> None:
    lock, inside, most = FairLock(), 0, 0

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
    lock, order, stop = FairLock(), [], threading.Event()

    def loop() -> None:
        while not stop.is_set():
            with lock:
                order.append("loop")
                while not lock._waiting and not stop.is_set():
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
    lock, entered, leave = FairLock(), threading.Event(), threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job

    def hold() -> None:
        with lock:
            entered.set()
            leave.wait(timeout=60)

    def interrupt() -> None:
        while not lock._waiting:
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
