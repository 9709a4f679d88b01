"""Long work says how far it is, and stops between two batches."""

import concurrent.futures
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.engine import jobs
from lit_tl.engine.hugging_face_models import HuggingFaceAdapter
from lit_tl.engine.intervention_text import parse_intervention
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Batch, Gradients, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site

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


def test_a_pass_that_gives_way_in_the_middle_gives_the_same_numbers(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others run meanwhile, with gradients and with changes, on the same weights."""
    runner, prompts = Runner(bundled.model), [Prompt(ids=tuple(range(1, 401)))] * 6
    inside, seen = threading.Event(), []

    def targets(batch: Batch) -> Targets:
        count = len(batch.prompts)
        last = [len(prompt) - 1 for prompt in batch.prompts]
        return Targets(example=range(count), pos=last, token=[5] * count, weight=[1.0] * count)

    def gradients(prompts: list[Prompt], **more: object) -> list[torch.Tensor]:
        return [
            batch.gradients[Site("embed")].clone()
            for batch in runner.run(prompts, gradients=Gradients(targets), **more)
        ]

    def background() -> list[torch.Tensor]:
        with jobs.working_on(jobs.Job(background=True)):
            return gradients(prompts)

    short = [Prompt(ids=(1, 2, 3, 4))]
    zero = [parse_intervention("resid_post[1] = 0")]
    expected, quick = background(), gradients(short)
    changed = gradients(short, interventions=zero)
    run = HuggingFaceAdapter.forward

    def forward(self: HuggingFaceAdapter, ids: torch.Tensor, **more: object) -> object:
        if ids.shape[1] != 400:
            return run(self, ids, **more)
        inside.set()
        try:
            return run(self, ids, **more)
        finally:
            inside.clear()

    monkeypatch.setattr(HuggingFaceAdapter, "forward", forward)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(background)
        while not slow.done():
            with jobs.working_on(jobs.Job()):
                assert torch.equal(gradients(short)[0], quick[0])
                assert torch.equal(gradients(short, interventions=zero)[0], changed[0])
                seen.append(inside.is_set())
            time.sleep(0.005)
    assert any(seen), "a short pass came while a long one was in its layers"
    for values, before in zip(slow.result(), expected, strict=True):
        assert torch.equal(values, before)
