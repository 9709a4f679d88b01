"""The Hugging Face model inside TransformerLens' one, for work that hooks only blocks: training and
evaluating lenses.

It has the weights that TransformerLens boots, needs less memory (no split copies of fused
projections, attention without stored patterns), and PyTorch can shard it and bitsandbytes quantize
it.
"""

import importlib.util
import pathlib
from typing import Any, Literal

from lit_tl.hub import with_the_hub_if_it_answers
from lit_tl.models.loading import (
    LOADING_ERRORS,
    LoadingError,
    ModelSource,
    resolve,
    why_not_loaded,
)

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]


def load_causal_lm(
    source: str, *, device: Any, works_on: Any = None, precision: Precision = "auto"
) -> tuple[Any, Any]:
    """A frozen causal language model in evaluation mode, and its tokenizer.

    Args:
        source: a bundled model, a TransformerLens alias, a Hub id or a local folder, each with an
            optional `@revision`.
        device: where it goes.
        works_on: where it will work, if it goes elsewhere first.
        precision: of the weights; auto keeps what is stored for work on a GPU, and makes float32 of
            it for any other.

    Raises:
        LoadingError: it can't be loaded, or int8 is asked for where bitsandbytes is missing.
    """
    import torch
    import transformers

    parsed = ModelSource.parse(source)
    if parsed.checkpoint_value is not None:
        raise LoadingError(
            f"{source}: give the checkpoint's revision on the Hub, as in "
            f"{parsed.name}@step{parsed.checkpoint_value}"
        )
    path = resolve(parsed.name)
    options: dict[str, Any] = {"dtype": _dtype(precision, torch.device(works_on or device).type)}
    if precision == "int8":
        options |= {"quantization_config": _int8(), "device_map": {"": device}}
    if parsed.revision:
        options["revision"] = parsed.revision
    local = pathlib.Path(path).is_dir()
    if local:
        transformers.utils.logging.disable_progress_bar()
    try:
        with with_the_hub_if_it_answers(not local):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                path, revision=parsed.revision or "main"
            )
            model = transformers.AutoModelForCausalLM.from_pretrained(path, **options)
    except LOADING_ERRORS as error:
        raise LoadingError(why_not_loaded(parsed.name, error)) from error
    if precision != "int8":
        model.to(device)
    model.eval().requires_grad_(False)
    # The name that a reader of the lens can use: not the place of the bundled model on this
    # machine.
    model.name_or_path = parsed.name if local else path
    return model, tokenizer


def _dtype(precision: Precision, device_type: str) -> Any:
    import torch

    if precision in ("auto", "int8"):
        return "auto" if device_type == "cuda" else torch.float32
    return getattr(torch, precision)


def _int8() -> Any:
    import transformers

    if importlib.util.find_spec("bitsandbytes") is None:
        raise LoadingError(
            "--precision int8 needs the package bitsandbytes: pip install 'lit_tl[int8]', or "
            "leave --precision out"
        )
    return transformers.BitsAndBytesConfig(load_in_8bit=True)
