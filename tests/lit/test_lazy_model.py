"""What is kept of predictions is bounded in bytes."""

import random
import threading

import numpy as np
import pytest

from lit_tl.lit.lazy_model import PredictionCache, size_in_bytes


def test_bytes_stay_under_the_bound_and_the_oldest_go() -> None:
    cache = PredictionCache(100_000)
    for i in range(200):
        cache.put(i, np.zeros(1000, np.float32))
        assert cache.bytes <= 100_000
    assert cache.get(199) is not None
    assert cache.get(0) is None


def test_what_is_used_stays() -> None:
    cache = PredictionCache(50_000)
    cache.put("used", np.ones(1000, np.float32))
    for i in range(100):
        cache.put(i, np.zeros(1000, np.float32))
        assert cache.get("used") is not None


def test_what_is_too_large_is_not_stored() -> None:
    cache = PredictionCache(3_000)
    cache.put("large", np.zeros(1000, np.float32))
    assert cache.get("large") is None
    assert cache.bytes == 0
    with pytest.raises(ValueError, match="-1 bytes"):
        PredictionCache(-1)


def test_a_missing_value_differs_from_none() -> None:
    cache = PredictionCache(10_000)
    cache.put("none", None)
    assert cache.get("none") == (None,)
    assert cache.get("other") is None


def test_sizes_grow_with_what_is_held() -> None:
    assert size_in_bytes([("a" * 100, 0.5)] * 10) > 10 * 100
    assert size_in_bytes({"x": np.zeros(100, np.float64)}) > 800


def test_threads_leave_the_bound_as_it_is() -> None:
    cache = PredictionCache(30_000)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(500):
            cache.put(rng.randrange(50), np.zeros(rng.randrange(1, 800), np.float32))
            cache.get(rng.randrange(50))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < cache.bytes <= 30_000
