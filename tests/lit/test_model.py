"""Truths about the wrapper, on real models of four families."""

import dataclasses
import math
import pathlib
import threading

import numpy as np
import pytest
import torch
import transformers

from lit_tl import HookedTransformerLIT, HookedTransformerLITConfig
from lit_tl.lit.model import load_for_lit
from tests.conftest import FAMILIES

PROMPTS = [
    "When Mary and John went to the store, John gave a book to",
    "The capital of France is",
    "",
    "a",
    "Line one\nline two\n\n",
    "日本語 🙂 café \U0001f468\u200d\U0001f469",
    "The keys near the cabinet",
]
OUTPUTS_OF_ONE_RUN = (
    "loss",
    "perplexity",
    "token_loss",
    "token_embeddings",
    "token_gradients",
    "attention_layer_0",
    "attention_layer_1",
)


def predict(model: HookedTransformerLIT, *texts: str, **fields: object) -> list[dict]:
    return list(model.predict([{"text": text, **fields} for text in texts]))


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_and_losses_equal_hugging_faces(
    family: str, models: dict, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint_folders[family], attn_implementation="eager"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint_folders[family])
    model = models[family]
    for text, output in zip(PROMPTS, predict(model, *PROMPTS), strict=True):
        first = [0] if family == "gpt2" else []  # a custom; the others put nothing in front
        ids = torch.tensor([[*first, *tokenizer.encode(text)] or [0]])
        with torch.no_grad():
            expected = reference(ids).logits[0].log_softmax(-1)
        best = expected.exp().topk(10, dim=-1).values
        got = torch.tensor([[p for _, p in row] for row in output["top_k_tokens"]])
        assert torch.allclose(got, best, atol=1e-5)
        losses = -expected[:-1].gather(-1, ids[0, 1:, None])[:, 0]
        assert output["token_loss"] == pytest.approx([0.0, *losses.tolist()], abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_equals_its_single_runs(family: str, models: dict) -> None:
    together = predict(models[family], *PROMPTS)
    for text, output in zip(PROMPTS, together, strict=True):
        (alone,) = predict(models[family], text)
        assert alone["tokens"] == output["tokens"]
        assert alone["target"] == output["target"]
        assert alone["generated_text"] == output["generated_text"]
        for name in (*OUTPUTS_OF_ONE_RUN, "embedding_layer_1_last", "embedding_layer_1_mean"):
            if alone[name] is None:
                assert output[name] is None
            else:
                assert np.allclose(alone[name], output[name], atol=1e-4, rtol=1e-4), name


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_equal_finite_differences(family: str, models: dict) -> None:
    model = models[family]
    example = {"text": "The capital of France is", "answer": " Paris"}
    (output,) = model.predict([example])
    embeddings, gradients = output["token_embeddings"].astype(np.float64), output["token_gradients"]
    assert gradients.shape == embeddings.shape
    rng = np.random.default_rng(0)
    direction = rng.normal(size=embeddings.shape)
    direction /= np.linalg.norm(direction)

    def log_prob(step: float) -> float:
        moved = example | {"token_embeddings": embeddings + step * direction}
        (result,) = model.predict([moved], fields=["answer_prob"])
        return math.log(result["answer_prob"])

    step = 2e-2 * float(np.abs(embeddings).mean())
    slope = (log_prob(step) - log_prob(-step)) / (2 * step)
    assert slope == pytest.approx(float((gradients * direction).sum()), rel=2e-2, abs=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_rows_sum_to_one_and_never_look_ahead(family: str, models: dict) -> None:
    for output in predict(models[family], *PROMPTS):
        for layer in range(2):
            pattern = output[f"attention_layer_{layer}"]
            n = len(output["tokens"])
            assert pattern.shape == (4, n, n)
            assert np.allclose(pattern.sum(-1), 1, atol=1e-5)
            assert np.allclose(pattern, np.tril(pattern))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_embedding_table_is_what_the_model_reads(family: str, models: dict) -> None:
    strings, table = models[family].get_embedding_table()
    assert len(strings) == len(table) == 2048
    (output,) = predict(models[family], "The king")
    for token, row in zip(output["tokens"], output["token_embeddings"], strict=True):
        assert np.allclose(table[strings.index(token)], row, atol=1e-6)


def test_pooled_embeddings_are_the_residual_stream(bundled: HookedTransformerLIT) -> None:
    text = "The old king is"
    (output,) = predict(bundled, text)
    _, cache = bundled.model.run_with_cache(bundled.model.to_tokens(text))
    residual = cache["blocks.3.hook_resid_post"][0]
    assert np.allclose(output["embedding_layer_3_last"], residual[-1].numpy(), atol=1e-4)
    assert np.allclose(output["embedding_layer_3_mean"], residual.mean(0).numpy(), atol=1e-4)


def test_gradient_targets_in_their_order(bundled: HookedTransformerLIT) -> None:
    text = "The capital of France is"
    (own,) = predict(bundled, text)
    assert own["target"] == own["next_tokens"][0][0]
    (answer,) = predict(bundled, text, answer=" Berlin")
    assert answer["target"] == " Berlin"
    (target,) = predict(bundled, text, answer=" Berlin", target=" Rome")
    assert target["target"] == " Rome"
    mask = [0, 0, 1, 1, 0, 0]
    (masked,) = predict(bundled, text, answer=" Berlin", target_mask=mask)
    assert masked["target"] == " capital of"
    assert not np.allclose(masked["token_gradients"], answer["token_gradients"])
    assert np.allclose(masked["token_gradients"][3:], 0), (
        "what comes after the target can't have caused it"
    )


def test_tokens_are_read_in_place_of_text(bundled: HookedTransformerLIT) -> None:
    (plain,) = predict(bundled, "The capital of France is")
    swapped = [" Spain" if token == " France" else token for token in plain["tokens"]]
    (given,) = bundled.predict([{"text": "The capital of France is", "tokens": swapped}])
    (expected,) = predict(bundled, "The capital of Spain is")
    assert given["tokens"] == expected["tokens"]
    assert given["loss"] == pytest.approx(expected["loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"text": "a b", "tokens": ["nonsense-token"]}, "not a token of this model"),
        (
            {"text": "The king", "token_embeddings": np.zeros((2, 5))},
            r"has shape \(2, 5\), but this prompt needs \(3, 128\)",
        ),
        (
            {"text": "The king", "target_mask": [1, 0]},
            "target_mask has 2 numbers, but the prompt has 3 tokens",
        ),
        ({"text": "The king", "target_mask": [1, 0, 0]}, "marks the first token alone"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_a_sentence(
    bundled: HookedTransformerLIT, example: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(bundled.predict([example]))


def test_long_text_is_cut_and_says_so(bundled_model: object) -> None:
    model = HookedTransformerLIT(bundled_model, HookedTransformerLITConfig(max_seq_length=16))
    short, long = model.predict(
        [{"text": "The king"}, {"text": "the king and " * 50, "answer": " queen", "foil": " king"}]
    )
    assert (short["truncated"], long["truncated"]) == (False, True)
    assert len(long["tokens"]) == 16
    assert long["logit_diff"] is None, "the answer follows a part of the text that was cut"
    beyond = HookedTransformerLIT(bundled_model, HookedTransformerLITConfig(max_seq_length=100_000))
    (output,) = beyond.predict(
        [{"text": "the king and " * 500}], fields=["tokens", "truncated", "generated_text"]
    )
    assert (len(output["tokens"]), output["truncated"], output["generated_text"]) == (512, True, "")


def test_empty_text_is_the_beginning_of_text_token(
    bundled: HookedTransformerLIT, bundled_model: object
) -> None:
    (output,) = predict(bundled, "")
    assert output["tokens"] == ["<|endoftext|>"]
    assert (output["loss"], output["perplexity"], output["token_loss"]) == (None, None, [0.0])
    without = HookedTransformerLIT(bundled_model, HookedTransformerLITConfig(prepend_bos=False))
    empty, one = without.predict([{"text": ""}, {"text": "a"}])
    assert (len(empty["tokens"]), one["tokens"]) == (1, ["a"])


def test_answer_scores_equal_the_logits(bundled: HookedTransformerLIT) -> None:
    text = "The capital of France is"
    (output,) = predict(bundled, text, answer=" Berlin", foil=" Rome")
    model = bundled.model
    logits = model(model.to_tokens(text))[0, -1].detach()
    answer, foil = model.to_single_token(" Berlin"), model.to_single_token(" Rome")
    assert output["logit_diff"] == pytest.approx((logits[answer] - logits[foil]).item(), abs=1e-4)
    assert output["answer_rank"] == 1 + (logits > logits[answer]).sum().item()
    assert output["answer_prob"] == pytest.approx(logits.softmax(-1)[answer].item(), abs=1e-6)


def test_order_is_kept_over_batches_of_like_length(bundled_model: object) -> None:
    model = HookedTransformerLIT(
        bundled_model, HookedTransformerLITConfig(batch_size=3, token_budget=40)
    )
    texts = [f"the king {'and the queen ' * (i * 7 % 5)}" for i in range(50)]
    outputs = list(model.predict([{"text": text} for text in texts], fields=["tokens"]))
    assert ["".join(output["tokens"][1:]) for output in outputs] == texts


def test_parameters_and_hooks_are_left_as_they_were(bundled: HookedTransformerLIT) -> None:
    before = [parameter.requires_grad for parameter in bundled.model.parameters()]
    predict(bundled, "The king", answer=" is")
    assert [parameter.requires_grad for parameter in bundled.model.parameters()] == before
    assert all(parameter.grad is None for parameter in bundled.model.parameters())
    assert not any(point.fwd_hooks or point.bwd_hooks for point in bundled.model.hook_dict.values())


def test_threads_get_what_one_thread_gets(bundled: HookedTransformerLIT) -> None:
    expected = predict(bundled, *PROMPTS)
    results: dict[int, list[dict]] = {}
    threads = [
        threading.Thread(target=lambda i=i: results.update({i: predict(bundled, *PROMPTS)}))
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results.values():
        for got, wanted in zip(result, expected, strict=True):
            assert np.allclose(got["token_gradients"], wanted["token_gradients"], atol=1e-5)
            assert np.allclose(got["attention_layer_2"], wanted["attention_layer_2"], atol=1e-5)
    assert len(results) == 6


def test_only_wanted_fields_are_made(bundled: HookedTransformerLIT) -> None:
    (output,) = bundled.predict([{"text": "The king"}], fields=["loss", "tokens"])
    assert list(output) == ["loss", "tokens"]
    with pytest.raises(ValueError, match="'los' is not an output"):
        list(bundled.predict([{"text": "The king"}], fields=["los"]))


def test_every_output_is_described_and_every_description_kept(
    bundled: HookedTransformerLIT,
) -> None:
    (output,) = predict(bundled, "The king")
    assert list(output) == list(bundled.output_spec())
    assert not any(isinstance(value, torch.Tensor) for value in output.values())


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("gpt2-small", "str"),
        (torch.nn.Linear(2, 2), "Linear"),
        (None, "NoneType"),
        (object(), "object"),
    ],
)
def test_what_is_no_transformer_lens_model_is_named(given: object, name: str) -> None:
    with pytest.raises(TypeError, match=f"takes a TransformerLens model, not {name}"):
        HookedTransformerLIT(given)


def test_processing_is_done_only_when_asked_for(bundled: HookedTransformerLIT) -> None:
    folded = HookedTransformerLIT.from_pretrained(
        "lit-tl-tiny", fold_ln=True, center_writing_weights=True, center_unembed=True
    )
    text = "The capital of France is"
    (raw,), (processed,) = predict(bundled, text), predict(folded, text)
    assert processed["next_tokens"][0][1] == pytest.approx(raw["next_tokens"][0][1], abs=1e-4)
    assert not np.allclose(processed["token_embeddings"], raw["token_embeddings"], atol=1e-3)


def test_a_loaded_hugging_face_model_can_be_given(
    checkpoint_folders: dict[str, pathlib.Path], models: dict
) -> None:
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders["llama"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint_folders["llama"])
    model = HookedTransformerLIT.from_pretrained(
        "llama", hf_model=hf_model, tokenizer=tokenizer, device="cpu"
    )
    (got,), (wanted,) = predict(model, "The king"), predict(models["llama"], "The king")
    assert np.allclose(got["token_gradients"], wanted["token_gradients"], atol=1e-5)


def test_bfloat16_weights_give_finite_float32_outputs() -> None:
    model = HookedTransformerLIT.from_pretrained("lit-tl-tiny", dtype="bfloat16")
    (output,) = predict(model, "The capital of France is")
    assert output["token_gradients"].dtype == np.float32
    assert np.isfinite(output["token_gradients"]).all()


def test_the_form_of_lits_dialog_loads_a_model() -> None:
    spec = HookedTransformerLIT.init_spec()
    assert {field.name for field in dataclasses.fields(HookedTransformerLITConfig)} < set(spec)
    filled = {
        name: str(field.default) if name != "compute_gradients" else False
        for name, field in spec.items()
    }
    model = load_for_lit(
        allowed=lambda source, config: source.name,
        **(filled | {"embedding_layers": "0, 2", "max_seq_length": "32"}),
    )
    assert isinstance(model, HookedTransformerLIT)
    assert (
        model.config.max_seq_length,
        model.config.embedding_layers,
        model.config.compute_gradients,
    ) == (32, (0, 2), False)
    assert "token_gradients" not in model.output_spec()


def test_settings_out_of_range_are_refused(bundled_model: object) -> None:
    with pytest.raises(ValueError, match="batch_size is 0: give 1 to 4096"):
        HookedTransformerLITConfig(batch_size=0)
    with pytest.raises(
        ValueError, match="embedding layer 9 is out of range: this model has layers 0 to 3"
    ):
        HookedTransformerLIT(bundled_model, HookedTransformerLITConfig(embedding_layers=[9]))


def test_empty_fields_of_the_form_keep_their_defaults() -> None:
    assert (
        HookedTransformerLITConfig.read({"top_k": "", "batch_size": None, "device": ""})
        == HookedTransformerLITConfig()
    )
    with pytest.raises(ValueError, match="top_k is 'many': give a whole number"):
        HookedTransformerLITConfig.read({"top_k": "many"})


def test_generated_text_is_empty_for_embeddings_of_ones_own(bundled: HookedTransformerLIT) -> None:
    (plain,) = predict(bundled, "The capital of France is")
    (given,) = predict(
        bundled, "The capital of France is", token_embeddings=plain["token_embeddings"]
    )
    assert plain["generated_text"] != ""
    assert given["generated_text"] == ""
    assert given["loss"] == pytest.approx(plain["loss"], abs=1e-5)
