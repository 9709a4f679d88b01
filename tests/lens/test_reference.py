"""Figures of the reference implementation, on three tiny models, are reproduced."""

import pathlib
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from lit_tl.lens import LogitLens, PredictionTrajectory, TunedLens, Unembed
from lit_tl.models.errors import BUNDLED_MODELS
from lit_tl.models.loading import load_model

REFERENCE = pathlib.Path(__file__).parent / "reference"
FAMILIES = ("gpt2", "gpt_neox", "llama")
STATISTICS = ("cross_entropy", "entropy", "forward_kl", "max_probability", "rank")
COMPARISONS = {
    "kl_divergence": "kl_divergence",
    "js_divergence": "symmetric_kl",
    "total_variation": "max_abs_difference",
}
"""The reference's names, and what they are here."""


def boot(family: str, engine: str) -> Any:
    folder = REFERENCE / family / "model"
    hf = transformers.AutoModelForCausalLM.from_pretrained(folder)
    if engine == "hugging face":
        return hf
    tokenizer = transformers.AutoTokenizer.from_pretrained(BUNDLED_MODELS["lit-tl-tiny"])
    return load_model(str(folder), hf_model=hf, tokenizer=tokenizer)


@pytest.mark.parametrize("engine", ["hugging face", "transformer lens"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_references_numbers_are_reproduced(family: str, engine: str) -> None:
    expected = np.load(REFERENCE / family / "expected.npz")
    model = boot(family, engine)
    unembed = Unembed(model)
    assert unembed.unembedding_hash() == str(expected["unembedding_hash"])
    with torch.no_grad():
        logits = unembed(torch.from_numpy(expected["unembed/h"]))
    assert np.allclose(logits, expected["unembed/logits"], atol=1e-4)
    lenses = {
        "logit": LogitLens.from_model(model),
        "tuned": TunedLens.from_model_and_pretrained(model, str(REFERENCE / family / "lens")),
    }
    for kind, lens in lenses.items():
        both = PredictionTrajectory.from_lens_and_model(
            lens, model, expected["input_ids"], targets=expected["targets"]
        )
        assert np.allclose(both.log_probs, expected[f"{kind}/log_probs"], atol=1e-4)
        assert np.allclose(
            both.model_log_probs, torch.from_numpy(expected["hf_logits"]).log_softmax(-1), atol=1e-4
        )
        for name in STATISTICS:
            assert np.allclose(
                getattr(both, name)().stats, expected[f"{kind}/{name}"], atol=1e-4
            ), (kind, name)
        first, second = (
            PredictionTrajectory.from_lens_and_model(
                lens, model, expected["input_ids"][i], targets=expected["targets"][i]
            )
            for i in (0, 1)
        )
        for name, ours in COMPARISONS.items():
            assert np.allclose(
                getattr(first, ours)(second).stats, expected[f"{kind}/{name}"], atol=1e-4
            ), (kind, name)
