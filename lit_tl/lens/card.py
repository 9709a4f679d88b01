"""The card of a lens: what it was fitted to, on what, and how near it came."""

import dataclasses
import json
import pathlib
import shlex
from typing import Any, Mapping, Sequence

from lit_tl.lens.artifacts import LensError
from lit_tl.lens.training.config import TrainConfig

_LAST = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """Where a lens is put: `lens/<name>` of a repository, where readers of the published lenses
    look."""

    repo_id: str
    repo_type: str
    name: str
    model: str
    """What others know the model by."""


def read_run(folder: pathlib.Path) -> Mapping[str, Any]:
    """What training left in `train.json`, or nothing where the file is missing.

    Raises:
        LensError: the file is something else.
    """
    path = folder / "train.json"
    if not path.is_file():
        return {}
    try:
        run = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise LensError(
            f"{path} is no JSON, and not what training leaves: move it away to go on without it"
        ) from error
    missing = [name for name in _OF_A_RUN if not isinstance(run, dict) or name not in run]
    if not missing and not isinstance(run["settings"], dict):
        missing = ["settings"]
    if missing:
        raise LensError(
            f"{path} is not what training leaves, since it has no {missing[0]!r}: move it away "
            "to go on without it"
        )
    return run


def published(run: Mapping[str, Any], where: Published) -> dict[str, Any]:
    """A run's record without what is about the machine that it was made on: paths, and names for
    its owner alone."""
    settings = {name: value for name, value in run["settings"].items() if name not in _PLACES} | {
        "model": where.model
    }
    if settings.get("start_from") not in (None, "ridge", "zero"):
        settings["start_from"] = pathlib.PurePath(settings["start_from"]).name
    values = {name: value for name, value in run.items() if name != "first_skipped"}
    if "model" in values:
        values["model"] = {**values["model"], "name": where.model}
    return {**values, "settings": settings}


def card(config: Mapping[str, Any], run: Mapping[str, Any], where: Published) -> str:
    """Markdown with the Hub's header.

    Args:
        config: of the lens.
        run: of `read_run`.
        where: it goes.
    """
    model = where.model
    header = [
        "---",
        "library_name: lit_tl",
        f"base_model: {model}",
        "tags: [tuned-lens, interpretability]",
        "---",
    ]
    lines = [
        *header,
        "",
        f"# Tuned lens of {model}",
        "",
        f"{config['num_hidden_layers']} affine translators (Belrose et al. 2023, arXiv "
        f"2303.08112), d_model {config['d_model']}.",
        "",
        "```python",
        "from lit_tl.lens import TunedLens",
        f'lens = TunedLens.from_model_and_pretrained(model, "{where.name}", '
        f'repo_id="{where.repo_id}", repo_type="{where.repo_type}")',
        "```",
    ]
    return "\n".join(lines + (_of_run(published(run, where), where) if run else [])) + "\n"


def _of_run(run: Mapping[str, Any], where: Published) -> list[str]:
    settings, data, losses = run["settings"], run["data"], run["losses"]
    source = data.get("file") or f"{data.get('data_set')}[{data.get('split')}]"
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return [
        "",
        "## Training",
        "",
        f"{run['tokens']:,} tokens of {source}; {run['seconds']:,.0f} seconds on "
        f"{run['processes']} x {run['device']}; {versions}.",
        "",
        f"    {_command(settings, where, _where(data))}",
        "",
        f"Loss ({settings['loss']}, nats) by the input of each layer, over the last tenth of "
        f"{len(losses)} steps:",
        "",
        "| layer | loss |",
        "| --- | --- |",
        *(f"| {layer} | {loss:.4f} |" for layer, loss in enumerate(_last_means(losses))),
    ]


def _command(settings: Mapping[str, Any], where: Published, data: str) -> str:
    """What trains such a lens: the flags that are not at their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    given = {
        name: value for name, value in settings.items() if name not in _PLACES and name in defaults
    }
    changed = {name: value for name, value in given.items() if value != defaults[name]}
    values = {"model": where.model, "data": data, "output": "lens"} | {
        n: v for n, v in changed.items() if n != "model"
    }
    flags = [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in values.items()
    ]
    return shlex.join(["python", "-m", "lit_tl.lens", "train", *flags])


def _where(data: Mapping[str, Any]) -> str:
    """Data as a reader would give it: on the Hub, or on the reader's own machine."""
    name = data.get("file") or str(data.get("data_set"))
    return name if "file" in data or "/" in name else f"./{name}"


_PLACES = ("data", "output", "checkpoint_dir", "wandb", "debug", "device")
_OF_A_RUN = ("settings", "data", "losses", "versions", "tokens", "seconds", "processes", "device")


def _last_means(losses: Sequence[Sequence[float]]) -> list[float]:
    last = losses[-max(1, round(_LAST * len(losses))) :]
    return [sum(layer) / len(last) for layer in zip(*last, strict=True)]
