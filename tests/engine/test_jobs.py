"""Long work says how far it is, and stops between two batches."""

from collections.abc import Iterator

import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.engine import jobs
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.runner import Runner

PROMPTS = [Prompt(ids=(0, i, i + 1)) for i in range(1, 21)]


def work(runner: Runner) -> Iterator[torch.Tensor]:
    for batch in runner.run(PROMPTS, batch_size=4):
        yield batch.need_logits()


def test_each_batch_is_reported(bundled: HookedTransformerLIT) -> None:
    heard: list[float] = []
    with jobs.working_on(jobs.Job(heard.append)):
        assert len(list(work(Runner(bundled.model)))) == 5
    assert heard == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    list(work(Runner(bundled.model)))
    assert len(heard) == 5, "outside of a job nobody listens"


def test_a_cancelled_job_stops_before_the_next_batch(bundled: HookedTransformerLIT) -> None:
    runner = Runner(bundled.model)
    job = jobs.Job(lambda share: job.cancel() if share == 0.4 else None)
    seen = []
    with jobs.working_on(job), pytest.raises(jobs.Cancelled):
        seen.extend(work(runner))
    assert len(seen) == 2
    assert len(list(work(runner))) == 5, "the model works on"


def test_predictions_are_a_job(bundled: HookedTransformerLIT) -> None:
    examples = [{"text": f"The number is {i}"} for i in range(20)]
    job = jobs.Job()
    job.cancel()
    with jobs.working_on(job), pytest.raises(jobs.Cancelled):
        list(bundled.predict(examples, fields=["loss"]))
    assert len(list(bundled.predict(examples, fields=["loss"]))) == 20


def test_an_inner_job_leaves_the_outer_as_it_was() -> None:
    heard: list[str] = []
    with jobs.working_on(jobs.Job(lambda _: heard.append("outer"))):
        with jobs.working_on(jobs.Job(lambda _: heard.append("inner"))):
            jobs.current().advance(1, 2)
        jobs.current().advance(2, 2)
    jobs.current().advance(1, 1)
    assert heard == ["inner", "outer"]


def test_parts_make_a_whole_that_never_falls() -> None:
    heard: list[float] = []
    with jobs.working_on(jobs.Job(heard.append)) as job:
        for _ in jobs.each("ab"):
            job.advance(1, 2)
        with job.part(0.0, 0.5):
            job.advance(1, 1)
    assert heard == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_work_that_nobody_waits_for_stops() -> None:
    with jobs.working_on(jobs.Job(left=lambda: True)) as job:
        with pytest.raises(jobs.Cancelled):
            job.check()
        with pytest.raises(jobs.Cancelled):
            next(jobs.each("a"))


def test_what_is_kept_comes_at_once_and_the_rest_is_refused(bundled: HookedTransformerLIT) -> None:
    from lit_tl.lit.lazy_model import LazyModel, PredictionCache

    lazy, example = LazyModel(bundled, PredictionCache(2**20)), {"text": "Kept"}
    with jobs.answering_at_once(), pytest.raises(jobs.WouldWait):
        lazy.fetch([example], ["loss"])
    expected = lazy.fetch([example], ["loss"])
    with jobs.answering_at_once():
        assert lazy.fetch([example], ["loss"]) == expected


def test_background_work_is_cut_into_small_pieces(bundled: HookedTransformerLIT) -> None:
    runner, prompts = Runner(bundled.model), [Prompt(ids=tuple(range(300)))] * 4
    sizes = []
    for background in (False, True):
        with jobs.working_on(jobs.Job(background=background)):
            sizes.append([len(batch.prompts) for batch in runner.run(prompts)])
    assert sizes == [[4], [1, 1, 1, 1]]
