"""Names of models, and what is said when one can't be loaded."""

import json
import pathlib
import shutil
import subprocess
import sys

import httpx
import pytest
import transformers
from huggingface_hub import errors as hub

from lit_tl.models.errors import LoadingError, why_not_loaded
from lit_tl.models.loading import load_model
from lit_tl.models.sources import ModelSource, resolve
from tests.models.conftest import LOADERS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpt2-small", ("gpt2-small", "gpt2-small", None, None)),
        ("mine=./runs/a", ("mine", "./runs/a", None, None)),
        (
            "EleutherAI/pythia-70m@step=1000",
            ("pythia-70m-step1000", "EleutherAI/pythia-70m", None, 1000),
        ),
        ("a:b=owner/name@v1.0", ("a-b", "owner/name", "v1.0", None)),
        ("/models/gpt/", ("gpt", "/models/gpt/", None, None)),
    ],
)
def test_sources_are_read(text: str, expected: tuple) -> None:
    source = ModelSource.parse(text)
    assert (source.label, source.name, source.revision, source.checkpoint_value) == expected


@pytest.mark.parametrize("text", ["", "a=", "name@", "name@step=x"])
def test_malformed_sources_are_refused(text: str) -> None:
    with pytest.raises(LoadingError, match="--models entry"):
        ModelSource.parse(text)


def test_aliases_go_to_official_names() -> None:
    assert resolve("gpt2-small") == "openai-community/gpt2" or resolve("gpt2-small") == "gpt2"
    assert resolve("owner/some-model") == "owner/some-model"


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(LoadingError, match=r"unknown model 'gpt2-smal': did you mean .*gpt2-small"):
        resolve("gpt2-smal")


def test_folders_without_a_model_are_refused(
    tmp_path: pathlib.Path, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    with pytest.raises(LoadingError, match=r"holds no model: there is no config\.json"):
        load_model(str(tmp_path))
    with pytest.raises(LoadingError, match="does not exist"):
        load_model("./no/such/folder")
    bare = tmp_path / "bare"
    shutil.copytree(checkpoint_folders["llama"], bare)
    for file in bare.glob("token*"):
        file.unlink()
    with pytest.raises(LoadingError, match="tokenizer"):
        load_model(str(bare))
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint_folders["gpt2"], broken)
    (broken / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(LoadingError, match=r"the weights of .*broken are damaged"):
        load_model(str(broken))


def test_a_wrong_dtype_is_refused() -> None:
    with pytest.raises(LoadingError, match="dtype 'int3' is not one of float32"):
        load_model("lit-tl-tiny", dtype="int3")


def _hub_error(kind: type[Exception], status: int) -> Exception:
    response = httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/a/b"))
    return kind("x", response=response)


def test_what_the_hub_says_becomes_what_to_do() -> None:
    gated = OSError("You are trying to access a gated repo.")
    gated.__cause__ = _hub_error(hub.GatedRepoError, 403)
    assert "HF_TOKEN" in why_not_loaded("meta-llama/Llama-3", gated)
    missing = OSError("x")
    missing.__cause__ = _hub_error(hub.RepositoryNotFoundError, 404)
    assert "there is no model 'a/gpt2-smal' on the Hub" in why_not_loaded("a/gpt2-smal", missing)
    revision = OSError("x")
    revision.__cause__ = _hub_error(hub.RevisionNotFoundError, 404)
    assert "no such revision" in why_not_loaded("a/b", revision)


def test_a_hub_model_without_network_says_so_and_what_works() -> None:
    """In a process of its own, with the Hub at an address where nobody answers: the real path to
    the Hub is taken."""
    code = "from lit_tl.models.loading import load_model; load_model('gpt2-small')"
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    finished = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=240
    )
    assert finished.returncode == 1
    assert (
        "gpt2-small is not on this machine, and the Hugging Face Hub can't be reached"
        in finished.stderr
    )


def test_folders_with_odd_names_are_folders(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "lr=0.1@final"
    folder.mkdir()
    assert ModelSource.parse(str(folder)).name == str(folder)
    assert ModelSource.parse("./lr=0.1/ckpt").name == "./lr=0.1/ckpt"


@pytest.mark.parametrize("loader", LOADERS)
def test_damaged_weights_are_said_to_be(
    loader: str, checkpoint_folders: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    shutil.copytree(checkpoint_folders["llama"], tmp_path / "m")
    (file,) = (tmp_path / "m").glob("*.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    sentence = "m are damaged, or hold more than tensors: nothing was loaded"
    with pytest.raises(LoadingError, match=sentence):
        LOADERS[loader](str(tmp_path / "m"))
    file.unlink()
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(b"no weights at all")
    with pytest.raises(LoadingError, match=sentence):
        LOADERS[loader](str(tmp_path / "m"))


@pytest.mark.parametrize("loader", LOADERS)
def test_models_that_read_both_ways_are_refused_whatever_their_class(
    loader: str, tmp_path: pathlib.Path
) -> None:
    config = transformers.BertConfig(
        vocab_size=200,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    transformers.BertForPreTraining(config).save_pretrained(tmp_path)
    for kept in (True, False):
        settings = json.loads((tmp_path / "config.json").read_text())
        if not kept:
            del settings["architectures"]
        (tmp_path / "config.json").write_text(json.dumps(settings))
        with pytest.raises(LoadingError, match=r"is a masked language model \(bert\)"):
            LOADERS[loader](str(tmp_path))
