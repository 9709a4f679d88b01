"""The fused loss against plain autograd over stored logits."""

import copy
import pathlib
from typing import Optional

import pytest
import torch
import transformers

from lit_tl.lens import TunedLens, Unembed
from lit_tl.lens.fused_readout import LinearReadout
from lit_tl.lens.streams import all_residuals, residual_streams
from lit_tl.lens.training.loss import Fused, LensLoss, Truth, Unstored, row_loss
from lit_tl.lens.training.start import aligned
from lit_tl.models.loading import load_model
from tests.conftest import FAMILIES


def plain(lens: TunedLens, rows: torch.Tensor, labels: Optional[torch.Tensor]) -> torch.Tensor:
    """Each layer's loss as the paper writes it."""
    target = lens.unembed(rows[-1]).log_softmax(-1)
    losses = []
    for layer, h in enumerate(rows[:-1]):
        log_q = lens(h, layer).log_softmax(-1)
        if labels is None:
            losses.append((target.exp() * (target - log_q)).sum(-1).mean())
        else:
            losses.append(torch.nn.functional.nll_loss(log_q, labels))
    return torch.stack(losses)


@pytest.mark.parametrize("loss", ["kl", "ce"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_are_those_of_stored_logits(
    family: str, loss: str, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    model = (
        transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders[family])
        .eval()
        .requires_grad_(False)
    )
    lens = TunedLens.from_model(model)
    generator = torch.Generator().manual_seed(0)
    for parameter in lens.layer_translators.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    ids = torch.randint(0, 2048, (3, 20), generator=generator)
    rows = aligned(all_residuals(model, ids), 0)
    labels = torch.randint(0, 2048, (60,), generator=generator) if loss == "ce" else None
    module = LensLoss(lens, row_loss(lens.unembed))
    assert isinstance(module._loss, Unstored if family == "gemma2" else Fused)
    losses = module(rows[:-1], Truth(final=rows[-1]) if labels is None else Truth(labels=labels))
    gradients = torch.autograd.grad(losses.sum(), list(lens.layer_translators.parameters()))
    expected = plain(lens, rows, labels)
    assert torch.allclose(losses, expected, atol=2e-5)
    for own, other in zip(
        gradients,
        torch.autograd.grad(expected.sum(), list(lens.layer_translators.parameters())),
        strict=True,
    ):
        assert torch.allclose(own, other, atol=1e-6, rtol=1e-4)


def test_the_gradient_is_a_finite_difference(causal_lm: tuple) -> None:
    model = causal_lm[0]
    lens = TunedLens.from_model(model)
    rows = aligned(all_residuals(model, torch.arange(5, 25)[None]), 0).double().float()
    module = LensLoss(lens, row_loss(lens.unembed))
    module(rows[:-1], Truth(final=rows[-1])).sum().backward()
    bias = lens.layer_translators[1].bias
    step = 1e-2
    for index in (0, 17, 90):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[index] += sign * step
                values.append(float(module(rows[:-1], Truth(final=rows[-1])).sum().double()))
                bias[index] -= sign * step
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(
            float(bias.grad[index]), rel=2e-2, abs=2e-4
        )


def test_blocks_of_the_vocabulary_make_no_difference(
    causal_lm: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    readout = LinearReadout.of(Unembed(causal_lm[0]))
    x = readout.input(torch.randn(70, 128, generator=torch.Generator().manual_seed(1)) * 30)
    logits = readout.logits(x)
    for rows, columns in ((512, 1024), (16, 300), (70, 2048), (1, 7)):
        monkeypatch.setattr("lit_tl.lens.fused_readout._ROWS", rows)
        monkeypatch.setattr("lit_tl.lens.fused_readout._VOCABULARY", columns)
        partition, mean = readout.expectation(x)
        assert torch.allclose(partition, logits.logsumexp(-1), atol=1e-4)
        assert torch.allclose(mean, logits.softmax(-1) @ readout.weight, atol=1e-4)
        assert torch.allclose(readout.log_partition(x), partition, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "change", "linear"),
    [
        (transformers.GPTJConfig, {"rotary_dim": 4}, True),  # has a bias on its logits
        (transformers.CohereConfig, {"logit_scale": 0.25, "intermediate_size": 64}, True),
        (transformers.GraniteConfig, {"logits_scaling": 4.0, "intermediate_size": 64}, True),
        (
            transformers.OPTConfig,
            {"do_layer_norm_before": False, "word_embed_proj_dim": 16, "ffn_dim": 64},
            True,
        ),
    ],
)
def test_readouts_with_bias_scale_and_projection_are_linear_too(
    config: type, change: dict, linear: bool
) -> None:
    torch.manual_seed(0)
    shape = {
        "vocab_size": 61,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "bos_token_id": 0,
    }
    model = transformers.AutoModelForCausalLM.from_config(
        config(**shape, eos_token_id=0, pad_token_id=1, **change)
    ).eval()
    model.requires_grad_(False)
    if getattr(model.lm_head, "bias", None) is not None:
        torch.nn.init.normal_(model.lm_head.bias)
    lens = TunedLens.from_model(model)
    assert (LinearReadout.of(lens.unembed) is not None) == linear
    rows = aligned(all_residuals(model, torch.arange(2, 32)[None]), 0)
    for labels in (None, torch.arange(30)):
        truth = Truth(final=rows[-1]) if labels is None else Truth(labels=labels)
        assert torch.allclose(
            LensLoss(lens, row_loss(lens.unembed))(rows[:-1], truth),
            plain(lens, rows, labels),
            atol=1e-5,
        )


def test_bfloat16_products_come_near(causal_lm: tuple) -> None:
    model = causal_lm[0]
    lens = TunedLens.from_model(model)
    rows = aligned(all_residuals(model, torch.arange(5, 69)[None]), 0)
    exact = LensLoss(lens, row_loss(lens.unembed))(rows[:-1], Truth(final=rows[-1]))
    rough = LensLoss(lens, row_loss(lens.unembed, dtype=torch.bfloat16))(
        rows[:-1], Truth(final=rows[-1])
    )
    assert torch.allclose(exact, rough, rtol=0.03, atol=0.03)


def test_half_precision_bears_logits_that_lie_far_from_zero(causal_lm: tuple) -> None:
    """As GPT-2's do, near -100, where a number in bfloat16 is rounded to halves."""
    model = copy.deepcopy(causal_lm[0])
    weight = model.lm_head.weight.detach().clone()
    ids = torch.arange(5, 69)[None]
    direction = model.transformer.ln_f(all_residuals(model, ids)[-1]).mean((0, 1))
    errors = {}
    for offset in (0, 100):
        moved = weight - offset * direction / direction.square().sum()
        model.lm_head.weight = torch.nn.Parameter(moved, requires_grad=False)
        rows = aligned(all_residuals(model, ids), 0)
        unembed = Unembed(model)
        exact, rough = (row_loss(unembed, dtype=dtype) for dtype in (None, torch.bfloat16))
        result = [
            loss.kl_and_cross_entropy(rows[2], loss.prepare(Truth(final=rows[-1])), ids[0] + 1)
            for loss in (exact, rough)
        ]
        errors[offset] = max(
            float((own - other).square().mean().sqrt()) for own, other in zip(*result, strict=True)
        )
    assert float(model(ids).logits.mean()) < -60
    assert errors[100] < 1.5 * errors[0] + 1e-3, errors


@pytest.mark.parametrize("family", FAMILIES)
def test_residuals_without_logits_are_those_with_them(
    family: str, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    folder = str(checkpoint_folders[family])
    ids = torch.randint(0, 2048, (2, 9), generator=torch.Generator().manual_seed(3))
    for model in (
        transformers.AutoModelForCausalLM.from_pretrained(folder).eval(),
        load_model(folder),
    ):
        result = all_residuals(model, ids)
        before, _ = residual_streams(model, ids)
        after, _ = residual_streams(model, ids, "resid_post")
        assert torch.equal(result[:-1], before.transpose(0, 1))
        assert torch.equal(result[-1], after[:, -1])
        hooks = [hook for module in model.modules() for hook in module._forward_pre_hooks.values()]
        assert all("streams" not in repr(hook) for hook in hooks)
