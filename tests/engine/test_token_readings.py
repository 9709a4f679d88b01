"""Tokens read a piece at a time say what all logits say."""

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.engine import one_pass, token_readings
from lit_tl.engine.intervention_text import parse_intervention
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Batch
from lit_tl.engine.token_readings import ReadTokens
from lit_tl.engine.tree_state import tree_state
from tests.conftest import FAMILIES

PROMPTS = [Prompt(ids=tuple(range(3, 3 + n))) for n in (1, 17, 5)]


def compare(whole: Batch, pieces: Batch, top: int = 4) -> None:
    assert pieces.logits is None
    assert list(whole.index) == list(pieces.index)
    assert torch.allclose(whole.last_logits(), pieces.last_logits(), atol=1e-3)
    for row, prompt in enumerate(whole.prompts):
        logits = whole.need_logits()[row, : len(prompt)].float()
        reading = pieces.reading(row, top=top)
        log_probs = logits.log_softmax(-1)
        following = torch.tensor(prompt.ids[1:], dtype=torch.long)[:, None]
        expected = -log_probs[:-1].gather(-1, following)[:, 0]
        assert torch.allclose(reading.losses, expected, atol=1e-3)
        assert reading.top_ids.shape == (len(prompt), top)
        values = log_probs.gather(-1, reading.top_ids)
        assert torch.allclose(values, log_probs.topk(top, dim=-1).values, atol=1e-3)
        better = (log_probs[:-1] > -expected[:, None] + 1e-3).sum(-1)
        assert (reading.ranks >= 1 + better).all()
        assert len(reading.ranks) == len(prompt) - 1


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_are_the_whole(
    family: str, models: dict[str, HookedTransformerLIT], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = models[family].loaded.runner
    monkeypatch.setattr(token_readings, "_PRODUCT_BYTES", 4 * runner.shape.d_vocab * 7)
    monkeypatch.setattr(token_readings, "_PIECE_BYTES", 4 * runner.shape.d_vocab * 3)
    (whole,) = runner.run(PROMPTS)
    (pieces,) = runner.run(PROMPTS, logits=ReadTokens(top=4))
    compare(whole, pieces)
    reading = whole.reading(1, top=4)
    assert torch.allclose(reading.losses, pieces.reading(1, top=4).losses, atol=1e-3)


def test_changes_and_hooks_take_part(bundled: HookedTransformerLIT) -> None:
    runner, model = bundled.loaded.runner, bundled.model
    (plain,) = runner.run(PROMPTS, logits=ReadTokens())
    for change in ("attn_out[1] = 0", "unembed_in = 0"):
        changes = [parse_intervention(change)]
        (whole,) = runner.run(PROMPTS, interventions=changes)
        (pieces,) = runner.run(PROMPTS, interventions=changes, logits=ReadTokens(top=4))
        compare(whole, pieces)
        assert not torch.allclose(pieces.last_logits(), plain.last_logits(), atol=1e-2)
    model.add_hook("unembed.hook_out", lambda value, hook: value * 0)
    try:
        (hooked,) = runner.run(PROMPTS, logits=ReadTokens())
    finally:
        model.reset_hooks()
    assert np.allclose(hooked.reading(1, top=0).losses, np.log(runner.shape.d_vocab), atol=1e-4)


def test_a_readout_that_differs_is_not_believed(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = bundled.loaded.runner
    (whole,) = runner.run(PROMPTS)
    state = tree_state(runner.model)
    read = one_pass.read_tokens

    def wrong(*given: object) -> object:
        readings, last = read(*given)  # type: ignore[arg-type]
        return readings, last * 1.1

    monkeypatch.setattr(one_pass, "read_tokens", wrong)
    of_tree = tree_state(runner.tree_for({}, ()).module)
    of_tree.reads_tokens = None  # as of a model that was just loaded
    try:
        (batch,) = runner.run(PROMPTS, logits=ReadTokens(top=4))
        assert state.reads_tokens is False
        assert torch.equal(batch.need_logits(), whole.need_logits())
        assert batch.reading(0, top=4).top_ids.shape == (17, 4)
    finally:
        state.reads_tokens = of_tree.reads_tokens = None
