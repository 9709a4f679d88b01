"""Numbers of lenses over text, against Hugging Face's own loss and stored logits."""

import csv
import io
from typing import Callable

import numpy as np
import pytest
import torch
import transformers

from lit_tl.lens import LogitLens, TunedLens
from lit_tl.lens.evaluation import evaluate
from lit_tl.lens.streams import residual_streams
from lit_tl.lens.training.loss import row_loss
from tests.conftest import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_are_those_of_stored_logits(family: str, checkpoint_folders: dict) -> None:
    model = (
        transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders[family])
        .eval()
        .requires_grad_(False)
    )
    generator = torch.Generator().manual_seed(0)
    logit, tuned = LogitLens.from_model(model), TunedLens.from_model(model)
    for parameter in tuned.layer_translators.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    batches = [torch.randint(0, 2048, (rows, 24), generator=generator) for rows in (4, 4, 1)]
    result = evaluate(
        model,
        {"logit": logit, "tuned": tuned},
        row_loss(logit.unembed),
        batches,
        bits_per_byte=lambda: 0.5,
    )
    expected = {"logit": np.zeros((2, 2)), "tuned": np.zeros((2, 2))}
    nlls = []
    with torch.no_grad():
        for ids in batches:
            hidden, logits = residual_streams(model, ids)
            p = logits[:, :-1].float().log_softmax(-1)
            nlls.append(float(model(ids, labels=ids).loss) * len(ids) / 9)
            for name, lens in (("logit", logit), ("tuned", tuned)):
                for layer in range(2):
                    q = lens(hidden[:, layer, :-1], layer).log_softmax(-1)
                    expected[name][0, layer] += float((p.exp() * (p - q)).sum()) / (9 * 23)
                    expected[name][1, layer] += float(-q.gather(-1, ids[:, 1:, None]).sum()) / (
                        9 * 23
                    )
    for name, measured in result.lenses.items():
        assert np.allclose(measured.kl, expected[name][0], atol=1e-4)
        assert np.allclose(measured.cross_entropy, expected[name][1], atol=1e-4)
    assert result.model.cross_entropy[0] == pytest.approx(sum(nlls), abs=1e-4)
    assert result.model.kl[0] == pytest.approx(0, abs=1e-5)
    assert result.tokens == 9 * 23
    rows = list(csv.DictReader(io.StringIO(result.csv())))
    assert [row["lens"] for row in rows] == ["logit", "tuned", "logit", "tuned", "model"]
    assert float(rows[0]["kl_bits_per_byte"]) == pytest.approx(float(rows[0]["kl_nats"]) / 2)
    assert len(result.table().splitlines()) == 7


def test_standard_errors_are_those_of_the_mean_over_sequences(
    causal_lm: tuple, batches: Callable
) -> None:
    model = causal_lm[0]
    logit = LogitLens.from_model(model)
    loss = row_loss(logit.unembed)
    each = [
        evaluate(model, {"logit": logit}, loss, [ids[row : row + 1]])
        for ids in batches(3)
        for row in range(8)
    ]
    assert each[0].rows()[0]["kl_nats_error"] is None
    together = evaluate(model, {"logit": logit}, loss, batches(3)).lenses["logit"]
    values = np.array([one.lenses["logit"].kl for one in each])
    assert np.allclose(together.kl, values.mean(0), atol=1e-4)
    assert np.allclose(together.kl_error, values.std(0, ddof=1) / np.sqrt(24), rtol=1e-3)


def test_no_text_is_refused(causal_lm: tuple) -> None:
    logit = LogitLens.from_model(causal_lm[0])
    with pytest.raises(ValueError, match="on no text"):
        evaluate(causal_lm[0], {"logit": logit}, row_loss(logit.unembed), [])


def test_a_lens_that_has_diverged_is_named_with_its_layer(
    causal_lm: tuple, batches: Callable
) -> None:
    model = causal_lm[0]
    logit, tuned = LogitLens.from_model(model), TunedLens.from_model(model)
    torch.nn.init.constant_(tuned.layer_translators[2].weight, 1e36)
    with pytest.raises(
        ValueError,
        match="layer 2 of the tuned lens gives numbers that are not finite: a lens like that "
        "has diverged",
    ):
        evaluate(model, {"logit": logit, "tuned": tuned}, row_loss(logit.unembed), batches(2))
