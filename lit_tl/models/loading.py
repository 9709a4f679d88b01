"""From the name of a model to the model: bundled, TransformerLens alias, Hub id or local folder."""

import dataclasses
import difflib
import os
import pathlib
import re
from typing import Any, Iterator, Literal, Optional, get_args

from lit_tl.hub import connection_errors, with_the_hub_if_it_answers
from lit_tl.names import safe_label, split_label

BUNDLED_MODELS = {"lit-tl-tiny": pathlib.Path(__file__).parent.parent / "bundled" / "tiny_gpt2"}
"""Models that are shipped with the package, by name."""

Dtype = Literal["float32", "float16", "bfloat16", "float64"]
"""Number formats for weights."""
DTYPES: tuple[str, ...] = get_args(Dtype)
_PROCESSING = ("fold_ln", "center_writing_weights", "center_unembed")


LOADING_ERRORS = (
    OSError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    ImportError,
    AssertionError,
)
"""What the libraries raise where a model can't be loaded."""


class LoadingError(ValueError):
    """A model can't be loaded. The message is one sentence or two: what is wrong, and what to
    do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model comes from: `[label=]name[@revision]` or `[label=]name[@step=N]`."""

    label: str
    name: str
    revision: Optional[str] = None
    checkpoint_value: Optional[int] = None

    @classmethod
    def parse(cls, text: str) -> "ModelSource":
        """Read one entry of `--models`.

        Raises:
            LoadingError: the entry is not of that form.
        """
        label, whole = split_label(text)
        name, at, version = (
            (whole, "", "") if pathlib.Path(whole).expanduser().is_dir() else whole.partition("@")
        )
        if not name or (at and not version):
            raise LoadingError(
                f"--models entry {text!r} is not of the form [label=]name[@revision] or "
                "[label=]name[@step=N]"
            )
        step = re.fullmatch(r"step=(\d+)", version)
        if version.startswith("step=") and step is None:
            raise LoadingError(
                f"--models entry {text!r}: @step= takes a whole number, as in {name}@step=1000"
            )
        default = name.rstrip("/").rsplit("/", 1)[-1] + (
            f"-{version.replace('=', '')}" if version else ""
        )
        return cls(
            label=safe_label(label or default),
            name=name,
            revision=version if version and step is None else None,
            checkpoint_value=int(step[1]) if step else None,
        )


def load_model(name: str, **model_kwargs: Any) -> Any:
    """Boot a model as TransformerLens does, its weights unprocessed unless asked for, in evaluation
    mode.

    Args:
        name: a bundled model, a TransformerLens alias, a Hub id or a local folder.
        **model_kwargs: TransformerLens' own loading options (`dtype` may be a name), and `fold_ln`,
            `center_writing_weights`, `center_unembed`.

    Raises:
        LoadingError: it can't be loaded.
    """
    import safetensors
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    from lit_tl.engine.transformer_lens_models import rename

    processing = {option: bool(model_kwargs.pop(option, False)) for option in _PROCESSING}
    if "dtype" in model_kwargs:
        model_kwargs["dtype"] = as_dtype(model_kwargs["dtype"])
    model_kwargs = {option: value for option, value in model_kwargs.items() if value is not None}
    path = name if "hf_model" in model_kwargs else resolve(name)
    if pathlib.Path(path).is_dir():
        transformers.utils.logging.disable_progress_bar()
    hub = not pathlib.Path(path).is_dir() and "hf_model" not in model_kwargs
    try:
        with with_the_hub_if_it_answers(hub):
            model = TransformerBridge.boot_transformers(path, **model_kwargs)
    except LOADING_ERRORS as error:
        raise LoadingError(why_not_loaded(name, error)) from error
    except safetensors.SafetensorError as error:
        raise LoadingError(why_not_loaded(name, error)) from error
    if any(processing.values()):
        model.enable_compatibility_mode(
            disable_warnings=True, fold_value_biases=False, **processing
        )
    model.eval()
    rename(model, name)
    if model.tokenizer is None:
        raise LoadingError(f"{name} has no tokenizer: put its tokenizer files beside the weights")
    return model


def resolve(name: str) -> str:
    """What to hand to TransformerLens: a folder, or a Hub id.

    Raises:
        LoadingError: no such folder, no model in it, or no such name.
    """
    from transformer_lens import supported_models

    if name in BUNDLED_MODELS:
        return str(BUNDLED_MODELS[name])
    folder = pathlib.Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise LoadingError(f"the folder {name} holds no model: there is no config.json in it")
        return str(folder)
    if folder.is_file() or name.startswith((".", "~", os.sep)):
        kind = "is a file, not a model's folder" if folder.is_file() else "does not exist"
        raise LoadingError(
            f"{name} {kind}: give the folder that holds config.json, the weights and the tokenizer"
        )
    try:
        return str(supported_models.get_official_model_name(name))
    except ValueError:
        if "/" in name:
            return name
    raise LoadingError(
        f"unknown model {name!r}: {_nearest(name)} (other models of the Hub are named owner/name)"
    )


def _nearest(name: str) -> str:
    from transformer_lens import supported_models

    aliases = [alias for group in supported_models.MODEL_ALIASES.values() for alias in group]
    known = {
        known.lower(): known
        for known in (*BUNDLED_MODELS, *supported_models.OFFICIAL_MODEL_NAMES, *aliases)
    }
    near = difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.5)
    return (
        f"did you mean {', '.join(known[match] for match in near)}?"
        if near
        else f"try {', '.join(BUNDLED_MODELS)} or gpt2-small"
    )


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


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: Optional[BaseException] = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def why_not_loaded(name: str, error: BaseException) -> str:
    """What went wrong while loading, and what to do, in a sentence or two."""
    from huggingface_hub import errors as hub

    causes = list(_chain(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    text = " ".join(str(cause) for cause in causes)
    if caused_by(hub.GatedRepoError) or "gated repo" in text:
        return (
            f"{name} is gated: accept its terms at https://huggingface.co/{name}, then give a "
            "token with HF_TOKEN=... in the environment, or once with `hf auth login`"
        )
    if caused_by(hub.RevisionNotFoundError) or "is not a valid git identifier" in text:
        return f"{name} has no such revision on the Hub"
    if caused_by(hub.RepositoryNotFoundError) or "is not a valid model identifier" in text:
        return (
            f"there is no model {name!r} on the Hub, or it is private and HF_TOKEN is not "
            f"set: {_nearest(name)}"
        )
    if (
        caused_by(*connection_errors())
        or "We couldn't connect to" in text
        or "outgoing traffic has been disabled" in text
    ):
        return (
            f"{name} is not on this machine, and the Hugging Face Hub can't be reached. "
            f"Check the network, or give a local folder; --models {next(iter(BUNDLED_MODELS))} "
            "needs no network"
        )
    if "tokenizer" in text.lower() and pathlib.Path(name).expanduser().is_dir():
        return (
            f"the folder {name} has no tokenizer that can be read: put its tokenizer files "
            "(tokenizer.json, ...) beside the weights"
        )
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return f"{name} can't be loaded: {reason}"
