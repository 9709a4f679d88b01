"""A run on several processes, as torchrun starts them."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import torch

from tests.lens.training.conftest import (
    TRAIN,
    arguments,
    finish,
    flags,
    losses,
    same_lens,
    start_command,
)


@pytest.mark.parametrize("settings", [{}, {"zero": True}, {"fsdp": True}])
def test_two_processes_give_what_one_gives(
    settings: dict[str, Any], whole: pathlib.Path, text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """To the bit: a step is two passes of one process here, or one of each of two, so that sums are
    made in one order."""
    command = ["train", *flags(text_file, tmp_path / "two", checkpoint_freq=2, **settings)]
    code, out, err = finish(start_command(*command, processes=2))
    assert code == 0, err
    assert out.count("are written") == 1
    assert same_lens(whole, tmp_path / "two")
    assert torch.allclose(losses(whole), losses(tmp_path / "two"), atol=1e-5)
    content = json.loads((tmp_path / "two" / "train.json").read_text())
    assert content["processes"] == 2
    # Two go on from what two have written, and so does one alone.
    alone = [
        "train",
        *flags(
            text_file,
            tmp_path / "two",
            checkpoint_freq=2,
            **({"zero": True} if "zero" in settings else {}),
        ),
    ]
    for words, processes in ((command, 2), (alone, 0)) if settings else ((alone, 0),):
        (tmp_path / "two" / "params.pt").unlink()
        (tmp_path / "two" / "checkpoints" / "step_00000006.pt").unlink()
        code, _, err = finish(start_command(*words, processes=processes))
        assert code == 0, err
        assert "going on from the checkpoint of step 4" in err
        assert same_lens(whole, tmp_path / "two")


def test_two_processes_of_many_passes_give_the_losses_of_one(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Sums are made in another order, so that the last digits differ."""
    for output, processes, passes in (("one", 0, 8), ("two", 2, 4)):
        content = {**TRAIN, "data": text_file, "output": tmp_path / output, "per_gpu_batch_size": 2}
        code, _, err = finish(start_command("train", *arguments(content), processes=processes))
        assert code == 0, err
        assert (
            json.loads((tmp_path / output / "train.json").read_text())["plan"]["passes"] == passes
        )
    assert torch.allclose(losses(tmp_path / "one"), losses(tmp_path / "two"), atol=1e-5)


FEW = "--num_steps=2 --tokens_per_step=512 --start_tokens=512"


@pytest.mark.parametrize(
    ("command", "differs", "sentence"),
    [
        (
            f"train {FEW}",
            ("--data=$DATA", "--data=$OTHER"),
            "processes 0 and 1 differ in data: {'file': 'text.jsonl'",
        ),
        (
            "eval --data=$DATA --tokens=500",
            ("--lens=none", "--lens=auto"),
            "processes 0 and 1 differ in lens: 'none' and 'auto'",
        ),
        (
            f"train {FEW} --data=$DATA",
            ("--device=cpu", "--model=./nowhere"),
            "process 1: ./nowhere",
        ),
    ],
)
def test_processes_that_are_told_different_things_say_so(
    command: str,
    differs: tuple[str, str],
    sentence: str,
    text_file: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "other.jsonl").write_text(text_file.read_text() + '{"text": "more"}\n')
    expected = ["--model=lit-tl-tiny", "--max_seq_len=32", f"--output={tmp_path}/out"]
    line = f"exec {sys.executable} -m lit_tl.lens {command} {' '.join(expected)} "
    script = f'if [ "$RANK" = 0 ]; then {line} {differs[0]}; else {line} {differs[1]}; fi'
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "--no-python",
    ]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "DATA": str(text_file),
        "OTHER": str(tmp_path / "other.jsonl"),
    }
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*launcher, "bash", "-c", script], stdout=pipe, stderr=pipe, text=True, env=environment
    )
    code, _, err = finish(process)
    assert code == 1
    assert sentence in err
    assert not (tmp_path / "out" / "params.pt").exists()


def test_a_process_that_fails_alone_says_so(tmp_path: pathlib.Path) -> None:
    """On the second of two machines, say, where the file is not."""
    missing = arguments({**TRAIN, "data": tmp_path / "none.jsonl", "output": tmp_path})
    code, _, err = finish(
        start_command("train", *missing, env={"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2"})
    )
    assert code == 1
    assert "lit_tl.lens: process 1: " in err
    assert "none.jsonl does not exist" in err
