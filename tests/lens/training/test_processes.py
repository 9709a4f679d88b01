"""A run on several processes."""

import json
import pathlib
import string
from typing import Any

import pytest
import torch

from tests.lens.training.conftest import (
    TRAIN,
    arguments,
    finish,
    flags,
    losses,
    run_here,
    run_together,
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
    codes, out, err = run_together(command, command)
    assert codes == [0, 0], err
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
    for together in ([command, command], alone) if settings else (alone,):
        (tmp_path / "two" / "params.pt").unlink()
        (tmp_path / "two" / "checkpoints" / "step_00000006.pt").unlink()
        if together is alone:
            code, _, err = run_here(*alone)
            assert code == 0, err
        else:
            codes, _, err = run_together(*together)
            assert codes == [0, 0], err
        assert "going on from the checkpoint of step 4" in err
        assert same_lens(whole, tmp_path / "two")


def test_two_processes_of_many_passes_give_the_losses_of_one(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Sums are made in another order, so that the last digits differ."""

    def words(output: str) -> list[str]:
        content = {**TRAIN, "data": text_file, "output": tmp_path / output, "per_gpu_batch_size": 2}
        return ["train", *arguments(content)]

    def passes(output: str) -> int:
        return json.loads((tmp_path / output / "train.json").read_text())["plan"]["passes"]

    code, _, err = run_here(*words("one"))
    assert code == 0, err
    codes, _, err = run_together(words("two"), words("two"))
    assert codes == [0, 0], err
    assert (passes("one"), passes("two")) == (8, 4)
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
    shared = f"{command} --model=lit-tl-tiny --max_seq_len=32 --output={tmp_path}/out"
    paths = {"DATA": str(text_file), "OTHER": str(tmp_path / "other.jsonl")}
    words = [string.Template(f"{shared} {own}").substitute(paths).split() for own in differs]
    codes, _, err = run_together(*words)
    assert codes == [1, 1]
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
