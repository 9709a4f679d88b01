"""What is said where a model can't be loaded."""

import difflib
import pathlib
import pickle
from typing import Iterator, Optional

import safetensors

from lit_tl.hub import connection_errors

BUNDLED_MODELS = {"lit-tl-tiny": pathlib.Path(__file__).parent.parent / "bundled" / "tiny_gpt2"}
"""Models that are shipped with the package, by name."""

LOADING_ERRORS = (
    OSError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    ImportError,
    AssertionError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
)
"""What the libraries raise where a model can't be loaded."""


class LoadingError(ValueError):
    """A model can't be loaded. The message is one sentence or two: what is wrong, and what to
    do."""


def nearest(name: str) -> str:
    """The known names that look like a name, as the end of a sentence."""
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
    if caused_by(pickle.UnpicklingError, safetensors.SafetensorError):
        return f"the weights of {name} are damaged, or hold more than tensors: nothing was loaded"
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
            f"set: {nearest(name)}"
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
    if "trust_remote_code" in text:
        return (
            f"{name} comes with model code of its own, which runs only with --trust_remote_code "
            "(in Python trust_remote_code=True): read that code first"
        )
    if "tokenizer" in text.lower() and pathlib.Path(name).expanduser().is_dir():
        return (
            f"the folder {name} has no tokenizer that can be read: put its tokenizer files "
            "(tokenizer.json, ...) beside the weights"
        )
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return f"{name} can't be loaded: {reason}"
