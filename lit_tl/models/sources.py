"""From the name of a model to where its files are."""

import dataclasses
import json
import os
import pathlib
import re
from typing import Any, Optional

from lit_tl.hub import with_the_hub_if_it_answers
from lit_tl.models.errors import BUNDLED_MODELS, LOADING_ERRORS, LoadingError, nearest
from lit_tl.names import safe_label, split_changes, split_label

ADAPTER_FILE = "adapter_config.json"
"""What makes a folder an adapter of another model."""
_STEP = re.compile(r"(checkpoint-|step)\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model comes from: `[label=]name[@revision]` or `[label=]name[@step=N]`, with
    `{changes}` behind it for a variant."""

    label: str
    name: str
    revision: Optional[str] = None
    checkpoint_value: Optional[int] = None
    changes: str = ""

    @property
    def version(self) -> dict[str, Any]:
        """What `load_model` takes beside the name."""
        return {"revision": self.revision, "checkpoint_value": self.checkpoint_value}

    def require_unchanged(self) -> None:
        """See that no variant is meant.

        Raises:
            LoadingError: one is.
        """
        if self.changes:
            raise LoadingError(
                f"{self.name}{{{self.changes}}}: changes are read by lit_tl.launch and "
                "lit_tl.analyses; leave them out here"
            )

    @classmethod
    def parse(cls, text: str) -> "ModelSource":
        """Read one entry of `--models`.

        Raises:
            LoadingError: the entry is not of that form.
        """
        try:
            source, changes = split_changes(text)
        except ValueError as error:
            raise LoadingError(f"--models entry {error}") from error
        label, whole = split_label(source)
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
        default += "-changed" if changes else ""
        return cls(
            label=safe_label(label or default),
            name=name,
            changes=changes,
            revision=version if version and step is None else None,
            checkpoint_value=int(step[1]) if step else None,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where the files of a model are."""

    name: str
    """What the user called it."""
    path: str
    """A folder, or a Hub id, that holds the configuration and the weights."""
    revision: Optional[str] = None
    """On the Hub; None for its main branch, and for a folder."""
    gguf_file: Optional[str] = None
    """In `path`, if weights, configuration and tokenizer come from a GGUF file."""
    adapter: Optional[str] = None
    """A folder, or a Hub id, of a LoRA adapter that belongs on the weights."""
    adapter_revision: Optional[str] = None
    """Of the adapter, on the Hub."""
    tokenizer: Optional[str] = None
    """A folder that holds the tokenizer, if `path` does not."""

    @property
    def local(self) -> bool:
        """Whether `path` is a folder."""
        return pathlib.Path(self.path).is_dir()


def find_checkpoint(
    name: str, *, revision: Optional[str] = None, checkpoint_value: Optional[int] = None
) -> Checkpoint:
    """Where the files of a model are: a folder, a GGUF file or a Hub id.

    Args:
        name: a bundled model, a TransformerLens alias, a Hub id, a local folder or a `.gguf` file.
        revision: of the Hub; of a folder, `checkpoint-N` or `stepN`.
        checkpoint_value: the training step of a folder's checkpoint.

    Raises:
        LoadingError: no such model, or no such revision of a folder.
    """
    here = pathlib.Path(name).expanduser()
    if here.is_dir() and (revision is not None or checkpoint_value is not None):
        path = str(here)
    else:
        path = resolve(name)
    if path.endswith(".gguf"):
        folder, _, file = path.rpartition("/")
        if pathlib.Path(path).is_file() and (revision or checkpoint_value is not None):
            raise LoadingError(
                f"{name} is a file and has no revisions: leave out what follows the @"
            )
        return Checkpoint(name=name, path=folder or ".", revision=revision, gguf_file=file)
    if not pathlib.Path(path).is_dir():
        from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

        found = Checkpoint(name=name, path=path, revision=revision)
        return found if path in OFFICIAL_MODEL_NAMES else _with_adapter(found)
    folder = _of_step(name, path, revision, checkpoint_value)
    has_tokenizer = any(pathlib.Path(folder).glob("token*"))
    return _with_adapter(
        Checkpoint(name=name, path=folder, tokenizer=None if has_tokenizer else path)
    )


def _of_step(name: str, path: str, revision: Optional[str], step: Optional[int]) -> str:
    """The folder of a training step inside a folder, or the folder itself."""
    if revision is None and step is None:
        return path
    wanted = [revision] if step is None else [f"checkpoint-{step}", f"step{step}"]
    steps = _steps(pathlib.Path(path))
    for candidate in wanted:
        if candidate in steps:
            return str(pathlib.Path(path) / candidate)
    raise LoadingError(
        f"the folder {name} has no {' or '.join(map(str, wanted))}: "
        + (f"it has {', '.join(steps[-5:])}" if steps else "leave out what follows the @")
    )


def _steps(folder: pathlib.Path) -> list[str]:
    """The training steps that a folder holds models of, in order."""
    names = [path.name for path in folder.iterdir() if _STEP.fullmatch(path.name)]
    held = [name for name in names if _holds_model(folder / name)]
    return sorted(held, key=lambda name: int(re.sub(r"\D", "", name)))


def _holds_model(folder: pathlib.Path) -> bool:
    return any((folder / file).is_file() for file in ("config.json", ADAPTER_FILE))


def _with_adapter(checkpoint: Checkpoint) -> Checkpoint:
    """The base model of a LoRA adapter with the adapter on it; any other checkpoint as it is."""
    settings = _adapter_settings(checkpoint)
    if settings is None:
        return checkpoint
    base = settings.get("base_model_name_or_path")
    if not base:
        raise LoadingError(
            f"{checkpoint.name} is an adapter that does not name its base model: write "
            f"base_model_name_or_path into its {ADAPTER_FILE}"
        )
    if checkpoint.local and _same_folder(str(base), checkpoint.path):
        raise LoadingError(
            f"{checkpoint.name} is an adapter of itself: write the model that it belongs on into "
            f"its {ADAPTER_FILE}, as base_model_name_or_path"
        )
    try:
        below = find_checkpoint(str(base), revision=settings.get("revision"))
    except LoadingError as error:
        raise LoadingError(f"{checkpoint.name} is an adapter of {base}: {error}") from error
    if below.adapter or below.gguf_file:
        raise LoadingError(
            f"{checkpoint.name} is an adapter of {base}, which is itself "
            f"{'an adapter' if below.adapter else 'a GGUF file'}: merge them first"
        )
    own_tokenizer = checkpoint.local and any(pathlib.Path(checkpoint.path).glob("token*"))
    return dataclasses.replace(
        below,
        name=checkpoint.name,
        adapter=checkpoint.path,
        adapter_revision=checkpoint.revision,
        tokenizer=checkpoint.path if own_tokenizer else below.tokenizer,
    )


def _same_folder(one: str, other: str) -> bool:
    first, second = (pathlib.Path(path).expanduser() for path in (one, other))
    return first.is_dir() and first.resolve() == second.resolve()


def _adapter_settings(checkpoint: Checkpoint) -> Optional[dict[str, Any]]:
    if checkpoint.local:
        file: Any = pathlib.Path(checkpoint.path) / ADAPTER_FILE
    else:
        # Only repositories that have one answer with a file; whatever else is wrong with the name
        # is said when the model itself is loaded.
        from transformers.utils import cached_file

        try:
            with with_the_hub_if_it_answers(True):
                file = cached_file(
                    checkpoint.path,
                    ADAPTER_FILE,
                    revision=checkpoint.revision or "main",
                    _raise_exceptions_for_missing_entries=False,
                    _raise_exceptions_for_connection_errors=False,
                    _raise_exceptions_for_gated_repo=False,
                )
        except LOADING_ERRORS:
            file = None
    if file is None or not pathlib.Path(file).is_file():
        return None
    try:
        settings: dict[str, Any] = json.loads(pathlib.Path(file).read_text())
    except ValueError as error:
        raise LoadingError(f"{file} can't be read as JSON: {error}") from error
    return settings


def resolve(name: str) -> str:
    """A model's folder, GGUF file or Hub id.

    Raises:
        LoadingError: no such folder, no model in it, or no such name.
    """
    from transformer_lens import supported_models

    if name in BUNDLED_MODELS:
        return str(BUNDLED_MODELS[name])
    folder = pathlib.Path(name).expanduser()
    if folder.is_dir():
        return str(_checked(name, folder))
    if name.endswith(".gguf") and (folder.is_file() or name.count("/") > 1):
        return str(folder)
    if folder.is_file() or name.startswith((".", "~", os.sep)):
        kind = "is a file, not a model's folder" if folder.is_file() else "does not exist"
        raise LoadingError(
            f"{name} {kind}: give the folder that holds config.json, the weights and the "
            "tokenizer, or a .gguf file"
        )
    try:
        return str(supported_models.get_official_model_name(name))
    except ValueError:
        if "/" in name:
            return name
    raise LoadingError(
        f"unknown model {name!r}: {nearest(name)} (other models of the Hub are named owner/name)"
    )


def _checked(name: str, folder: pathlib.Path) -> pathlib.Path:
    """A folder, if it or its only GGUF file holds a model."""
    if _holds_model(folder):
        return folder
    files = sorted(folder.glob("*.gguf"))
    if len(files) == 1:
        return files[0]
    if files:
        raise LoadingError(
            f"the folder {name} holds several GGUF files: give one, as in {folder / files[0].name}"
        )
    steps = _steps(folder)
    if steps:
        raise LoadingError(f"the folder {name} holds checkpoints: give one, as {name}@{steps[-1]}")
    adapters = sorted(path.parent.name for path in folder.glob(f"*/{ADAPTER_FILE}"))
    if adapters:
        raise LoadingError(
            f"the folder {name} holds {len(adapters)} adapters: give one, as "
            f"{folder / adapters[0]} ({', '.join(adapters)})"
        )
    raise LoadingError(f"the folder {name} holds no model: there is no config.json in it")
