"""The weights of a checkpoint: all of them, in memory of their own."""

import importlib.util
import json
import pathlib
import warnings
from typing import TYPE_CHECKING, Any, Sequence

from lit_tl.models.errors import LoadingError
from lit_tl.models.sources import Checkpoint

if TYPE_CHECKING:
    import torch

_NAMED = 3
"""Weights that a sentence names before it counts the rest."""


class WholeWeights:
    """An Auto class of transformers that refuses a checkpoint which does not hold every weight.

    transformers fills what a checkpoint lacks with random numbers, and only logs it.

    Args:
        name: what errors call the model.
        auto_class: whose `from_pretrained` loads the model; None for the one that TransformerLens
            takes for the configuration.
    """

    def __init__(self, name: str, auto_class: Any = None):
        self._name = name
        self._auto_class = auto_class

    def from_config(self, config: Any, **options: Any) -> Any:
        """A model with random weights, as the Auto class makes it."""
        return self._class_for(config).from_config(config, **options)

    def _class_for(self, config: Any) -> Any:
        from transformer_lens.model_bridge.sources import transformers as bridge

        if self._auto_class is not None:
            return self._auto_class
        architecture = bridge.determine_architecture_from_hf_config(config)
        return bridge.get_hf_model_class_for_architecture(architecture)

    def from_pretrained(self, path: str, **options: Any) -> Any:
        """The model, independent of its files: what is written there later does not reach it.

        Raises:
            LoadingError: weights are missing, or have other shapes than the configuration says; or
                the model does not predict the next token.
        """
        _require_causal(self._name, path, options)
        auto_class = self._class_for(options.get("config"))
        # Weights of other shapes are reported then, and refused here by name.
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, info = auto_class.from_pretrained(path, **options)
        _require_all(self._name, info, n_weights=len(model.state_dict()))
        _copy_from_files(model)
        return model


def _require_causal(name: str, path: str, options: dict[str, Any]) -> None:
    """Refuse encoder-decoders and masked models before their weights are read."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    known = ("revision", "trust_remote_code", "token", "gguf_file")
    given = {option: value for option, value in options.items() if option in known}
    config = options.get("config") or transformers.AutoConfig.from_pretrained(path, **given)
    kinds = getattr(config, "architectures", None) or []
    reads_both_ways = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    what = ""
    if getattr(config, "is_encoder_decoder", False):
        what = "an encoder-decoder"
    elif any(kind.endswith("ForMaskedLM") for kind in kinds) or (
        reads_both_ways and not getattr(config, "is_decoder", False)
    ):
        what = "a masked language model"
    if what:
        raise LoadingError(
            f"{name} is {what} ({config.model_type}): lit_tl reads models that predict the next "
            "token from those before it"
        )


def _require_all(name: str, info: dict[str, Any], *, n_weights: int) -> None:
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if missing:
        prefix = _common_prefix(missing, unexpected)
        raise LoadingError(
            f"the checkpoint {name} lacks {len(missing)} of {n_weights} weights: "
            f"{_some(missing)}. "
            + (
                f"Its weights are named {prefix}...: save the model inside the wrapper"
                if prefix
                else "A model without them would answer with random numbers"
            )
        )
    mismatched = [
        f"{key} is {list(stored)} and not {list(needed)}"
        for key, stored, needed in sorted(info["mismatched_keys"])
    ]
    if mismatched or info.get("error_msgs"):
        raise LoadingError(
            f"the checkpoint {name} has weights of other shapes than its config.json says: "
            f"{_some(mismatched or sorted(info['error_msgs']))}"
        )
    if unexpected:
        warnings.warn(
            f"{name}: {len(unexpected)} weights of the checkpoint have no place in the model and "
            f"are left out: {_some(unexpected)}",
            stacklevel=2,
        )


def _common_prefix(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """What stands before every missing name in the checkpoint, as `module.`."""
    shortest = min(missing, key=len)
    found = next((key for key in unexpected if key.endswith("." + shortest)), "")
    prefix = found.removesuffix(shortest)
    return prefix if prefix and all(prefix + key in unexpected for key in missing) else ""


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _copy_from_files(model: Any) -> None:
    """Weights on the CPU are views of a mapped file: writing to it changes them, or ends the
    process where it gets shorter."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def load_tokenizer(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a checkpoint as Hugging Face makes it.

    Raises:
        LoadingError: a package is needed.
        OSError, ValueError and others of `LOADING_ERRORS`: there is none that can be read.
    """
    import transformers

    _require_packages(checkpoint)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if checkpoint.gguf_file is not None:
        options["gguf_file"] = checkpoint.gguf_file
    if checkpoint.tokenizer is None:
        options["revision"] = checkpoint.revision or "main"
    return transformers.AutoTokenizer.from_pretrained(
        checkpoint.tokenizer or checkpoint.path, **options
    )


def load_weights(checkpoint: Checkpoint, auto_class: Any, **options: Any) -> Any:
    """The Hugging Face model of a checkpoint, a LoRA adapter merged into it.

    Args:
        checkpoint: where the files are.
        auto_class: of transformers.
        **options: of its `from_pretrained`.

    Raises:
        LoadingError: weights are missing, the adapter can't be merged, or a package is needed.
        OSError, ValueError and others of `LOADING_ERRORS`: transformers can't load it.
    """
    _require_packages(checkpoint)
    if checkpoint.gguf_file is not None:
        options["gguf_file"] = checkpoint.gguf_file
    if checkpoint.revision is not None:
        options["revision"] = checkpoint.revision
    model = WholeWeights(checkpoint.name, auto_class).from_pretrained(checkpoint.path, **options)
    return model if checkpoint.adapter is None else _merged(model, checkpoint)


def _require_packages(checkpoint: Checkpoint) -> None:
    needed = {
        "peft": checkpoint.adapter and "an adapter (LoRA)",
        "gguf": checkpoint.gguf_file and "a GGUF file",
    }
    for package, what in needed.items():
        if what and importlib.util.find_spec(package) is None:
            raise LoadingError(
                f"{checkpoint.name} is {what}, which needs the package {package}: "
                f"pip install 'lit_tl[{package}]'"
            )


def _merged(model: Any, checkpoint: Checkpoint) -> Any:
    import peft

    adapter = str(checkpoint.adapter)
    version: dict[str, Any] = {}
    if checkpoint.adapter_revision:
        version["revision"] = checkpoint.adapter_revision
    config = peft.PeftConfig.from_pretrained(adapter, **version)
    if config.peft_type != peft.PeftType.LORA:
        raise LoadingError(
            f"{checkpoint.name} is an adapter of the kind {config.peft_type}: only LoRA adapters "
            "can be merged into the weights"
        )
    with warnings.catch_warnings(record=True):
        wrapped = peft.PeftModel(model, config)
        result = wrapped.load_adapter(adapter, "default", **version)
    missing = sorted(result.missing_keys)
    if missing:
        raise LoadingError(
            f"the adapter {checkpoint.name} lacks {len(missing)} of its weights: {_some(missing)}"
        )
    homeless = sorted(result.unexpected_keys)
    if homeless:
        raise LoadingError(
            f"{len(homeless)} weights of the adapter {checkpoint.name} have no place in its base "
            f"model {checkpoint.path}: {_some(homeless)}"
        )
    merged = wrapped.merge_and_unload(safe_merge=True)
    merged.config.name_or_path = checkpoint.name
    return merged


def require_room(checkpoint: Checkpoint, dtype: "torch.dtype", device: Any) -> None:
    """Refuse a local checkpoint whose weights do not fit into memory, before they are read.

    Args:
        checkpoint: in a folder.
        dtype: that the weights will have.
        device: where they will be; None is the best there is.

    Raises:
        LoadingError: they do not fit.
    """
    import torch

    from lit_tl.engine import memory

    on_cpu = str(device or ("cuda" if torch.cuda.is_available() else "cpu")) == "cpu"
    folder = pathlib.Path(checkpoint.path)
    files = list(folder.glob("*.safetensors")) or list(folder.glob("pytorch_model*.bin"))
    if not on_cpu or not files or checkpoint.gguf_file is not None:
        return
    needed = sum(file.stat().st_size for file in files) * dtype.itemsize // _stored_bytes(folder)
    free = memory.free_on_cpu()
    if needed > free:
        raise LoadingError(
            f"{checkpoint.name} takes about {memory.said(needed)} as {dtype}, and "
            f"{memory.said(free)} of memory is free: unload a model, take a smaller number format "
            "(--dtype), or allow more (--memory_limit)"
        )


def _stored_bytes(folder: pathlib.Path) -> int:
    """Of a number in a checkpoint's files, as its configuration has it; 4 where it says nothing."""
    import torch

    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return 4
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    stored = getattr(torch, name.removeprefix("torch."), None)
    return stored.itemsize if isinstance(stored, torch.dtype) else 4
