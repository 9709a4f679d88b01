"""A continuation is what single tokens, each taken after a full forward pass, spell."""

import pathlib
from typing import Any

import pytest
import torch
import transformers

from lit_tl import HookedTransformerLIT
from lit_tl.engine.prompts import Prompt, Prompter
from lit_tl.engine.runner import Runner
from lit_tl.models.loading import load_model
from tests.conftest import BUNDLED, FAMILIES

TEXTS = [
    "The capital of France is",
    "When Mary and John went to the store, John gave a book to",
    "",
    "a",
]


def one_by_one(model: Any, prompt: Prompt, steps: int) -> str:
    ids = torch.tensor([prompt.ids])
    for _ in range(steps):
        with torch.no_grad():
            ids = torch.cat([ids, model(ids)[0, -1:].argmax(-1)[None]], dim=1)
    new = ids[0, len(prompt) :].tolist()
    return str(model.tokenizer.decode(new[: new.index(0)] if 0 in new else new))


def continuations(model: Any, prompts: list[Prompt], steps: int) -> list[str]:
    runner = Runner(model)
    texts = [""] * len(prompts)
    for batch in runner.run(prompts, keep_cache=True):
        for i, text in zip(
            batch.index, runner.continue_greedily(batch, max_new_tokens=steps), strict=True
        ):
            texts[i] = text
    return texts


def check_continuations(model: Any, texts: list[str], steps: int) -> None:
    prompter = Prompter(Runner(model), max_length=512, prepend_bos=True)
    prompts = [prompter.from_text(text) for text in texts]
    assert continuations(model, prompts, steps) == [
        one_by_one(model, prompt, steps) for prompt in prompts
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_goes_on_as_each_prompt_alone_does(
    family: str, models: dict[str, HookedTransformerLIT]
) -> None:
    check_continuations(models[family].model, TEXTS, 12)


def test_the_bundled_model_goes_on(bundled: HookedTransformerLIT) -> None:
    check_continuations(bundled.model, TEXTS, 10)


def test_a_sliding_window_shorter_than_the_text_is_honoured(
    checkpoint_folders: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    config = transformers.AutoConfig.from_pretrained(checkpoint_folders["gemma2"])
    config.sliding_window = 6
    torch.manual_seed(3)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(checkpoint_folders["gemma2"]).save_pretrained(
        tmp_path
    )
    check_continuations(load_model(str(tmp_path)), TEXTS, 8)


def test_it_ends_where_the_context_is_full(models: dict[str, HookedTransformerLIT]) -> None:
    model = models["gpt2"].model
    prompts = [Prompt(ids=tuple(range(2, 2 + length))) for length in (125, 60, 128)]
    texts = continuations(model, prompts, 10)
    assert texts[0] == one_by_one(model, prompts[0], 3)
    assert texts[1] == one_by_one(model, prompts[1], 10)
    assert texts[2] == ""


@pytest.mark.parametrize("kind", ["gpt_neo", "mpt"])
def test_attention_that_counts_keys_is_honoured(
    kind: str, checkpoint_folders: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    shape = {"vocab_size": 2048, "bos_token_id": 0, "eos_token_id": 0}
    if kind == "gpt_neo":
        layers = {
            "num_layers": 2,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 6,
            "max_position_embeddings": 64,
        }
        config = transformers.GPTNeoConfig(
            hidden_size=32, num_heads=4, initializer_range=0.2, **layers, **shape
        )
    else:
        config = transformers.MptConfig(
            d_model=32, n_heads=4, n_layers=2, max_seq_len=64, initializer_range=0.2, **shape
        )
    torch.manual_seed(5)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(checkpoint_folders["gpt2"]).save_pretrained(tmp_path)
    check_continuations(load_model(str(tmp_path)), TEXTS, 8)


def test_one_full_prompt_does_not_stop_the_others(models: dict[str, HookedTransformerLIT]) -> None:
    for family in FAMILIES:
        model = models[family].model
        prompts = [Prompt(ids=tuple(range(2, 130))), Prompt(ids=(5, 6, 7))]
        full, short = continuations(model, prompts, 6)
        assert (full, short) == ("", one_by_one(model, prompts[1], 6))


class _Forgetful(transformers.LlamaForCausalLM):
    """A Llama that loses its cache, as TransformerLens 4.3 does with transformers 5.24."""

    def forward(self, *args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
        del past_key_values
        return super().forward(*args, past_key_values=transformers.DynamicCache(), **kwargs)


class _ForgetfulNeo(transformers.GPTNeoForCausalLM):
    """One that is not gone on from, because it counts keys."""

    def forward(self, *args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
        del past_key_values
        return super().forward(*args, past_key_values=transformers.DynamicCache(), **kwargs)


@pytest.mark.parametrize("kind", ["llama", "gpt_neo"])
def test_a_cache_that_is_lost_is_not_gone_on_from(kind: str) -> None:
    shape = {"vocab_size": 2048, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
    torch.manual_seed(7)
    if kind == "llama":
        config = transformers.LlamaConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            **shape,
        )
        model: Any = _Forgetful(config)
    else:
        layers = {"num_layers": 2, "attention_types": [[["global"], 2]]}
        model = _ForgetfulNeo(
            transformers.GPTNeoConfig(hidden_size=32, num_heads=4, **layers, **shape)
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(BUNDLED)
    runner = Runner(model.eval(), tokenizer=tokenizer)
    prompter = Prompter(runner, max_length=64)
    prompts = [prompter.from_text(text) for text in TEXTS]
    texts = [""] * len(prompts)
    for batch in runner.run(prompts, keep_cache=True):
        made = runner.continue_greedily(batch, max_new_tokens=6)
        for i, text in zip(batch.index, made, strict=True):
            texts[i] = text
    expected = []
    for prompt in prompts:
        ids = torch.tensor([prompt.ids])
        for _ in range(6):
            with torch.no_grad():
                ids = torch.cat([ids, model(ids).logits[0, -1:].argmax(-1)[None]], dim=1)
        new = ids[0, len(prompt) :].tolist()
        expected.append(tokenizer.decode(new[: new.index(0)] if 0 in new else new))
    assert texts == expected
