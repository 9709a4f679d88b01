"""The recipes of launch/, on this machine's CPU."""

import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest
from torch.distributed.run import get_args_parser

from lit_tl.lens.commands.eval import Config as EvalConfig
from lit_tl.lens.training.config import TrainConfig
from tests.lens.training.conftest import SHORT, arguments, finish

RECIPES = pathlib.Path(__file__).parents[3] / "launch"


def start(
    recipe: str, folder: pathlib.Path, text_file: pathlib.Path, **environment: str
) -> subprocess.Popen:
    settings = {
        "model": "lit-tl-tiny",
        "data": text_file,
        "output": folder,
        "per_gpu_batch_size": 4,
        **SHORT,
    }
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    content = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **environment}
    line = [str(RECIPES / recipe), *arguments(settings)]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=content
    )


def test_one_node(text_file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    process = start("train_one_node.sh", tmp_path / "lens", text_file, GPUS="2")
    code, _, err = finish(process)
    assert code == 0, err
    assert json.loads((tmp_path / "lens" / "train.json").read_text())["processes"] == 2


def test_two_nodes_of_one_process_each(text_file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """LOCAL_RANK is 0 on both: the rank decides who writes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    nodes = {"NODES": "2", "GPUS": "1", "HEAD": "127.0.0.1", "ADDRESS": "127.0.0.1", "PORT": port}
    folders = [tmp_path / "first", tmp_path / "second"]
    running = [start("train_many_nodes.sh", folder, text_file, **nodes) for folder in folders]
    try:
        for process in running:
            code, _, err = finish(process)
            assert code == 0, err
    finally:
        for process in running:
            process.kill()
            process.communicate()
    written = [folder for folder in folders if (folder / "params.pt").exists()]
    assert len(written) == 1
    assert json.loads((written[0] / "train.json").read_text())["processes"] == 2


def test_no_flag_is_the_beginning_of_one_of_torchrun() -> None:
    """torchrun's parser reads abbreviations, also behind the command that it is to run."""
    options = [option for action in get_args_parser()._actions for option in action.option_strings]
    assert "--start-method" in options
    for config in (TrainConfig, EvalConfig):
        for field in dataclasses.fields(config):
            assert [option for option in options if option.startswith(f"--{field.name}")] == [], (
                field.name
            )


@pytest.mark.parametrize(
    "recipe", ["train_one_node.sh", "train_many_nodes.sh", "train.slurm", "serve.sh"]
)
def test_recipes_are_shell(recipe: str) -> None:
    assert subprocess.run(["bash", "-n", str(RECIPES / recipe)], check=False).returncode == 0
    assert os.access(RECIPES / recipe, os.X_OK)
