"""The lock is a lock, reentrant, and first come, first served."""

import threading
import time

from lit_tl.engine.tree_state import FairLock


def test_only_one_thread_is_inside() -> None:
    lock, inside, most = FairLock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(300):
            with lock, lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0)
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
                time.sleep(0.001)

    looping = threading.Thread(target=loop)
    looping.start()
    while not order:
        pass
    for _ in range(5):
        before = len(order)
        with lock:
            assert len(order) - before <= 2, "at most who was inside and who had come before"
    stop.set()
    looping.join()
