"""Long work says how far it is, and stops between two batches."""

from collections.abc import Iterator

import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.engine import progress
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.runner import Runner

PROMPTS = [Prompt(ids=(0, i, i + 1)) for i in range(1, 21)]


def work(runner: Runner) -> Iterator[torch.Tensor]:
    for batch in runner.run(PROMPTS, batch_size=4):
        yield batch.need_logits()


def test_each_batch_is_reported(bundled: HookedTransformerLIT) -> None:
    heard: list[tuple[int, int]] = []
    with progress.working_on(progress.Job(lambda *counts: heard.append(counts))):
        assert len(list(work(Runner(bundled.model)))) == 5
    assert heard == [(4, 20), (8, 20), (12, 20), (16, 20), (20, 20)]
    list(work(Runner(bundled.model)))
    assert len(heard) == 5, "outside of a job nobody listens"


def test_a_cancelled_job_stops_before_the_next_batch(bundled: HookedTransformerLIT) -> None:
    runner = Runner(bundled.model)
    job = progress.Job(lambda finished, total: job.cancel() if finished == 8 else None)
    seen = []
    with progress.working_on(job), pytest.raises(progress.Cancelled, match="after 12 of 20"):
        seen.extend(work(runner))
    assert len(seen) == 2
    assert len(list(work(runner))) == 5, "the model works on"


def test_predictions_are_a_job(bundled: HookedTransformerLIT) -> None:
    examples = [{"text": f"The number is {i}"} for i in range(20)]
    job = progress.Job()
    job.cancel()
    with progress.working_on(job), pytest.raises(progress.Cancelled):
        list(bundled.predict(examples, fields=["loss"]))
    assert len(list(bundled.predict(examples, fields=["loss"]))) == 20


def test_an_inner_job_leaves_the_outer_as_it_was() -> None:
    heard: list[str] = []
    with progress.working_on(progress.Job(lambda *_: heard.append("outer"))):
        with progress.working_on(progress.Job(lambda *_: heard.append("inner"))):
            progress.advance(1, 2)
        progress.advance(2, 2)
    progress.advance(1, 1)
    assert heard == ["inner", "outer"]
