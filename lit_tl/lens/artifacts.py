"""Lens folders: `config.json` and the translators, on disk and on the Hub."""

import json
import os
import pathlib
import pickle
import warnings
import zipfile
from typing import IO, Any, Callable, Mapping, Optional, Union

import torch

from lit_tl import whole_files
from lit_tl.hub import connection_errors, with_the_hub_if_it_answers

DEFAULT_REPO_ID = "AlignmentResearch/tuned-lens"
DEFAULT_REPO_TYPE = "space"


class LensError(ValueError):
    """A lens can't be used. The message says which file or number is wrong, and what to do."""


def _repository(repo_id: Optional[str], repo_type: Optional[str]) -> tuple[str, str]:
    return (
        repo_id or os.environ.get("TUNED_LENS_REPO_ID", DEFAULT_REPO_ID),
        repo_type or os.environ.get("TUNED_LENS_REPO_TYPE", DEFAULT_REPO_TYPE),
    )


def load_lens_artifacts(
    resource_id: Union[str, os.PathLike[str]],
    repo_id: Optional[str] = None,
    repo_type: Optional[str] = None,
    revision: str = "main",
    config_file: str = "config.json",
    ckpt_file: str = "params.pt",
    subfolder: str = "lens",
    cache_dir: Optional[str] = None,
) -> tuple[pathlib.Path, pathlib.Path]:
    """The paths of a lens's config and translators: of a local folder if there is one, else out of
    the Hub.

    Args:
        resource_id: a folder, or the name of a lens in the repository.
        repo_id: the repository; None for `TUNED_LENS_REPO_ID` of the environment, or the published
            lenses' space.
        repo_type: its kind; None for `TUNED_LENS_REPO_TYPE` of the environment, or `space`.
        revision: of the repository.
        config_file: the config's name.
        ckpt_file: the translators' name; where it is missing, `.safetensors` of the same name is
            taken.
        subfolder: where lenses lie in the repository.
        cache_dir: where downloads are kept.

    Raises:
        LensError: there is no such lens, or the Hub can't be reached.
    """
    resource_id = os.fspath(resource_id)
    folder = pathlib.Path(resource_id).expanduser()
    safetensors_file = str(pathlib.PurePath(ckpt_file).with_suffix(".safetensors"))
    if folder.is_dir():
        config = folder / config_file
        present = [
            folder / name for name in (ckpt_file, safetensors_file) if (folder / name).is_file()
        ]
        if not config.is_file() or not present:
            missing = config_file if not config.is_file() else ckpt_file
            raise LensError(f"the folder {resource_id} holds no lens: there is no {missing} in it")
        return config, present[0]
    if folder.is_file():
        raise LensError(
            f"{resource_id} is a file: give the folder that holds {config_file} and {ckpt_file}"
        )
    if resource_id.startswith((".", "~", os.sep)):
        raise LensError(f"the lens folder {resource_id} does not exist")
    return _download(
        resource_id,
        repo_id,
        repo_type,
        revision,
        config_file,
        (ckpt_file, safetensors_file),
        subfolder,
        cache_dir,
    )


def _download(
    resource_id: str,
    repo_id: Optional[str],
    repo_type: Optional[str],
    revision: str,
    config_file: str,
    ckpt_files: tuple[str, str],
    subfolder: str,
    cache_dir: Optional[str],
) -> tuple[pathlib.Path, pathlib.Path]:
    import huggingface_hub
    from huggingface_hub import errors as hub

    repo, kind = _repository(repo_id, repo_type)
    unreachable: tuple[type[Exception], ...] = (*connection_errors(), OSError)

    def fetch(name: str) -> pathlib.Path:
        path = huggingface_hub.hf_hub_download(
            repo,
            f"{subfolder}/{resource_id}/{name}",
            repo_type=kind,
            revision=revision,
            cache_dir=cache_dir,
        )
        return pathlib.Path(path)

    try:
        with with_the_hub_if_it_answers(True):
            config = fetch(config_file)
            try:
                return config, fetch(ckpt_files[0])
            except hub.EntryNotFoundError:
                return config, fetch(ckpt_files[1])
    except hub.LocalEntryNotFoundError as error:
        raise LensError(
            f"{resource_id} is no folder, and the Hugging Face Hub can't be reached for a lens "
            "of that name"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise _no_revision(kind, repo, revision) from error
    except (
        hub.EntryNotFoundError,
        hub.RepositoryNotFoundError,
        hub.HFValidationError,
    ) as error:
        raise LensError(
            f"there is no lens {resource_id} in {kind} {repo}, and no folder of that name"
        ) from error
    except unreachable as error:
        raise LensError(
            f"{resource_id} is no folder, and the Hugging Face Hub can't be reached for a lens "
            "of that name"
        ) from error


def _no_revision(kind: str, repo: str, revision: str) -> LensError:
    return LensError(f"the {kind} {repo} has no revision {revision!r}")


def available_lens_artifacts(
    repo_id: Optional[str] = None,
    repo_type: Optional[str] = None,
    revision: str = "main",
    config_file: str = "config.json",
    ckpt_file: str = "params.pt",
    subfolder: str = "lens",
) -> set[str]:
    """The names of the lenses in a repository, or of those in a local folder of that path.

    Raises:
        LensError: there is no such repository or revision, or the Hub can't be reached.
    """
    import huggingface_hub
    from huggingface_hub import errors as hub

    repo, kind = _repository(repo_id, repo_type)
    unreachable: tuple[type[Exception], ...] = (*connection_errors(), OSError)
    local = pathlib.Path(repo).expanduser()
    try:
        if local.is_dir():
            files = [path.relative_to(local).as_posix() for path in local.rglob("*")]
        else:
            files = huggingface_hub.list_repo_files(repo, repo_type=kind, revision=revision)
    except hub.RevisionNotFoundError as error:
        raise _no_revision(kind, repo, revision) from error
    except hub.RepositoryNotFoundError as error:
        raise LensError(f"there is no {kind} {repo} on the Hugging Face Hub") from error
    except unreachable as error:
        raise LensError(
            f"the lenses of {kind} {repo} can't be listed: the Hugging Face Hub can't be reached"
        ) from error
    holds: dict[str, set[str]] = {}
    for file in map(pathlib.PurePosixPath, files):
        if file.parts[:1] == (subfolder,):
            holds.setdefault("/".join(file.parts[1:-1]), set()).add(file.name)
    return {name for name, names in holds.items() if {config_file, ckpt_file} <= names}


def read_config(path: pathlib.Path) -> dict[str, Any]:
    """A lens's config.

    Raises:
        LensError: it is no JSON object.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LensError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise LensError(f"{path} is not a JSON object")
    return content


DAMAGED = (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError)
"""What readers of damaged files raise."""


DAMAGED_PICKLE = (*DAMAGED, pickle.UnpicklingError, zipfile.BadZipFile)
"""What `torch.load` raises of a damaged file."""


def first_line(error: BaseException) -> str:
    """An error's first line, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def read_tensors(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """A file of tensors, `.pt` or `.safetensors`. Nothing in it is executed.

    Raises:
        LensError: the file is damaged, or holds more than tensors.
    """
    import safetensors.torch

    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # of other pickle protocols, which are refused or read alike
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise LensError(
            f"{path} holds more than tensors, or is damaged, and was not loaded"
        ) from error
    except (*DAMAGED, zipfile.BadZipFile, safetensors.SafetensorError) as error:
        raise LensError(f"{path} is damaged: {first_line(error)}") from error
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise LensError(f"{path} does not hold tensors by name")
    return tensors


def check_unembedding(content: Mapping[str, Any], unembed: Any, *, strict: bool) -> None:
    """Compare the hashes in a config, the full one where there is one, with the model's
    unembedding.

    Raises:
        LensError: they differ, and `strict`.
    """
    # The full hash is of float32 numbers, which a model in half precision has rounded.
    whole = content.get("unembed_full_hash") and unembed.readout.weight.dtype in (
        torch.float32,
        torch.float64,
    )
    name = "unembed_full_hash" if whole else "unembed_hash"
    recorded = content.get(name)
    if recorded is not None and not isinstance(recorded, str):
        raise LensError(f"the lens's config has {name} {recorded!r}, which is no hash")
    own_hash = unembed.full_hash() if name == "unembed_full_hash" else unembed.unembedding_hash()
    if recorded is None or recorded == own_hash:
        return
    sentence = (
        f"this lens was fitted to another unembedding than that of {unembed.readout.name}: {name} "
        f"is {recorded[:12]}..., the model's is {own_hash[:12]}..."
    )
    if strict:
        raise LensError(f"{sentence}; load it with strict=False to go on with it")
    warnings.warn(sentence, stacklevel=3)


def fill(
    translators: torch.nn.ModuleList, tensors: Mapping[str, torch.Tensor], path: pathlib.Path
) -> None:
    """Put tensors `<layer>.weight` and `<layer>.bias` into the translators.

    Raises:
        LensError: one is missing, too many, of another shape, or not finite.
    """
    expected = translators.state_dict()
    # Lenses of early versions of the published format have the unembedding beside the translators.
    given = {
        name: value
        for name, value in tensors.items()
        if not name.startswith(("unembed", "layer_norm", "unembedding"))
    }
    if missing := sorted(set(expected) - set(given)):
        raise LensError(
            f"{path} has no {missing[0]}: it is a lens of another model or without bias"
        )
    if extra := sorted(set(given) - set(expected)):
        raise LensError(f"{path} has {extra[0]}, for which the config has no place")
    for name, value in given.items():
        if value.shape != expected[name].shape:
            raise LensError(
                f"{path}: {name} has shape {tuple(value.shape)}, but needs "
                f"{tuple(expected[name].shape)}"
            )
    check_finite(given, path)
    translators.load_state_dict({name: value.float() for name, value in given.items()})


def check_finite(tensors: Mapping[str, torch.Tensor], path: pathlib.Path) -> None:
    """Refuse a lens that has diverged.

    Raises:
        LensError: a number is not finite.
    """
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise LensError(f"{path}: {name} holds numbers that are not finite")


def write(
    folder: pathlib.Path,
    tensors: Mapping[str, torch.Tensor],
    content: Mapping[str, Any],
    *,
    ckpt: str,
    config: str,
) -> None:
    """Write tensors and config, each complete or not at all.

    Raises:
        OSError: the folder can't be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: value.detach().cpu().clone() for name, value in tensors.items()}
    if ckpt.endswith(".safetensors"):
        import safetensors.torch

        replace(folder / ckpt, lambda file: file.write(safetensors.torch.save(plain)))
    else:
        save_tensors(folder / ckpt, plain)
    write_json(folder / config, content)


def save_tensors(path: pathlib.Path, content: Any) -> None:
    """Write tensors and plain values, which `torch.load(weights_only=True)` reads, whole or not at
    all.

    Raises:
        OSError: the file can't be written.
    """

    def save(file: IO[bytes]) -> None:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's zip writer says so where a write failed
            raise (
                error.__context__
                if isinstance(error.__context__, OSError)
                else OSError(first_line(error))
            ) from error

    replace(path, save)


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all.

    Raises:
        OSError: the file can't be written.
    """
    replace(path, lambda file: file.write(json.dumps(content, indent=2).encode() + b"\n"))


def replace(path: pathlib.Path, write_to: Callable[[IO[bytes]], Any]) -> None:
    """Write a file beside its place, to the disk, and put it there in one go.

    Raises:
        OSError: it can't be written, with its name; what was there is as it was.
    """
    try:
        whole_files.replace(path, write_to)
    except OSError as error:
        raise OSError(f"{path} can't be written: {error.strerror or error}") from error
