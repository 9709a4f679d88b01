"""A file of prompts, and the command on it."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from lit_tl.precompute.catalog import parse
from lit_tl.precompute.run import run, start_here
from lit_tl.precompute.worker import ModelConfig
from lit_tl.store import Store

TOPICS = ("France", "Spain", "Italy")
CAPITALS = (" Paris", " Madrid", " Rome")
Command = Callable[..., subprocess.CompletedProcess[str]]


def prompts(count: int) -> list[dict[str, Any]]:
    """Prompts with an answer, a foil and a topic."""
    return [
        {
            "text": f"In {1900 + i // 3} the capital of {TOPICS[i % 3]} is",
            "answer": CAPITALS[i % 3],
            "foil": CAPITALS[(i + 1) % 3],
            "topic": TOPICS[i % 3],
            "number": float(i),
        }
        for i in range(count)
    ]


def write(path: pathlib.Path, records: list[Any]) -> pathlib.Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    """Sixty prompts."""
    return write(tmp_path / "prompts.jsonl", prompts(60))


def make_store(folder: pathlib.Path, analyses: str, count: int, models: list[str]) -> Store:
    """A store of so many prompts, made in this process."""
    run(
        models=models,
        datasets=[str(write(folder / "prompts.jsonl", prompts(count)))],
        chosen=parse(analyses),
        output=folder / "store",
        shard_rows=200,
        start=start_here(ModelConfig()),
    )
    return Store(folder / "store")


def start(*arguments: str, **how: Any) -> "subprocess.Popen[str]":
    """The command, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "lit_tl.precompute", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **how.pop("env", {})},
        **how,
    )


def command(*arguments: str, **how: Any) -> "subprocess.CompletedProcess[str]":
    """The command, run to its end."""
    process = start(*arguments, **how)
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)
