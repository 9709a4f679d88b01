"""Short runs of training."""

import concurrent.futures
import contextlib
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
from typing import Any, Callable, Sequence

import pytest
import torch

from lit_tl.data.documents import open_documents
from lit_tl.lens import __main__ as command_line
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


def start_command(*words: str, **options: Any) -> subprocess.Popen:
    """`python -m lit_tl.lens ...` in a process of its own, which computes with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "lit_tl.lens", *words],
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


def run_together(*commands: Sequence[str]) -> tuple[list[int], str, str]:
    """Commands in processes that find one another as those of torchrun do: their exit codes and
    what they printed. torchrun itself is tested with the recipes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    running = [
        start_command(
            *words,
            env={
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(len(commands)),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
        )
        for rank, words in enumerate(commands)
    ]
    with concurrent.futures.ThreadPoolExecutor(len(running)) as pool:
        finished = list(pool.map(finish, running))
    codes, out, err = zip(*finished, strict=True)
    return list(codes), "".join(out), "".join(err)


def run_here(*words: str) -> tuple[int, str, str]:
    """The command in this process, with one thread: its exit code and what it printed."""
    threads, code = torch.get_num_threads(), 0
    torch.set_num_threads(1)
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            command_line.main(["lens", *words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            torch.set_num_threads(threads)
    return code, out.getvalue(), err.getvalue()


TRAIN = {"model": "lit-tl-tiny", **SHORT}


@pytest.fixture(scope="session")
def whole(text_file: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What the short run leaves when nothing stops it, on one process."""
    folder = tmp_path_factory.mktemp("whole")
    settings = {**TRAIN, "data": text_file, "per_gpu_batch_size": 8, "output": folder}
    code, _, err = run_here("train", *arguments(settings))
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
