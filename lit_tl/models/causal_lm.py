"""The Hugging Face model inside TransformerLens' one, for work that hooks only blocks: training and
evaluating lenses.

It has the weights that TransformerLens boots, needs less memory (no split copies of fused
projections, attention without stored patterns), and PyTorch can shard it and bitsandbytes quantize
it.
"""

import importlib.util
from typing import Any, Literal

from lit_tl.hub import with_the_hub_if_it_answers
from lit_tl.models.errors import LOADING_ERRORS, LoadingError, why_not_loaded
from lit_tl.models.sources import ModelSource, find_checkpoint
from lit_tl.models.weights import load_tokenizer, load_weights

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]


def load_causal_lm(
    source: str,
    *,
    device: Any,
    works_on: Any = None,
    precision: Precision = "auto",
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """A frozen causal language model in evaluation mode, and its tokenizer.

    Args:
        source: a bundled model, a TransformerLens alias, a Hub id, a local folder or a GGUF file,
            with an optional `@revision`; of a folder, `@checkpoint-N` or `@step=N`.
        device: where it goes.
        works_on: where it will work, if it goes elsewhere first.
        precision: of the weights; auto keeps what is stored for work on a GPU, and makes float32 of
            it for any other.
        trust_remote_code: whether model code that comes with the checkpoint may run.

    Raises:
        LoadingError: it can't be loaded, weights are missing, or int8 is asked for where
            bitsandbytes is missing.
    """
    import torch
    import transformers

    parsed = ModelSource.parse(source)
    parsed.require_unchanged()
    checkpoint = find_checkpoint(
        parsed.name, revision=parsed.revision, checkpoint_value=parsed.checkpoint_value
    )
    if parsed.checkpoint_value is not None and not checkpoint.local:
        raise LoadingError(
            f"{source}: give the checkpoint's revision on the Hub, as in "
            f"{parsed.name}@step{parsed.checkpoint_value}"
        )
    options: dict[str, Any] = {
        "dtype": _dtype(precision, torch.device(works_on or device).type),
        "trust_remote_code": trust_remote_code,
    }
    if precision == "int8":
        options |= {"quantization_config": _int8(), "device_map": {"": device}}
    if checkpoint.local:
        transformers.utils.logging.disable_progress_bar()
    try:
        with with_the_hub_if_it_answers(not checkpoint.local):
            tokenizer = load_tokenizer(checkpoint, trust_remote_code=trust_remote_code)
            model = load_weights(checkpoint, transformers.AutoModelForCausalLM, **options)
    except LoadingError:
        raise
    except LOADING_ERRORS as error:
        below = checkpoint.path if checkpoint.adapter else parsed.name
        raise LoadingError(why_not_loaded(below, error)) from error
    if precision != "int8":
        model.to(device)
    model.eval().requires_grad_(False)
    # The name that a reader of the lens can use: not the place of the bundled model on this
    # machine.
    model.name_or_path = parsed.name if checkpoint.local else checkpoint.path
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
