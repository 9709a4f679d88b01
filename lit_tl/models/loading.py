"""From the name of a model to TransformerLens' model."""

import contextlib
import copy
from typing import Any, Callable, Iterator, Literal, get_args

from lit_tl.engine import jobs
from lit_tl.hub import with_the_hub_if_it_answers
from lit_tl.models.errors import LOADING_ERRORS, LoadingError, why_not_loaded
from lit_tl.models.sources import Checkpoint, find_checkpoint
from lit_tl.models.weights import WholeWeights, load_tokenizer, load_weights, require_room

Dtype = Literal["float32", "float16", "bfloat16", "float64"]
"""Number formats for weights."""
DTYPES: tuple[str, ...] = get_args(Dtype)
_PROCESSING = ("fold_ln", "center_writing_weights", "center_unembed")


def load_model(name: str, **model_kwargs: Any) -> Any:
    """Boot a model as TransformerLens does, its weights unprocessed unless asked for, in evaluation
    mode.

    Args:
        name: a bundled model, a TransformerLens alias, a Hub id, a local folder (of a LoRA adapter
            too) or a GGUF file.
        **model_kwargs: TransformerLens' own loading options (`dtype` may be a name; `revision` of a
            folder is `checkpoint-N` or `stepN`), and `fold_ln`, `center_writing_weights`,
            `center_unembed`.

    Raises:
        LoadingError: it can't be loaded, or weights are missing.
    """
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    from lit_tl.engine.transformer_lens_models import rename

    processing = {option: bool(model_kwargs.pop(option, False)) for option in _PROCESSING}
    if "dtype" in model_kwargs:
        model_kwargs["dtype"] = as_dtype(model_kwargs["dtype"])
    model_kwargs = {option: value for option, value in model_kwargs.items() if value is not None}
    given, checkpoint = "hf_model" in model_kwargs, None
    try:
        checkpoint = Checkpoint(name=name, path=name) if given else _found(name, model_kwargs)
        if checkpoint.local:
            require_room(
                checkpoint, as_dtype(model_kwargs.get("dtype")), model_kwargs.get("device")
            )
            transformers.utils.logging.disable_progress_bar()
        with (
            with_the_hub_if_it_answers(not checkpoint.local and not given),
            _weights_reported(),
        ):
            if not given:
                model_kwargs |= _files(checkpoint, model_kwargs)
            with _tokenizer_as_it_is(model_kwargs.get("tokenizer")):
                model = TransformerBridge.boot_transformers(checkpoint.path, **model_kwargs)
    except LoadingError:
        raise
    except LOADING_ERRORS as error:
        below = checkpoint.path if checkpoint and checkpoint.adapter else name
        raise LoadingError(why_not_loaded(below, error)) from error
    if any(processing.values()):
        model.enable_compatibility_mode(
            disable_warnings=True, fold_value_biases=False, **processing
        )
    model.eval()
    rename(model, name)
    if model.tokenizer is None:
        raise LoadingError(f"{name} has no tokenizer: put its tokenizer files beside the weights")
    return model


def with_hooks(model: Any, tokenizer: Any = None) -> Any:
    """TransformerLens' model over the weights of a Hugging Face one, which stays as it is.

    The two share their parameters, but for those that TransformerLens splits (the fused queries,
    keys and values of GPT-2 and others).

    Args:
        model: a causal language model of Hugging Face, in any attention implementation.
        tokenizer: its own; None for the one that lies where the model came from.

    Raises:
        LoadingError: no tokenizer lies there, TransformerLens does not know the architecture, or
            the two do not give the same logits, as where the model has hooks of its own.
    """
    name = str(model.name_or_path or model.config.model_type)
    if tokenizer is not None and not hasattr(tokenizer, "convert_ids_to_tokens"):
        raise LoadingError(f"tokenizer is {tokenizer!r}: give one of Hugging Face")
    if hasattr(model, "peft_config") and hasattr(model, "merge_and_unload"):
        raise LoadingError(f"{name} has an adapter of PEFT on it: give model.merge_and_unload()")
    if tokenizer is None:
        try:
            found = find_checkpoint(name)
            with with_the_hub_if_it_answers(not found.local):
                tokenizer = load_tokenizer(found)
        except (LoadingError, *LOADING_ERRORS) as error:
            raise LoadingError(
                f"no tokenizer is found for this model of Hugging Face ({name}): give "
                "lit_tl.models.loading.with_hooks(model, tokenizer)"
            ) from error
    shared = {id(own): own for own in (*model.parameters(), *model.buffers())}
    # What a notebook keeps beside the model, with locks that can't be copied, stays there.
    ours = [value for name, value in vars(model).items() if name.startswith("_lit_tl")]
    tree = copy.deepcopy(model, {**shared, **{id(value): None for value in ours}})
    tree.set_attn_implementation("eager")  # the bridge hooks what it writes out
    bridge = load_model(name, hf_model=tree, tokenizer=tokenizer)
    _require_same(name, model, bridge)
    return bridge


def _require_same(name: str, model: Any, bridge: Any) -> None:
    import torch

    from lit_tl.engine.agreement import near, probe_ids

    ids = probe_ids(int(model.get_output_embeddings().weight.shape[0]), 8)[None]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            expected = model(ids.to(model.device)).logits
            same = near(bridge(ids.to(model.device)), expected)
    finally:
        model.train(was_training)
    if not same:
        raise LoadingError(
            f"TransformerLens' hooks over {name} do not give its own logits: take off what "
            "changes them (forward hooks, patched methods)"
        )


class _Reported:
    """A progress bar of transformers, whose items are also reported to the current job."""

    def __init__(self, bar: Any, items: Any):
        self._bar, self._count = bar, len(items) if hasattr(items, "__len__") else 0

    def __iter__(self) -> Iterator[Any]:
        for i, item in enumerate(self._bar):
            if self._count:
                jobs.current().advance(i, self._count)
            yield item

    def __enter__(self) -> Any:
        return self._bar.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self._bar.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)


@contextlib.contextmanager
def _weights_reported() -> Iterator[None]:
    """Inside, the current job hears how many of the weights are loaded, and may stop it."""
    from transformers.utils import logging

    def report(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _Reported(make(*args, **kwargs), args[0] if args else kwargs.get("iterable"))

    before = logging.set_tqdm_hook(report)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


@contextlib.contextmanager
def _tokenizer_as_it_is(tokenizer: Any) -> Iterator[None]:
    """Inside, TransformerLens takes a tokenizer as Hugging Face gives it. It would load one anew
    that puts no beginning-of-text token in front, and let it do so."""
    if tokenizer is None:
        yield
        return
    before = tokenizer.init_kwargs
    tokenizer.init_kwargs = {**before, "add_bos_token": True}
    try:
        yield
    finally:
        tokenizer.init_kwargs = before


def _found(name: str, model_kwargs: dict[str, Any]) -> Checkpoint:
    """Where the files are. What is said of a revision is TransformerLens' alone on the Hub."""
    checkpoint = find_checkpoint(
        name,
        revision=model_kwargs.get("revision"),
        checkpoint_value=model_kwargs.get("checkpoint_value"),
    )
    if checkpoint.local:
        model_kwargs.pop("revision", None)
        model_kwargs.pop("checkpoint_value", None)
    return checkpoint


def _files(checkpoint: Checkpoint, model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """What TransformerLens needs to know of the files beside their place."""
    import torch
    import transformers
    from transformer_lens.utilities import get_device

    trust = bool(model_kwargs.get("trust_remote_code", False))
    files: dict[str, Any] = {}
    if "tokenizer" not in model_kwargs:
        try:
            files["tokenizer"] = load_tokenizer(checkpoint, trust_remote_code=trust)
        except LOADING_ERRORS:
            # TransformerLens knows of models whose tokenizer is elsewhere, or says what is missing.
            if checkpoint.gguf_file is not None:
                raise
    if checkpoint.gguf_file is None and checkpoint.adapter is None:
        return files | {
            "model_class": WholeWeights(checkpoint.name, model_kwargs.get("model_class"))
        }
    model = load_weights(
        checkpoint,
        transformers.AutoModelForCausalLM,
        dtype=model_kwargs.get("dtype", torch.float32),
        attn_implementation="eager",  # the bridge hooks what it writes out
        trust_remote_code=trust,
    )
    return files | {"hf_model": model.to(model_kwargs.get("device") or get_device())}


def as_dtype(dtype: Any) -> Any:
    """A torch dtype from itself or its name.

    Raises:
        LoadingError: no such dtype for weights.
    """
    import torch

    if isinstance(dtype, torch.dtype) or dtype is None:
        return dtype or torch.float32
    if dtype not in DTYPES:
        raise LoadingError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    return getattr(torch, dtype)
