"""Statistics made block by block are those of all log-probabilities."""

import functools
from typing import Any, Callable

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.lens import LogitLens, PredictionTrajectory, Unembed, blockwise, measures
from lit_tl.lens.blockwise import NotFinite, Plan, Reader, linear_readout
from lit_tl.lens.predictions import LensPredictions
from tests.conftest import FAMILIES

TEXT = "When Mary and John went to the store, John gave a book to"
MEASURES: dict[str, Callable[..., torch.Tensor]] = {
    name: getattr(measures, name)
    for name in (
        "entropy",
        "forward_kl",
        "max_probability",
        "cross_entropy",
        "rank",
        "log_prob_diff",
    )
}
MEASURES["top"] = functools.partial(measures.ids_and_probabilities, count=7)


def trajectory(model: Any, **options: Any) -> PredictionTrajectory:
    ids = model.to_tokens(TEXT, prepend_bos=True)[0].numpy()
    return PredictionTrajectory.from_lens_and_model(
        LogitLens.from_model(model),
        model,
        ids,
        targets=np.roll(ids, -1),
        anti_targets=np.full(len(ids), 7),
        **options,
    )


def read(of: PredictionTrajectory, rows: list[int]) -> Any:
    """Block by block; None where that can't be."""
    plan = Plan.of(MEASURES)
    assert plan is not None
    assert isinstance(of.predictions, LensPredictions)
    assert of.targets is not None
    assert of.anti_targets is not None
    targets, others = torch.from_numpy(of.targets), torch.from_numpy(of.anti_targets)
    return of.predictions.statistics(plan, rows, targets, others)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("small", [False, True])
def test_blocks_say_what_the_whole_says(
    family: str,
    small: bool,
    models: dict[str, HookedTransformerLIT],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if small:  # many blocks, the last of which is not full
        monkeypatch.setattr(blockwise, "_COLUMNS", 3 * blockwise._GROUP)
        monkeypatch.setattr(blockwise, "_MOST_ROWS", 11)
        monkeypatch.setattr(blockwise, "POSITIONS", 5)
    of = trajectory(models[family].model)
    for rows in ([*range(of.predictions.n_rows)], [0, 2]):
        blocks = read(of, rows)
        if family == "gemma2":  # its logits are more than a product: they are capped
            assert blocks is None
            return
        assert blocks is not None
        dense = PredictionTrajectory(of.log_probs, of.input_ids, of.targets, of.anti_targets)
        whole = dense.sweep(MEASURES, rows=rows)
        for name in MEASURES:
            if name in ("top", "rank"):
                continue
            assert np.allclose(blocks[name], whole[name], atol=2e-4), name
        assert np.allclose(blocks["top"][..., 1], whole["top"][..., 1], atol=1e-5)
        chosen = np.take_along_axis(
            of.log_probs[rows], blocks["top"][..., 0].long().numpy(), axis=-1
        )
        assert np.allclose(np.exp(chosen), whole["top"][..., 1], atol=1e-5), "each id has its value"
        near = np.abs(blocks["rank"].numpy() - whole["rank"]) <= 1 + whole["rank"] * 0.02
        assert near.all(), "ties and rounding move a rank by little"
        assert np.array_equal(whole["rank"] == 1, blocks["rank"].numpy() == 1)


def test_a_batch_and_a_slice_are_read_in_their_places(bundled: HookedTransformerLIT) -> None:
    model, lens = bundled.model, LogitLens.from_model(bundled.model)
    ids = np.arange(60).reshape(2, 3, 10)
    both = PredictionTrajectory.from_lens_and_model(lens, model, ids.reshape(6, 10))
    one = PredictionTrajectory.from_lens_and_model(lens, model, ids[1, 0])
    reduces = {"entropy": measures.entropy}
    assert np.allclose(both.sweep(reduces)["entropy"][3], one.sweep(reduces)["entropy"], atol=1e-4)
    cut = both.slice_sequence(slice(2, 6)).sweep(reduces)["entropy"]
    assert np.allclose(cut, both.sweep(reduces)["entropy"][..., 2:6], atol=1e-4)


def test_what_is_no_product_is_read_as_a_whole(bundled: HookedTransformerLIT) -> None:
    rows = [*range(5)]
    masked = trajectory(bundled.model, mask_input=True)
    assert read(masked, rows) is None
    model = bundled.model
    hook = model.unembed.register_forward_hook(lambda *_: None)
    try:
        assert read(trajectory(model), rows) is None
    finally:
        hook.remove()
    assert read(trajectory(model), rows) is not None
    assert Plan.of({"own": lambda log_probs, **known: log_probs[..., 0]}) is None


def test_logits_that_are_not_finite_are_refused(bundled: HookedTransformerLIT) -> None:
    linear = linear_readout(Unembed(bundled.model))
    assert linear is not None
    plan = Plan.of({"entropy": measures.entropy})
    assert plan is not None
    x = torch.randn(2, 3, linear.weight.shape[1])
    x[1, 2, 0] = torch.inf
    with pytest.raises(NotFinite):
        list(Reader(linear, plan).read(x, None, None))


def test_bfloat16_is_near(bundled: HookedTransformerLIT) -> None:
    exact = trajectory(bundled.model).entropy().stats
    rounded = trajectory(bundled.model).unembedded_in("bfloat16").entropy().stats
    assert not np.array_equal(exact, rounded)
    assert np.abs(exact - rounded).max() < 0.05


def test_prompts_of_a_batch_are_one_sequence(bundled: HookedTransformerLIT) -> None:
    from lit_tl.lens.sweeps import observed

    runner = bundled.loaded.runner
    prompts = [bundled.loaded.prompt({"text": text}) for text in (TEXT, "The", "He said that")]
    lens = LogitLens.from_model(bundled.model)
    (batch,) = runner.run(prompts, observe=observed(runner, "resid_pre"), logits="none")
    joined = PredictionTrajectory.from_batch(lens, batch, "resid_pre").entropy().stats
    first = 0
    for place in batch.index:
        ids = np.array(prompts[place].ids)
        alone = PredictionTrajectory.from_lens_and_model(lens, bundled.model, ids).entropy().stats
        assert np.allclose(joined[:, first : first + len(ids)], alone, atol=1e-4)
        first += len(ids)
    assert first == joined.shape[1]
