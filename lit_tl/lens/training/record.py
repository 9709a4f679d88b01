"""What a run leaves beside its lens: `train.json` and a figure of its losses."""

import dataclasses
import hashlib
import importlib.metadata
import pathlib
import platform
from typing import Any, Mapping, Sequence

import torch

import lit_tl
from lit_tl.lens import artifacts

_PACKAGES = ("torch", "transformers", "transformer-lens", "tokenizers", "numpy", "datasets")


def versions() -> dict[str, str]:
    """Of everything that numbers depend on."""
    modules = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"lit_tl": lit_tl.__version__, "python": platform.python_version(), **modules}


def weights_hash(model: Any) -> str:
    """Of every parameter of a model, by name. Reads them all once; call it before they are
    sharded."""
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        digest.update(
            parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
        )
    return digest.hexdigest()


def device_name(device: torch.device) -> str:
    """As its maker calls it."""
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} ({torch.get_num_threads()} threads)"
    )


def write(
    folder: pathlib.Path,
    *,
    config: Any,
    content: Mapping[str, Any],
    losses: Sequence[Sequence[float]],
    loss_name: str,
) -> None:
    """Write `train.json` and `losses.html` beside a lens that is written.

    Raises:
        OSError: the folder can't be written to.
    """
    from lit_tl.figures.training import loss_curves

    settings = dataclasses.asdict(config)
    page = loss_curves(losses, loss_name).to_html(include_plotlyjs=True)
    try:
        artifacts.write_json(
            folder / "train.json",
            {"settings": settings, "versions": versions(), **content, "losses": losses},
        )
        artifacts.replace(folder / "losses.html", lambda file: file.write(page.encode()))
    except OSError as error:
        raise OSError(f"{error}; the lens itself, in {folder}, is whole") from error
