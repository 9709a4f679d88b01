"""Lenses, their files, and the unembedding's inverse."""

import json
import pathlib
import pickle
import shutil
from typing import Callable

import numpy as np
import pytest
import torch
import transformers
from transformer_lens.tools import analysis

from lit_tl import HookedTransformerLIT
from lit_tl.lens import (
    JacobianLens,
    LensError,
    LogitLens,
    TunedLens,
    Unembed,
    available_lens_artifacts,
    load_lens_artifacts,
)
from lit_tl.lens.choice import BUNDLED_LENSES, choose_lenses
from lit_tl.lens.evaluation import evaluate
from lit_tl.lens.streams import residual_streams
from lit_tl.lens.training.loss import row_loss
from lit_tl.models.loading import load_model
from tests.conftest import FAMILIES

BUNDLED = BUNDLED_LENSES["lit-tl-tiny"]


def test_the_bundled_lens_is_as_near_to_the_model_as_its_card_says(
    causal_lm: tuple, batches: Callable[[int], list[torch.Tensor]]
) -> None:
    model = causal_lm[0]
    logit = LogitLens.from_model(model)
    tuned = TunedLens.from_unembed_and_pretrained(logit.unembed, str(BUNDLED))
    measured = evaluate(
        model, {"logit": logit, "tuned": tuned}, row_loss(logit.unembed), batches(40)
    ).lenses
    assert (measured["tuned"].kl < measured["logit"].kl).all()
    said = json.loads((BUNDLED / "fit.json").read_text())["kl_to_model_nats"]
    for name in ("logit", "tuned"):
        assert np.allclose(measured[name].kl, said[f"{name}_lens"], rtol=0.2), name
    card = (BUNDLED / "README.md").read_text()
    for name, values in (("logit lens", said["logit_lens"]), ("this lens", said["tuned_lens"])):
        assert f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |" in card
    assert sum(file.stat().st_size for file in BUNDLED.iterdir()) < 1_000_000


def test_a_lens_is_saved_and_loaded(bundled: HookedTransformerLIT, tmp_path: pathlib.Path) -> None:
    model = bundled.model
    lens = TunedLens.from_model_and_pretrained(model, str(BUNDLED))
    h = torch.randn(3, 128, generator=torch.Generator().manual_seed(0))
    for ckpt in ("params.pt", "params.safetensors"):
        folder = tmp_path / ckpt
        lens.save(folder, ckpt=ckpt)
        again = TunedLens.from_model_and_pretrained(model, str(folder))
        assert torch.equal(again.transform_hidden(h, 2), lens.transform_hidden(h, 2))
        record = json.loads((folder / "config.json").read_text())
        assert record["unembed_hash"] == lens.unembed.unembedding_hash()
        assert len(record["unembed_full_hash"]) == 64
    plain = torch.load(tmp_path / "params.pt" / "params.pt", weights_only=True)
    assert set(plain) == {f"{layer}.{kind}" for layer in range(4) for kind in ("weight", "bias")}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    shutil.copytree(BUNDLED, tmp_path / "lens")
    return tmp_path / "lens"


class Harmful:
    """A pickle of this would create a file when it is read."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return (pathlib.Path.touch, (self.path,))


def test_a_pickle_with_code_in_it_does_not_run(
    bundled: HookedTransformerLIT, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (folder / "params.pt").write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    with pytest.raises(
        LensError, match="holds more than tensors, or is damaged, and was not loaded"
    ):
        TunedLens.from_model_and_pretrained(bundled.model, str(folder))
    assert not (tmp_path / "harm").exists()


def test_damaged_and_foreign_folders_are_refused_with_the_reason(
    bundled: HookedTransformerLIT, models: dict[str, HookedTransformerLIT], folder: pathlib.Path
) -> None:
    def refused(message: str, model: object = None) -> None:
        with pytest.raises(LensError, match=message):
            TunedLens.from_model_and_pretrained(
                bundled.model if model is None else model, str(folder)
            )

    refused("does not fit .*: d_model is 128, the model has 32", models["gpt2"].model)
    tensors = torch.load(folder / "params.pt", weights_only=True)
    config = json.loads((folder / "config.json").read_text())

    torch.save({**tensors, "1.weight": tensors["1.weight"][:5]}, folder / "params.pt")
    refused(r"1.weight has shape \(5, 128\), but needs \(128, 128\)")
    torch.save(
        {name: value for name, value in tensors.items() if name != "2.bias"}, folder / "params.pt"
    )
    refused("has no 2.bias")
    torch.save({**tensors, "9.bias": tensors["1.bias"]}, folder / "params.pt")
    refused("has 9.bias, for which the config has no place")
    torch.save({**tensors, "0.bias": tensors["0.bias"] * float("nan")}, folder / "params.pt")
    refused("0.bias holds numbers that are not finite")
    whole = BUNDLED.joinpath("params.pt").read_bytes()
    (folder / "params.pt").write_bytes(whole[: len(whole) // 2])
    refused("is damaged")
    (folder / "params.pt").write_bytes(whole)

    for change, message in (
        ({"unembed_full_hash": "0" * 64}, "fitted to another unembedding than that of lit-tl-tiny"),
        ({"lens_type": "cubic"}, "lens_type 'cubic' is not known"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3, the model has 4"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        refused(message)
    (folder / "config.json").write_text("{")
    refused("is not JSON")
    (folder / "config.json").write_text("{}")
    refused("has no base_model_name_or_path")
    (folder / "config.json").unlink()
    refused("there is no config.json in it")


def test_a_lens_of_another_unembedding_can_be_taken_on_demand(
    bundled: HookedTransformerLIT, folder: pathlib.Path
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "unembed_full_hash": "0" * 64}))
    with pytest.warns(UserWarning, match="another unembedding"):
        TunedLens.from_model_and_pretrained(bundled.model, str(folder), strict=False)


def test_lenses_of_a_repository_are_found(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(BUNDLED, tmp_path / "lens" / "some" / "model")
    assert available_lens_artifacts(str(tmp_path)) == {"some/model"}
    assert [path.name for path in load_lens_artifacts(str(BUNDLED))] == ["config.json", "params.pt"]
    monkeypatch.setenv("TUNED_LENS_REPO_ID", "owner/other")
    with pytest.raises(
        LensError, match="no-such-lens is no folder, and the Hugging Face Hub can't be reached"
    ):
        load_lens_artifacts("no-such-lens")
    with pytest.raises(LensError, match=r"the lens folder \./nowhere does not exist"):
        load_lens_artifacts("./nowhere")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("optimizer", ["lbfgs", "sgd"])
def test_inverting_logits_recovers_the_distribution(
    family: str, optimizer: str, models: dict[str, HookedTransformerLIT]
) -> None:
    unembed = Unembed(models[family].model)
    h = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    logits = unembed(h).detach()
    steps = {"max_iter": 500} if optimizer == "lbfgs" else {"max_iter": 3000, "step_size": 0.05}
    result = unembed.invert(logits, optimizer=optimizer, tol=1e-5, **steps)
    assert float(result.kl) < (1e-3 if optimizer == "lbfgs" else 0.05)
    assert result.nfev > 1
    near = unembed(result.preimage).detach().softmax(-1)
    assert torch.allclose(near, logits.softmax(-1), atol=2e-2)


def test_a_prior_keeps_the_preimage_near(models: dict[str, HookedTransformerLIT]) -> None:
    unembed = Unembed(models["gpt2"].model)
    logits = unembed(torch.randn(32, generator=torch.Generator().manual_seed(1))).detach()
    prior = torch.distributions.Normal(torch.zeros(32), torch.ones(32))
    free, held = unembed.invert(logits), unembed.invert(logits, prior=prior, prior_weight=10.0)
    assert held.preimage.norm() < free.preimage.norm()
    assert held.loss > held.kl - 1e-6
    with pytest.raises(ValueError, match="prior_weight without a prior"):
        unembed.invert(logits, prior_weight=1.0)


def test_generation_from_the_output_is_the_models_own(bundled: HookedTransformerLIT) -> None:
    model = bundled.model
    lens = TunedLens.from_model_and_pretrained(model, str(BUNDLED))
    ids = model.to_tokens("The capital of France is")
    greedy = lens.generate(model, 4, ids, do_sample=False, max_new_tokens=3)
    expected = model.generate(
        ids,
        max_new_tokens=3,
        do_sample=False,
        return_type="tokens",
        verbose=False,
        stop_at_eos=False,
    )
    assert greedy.tolist() == expected.tolist()
    draws = [
        lens.generate(
            model, 2, ids, temp=2.0, max_new_tokens=4, generator=torch.Generator().manual_seed(s)
        ).tolist()
        for s in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    with pytest.raises(IndexError, match="layer 9 is out of range"):
        lens.generate(model, 9, ids)


def test_a_jacobian_lens_is_read_as_any_other(
    bundled: HookedTransformerLIT, tmp_path: pathlib.Path
) -> None:
    model = bundled.model
    matrices = {layer: torch.eye(128) * (1 + layer) for layer in range(3)}
    analysis.JacobianLens(matrices, n_prompts=1, d_model=128).save(str(tmp_path / "lens.pt"))
    lens = JacobianLens.from_model_and_pretrained(model, str(tmp_path / "lens.pt"))
    hidden, _ = residual_streams(model, model.to_tokens("The king and the queen"))
    for idx in range(4):
        factor = 1 if idx == 0 else idx
        assert torch.allclose(
            lens.transform_hidden(hidden[:, idx], idx), hidden[:, idx] * factor, rtol=1e-3
        )
    with pytest.raises(LensError, match="can't be loaded"):
        JacobianLens.from_model_and_pretrained(model, str(tmp_path / "none.pt"))
    assert set(choose_lenses(model, f"{BUNDLED}+{tmp_path / 'lens.pt'}").lenses) == {
        "logit",
        "tuned",
        "jacobian",
    }
    assert set(choose_lenses(model, "none").lenses) == {"logit"}


def test_a_half_precision_lens_runs(bundled: HookedTransformerLIT) -> None:
    lens = TunedLens.from_model_and_pretrained(bundled.model, str(BUNDLED)).to(torch.bfloat16)
    logits = lens(torch.zeros(2, 128), 1)
    assert logits.dtype == torch.float32
    assert np.isfinite(logits.detach().numpy()).all()


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"fold_ln": True}])
def test_auto_never_takes_the_logit_lens_away(options: dict) -> None:
    choice = choose_lenses(load_model("lit-tl-tiny", **options), "auto")
    assert "logit" in choice.lenses
    assert "uned lens" in choice.note
    assert ("tuned" in choice.lenses) == ("dtype" in options), choice.note


def test_a_gradient_goes_to_the_translators_alone(bundled: HookedTransformerLIT) -> None:
    model = bundled.model
    before = [parameter.requires_grad for parameter in model.parameters()]
    lens = TunedLens.from_model(model)
    hidden, _ = residual_streams(model, model.to_tokens("The king and the queen"))
    lens(hidden[:, 1], 1).logsumexp(-1).sum().backward()
    assert lens.layer_translators[1].weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()] == before


def test_the_hash_is_the_same_however_numpy_prints(bundled: HookedTransformerLIT) -> None:
    unembed = Unembed(bundled.model)
    expected = unembed.unembedding_hash()
    with np.printoptions(threshold=10**9, edgeitems=5, linewidth=30, suppress=True):
        assert unembed.unembedding_hash() == expected


def test_inverting_works_where_gradients_are_off(models: dict[str, HookedTransformerLIT]) -> None:
    unembed = Unembed(models["gpt2"].model)
    with torch.no_grad():
        assert float(unembed.invert(unembed(torch.ones(32))).kl) < 1e-3


@pytest.mark.parametrize(
    ("config", "change"),
    [
        (
            transformers.OPTConfig,
            {"do_layer_norm_before": False, "word_embed_proj_dim": 16, "ffn_dim": 64},
        ),
        (transformers.OPTConfig, {"ffn_dim": 64}),
        (transformers.CohereConfig, {"logit_scale": 0.25, "intermediate_size": 64}),
        (transformers.GraniteConfig, {"logits_scaling": 4.0, "intermediate_size": 64}),
        (
            transformers.Gemma2Config,
            {
                "final_logit_softcapping": 2.0,
                "intermediate_size": 64,
                "head_dim": 8,
                "num_key_value_heads": 2,
            },
        ),
        (transformers.MistralConfig, {"intermediate_size": 64, "num_key_value_heads": 2}),
        (transformers.BloomConfig, {}),
    ],
)
def test_the_final_residual_unembedded_is_the_models_logits(config: type, change: dict) -> None:
    torch.manual_seed(0)
    shape = {
        "vocab_size": 61,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    model = transformers.AutoModelForCausalLM.from_config(
        config(**shape, pad_token_id=1, **change)
    ).eval()
    ids = torch.arange(2, 12)[None]
    hidden, logits = residual_streams(model, ids, "resid_post")
    unembed = Unembed(model)
    with torch.no_grad():
        assert torch.allclose(unembed(hidden[:, -1]), logits, atol=1e-5)
    assert float(unembed.invert(logits[0, -1]).kl) < 1e-2


def test_hooks_of_hugging_face_models_are_honoured(
    checkpoint_folders: dict[str, pathlib.Path],
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders["llama"])
    ids = torch.arange(2, 9)[None]
    handle = model.model.layers[0].register_forward_hook(lambda block, args, output: output * 0)
    try:
        before, logits = residual_streams(model, ids)
        after, _ = residual_streams(model, ids, "resid_post")
    finally:
        handle.remove()
    assert before[0, 1].abs().max() == 0
    assert after[0, 0].abs().max() == 0
    with torch.no_grad():
        assert torch.allclose(Unembed(model)(after[:, -1]), logits, atol=1e-5)


def test_other_damage_is_said_too(
    bundled: HookedTransformerLIT, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (folder / "params.pt").write_bytes(b"")
    with pytest.raises(LensError, match="is damaged: "):
        TunedLens.from_model_and_pretrained(bundled.model, str(folder))
    for content in (b"abc", pickle.dumps(Harmful(tmp_path / "harm"), protocol=2)):
        (tmp_path / "j.pt").write_bytes(content)
        with pytest.raises(LensError):
            JacobianLens.from_model_and_pretrained(bundled.model, str(tmp_path / "j.pt"))
    assert not (tmp_path / "harm").exists()
    config = json.loads((BUNDLED / "config.json").read_text())
    for change, message in (
        ({"unembed_full_hash": 7}, "which is no hash"),
        ({"bias": "no"}, "bias 'no', which is no bool"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(LensError, match=message):
            TunedLens.from_model_and_pretrained(bundled.model, str(folder))


def test_a_folder_with_a_plus_in_its_name_is_one_lens(
    bundled: HookedTransformerLIT, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(BUNDLED, tmp_path / "a+b")
    assert set(choose_lenses(bundled.model, str(tmp_path / "a+b")).lenses) == {"logit", "tuned"}
