"""What a pass needs is estimated, batches fit, and what does not fit is refused in a sentence."""

import numpy as np
import psutil
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.engine import memory
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site

PROMPTS = [Prompt(ids=tuple(range(1, 101)))] * 8


@pytest.fixture(autouse=True)
def no_limit_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_on", memory.free_on)


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(memory, "free_on", lambda device: size)


def needed(runner: Runner, rows: int) -> int:
    needs = memory.Needs(
        gradients=False, logits=True, observe={}, bytes_of_number=4, fused_attention=True
    )
    return memory.bytes_of_pass(runner.shape, needs, rows=rows, length=100)


def test_batches_are_as_large_as_memory_allows(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(bundled.model)
    expected = [batch.need_logits() for batch in runner.run(PROMPTS)]
    assert [len(logits) for logits in expected] == [8]
    free(monkeypatch, needed(runner, 3))
    batches = list(runner.run(PROMPTS))
    assert [list(batch.index) for batch in batches] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    logits = torch.cat([batch.need_logits() for batch in batches])
    assert torch.allclose(logits, expected[0], atol=1e-4)


def test_a_prompt_that_does_not_fit_is_refused_in_a_sentence(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(bundled.model)
    free(monkeypatch, 1_000_000)
    sentence = r"a prompt of 100 tokens takes about 3 MB in .*, and 1 MB of memory is free"
    with pytest.raises(memory.OutOfMemory, match=sentence):
        list(runner.run(PROMPTS))
    with pytest.raises(memory.OutOfMemory, match=sentence):
        runner.run_ids(torch.arange(100)[None])


def test_what_was_let_go_of_is_collected_before_a_prompt_is_refused(
    bundled: HookedTransformerLIT,
) -> None:
    class Ring:
        def __init__(self) -> None:
            self.itself, self.held = self, np.ones(40_000_000)

    runner = Runner(bundled.model)
    ring = Ring()
    memory.set_limit(psutil.Process().memory_info().rss + 1_000_000)
    try:
        del ring  # it holds itself
        assert len(list(runner.run(PROMPTS[:1]))) == 1
    finally:
        memory.set_limit(None)


def test_a_prompt_that_takes_more_than_was_thought_is_refused_so(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*of: object) -> None:
        raise MemoryError

    runner = Runner(bundled.model)
    monkeypatch.setattr(runner, "_run", fails)
    sentence = r"a prompt of 100 tokens takes more than the .* of memory that are free"
    with pytest.raises(memory.OutOfMemory, match=sentence):
        list(runner.run(PROMPTS[:1]))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: x"),
        torch.OutOfMemoryError(),
    ],
)
def test_memory_that_ends_in_a_pass_halves_the_batch(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """As PyTorch says it on a CPU and on a GPU, where an estimate was too low."""
    runner, sizes = Runner(bundled.model), []
    run = runner._run

    def fails_above_two(prompts: list[Prompt], *rest: object) -> object:
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise error
        return run(prompts, *rest)

    monkeypatch.setattr(runner, "_run", fails_above_two)
    assert len(list(runner.run(PROMPTS))) == 4
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_attention_that_is_looked_at_is_counted(bundled: HookedTransformerLIT) -> None:
    shape = Runner(bundled.model).shape
    sizes = []
    for observe in ({}, {"pattern": Observe(Site("pattern"))}):
        needs = memory.Needs(
            gradients=False, logits=False, observe=observe, bytes_of_number=4, fused_attention=True
        )
        sizes.append(memory.bytes_of_pass(shape, needs, rows=1, length=500))
    kept = 4 * shape.n_layers * shape.n_heads * 500 * 500
    assert sizes[1] - sizes[0] >= kept


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8e9), ("50000 mb", 5e10), ("1.5TB", 1.5e12), ("9" * 400 + "TB", 1e18)],
)
def test_limits_as_sizes(text: str, size: float) -> None:
    assert memory.limit_of(text) == size


def test_a_limit_as_a_share_and_what_is_left_of_it() -> None:
    whole, half = memory.limit_of("100%"), memory.limit_of("50%")
    assert half < whole
    try:
        memory.set_limit(half)
        assert memory.free_on_cpu() <= half
        memory.set_limit(1000)
        assert memory.free_on_cpu() == 0
    finally:
        memory.set_limit(None)


def test_a_limit_below_what_the_server_itself_takes() -> None:
    with pytest.raises(ValueError, match=r"a memory limit of 10MB: the server takes .* needs"):
        memory.limit_of("10MB")


@pytest.mark.parametrize("text", ["", "8", "GB", "-1GB", "0%", "101%", "nan GB", "8 XB"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="give a size such as 8GB"):
        memory.limit_of(text)
