"""`python -m lit_tl.lens push`: upload a lens to the Hugging Face Hub."""

import dataclasses
import json
import pathlib
import re
from typing import Any, Literal, Optional

from lit_tl.hub import connection_errors
from lit_tl.settings import Settings, required, setting

USAGE = """Upload a lens and a card to the Hugging Face Hub, where readers of published lenses
find it.

  python -m lit_tl.lens push --lens lenses/gpt2-small --repo_id me/lenses

The files go to lens/<name> of the repository, which is made if it is not there. Needs `hf auth
login` once, or HF_TOKEN."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The flags of `push`."""

    lens: str = required("The lens's folder.")
    repo_id: str = required("Repository: owner/name.")
    repo_type: Literal["model", "space", "dataset"] = setting("model", "Kind of repository.")
    name: Optional[str] = setting(
        None, "Name of the lens, and of its model, in the repository. Default: the model's."
    )
    private: bool = setting(False, "Make the repository a private one, if it is made.")
    create_pr: bool = setting(False, "Open a pull request rather than write to the repository.")
    dry_run: bool = setting(False, "Print the card and what would be uploaded, and upload nothing.")
    debug: bool = setting(False, "Show tracebacks of errors.")


def run(config: Config) -> str:
    """Upload; what to tell the user.

    Raises:
        ValueError, OSError: with a message for the user.
    """
    from lit_tl.lens import artifacts
    from lit_tl.lens.card import card, published, read_run
    from lit_tl.lens.lenses import TunedLensConfig

    folder = pathlib.Path(config.lens).expanduser()
    if not folder.is_dir():
        raise ValueError(f"--lens {config.lens} is no folder: give the --output of training")
    config_path, ckpt_path = artifacts.load_lens_artifacts(str(folder.resolve()))
    content = artifacts.read_config(config_path)
    artifacts.check_finite(artifacts.read_tensors(ckpt_path), ckpt_path)
    where = _where(config, TunedLensConfig.from_dict(content).base_model_name_or_path)
    run = read_run(folder)
    text = card(content, run, where)
    files: dict[str, Any] = {
        "config.json": _json({**content, "base_model_name_or_path": where.model}),
        ckpt_path.name: ckpt_path,
        **({"train.json": _json(published(run, where))} if run else {}),
        "README.md": text.encode(),
    }
    files = {f"lens/{where.name}/{name}": content for name, content in files.items()}
    if config.dry_run:
        sizes = {
            name: len(entry) if isinstance(entry, bytes) else entry.stat().st_size
            for name, entry in files.items()
        }
        listed = "\n".join(f"  {name}  {size:,} bytes" for name, size in sizes.items())
        return f"{text}\nwould upload to {config.repo_type} {config.repo_id}:\n{listed}"
    return f"uploaded: {_upload(config, where, files, text)}"


def _where(config: Config, model: str) -> Any:
    """Where a lens goes, under names that others can use.

    Raises:
        ValueError: the repository or the lens can't be called that, or the model has only a path on
            this machine.
    """
    from huggingface_hub import errors, utils

    from lit_tl.lens.card import Published

    try:
        utils.validate_repo_id(config.repo_id)
    except errors.HFValidationError as error:
        raise ValueError(f"--repo_id {config.repo_id}: {str(error).splitlines()[0]}") from error
    local = model.startswith(("/", ".", "~")) or pathlib.Path(model).is_dir()
    if local and not config.name:
        raise ValueError(
            f"the lens is of {model}, a folder on this machine: say with --name what others "
            "know the model by"
        )
    name = config.name or model
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", name):
        raise ValueError(
            f"--name {name}: give names of letters, digits, dots, - and _, with / between them"
        )
    return Published(
        repo_id=config.repo_id,
        repo_type=config.repo_type,
        name=name,
        model=name if local else model,
    )


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"


def _upload(config: Config, where: Any, files: dict[str, Any], text: str) -> str:
    import huggingface_hub
    from huggingface_hub import errors as hub

    api = huggingface_hub.HfApi()
    add = huggingface_hub.CommitOperationAdd
    try:
        api.create_repo(
            config.repo_id,
            repo_type=config.repo_type,
            private=config.private or None,
            exist_ok=True,
            space_sdk="static" if config.repo_type == "space" else None,
        )
        operations = [add(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
        if config.repo_type == "model" and not api.file_exists(config.repo_id, "README.md"):
            operations.append(add(path_in_repo="README.md", path_or_fileobj=text.encode()))
        commit = api.create_commit(
            config.repo_id,
            operations,
            commit_message=f"Tuned lens {where.name}",
            repo_type=config.repo_type,
            create_pr=config.create_pr,
        )
    except (hub.LocalTokenNotFoundError, hub.RepositoryNotFoundError, hub.GatedRepoError) as error:
        raise ValueError(_no_access(config)) from error
    except hub.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403):
            raise ValueError(_no_access(config)) from error
        raise ValueError(f"the Hub refused: {str(error).strip().splitlines()[0]}") from error
    except hub.HFValidationError as error:
        raise ValueError(str(error).strip().splitlines()[0]) from error
    except connection_errors() as error:
        raise ValueError("the Hugging Face Hub can't be reached; nothing was uploaded") from error
    return str(commit.pr_url or commit.commit_url)


def _no_access(config: Config) -> str:
    return (
        f"no access to write to {config.repo_type} {config.repo_id}: `hf auth login`, or a token "
        "with write access in HF_TOKEN; --create_pr opens a pull request in another's repository"
    )
