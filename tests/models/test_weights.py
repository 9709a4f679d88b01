"""Checkpoints that do not hold all of a model, and those that are more than a folder of weights."""

import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any, Callable

import pytest
import safetensors.torch
import torch

from lit_tl import flags, launch
from lit_tl.analyses import __main__ as analyses
from lit_tl.lens import __main__ as lens
from lit_tl.lens.commands.show import Config as ShowConfig
from lit_tl.lens.training.config import TrainConfig
from lit_tl.models.causal_lm import load_causal_lm
from lit_tl.models.errors import LoadingError
from lit_tl.models.loading import load_model
from tests.models.conftest import LOADERS, logits_of

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
    expected = logits_of(load_model(str(checkpoint_folders["llama"])))
    assert torch.allclose(
        logits_of(load_model(str(folder), trust_remote_code=True)), expected, atol=1e-5
    )
    trusted, _ = load_causal_lm(str(folder), device="cpu", trust_remote_code=True)
    assert torch.allclose(logits_of(trusted), expected, atol=1e-5)
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


def test_weights_that_do_not_fit_into_memory_are_refused_before_they_are_read(
    checkpoint_folders: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint_folders["gpt2"]
    stored = (folder / "model.safetensors").stat().st_size
    monkeypatch.setattr("lit_tl.engine.memory.free_on_cpu", lambda: stored // 2 + 1000)
    with pytest.raises(LoadingError, match=r"takes about \d+ MB as torch.float32, and .* is free"):
        load_model(str(folder), device="cpu")
    half = load_model(str(folder), device="cpu", dtype="float16")
    assert half.cfg.dtype == torch.float16
