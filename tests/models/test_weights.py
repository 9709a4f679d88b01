"""Checkpoints that do not hold all of a model, and those that are more than a folder of weights."""

import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any, Callable

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from lit_tl import flags, launch
from lit_tl.analyses import __main__ as analyses
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Gradients, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.lens import __main__ as lens
from lit_tl.lens.commands.show import Config as ShowConfig
from lit_tl.lens.training.config import TrainConfig
from lit_tl.models.causal_lm import load_causal_lm
from lit_tl.models.errors import LoadingError
from lit_tl.models.loading import load_model
from tests.conftest import BUNDLED

FAMILIES = ("gpt2", "gpt_neox", "llama", "gemma2")
Weights = dict[str, torch.Tensor]


def _without_a_layer(weights: Weights) -> Weights:
    return {key: value for key, value in weights.items() if ".1." not in key}


def _without_embeddings(weights: Weights) -> Weights:
    marks = ("wte", "embed_in", "embed_tokens")
    return {key: value for key, value in weights.items() if not any(m in key for m in marks)}


def _without_norm(weights: Weights) -> Weights:
    marks = ("ln_f", "final_layer_norm", "model.norm")
    return {key: value for key, value in weights.items() if not any(m in key for m in marks)}


def _prefixed(weights: Weights) -> Weights:
    return {f"module.{key}": value for key, value in weights.items()}


@pytest.fixture
def changed(
    checkpoint_folders: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> Callable[..., pathlib.Path]:
    """A copy of a checkpoint with other weights in its file."""

    def change(family: str, edit: Callable[[Weights], Weights]) -> pathlib.Path:
        folder = tmp_path / family
        shutil.copytree(checkpoint_folders[family], folder)
        file = folder / "model.safetensors"
        weights = safetensors.torch.load_file(file)
        safetensors.torch.save_file(edit(dict(weights)), file, metadata={"format": "pt"})
        return folder

    return change


LOADERS = {
    "TransformerLens": load_model,
    "Hugging Face": lambda name: load_causal_lm(name, device="cpu"),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("edit", [_without_a_layer, _without_embeddings, _without_norm, _prefixed])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_that_lacks_weights_is_refused(
    family: str,
    edit: Callable[[Weights], Weights],
    loader: str,
    changed: Callable[..., pathlib.Path],
) -> None:
    folder = changed(family, edit)
    with pytest.raises(LoadingError, match=rf"the checkpoint {folder} lacks \d+ of \d+ weights: "):
        LOADERS[loader](str(folder))


def test_the_sentence_names_what_is_missing(changed: Callable[..., pathlib.Path]) -> None:
    def headless(weights: Weights) -> Weights:
        return {key: value for key, value in weights.items() if key != "lm_head.weight"}

    with pytest.raises(LoadingError, match=r"lacks 1 of 21 weights: lm_head\.weight"):
        load_model(str(changed("llama", headless)))


def test_a_wrapper_left_on_the_names_is_named(changed: Callable[..., pathlib.Path]) -> None:
    with pytest.raises(LoadingError, match=r"Its weights are named module\.\.\.\.: save the model"):
        load_model(str(changed("llama", _prefixed)))


@pytest.mark.parametrize("loader", LOADERS)
def test_other_shapes_are_refused(loader: str, changed: Callable[..., pathlib.Path]) -> None:
    def narrowed(weights: Weights) -> Weights:
        return weights | {"lm_head.weight": weights["lm_head.weight"][:100].clone()}

    sentence = r"other shapes than .*: lm_head\.weight is \[100, 32\] and not \[2048, 32\]"
    with pytest.raises(LoadingError, match=sentence):
        LOADERS[loader](str(changed("llama", narrowed)))


def test_weights_without_a_place_are_named(changed: Callable[..., pathlib.Path]) -> None:
    def with_more(weights: Weights) -> Weights:
        return weights | {"model.extra.weight": torch.zeros(3)}

    with pytest.warns(UserWarning, match=r"1 weights .* are left out: model\.extra\.weight"):
        load_model(str(changed("llama", with_more)))


def test_commands_refuse_it_too(
    changed: Callable[..., pathlib.Path], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    folder = str(changed("gpt_neox", _without_a_layer))
    (tmp_path / "text.jsonl").write_text('{"text": "one two three"}\n' * 200)
    data = f"--data={tmp_path}/text.jsonl"
    model, output = f"--model={folder}", f"--output={tmp_path}/out"
    for run, words in (
        (lens.main, ["lens", "train", model, data, output, "--tokens_per_step=2048"]),
        (lens.main, ["lens", "eval", model, data, output, "--lens=none"]),
        (lens.main, ["lens", "show", model, "--text=one two", "--lens=none", f"{output}.html"]),
        (analyses.main, ["analyses", "Head scores", model, "--text=one two", f"{output}.html"]),
        (launch.main, ["launch", f"--models={folder}", "--port=0"]),
    ):
        with pytest.raises(SystemExit) as ended:
            run(words)
        assert ended.value.code == 1
        assert "lacks 12 of 28 weights" in capsys.readouterr().err, words


def test_a_folder_has_the_steps_it_holds(
    checkpoint_folders: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(checkpoint_folders["gpt2"], run)
    shutil.copytree(checkpoint_folders["llama"], run / "checkpoint-20")
    shutil.copytree(checkpoint_folders["gpt_neox"], run / "step7")
    for file in (run / "checkpoint-20").glob("token*"):
        file.unlink()
    kinds = {
        "": "GPT2LMHeadModel",
        "checkpoint-20": "LlamaForCausalLM",
        "step7": "GPTNeoXForCausalLM",
    }
    for revision, kind in kinds.items():
        model = load_model(str(run), revision=revision or None)
        assert type(model.original_model).__name__ == kind
    assert (
        type(load_model(str(run), checkpoint_value=20).original_model).__name__
        == kinds["checkpoint-20"]
    )
    assert type(load_causal_lm(f"{run}@step=7", device="cpu")[0]).__name__ == kinds["step7"]
    (run / "config.json").unlink()
    with pytest.raises(LoadingError, match=r"holds checkpoints: give one, as .*run@checkpoint-20"):
        load_model(str(run))
    assert type(load_model(str(run), checkpoint_value=7).original_model).__name__ == kinds["step7"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"revision": "main"}, "has no main: leave out what follows the @"),
        ({"revision": "anything"}, "has no anything: leave out"),
        ({"revision": "../llama"}, r"has no \.\./llama: leave out"),
        ({"checkpoint_value": 5}, "has no checkpoint-5 or step5: leave out"),
    ],
)
def test_a_folder_has_no_other_revision(
    options: dict[str, Any], sentence: str, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    with pytest.raises(LoadingError, match=sentence):
        load_model(str(checkpoint_folders["gpt2"]), **options)
    suffix = options.get("revision") or f"step={options['checkpoint_value']}"
    with pytest.raises(LoadingError, match=sentence):
        load_causal_lm(f"{checkpoint_folders['gpt2']}@{suffix}", device="cpu")


def _logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        output = model(torch.arange(40, 60)[None])
    return getattr(output, "logits", output)


@pytest.fixture(scope="session")
def adapter_folder(
    checkpoint_folders: dict[str, pathlib.Path], tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """A LoRA adapter of the small Llama whose matrices are not zero."""
    import peft

    folder = tmp_path_factory.mktemp("adapters") / "lora"
    base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders["llama"])
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    peft.get_peft_model(base, settings).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("loader", LOADERS)
def test_an_adapter_is_loaded_with_its_base(
    loader: str, adapter_folder: pathlib.Path, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    import peft

    base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders["llama"])
    before = _logits(base)
    expected = _logits(peft.PeftModel.from_pretrained(base, adapter_folder))
    loaded = LOADERS[loader](str(adapter_folder))
    computed = _logits(loaded[0] if isinstance(loaded, tuple) else loaded)
    assert torch.allclose(computed, expected, atol=1e-5)
    assert not torch.allclose(computed, before, atol=1e-2)


def test_an_adapter_is_refused_by_name(
    adapter_folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(adapter_folder, broken)
    file = broken / "adapter_model.safetensors"
    weights = {k: v for k, v in safetensors.torch.load_file(file).items() if ".1." not in k}
    safetensors.torch.save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(LoadingError, match=r"the adapter .*broken lacks 4 of its weights"):
        load_model(str(broken))
    settings = json.loads((broken / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "./nowhere"
    (broken / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(LoadingError, match=r"broken is an adapter of \./nowhere: .*does not exist"):
        load_model(str(broken))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(LoadingError, match=r"needs the package peft: pip install 'lit_tl\[peft\]'"):
        load_model(str(adapter_folder))


@pytest.fixture(scope="session")
def gguf_file(
    checkpoint_folders: dict[str, pathlib.Path], tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The small Llama as llama.cpp would write it, in float32."""
    import gguf

    folder = checkpoint_folders["llama"]
    config = transformers.AutoConfig.from_pretrained(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    for added in tokenizer["added_tokens"]:
        if added["content"] not in vocabulary:
            vocabulary.append(added["content"])
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    padded = vocabulary + [f"<pad{i}>" for i in range(config.vocab_size - len(vocabulary))]
    writer.add_token_list(padded)
    merges = [" ".join(m) if isinstance(m, list) else m for m in tokenizer["model"]["merges"]]
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    for key, value in weights.items():
        writer.add_tensor(_gguf_name(key), _for_gguf(key, value, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_name(key: str) -> str:
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "model.layers": "blk",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for long, short in names.items():
        key = key.replace(long, short)
    return key


def _for_gguf(key: str, value: torch.Tensor, config: Any) -> np.ndarray:
    """llama.cpp keeps the halves of a rotation interleaved."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, n_heads in heads.items():
        if name in key:
            rows = value.shape[0]
            halves = value.reshape(n_heads, 2, rows // n_heads // 2, value.shape[1])
            value = halves.swapaxes(1, 2).reshape(value.shape)
    return value.float().contiguous().numpy()


@pytest.mark.parametrize("loader", LOADERS)
def test_a_gguf_file_is_loaded(
    loader: str, gguf_file: pathlib.Path, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    expected = _logits(
        transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders["llama"])
    )
    loaded = LOADERS[loader](str(gguf_file))
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    assert torch.allclose(_logits(model), expected, atol=1e-4)
    tokenizer = loaded[1] if isinstance(loaded, tuple) else loaded.tokenizer
    same = transformers.AutoTokenizer.from_pretrained(checkpoint_folders["llama"])
    text = "When Mary and John went to the store"
    assert tokenizer(text)["input_ids"][-5:] == same(text)["input_ids"][-5:]


def test_a_gguf_file_has_no_revision_and_needs_its_package(
    gguf_file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LoadingError, match="is a file and has no revisions"):
        load_model(str(gguf_file), revision="main")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(LoadingError, match=r"needs the package gguf: pip install 'lit_tl\[gguf\]'"):
        load_model(str(gguf_file))


@pytest.fixture
def four_bits(tmp_path: pathlib.Path) -> str:
    """A Llama that is wide enough to be repacked, with weights of 4 bits."""
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 2048}
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **heads))
    model.save_pretrained(tmp_path / "whole")
    settings = transformers.BitsAndBytesConfig(load_in_4bit=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "whole", quantization_config=settings, device_map={"": "cpu"}
    )
    model.save_pretrained(tmp_path / "4bit")
    transformers.AutoTokenizer.from_pretrained(BUNDLED).save_pretrained(tmp_path / "4bit")
    return str(tmp_path / "4bit")


def _gradient_of_embeddings(model: Any) -> torch.Tensor:
    runner = Runner(model)
    prompt = Prompt(ids=tuple(range(40, 60)))
    last = Gradients(
        lambda batch: Targets(example=[0], pos=[19], token=[7], weight=[1.0]), at=[Site("embed")]
    )
    (batch,) = runner.run([prompt], gradients=last)
    assert batch.gradients is not None
    return batch.gradients[Site("embed")][0]


def test_gradients_through_4_bit_weights_are_the_same_after_a_prediction(four_bits: str) -> None:
    model = load_model(four_bits)
    before = _gradient_of_embeddings(model)
    assert bool(before.abs().sum() > 0)
    list(Runner(model).run([Prompt(ids=tuple(range(30)))]))
    assert torch.equal(_gradient_of_embeddings(model), before)


def test_repacked_4_bit_weights_give_no_gradients(four_bits: str) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(four_bits)
    states = [
        layer.weight.quant_state for layer in model.modules() if hasattr(layer, "compute_dtype")
    ]
    with torch.no_grad():
        model(torch.arange(30)[None])
    if not any(getattr(state, "packing_format_for_cpu", False) for state in states):
        pytest.skip("this processor has no AVX-512 with bfloat16, and nothing is repacked")
    with pytest.raises(ValueError, match="has no gradients any more: bitsandbytes repacked"):
        _gradient_of_embeddings(model)


_SERVED = """
import pathlib, sys, torch
from lit_tl.models.loading import load_model
folder = pathlib.Path(sys.argv[1])
model = load_model(str(folder))
ids = torch.arange(40, 60)[None]
with torch.no_grad():
    before = model(ids)
    file = folder / "model.safetensors"
    size = file.stat().st_size
    with open(file, "r+b") as other:
        other.write(bytes(size))
    assert torch.equal(model(ids), before), "another model answers"
    with open(file, "r+b") as other:
        other.truncate(100)
    assert torch.equal(model(ids), before)
print("the same")
"""


def test_a_loaded_model_is_independent_of_its_file(
    checkpoint_folders: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """In a process of its own, since reading past the end of a mapped file ends the process."""
    folder = tmp_path / "llama"
    shutil.copytree(checkpoint_folders["llama"], folder)
    finished = subprocess.run(
        [sys.executable, "-c", _SERVED, str(folder)], capture_output=True, text=True, timeout=240
    )
    assert (finished.returncode, finished.stdout) == (0, "the same\n"), finished.stderr


_CODE = """
import pathlib
from transformers import LlamaConfig, LlamaForCausalLM
pathlib.Path({mark!r}).touch()
class TinyConfig(LlamaConfig):
    model_type = "tiny_own"
class TinyModel(LlamaForCausalLM):
    config_class = TinyConfig
"""


def test_code_of_a_checkpoint_runs_only_when_it_is_trusted(
    checkpoint_folders: dict[str, pathlib.Path],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder, mark = tmp_path / "own", tmp_path / "it_ran"
    shutil.copytree(checkpoint_folders["llama"], folder)
    (folder / "tiny.py").write_text(_CODE.format(mark=str(mark)))
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "tiny_own"
    config["auto_map"] = {"AutoConfig": "tiny.TinyConfig", "AutoModelForCausalLM": "tiny.TinyModel"}
    (folder / "config.json").write_text(json.dumps(config))
    for load in LOADERS.values():
        with pytest.raises(LoadingError, match="runs only with --trust_remote_code"):
            load(str(folder))
    assert not mark.exists()
    expected = _logits(load_model(str(checkpoint_folders["llama"])))
    assert torch.allclose(
        _logits(load_model(str(folder), trust_remote_code=True)), expected, atol=1e-5
    )
    trusted, _ = load_causal_lm(str(folder), device="cpu", trust_remote_code=True)
    assert torch.allclose(_logits(trusted), expected, atol=1e-5)
    assert mark.exists()


@pytest.mark.parametrize(
    "read",
    [
        lambda words: launch.read_flags(["launch", *words])[0],
        lambda words: flags.read(
            TrainConfig, ["train", "--model=m", "--data=x", "--output=y", *words]
        )[0],
        lambda words: flags.read(ShowConfig, ["show", "--text=x", *words])[0],
    ],
)
def test_trust_is_a_flag_of_every_command(read: Callable[[list[str]], Any]) -> None:
    assert not read([]).trust_remote_code
    assert read(["--trust_remote_code"]).trust_remote_code
