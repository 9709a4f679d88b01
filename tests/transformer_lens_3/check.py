"""Run by run.py beside TransformerLens 3; not collected elsewhere."""

import importlib.metadata

import numpy as np
import pytest
import torch
import transformers
from transformer_lens import HookedTransformer

from lit_tl import HookedTransformerLIT
from lit_tl.causal.estimates import estimate
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PromptPair
from lit_tl.causal.patching import patch
from lit_tl.models.errors import BUNDLED_MODELS

TEXTS = [
    "When Mary and John went to the store, John gave a book to",
    "The capital of France is",
    "",
]


@pytest.fixture(scope="module")
def hooked() -> HookedTransformer:
    folder = str(BUNDLED_MODELS["lit-tl-tiny"])
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    from transformer_lens import HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    cfg = HookedTransformerConfig(
        n_layers=4,
        d_model=128,
        n_ctx=512,
        d_head=32,
        n_heads=4,
        d_vocab=2048,
        act_fn="gelu_new",
        normalization_type="LN",
        eps=1e-5,
    )
    model = HookedTransformer(cfg, tokenizer=tokenizer)
    model.load_and_process_state_dict(
        convert_gpt2_weights(hf_model, cfg),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return model


def test_the_environment_is_transformer_lens_3() -> None:
    assert importlib.metadata.version("transformer-lens").startswith("3.")


def test_a_hooked_transformer_gives_what_hugging_face_gives(hooked: HookedTransformer) -> None:
    folder = str(BUNDLED_MODELS["lit-tl-tiny"])
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = HookedTransformerLIT(hooked)
    for text, output in zip(
        TEXTS,
        model.predict([{"text": text, "answer": " Paris", "foil": " Rome"} for text in TEXTS]),
    ):
        assert set(output) == set(model.output_spec())
        ids = torch.tensor([[0, *tokenizer.encode(text)]])
        with torch.no_grad():
            logits = hf_model(ids).logits[0, -1]
        assert output["next_tokens"][0][1] == pytest.approx(
            logits.softmax(-1).max().item(), abs=1e-4
        )
        assert output["logit_diff"] is not None
        pattern = output["attention_layer_2"]
        assert np.allclose(pattern.sum(-1), 1, atol=1e-5)
        assert output["token_gradients"].shape == output["token_embeddings"].shape
        assert np.abs(output["token_gradients"]).max() > 0


def test_a_patch_is_the_loop_of_a_hooked_transformer(hooked: HookedTransformer) -> None:
    pair = PromptPair(
        "When Mary and John went to the store, John gave a drink to",
        "When Mary and John went to the store, Mary gave a drink to",
        " Mary",
        " John",
    )
    model = CausalModel.of(hooked)
    clean, corrupt = (
        torch.tensor([model.prompter.prompt({"text": text}).ids])
        for text in (pair.clean, pair.corrupt)
    )
    answer, foil = (model.prompter.answer(text)[0] for text in (" Mary", " John"))
    _, cache = hooked.run_with_cache(clean)
    for component in ("resid_pre", "mlp_out"):
        result = patch(model, pair, component, metric="logit difference")
        for layer, position in ((0, 9), (2, 11), (3, clean.shape[1] - 1)):

            def put(value: torch.Tensor, hook: object, p: int = position) -> torch.Tensor:
                value[:, p] = cache[hook.name][:, p]  # type: ignore[attr-defined]
                return value

            name = f"blocks.{layer}.hook_{component}"
            logits = hooked.run_with_hooks(corrupt, fwd_hooks=[(name, put)])[0, -1]
            expected = float(logits[answer] - logits[foil])
            assert float(result["effect"][layer, position]) == pytest.approx(expected, abs=1e-3)
    guessed, exact = (each(model, pair, "z")["effect"].values.ravel() for each in (estimate, patch))
    assert np.corrcoef(guessed, exact)[0, 1] > 0.9
