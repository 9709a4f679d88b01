"""Short runs of training."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any, Callable

import pytest
import torch

from lit_tl.data.documents import open_documents
from lit_tl.lens.training.config import TrainConfig
from lit_tl.lens.training.run import ModelAndText, train

SHORT = {
    "max_seq_len": 32,
    "tokens_per_step": 512,
    "num_steps": 6,
    "start_tokens": 2048,
    "shuffle_buffer": 64,
}
SHORT |= {"precision": "float32"}  # the same on every processor


@pytest.fixture
def short_run(
    text_file: pathlib.Path, causal_lm: tuple, tmp_path: pathlib.Path
) -> Callable[..., pathlib.Path]:
    """Trains in this process, 6 steps of 16 sequences; gives the output folder."""

    def run(output: str = "lens", **settings: Any) -> pathlib.Path:
        content = {
            "model": "lit-tl-tiny",
            "data": str(text_file),
            "output": str(tmp_path / output),
            **SHORT,
            **settings,
        }
        if content.get("start_from", "ridge") != "ridge":
            content["start_tokens"] = None
        config = TrainConfig(**content)
        documents = open_documents(
            config.data,
            text_column=config.text_column,
            split=config.split,
            bad_lines=config.bad_lines,
        )
        source = ModelAndText(model=causal_lm[0], tokenizer=causal_lm[1], documents=documents)
        train(config, source, device=torch.device("cpu"), quiet=True)
        return tmp_path / output

    return run


def arguments(settings: dict[str, Any]) -> list[str]:
    """Flags on a command line."""
    return [
        f"--{name}={value}" if value is not True else f"--{name}"
        for name, value in settings.items()
    ]


def start_command(*words: str, processes: int = 0, **options: Any) -> subprocess.Popen:
    """`python -m lit_tl.lens ...`, under torchrun where processes are said; each computes with one
    thread."""
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        if processes
        else []
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "lit_tl.lens", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Wait for the end of a command: its exit code and what it printed."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, out, err


TRAIN = {"model": "lit-tl-tiny", **SHORT}


@pytest.fixture(scope="session")
def whole(text_file: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What the short run leaves when nothing stops it, on one process."""
    folder = tmp_path_factory.mktemp("whole")
    settings = {**TRAIN, "data": text_file, "per_gpu_batch_size": 8, "output": folder}
    code, _, err = finish(start_command("train", *arguments(settings)))
    assert code == 0, err
    return folder


def flags(text_file: pathlib.Path, output: pathlib.Path, **settings: Any) -> list[str]:
    return arguments(
        {**TRAIN, "data": text_file, "per_gpu_batch_size": 8, "output": output, **settings}
    )


def same_lens(first: pathlib.Path, second: pathlib.Path) -> bool:
    return all(
        (first / name).read_bytes() == (second / name).read_bytes()
        for name in ("params.pt", "config.json")
    )


def losses(folder: pathlib.Path) -> torch.Tensor:
    return torch.tensor(json.loads((folder / "train.json").read_text())["losses"])
