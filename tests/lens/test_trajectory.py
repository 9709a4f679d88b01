"""Truths about trajectories."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.lens import LogitLens, PredictionTrajectory, TokenFormatter, TunedLens, predictions
from tests.conftest import FAMILIES

TEXT = "When Mary and John went to the store, John gave a book to"
OTHER = "When Mary and John went to the store, Mary gave a book to"


def ids_of(model: Any, text: str = TEXT) -> np.ndarray:
    return model.to_tokens(text, prepend_bos=True)[0].numpy()


def trajectory(model: Any, lens: Any, text: str = TEXT, **options: Any) -> PredictionTrajectory:
    ids = ids_of(model, text)
    return PredictionTrajectory.from_lens_and_model(
        lens, model, ids, targets=np.roll(ids, -1), **options
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_tuned_lens_is_the_logit_lens_and_the_last_row_is_the_model(
    family: str, models: dict[str, HookedTransformerLIT]
) -> None:
    model = models[family].model
    logit = trajectory(model, LogitLens.from_model(model))
    tuned = trajectory(model, TunedLens.from_model(model))
    assert np.allclose(logit.log_probs, tuned.log_probs, atol=1e-5)
    with torch.no_grad():
        own = model(torch.from_numpy(ids_of(model))[None])[0].float().log_softmax(-1)
    assert np.allclose(logit.log_probs[-1], own, atol=1e-4)
    assert np.allclose(logit.forward_kl().stats[-1], 0, atol=1e-6)
    post = trajectory(model, LogitLens.from_model(model), residual_component="resid_post")
    assert np.allclose(post.log_probs[-2], own, atol=1e-4), (
        "what the last block writes is what the model says"
    )
    assert np.allclose(post.log_probs[0], logit.log_probs[1], atol=1e-5), (
        "a block's output is the next one's input"
    )
    if family == "gpt_neox":
        with pytest.raises(
            ValueError, match="has no resid_mid: attention and MLP run side by side in it"
        ):
            trajectory(model, LogitLens.from_model(model), residual_component="resid_mid")
        return
    mid = trajectory(model, LogitLens.from_model(model), residual_component="resid_mid")
    assert not np.allclose(mid.log_probs[0], logit.log_probs[0], atol=1e-3)


def test_divergences_keep_their_bounds(bundled: HookedTransformerLIT) -> None:
    lens = LogitLens.from_model(bundled.model)
    one, two = trajectory(bundled.model, lens), trajectory(bundled.model, lens, OTHER)
    js, back = one.js_divergence(two).stats, two.js_divergence(one).stats
    assert np.allclose(js, back, atol=1e-5)
    assert 0 <= js.min() <= js.max() <= math.log(2) + 1e-6
    assert js.max() > 0.1
    variation = one.total_variation(two).stats
    assert 0 <= variation.min() <= variation.max() <= 1 + 1e-6
    assert np.allclose(one.js_divergence(one).stats, 0, atol=1e-6)
    assert (one.max_abs_difference(two).stats <= variation + 1e-6).all()
    bits = one.js_divergence(two, units="bits")
    assert np.allclose(bits.stats, js / math.log(2), atol=1e-5)
    assert bits.units == "bits"


def test_ranks_are_one_where_the_target_is_the_likeliest(bundled: HookedTransformerLIT) -> None:
    result = trajectory(bundled.model, LogitLens.from_model(bundled.model))
    assert result.targets is not None
    likeliest = result.log_probs.argmax(-1) == result.targets
    ranks = result.rank().stats
    assert likeliest.any()
    assert (ranks[likeliest] == 1).all()
    assert (ranks[~likeliest] > 1).all()
    shown = result.rank(show_ranks=True).trajectory_labels
    assert shown is not None
    assert shown.label_strings[0, 0] == str(ranks[0, 0])


def test_statistics_equal_their_definitions(bundled: HookedTransformerLIT) -> None:
    result = trajectory(bundled.model, LogitLens.from_model(bundled.model))
    result.anti_targets = np.full(result.num_tokens, 7)
    log_probs, probs = result.log_probs, result.probs
    assert np.allclose(result.entropy().stats, -(probs * log_probs).sum(-1), atol=1e-4)
    assert np.allclose(result.max_probability().stats, probs.max(-1), atol=1e-6)
    at = np.take_along_axis(
        log_probs, np.broadcast_to(result.targets, log_probs.shape[:2])[..., None], -1
    )[..., 0]
    assert np.allclose(result.cross_entropy().stats, -at, atol=1e-4)
    difference = result.log_prob_diff()
    assert np.allclose(difference.stats, at - log_probs[..., 7], atol=1e-4)
    delta = result.log_prob_diff(delta=True)
    assert np.allclose(delta.stats, np.diff(difference.stats, axis=0), atol=1e-5)
    assert (delta.num_layers, delta.includes_output) == (4, False)


def test_chunks_batches_and_slices_give_the_same_numbers(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, lens = bundled.model, LogitLens.from_model(bundled.model)
    whole = trajectory(model, lens).entropy().stats
    both = PredictionTrajectory.from_lens_and_model(
        lens, model, np.stack([ids_of(model), ids_of(model, OTHER)])
    )
    assert (both.batch_shape, both.batch_axes, both.n_batch_axis) == ((2,), (0,), 1)
    monkeypatch.setattr(predictions, "CHUNK_BYTES", 4 * both.vocab_size * 3)
    assert np.allclose(both.entropy().stats[0], whole, atol=1e-4)
    cut = trajectory(model, lens).slice_sequence(slice(3, 8))
    assert np.allclose(cut.entropy().stats, whole[:, 3:8], atol=1e-4)
    assert (cut.num_tokens, cut.num_layers, cut.vocab_size) == (5, 4, 2048)
    dense = PredictionTrajectory(both.log_probs, both.input_ids)
    assert np.allclose(dense.entropy().stats, both.entropy().stats, atol=1e-4)


def test_a_cache_of_transformer_lens_is_read(bundled: HookedTransformerLIT) -> None:
    model, lens = bundled.model, LogitLens.from_model(bundled.model)
    ids = torch.from_numpy(ids_of(model))
    with torch.no_grad():
        logits, cache = model.run_with_cache(ids[None])
    for component in ("resid_pre", "resid_mid"):
        of_cache = PredictionTrajectory.from_lens_and_cache(
            lens, ids, cache, logits, residual_component=component
        )
        assert np.allclose(
            of_cache.log_probs,
            trajectory(model, lens, residual_component=component).log_probs,
            atol=1e-5,
        )


def test_hooks_in_force_take_part(bundled: HookedTransformerLIT) -> None:
    model, lens = bundled.model, LogitLens.from_model(bundled.model)
    before = trajectory(model, lens).entropy().stats
    model.add_hook("blocks.1.hook_resid_pre", lambda value, hook: value * 0)
    try:
        during = trajectory(model, lens).entropy().stats
    finally:
        model.reset_hooks()
    assert np.allclose(during[0], before[0])
    assert not np.allclose(during[2], before[2], atol=1e-2)


def test_tokens_of_the_input_can_be_masked(bundled: HookedTransformerLIT) -> None:
    model = bundled.model
    masked = trajectory(model, LogitLens.from_model(model), mask_input=True)
    probs = masked.probs
    assert probs[..., np.unique(masked.input_ids)].max() < 1e-6
    assert np.allclose(probs.sum(-1), 1, atol=1e-4)


def test_a_figure_has_tokens_layers_and_hover(bundled: HookedTransformerLIT) -> None:
    statistic = trajectory(bundled.model, LogitLens.from_model(bundled.model)).entropy(topk=3)
    labels = statistic.trajectory_labels
    assert labels is not None
    assert labels.hover_over_entries.shape == (5, found_length := 15, 3, 2)
    figure = statistic.stride(2).clip(0.0, 5.0).figure("title")
    heat = figure.data[0]
    assert list(heat.y) == ["0", "2", "output"]
    assert np.array(heat.z).max() <= 5
    assert heat.text.shape == (3, found_length)
    assert list(figure.layout.xaxis.ticktext)[1] == "When"
    assert statistic.heatmap(log_scale=True).z.shape == (5, found_length)
    with pytest.raises(ValueError, match="stride is 0: give 1 or more"):
        statistic.stride(0)
    with pytest.raises(ValueError, match="the first must be below the second"):
        statistic.clip(2.0, 1.0)


def test_tokens_are_written_narrow() -> None:
    formatter = TokenFormatter()
    assert [formatter.format(token) for token in ("Ġthe", "Ċ", "internationally", "")] == [
        "_the",
        "\\n",
        "intern…",
        "",
    ]
    assert formatter.pad_token_repr_to_max_len("ab") == "   ab  "


def test_what_is_missing_is_said(bundled: HookedTransformerLIT) -> None:
    model, lens = bundled.model, LogitLens.from_model(bundled.model)
    bare = PredictionTrajectory.from_lens_and_model(lens, model, ids_of(model))
    with pytest.raises(ValueError, match="cross_entropy needs targets="):
        bare.cross_entropy()
    with pytest.raises(
        ValueError,
        match="residual_component='resid_end' does not exist: choose from resid_pre, "
        "resid_mid, resid_post",
    ):
        trajectory(model, lens, residual_component="resid_end")
    with pytest.raises(ValueError, match="can't be compared"):
        bare.kl_divergence(bare.slice_sequence(slice(0, 3)))
    with pytest.raises(
        ValueError, match=r"targets has shape \(3,\), but the input ids have \(15,\)"
    ):
        PredictionTrajectory.from_lens_and_model(lens, model, ids_of(model), targets=[1, 2, 3])
