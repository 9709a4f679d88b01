"""Requests for the same inputs at the same time: each is computed once, and nobody waits in
vain."""

import threading

from lit_tl.engine import jobs
from lit_tl.lit.lazy_model import _UnderWay

ENTRIES = {("loss",): [({}, f"key {i}", {}) for i in range(3)]}


def test_what_is_asked_for_twice_is_computed_once() -> None:
    under_way = _UnderWay()
    own, finished, others = under_way.claim(ENTRIES)
    assert own == ENTRIES
    assert others == []
    own_too, finished_too, others_too = under_way.claim(ENTRIES)
    assert own_too == {}
    assert set(others_too) == {finished}
    under_way.release(own, finished)
    assert finished.is_set()
    under_way.release(own_too, finished_too)
    assert under_way.claim(ENTRIES)[0] == ENTRIES


def test_background_work_that_was_overtaken_still_says_that_it_has_ended() -> None:
    under_way = _UnderWay()
    with jobs.working_on(jobs.Job(background=True)):
        own, finished, _ = under_way.claim(ENTRIES)
        _, _, waits_for = under_way.claim(ENTRIES)
    taken_over, finished_first, others = under_way.claim(ENTRIES)
    assert taken_over == ENTRIES
    assert others == [], "who is waited for does not wait for background work"
    under_way.release(own, finished)
    assert all(event.is_set() for event in waits_for)
    _, _, waits_for_first = under_way.claim(ENTRIES)
    assert set(waits_for_first) == {finished_first}, "its claim is still there"
    under_way.release(taken_over, finished_first)
    assert all(isinstance(event, threading.Event) and event.is_set() for event in waits_for_first)
