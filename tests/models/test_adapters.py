"""LoRA adapters: with their base, or refused by name."""

import json
import pathlib
import shutil
import sys
from typing import Any, Callable

import peft
import pytest
import safetensors.torch
import torch
import transformers

from lit_tl.models.errors import LoadingError
from lit_tl.models.loading import load_model
from tests.models.conftest import LOADERS, logits_of


@pytest.fixture(scope="session")
def adapter_folder(
    checkpoint_folders: dict[str, pathlib.Path], tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """A LoRA adapter of the small Llama whose matrices are not zero."""
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders["llama"])
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    peft.get_peft_model(base, settings).save_pretrained(folder)
    return folder


def loaded(loader: str, name: str) -> torch.Tensor:
    model = LOADERS[loader](name)
    return logits_of(model[0] if isinstance(model, tuple) else model)


Changed = Callable[..., pathlib.Path]


@pytest.fixture
def changed(adapter_folder: pathlib.Path, tmp_path: pathlib.Path) -> Changed:
    """A copy of the adapter with other weights, or another base."""

    def make(
        edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = dict,
        folder: pathlib.Path = tmp_path / "broken",
        base: object = None,
    ) -> pathlib.Path:
        shutil.copytree(adapter_folder, folder)
        file = folder / "adapter_model.safetensors"
        weights = edit(safetensors.torch.load_file(file))
        safetensors.torch.save_file(weights, file, metadata={"format": "pt"})
        settings = json.loads((folder / "adapter_config.json").read_text())
        settings["base_model_name_or_path"] = str(base or settings["base_model_name_or_path"])
        (folder / "adapter_config.json").write_text(json.dumps(settings))
        return folder

    return make


@pytest.mark.parametrize("loader", LOADERS)
def test_an_adapter_is_loaded_with_its_base(
    loader: str, adapter_folder: pathlib.Path, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders["llama"])
    before = logits_of(base)
    expected = logits_of(peft.PeftModel.from_pretrained(base, adapter_folder))
    computed = loaded(loader, str(adapter_folder))
    assert torch.allclose(computed, expected, atol=1e-5)
    assert not torch.allclose(computed, before, atol=1e-2)


def test_weights_that_are_missing_or_have_no_place_are_refused(
    changed: Changed, tmp_path: pathlib.Path
) -> None:
    without = changed(lambda weights: {k: v for k, v in weights.items() if ".1." not in k})
    with pytest.raises(LoadingError, match=r"the adapter .*broken lacks 4 of its weights"):
        load_model(str(without))

    def with_more(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        own = {k: v for k, v in weights.items() if "layers.1.self_attn.q_proj" in k}
        return weights | {k.replace("layers.1", "layers.7"): v.clone() for k, v in own.items()}

    longer = changed(with_more, tmp_path / "longer")
    with pytest.raises(
        LoadingError,
        match=r"2 weights of the adapter .*longer have no place in its base .*layers\.7",
    ):
        load_model(str(longer))


def test_a_base_that_is_not_here_is_named(
    changed: Changed,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    adapter_folder: pathlib.Path,
) -> None:
    for i, (base, sentence) in enumerate(
        (
            ("./nowhere", r"is an adapter of \./nowhere: .*does not exist"),
            ("owner/base", r"^owner/base is not on this machine"),
            (tmp_path / "a2", "is an adapter of itself"),
        )
    ):
        with pytest.raises(LoadingError, match=sentence):
            load_model(str(changed(folder=tmp_path / f"a{i}", base=base)))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(LoadingError, match=r"needs the package peft: pip install 'lit_tl\[peft\]'"):
        load_model(str(adapter_folder))


def test_of_several_adapters_one_is_to_be_given(changed: Changed, tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        changed(folder=tmp_path / "several" / name)
    with pytest.raises(
        LoadingError, match=r"holds 2 adapters: give one, as .*several/one \(one, two\)"
    ):
        load_model(str(tmp_path / "several"))
    assert load_model(str(tmp_path / "several" / "two")) is not None


ASK = """
import sys, torch
from lit_tl.models.loading import load_model
from tests.models.conftest import LOADERS, logits_of
torch.save(
    [logits_of(load_model("own/adapter")), logits_of(load_model("own/adapter", revision="v2")),
     logits_of(LOADERS["Hugging Face"]("own/adapter@v2")[0])],
    sys.argv[1],
)
"""


def test_an_adapter_of_the_hub_has_its_own_revisions(
    changed: Changed, tmp_path: pathlib.Path, run_python: Callable[..., Any]
) -> None:
    """In a process of its own, with what was downloaded before at another place."""
    repository = tmp_path / "hub" / "models--own--adapter"
    (repository / "refs").mkdir(parents=True)
    folders = {}
    for revision, commit, factor in (("main", "a" * 40, 1.0), ("v2", "b" * 40, 3.0)):
        (repository / "refs" / revision).write_text(commit)
        folders[revision] = changed(
            lambda weights, by=factor: {k: v * by for k, v in weights.items()},
            repository / "snapshots" / commit,
        )
    output = tmp_path / "logits"
    run_python(ASK, str(output), HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1")
    main, second, of_hugging_face = torch.load(output)
    for computed, revision in ((main, "main"), (second, "v2"), (of_hugging_face, "v2")):
        expected = loaded("TransformerLens", str(folders[revision]))
        assert torch.allclose(computed, expected, atol=1e-5)
    assert not torch.allclose(main, second, atol=1e-2)
