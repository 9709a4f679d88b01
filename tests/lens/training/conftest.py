"""Short runs of training."""

import contextlib
import io
import json
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
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
    "held_out_tokens": 512,
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
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for rank, words in enumerate(commands):
            environment = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(len(commands)),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
            process = _READY.Process(target=_one_of_many, args=(folder, words, environment))
            process.start()
            running.append(process)
        for process in running:
            process.join(300)
            process.kill()
            process.join()
        out, err = (
            "".join(path.read_text() for path in sorted(pathlib.Path(folder).glob(f"{stream}_*")))
            for stream in ("out", "err")
        )
    return [process.exitcode for process in running], out, err


_READY = multiprocessing.get_context("forkserver")
"""New processes come from one that has imported what training needs, which takes it 6 s."""
_READY.set_forkserver_preload(
    [
        __name__,
        "lit_tl.lens.commands.train",
        "lit_tl.lens.commands.eval",
        "lit_tl.models.causal_lm",
        "lit_tl.models.loading",
        "transformers.models.gpt2.modeling_gpt2",
    ]
)


def _one_of_many(folder: str, words: Sequence[str], environment: dict[str, str]) -> None:
    """The command of one process, what it prints in files, as a shell would run it."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    for stream, name in ((1, "out"), (2, "err")):
        path = pathlib.Path(folder) / f"{name}_{environment['RANK']}"
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    command_line.main(["lens", *words])


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
