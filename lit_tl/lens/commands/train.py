"""`python -m lit_tl.lens train`: fit a tuned lens."""

import json
import os
import pathlib
import tempfile
from typing import Any, Optional

from lit_tl import ctrl_c
from lit_tl.lens.training.config import TrainConfig as Config

USAGE = """Train a tuned lens (Belrose et al. 2023) on a model's own predictions.

  python -m lit_tl.lens train --model gpt2-small --data val.jsonl --output lenses/gpt2-small
  torchrun --standalone --nproc-per-node=8 -m lit_tl.lens train ...      one process for each GPU

The folder gets config.json and params.pt (the published format), train.json (settings, versions,
data, losses) and losses.html."""

__all__ = ["USAGE", "Config", "run"]


def run(config: Config) -> Optional[str]:
    """Train and write; what to tell the user, None on processes other than the first.

    Raises:
        ValueError, OSError: with a message for the user.
    """
    output = pathlib.Path(config.output).expanduser()
    documents = open_text(config)
    check_writable(output, "output")
    if config.checkpoint_dir:
        check_writable(pathlib.Path(config.checkpoint_dir).expanduser(), "checkpoint_dir")
    from lit_tl.lens.training import run as training
    from lit_tl.lens.training.processes import pick_device, processes

    device = pick_device(config.device)
    with processes(device) as this_process:
        model, tokenizer = load_frozen(config, device)
        source = training.ModelAndText(model=model, tokenizer=tokenizer, documents=documents)
        with ctrl_c.raises_inside():  # the bar's line and a W&B run are ended in order
            training.train(config, source, device=device, processes=this_process)
        if not this_process.is_first:
            return None
    summary = (
        f"{output}: the lens, train.json and losses.html are written. Look through it: "
        f"--lens {output} with lit_tl.launch"
    )
    record = output / "train.json"
    return "\n".join([*skipped(record), *not_helped(record), summary])


def not_helped(record: pathlib.Path) -> list[str]:
    """A line on the layers that training did not help, if there are any."""
    held_out = json.loads(record.read_text("utf-8"))["held_out"]
    layers = held_out["layers_not_helped"] if held_out else []
    if not layers:
        return []
    listed = ", ".join(map(str, layers))
    which = f"layer{'s' if len(layers) > 1 else ''} {listed}"
    return [f"training did not help {which}: there the lens is as it started"]


def skipped(record: pathlib.Path) -> list[str]:
    """A line on the lines of the data that held no text, if there were any."""
    content = json.loads(record.read_text("utf-8"))
    if not content["skipped_lines"]:
        return []
    return [
        f"{content['skipped_lines']} lines were skipped, the first at {content['first_skipped']}"
    ]


def open_text(config: Any) -> Any:
    """The documents that a config names.

    Raises:
        DataError: there are none.
    """
    from lit_tl.data.documents import open_documents

    return open_documents(
        config.data,
        text_column=config.text_column,
        split=config.split,
        bad_lines=config.bad_lines,
        txt_documents=config.txt_documents,
    )


def load_frozen(config: Any, device: Any) -> tuple[Any, Any]:
    """The model and tokenizer that a config names: on the device, or with `fsdp` on the CPU, to be
    sharded from there.

    Raises:
        ValueError: it can't be loaded, or not be sharded.
    """
    from lit_tl.lens.training.processes import check_sharding
    from lit_tl.models.causal_lm import load_causal_lm

    options = {"precision": config.precision, "trust_remote_code": config.trust_remote_code}
    if not config.fsdp:
        return load_causal_lm(config.model, device=device, **options)
    check_sharding(device, cpu_offload=config.cpu_offload)
    return load_causal_lm(config.model, device="cpu", works_on=device, **options)


def check_writable(folder: pathlib.Path, flag: str) -> None:
    """Say before hours of work that a folder can't be written to.

    Raises:
        OSError: it can't.
    """
    if int(os.environ.get("RANK", "0")):
        return  # the first process alone writes
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b" ")
    except OSError as error:
        raise OSError(f"--{flag} {folder} can't be written to: {error.strerror}") from error
