"""What comes in front of a text, for tokenizers of several kinds."""

import json
import pathlib
import shutil
from typing import Any

import pytest
import torch
import transformers
from tokenizers import processors
from transformer_lens.model_bridge import TransformerBridge

from lit_tl.engine.prompts import Prompter
from lit_tl.engine.runner import Runner
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.models.loading import load_model
from lit_tl.server import build
from lit_tl.settings import SettingError
from tests.conftest import BUNDLED

TEXT = "one two three"
_SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 2048}
_MLP = {"intermediate_size": 64, "max_position_embeddings": 128}
CONFIGS = {
    "gpt2": transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=2048),
    "gpt_neo": transformers.GPTNeoConfig(
        hidden_size=32,
        num_layers=1,
        num_heads=4,
        attention_types=[[["global"], 1]],
        vocab_size=2048,
        max_position_embeddings=128,
    ),
    "gptj": transformers.GPTJConfig(
        n_embd=32, n_layer=1, n_head=4, rotary_dim=8, vocab_size=2048, n_positions=128
    ),
    "gpt_neox": transformers.GPTNeoXConfig(**_SMALL, **_MLP),
    "llama": transformers.LlamaConfig(num_key_value_heads=2, **_SMALL, **_MLP),
    "qwen2": transformers.Qwen2Config(num_key_value_heads=2, **_SMALL, **_MLP),
    "qwen3": transformers.Qwen3Config(num_key_value_heads=2, head_dim=8, **_SMALL, **_MLP),
    "phi": transformers.PhiConfig(**_SMALL, **_MLP),
    "bloom": transformers.BloomConfig(hidden_size=32, n_layer=1, n_head=4, vocab_size=2048),
    "mpt": transformers.MptConfig(
        d_model=32, n_layers=1, n_heads=4, vocab_size=2048, max_seq_len=128
    ),
    "granite": transformers.GraniteConfig(num_key_value_heads=2, **_SMALL, **_MLP),
    "starcoder2": transformers.Starcoder2Config(num_key_value_heads=2, **_SMALL, **_MLP),
    "glm": transformers.GlmConfig(
        num_key_value_heads=2, head_dim=8, pad_token_id=0, eos_token_id=0, **_SMALL, **_MLP
    ),
}
CUSTOM = ("gpt2", "gpt_neo", "gptj")


def folder_of(family: str, path: pathlib.Path, template: str = "") -> str:
    """A tiny checkpoint whose tokenizer puts in front what a template says."""
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(CONFIGS[family]).save_pretrained(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(BUNDLED)
    if template:
        special = [("<|endoftext|>", 0), ("one", tokenizer.convert_tokens_to_ids("one"))]
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=template, pair=f"{template} $B", special_tokens=special
        )
    tokenizer.save_pretrained(path)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    # The class that keeps the post-processor of the file, as published tokenizers have it.
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return str(path)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_text_begins_as_its_tokenizer_has_it(family: str, tmp_path: pathlib.Path) -> None:
    """As Hugging Face, but for the families whose custom is TransformerLens'."""
    folder = folder_of(family, tmp_path / family)
    expected = transformers.AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]
    expected = [0, *expected] if family in CUSTOM else expected
    for model in (load_model(folder), TransformerBridge.boot_transformers(folder)):
        runner = Runner(model)
        prompts = {
            force: Prompter(runner, max_length=64, prepend_bos=force).from_text(TEXT).ids
            for force in (None, True, False)
        }
        assert list(prompts[None]) == expected
        assert list(prompts[True]) == [0, *prompts[False]]


@pytest.mark.parametrize(
    ("template", "before", "behind"),
    [
        ("<|endoftext|> $A", [0], []),
        ("one <|endoftext|> $A", ["one", 0], []),
        ("$A <|endoftext|>", [], [0]),
        ("<|endoftext|> $A <|endoftext|>", [0], [0]),
    ],
)
def test_templates_of_tokenizers_are_followed(
    template: str, before: list[Any], behind: list[int], tmp_path: pathlib.Path
) -> None:
    """What a template puts behind a text is the end of a document, and left out."""
    folder = folder_of("llama", tmp_path / "llama", template)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer.convert_tokens_to_ids(each) if each else each for each in before]
    whole = tokenizer(TEXT)["input_ids"]
    assert whole[: len(ids)] == ids
    expected = whole[: len(whole) - len(behind)]
    prompter = Prompter(Runner(load_model(folder)), max_length=64)
    prompt = prompter.from_text(TEXT)
    assert list(prompt.ids) == expected
    assert prompter.to_text(prompt.ids) == TEXT
    assert prompter.beginning(prompt.ids) == len(ids)


def test_a_text_that_has_its_beginning_gets_no_second(tmp_path: pathlib.Path) -> None:
    prompter = Prompter(
        Runner(load_model(folder_of("llama", tmp_path / "llama", "<|endoftext|> $A"))),
        max_length=64,
    )
    assert prompter.from_text(f"<|endoftext|>{TEXT}").ids == prompter.from_text(TEXT).ids


def test_a_model_of_plain_hugging_face_begins_alike(tmp_path: pathlib.Path) -> None:
    for family, first in (("gpt2", True), ("qwen2", False)):
        folder = folder_of(family, tmp_path / family)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        prompter = Prompter(Runner(model, tokenizer=tokenizer), max_length=64)
        assert (prompter.from_text(TEXT).ids[0] == 0) is first


def test_the_loss_is_that_of_hugging_face(tmp_path: pathlib.Path) -> None:
    """Of a plain prompt and of one that a chat template has formatted."""
    folder = folder_of("qwen2", tmp_path / "qwen2")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}<|endoftext|>{{ m.content }}\n{% endfor %}"
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": TEXT}, {"role": "assistant", "content": "four"}],
        tokenize=False,
    )
    texts = [f"{TEXT} four five six", chat]
    predictions = list(
        HookedTransformerLIT.from_pretrained(folder).predict([{"text": t} for t in texts])
    )
    for text, prediction in zip(texts, predictions, strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = float(model(ids, labels=ids).loss)
        assert prediction["loss"] == pytest.approx(expected, abs=1e-4)


def test_what_comes_in_front_is_said(tmp_path: pathlib.Path) -> None:
    sentences = {
        (
            "gpt2",
            None,
        ): "<|endoftext|> comes in front of a text, as is the custom in TransformerLens.",
        ("qwen2", None): "Nothing comes in front of a text, as the model's tokenizer does.",
        ("qwen2", True): "<|endoftext|> comes in front of a text, as asked.",
        ("gpt2", False): "Nothing comes in front of a text, as asked.",
    }
    for (family, force), sentence in sentences.items():
        folder = tmp_path / family
        if not folder.exists():
            folder_of(family, folder)
        config = HookedTransformerLITConfig(prepend_bos="auto" if force is None else force)
        model = HookedTransformerLIT.from_pretrained(str(folder), config)
        assert model.loaded.prompter.describe_opening() == sentence
        assert model.description().endswith(sentence)
        shutil.rmtree(folder) if force is False else None


def test_it_is_set_for_each_model(tmp_path: pathlib.Path) -> None:
    folder = folder_of("qwen2", tmp_path / "qwen2")
    wrapper = HookedTransformerLITConfig(prepend_bos="with=true,without=false")
    settings = build.BuildConfig(wrapper=wrapper)
    names = {name: folder for name in ("with", "without", "auto")}
    models = build.load_models(names, settings, build.StartLog(quiet=True))
    firsts = {name: model.loaded.prompter.from_text(TEXT).ids[0] for name, model in models.items()}
    assert {name: first == 0 for name, first in firsts.items()} == {
        "with": True,
        "without": False,
        "auto": False,
    }


@pytest.mark.parametrize("value", ["maybe", "a=maybe", "", 1, None])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(SettingError, match=r"prepend_bos is .*: give auto, true or false"):
        HookedTransformerLITConfig(prepend_bos=value)
    with pytest.raises(SettingError, match="is for each model by its label"):
        HookedTransformerLIT.from_pretrained(
            "lit-tl-tiny", HookedTransformerLITConfig(prepend_bos="a=true")
        )
