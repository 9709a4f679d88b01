"""The card of a lens: what it was fitted to, on what, and how near it came."""

import dataclasses
import json
import pathlib
from typing import Any, Mapping, Sequence

_LAST = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """Where a lens is put: `lens/<name>` of a repository, where readers of the published lenses look."""

    repo_id: str
    repo_type: str
    name: str


def read_run(folder: pathlib.Path) -> Mapping[str, Any]:
    """What training left in `train.json`, or nothing where the file is missing."""
    path = folder / "train.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def card(config: Mapping[str, Any], run: Mapping[str, Any], where: Published) -> str:
    """Markdown with the Hub's header.

    Args:
        config: of the lens.
        run: of `read_run`.
        where: it goes.
    """
    model = config["base_model_name_or_path"]
    header = ["---", "library_name: lit_tl", f"base_model: {model}", "tags: [tuned-lens, interpretability]", "---"]
    lines = [
        *header,
        "",
        f"# Tuned lens of {model}",
        "",
        f"{config['num_hidden_layers']} affine translators (Belrose et al. 2023, arXiv 2303.08112), d_model {config['d_model']}.",
        "",
        "```python",
        "from lit_tl.lens import TunedLens",
        f'lens = TunedLens.from_model_and_pretrained(model, "{where.name}", '
        f'repo_id="{where.repo_id}", repo_type="{where.repo_type}")',
        "```",
    ]
    return "\n".join(lines + (_of_run(run) if run else [])) + "\n"


def _of_run(run: Mapping[str, Any]) -> list[str]:
    settings, data, losses = run["settings"], run["data"], run["losses"]
    source = data.get("file") or f"{data.get('data_set')}[{data.get('split')}]"
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    changed = " ".join(
        f"--{name} {value}" for name, value in settings.items() if name not in _PLACES and value not in (None, False)
    )
    return [
        "",
        "## Training",
        "",
        f"{run['tokens']:,} tokens of {source}; {run['seconds']:,.0f} seconds on {run['processes']} x {run['device']}; {versions}.",
        "",
        f"    python -m lit_tl.lens train {changed}",
        "",
        f"Loss ({settings['loss']}, nats) by the input of each layer, over the last tenth of {len(losses)} steps:",
        "",
        "| layer | loss |",
        "| --- | --- |",
        *(f"| {layer} | {loss:.4f} |" for layer, loss in enumerate(_last_means(losses))),
    ]


_PLACES = ("data", "output", "checkpoint_dir", "wandb", "debug", "device")


def _last_means(losses: Sequence[Sequence[float]]) -> list[float]:
    last = losses[-max(1, round(_LAST * len(losses))) :]
    return [sum(layer) / len(last) for layer in zip(*last, strict=True)]
