"""`python -m lit_tl.lens train` and `eval`, as a user types them."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import torch

from lit_tl.lens import __main__ as command_line
from tests.browser.conftest import end_by_ctrl_c
from tests.lens.training.conftest import SHORT, arguments, finish, start_command

TRAIN = {"model": "lit-tl-tiny", **SHORT}


@pytest.fixture(scope="module")
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


def test_the_same_command_gives_the_same_lens_to_the_bit_and_says_how_it_goes(
    whole: pathlib.Path, text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    code, out, err = finish(start_command("train", *flags(text_file, tmp_path / "again")))
    assert code == 0, err
    assert same_lens(whole, tmp_path / "again")
    assert "train.json and losses.html are written" in out
    assert "step 6/6  kl by layer: " in err
    assert "tokens/s" in err
    assert "100%" in err


def test_a_run_that_is_stopped_goes_on_to_the_same_lens(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Twice by kill -9, once by Ctrl-C."""
    command = flags(text_file, tmp_path / "stopped", checkpoint_freq=1, num_steps=60)
    seen: set[str] = set()
    for number, code in (
        (signal.SIGKILL, -signal.SIGKILL),
        (signal.SIGKILL, -signal.SIGKILL),
        (signal.SIGINT, 130),
    ):
        process = start_command("train", *command, preexec_fn=end_by_ctrl_c)
        while process.poll() is None:
            files = {path.name for path in (tmp_path / "stopped" / "checkpoints").glob("step_*.pt")}
            if files - seen:
                process.send_signal(number)
                seen |= files
                break
            time.sleep(0.002)
        found, _, err = finish(process)
        assert found == code, err
        assert "Traceback" not in err
    code, _, err = finish(start_command("train", *command))
    assert code == 0, err
    assert "going on from the checkpoint of step" in err
    code, _, err = finish(
        start_command("train", *flags(text_file, tmp_path / "whole", num_steps=60))
    )
    assert code == 0, err
    assert same_lens(tmp_path / "whole", tmp_path / "stopped")
    assert torch.equal(losses(tmp_path / "whole"), losses(tmp_path / "stopped"))


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
    told = json.loads((tmp_path / "two" / "train.json").read_text())
    assert told["processes"] == 2
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
        told = {**TRAIN, "data": text_file, "output": tmp_path / output, "per_gpu_batch_size": 2}
        code, _, err = finish(start_command("train", *arguments(told), processes=processes))
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
    its = ["--model=lit-tl-tiny", "--max_seq_len=32", f"--output={tmp_path}/out"]
    line = f"exec {sys.executable} -m lit_tl.lens {command} {' '.join(its)} "
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


def test_a_model_on_the_cpu_has_nowhere_to_be_offloaded_from(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    settings = {"fsdp": True, "cpu_offload": True, "device": "cpu"}
    code, _, err = finish(
        start_command("train", *flags(text_file, tmp_path / "lens", **settings), processes=1)
    )
    assert code == 1
    assert (
        "--cpu_offload takes the model's shards off a GPU, and there is none here: leave the "
        "flag out" in err
    )


def test_int8_needs_its_package_and_trains_with_it(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    command = ["train", *flags(text_file, tmp_path / "int8", precision="int8")]
    hidden = (
        "import sys; sys.modules['bitsandbytes'] = None; from lit_tl.lens.__main__ "
        f"import main; main({['lens', *command]!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 1
    assert (
        "--precision int8 needs the package bitsandbytes: pip install 'lit_tl[int8]'" in done.stderr
    )
    assert "Traceback" not in done.stderr
    code, _, err = finish(start_command(*command))
    assert code == 0, err
    assert bool(torch.isfinite(losses(tmp_path / "int8")).all())


def test_eval_prints_a_table_and_writes_its_numbers(
    whole: pathlib.Path, text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    told = {
        "model": "lit-tl-tiny",
        "data": text_file,
        "lens": whole,
        "output": tmp_path / "e",
        "max_seq_len": 64,
    }
    one = start_command("eval", *arguments({**told, "tokens": 10_000}))
    code, out, err = finish(one)
    assert code == 0, err
    assert "layer  lens    KL to model      cross-entropy" in out
    assert f"eval.json, eval.csv and eval.html, over {157 * 63:,} predicted tokens" in out
    measured = json.loads((tmp_path / "e" / "eval.json").read_text())
    rows = measured["measured"]
    assert [row["lens"] for row in rows] == ["logit", "tuned"] * 4 + ["model"]
    assert all(
        tuned["kl_nats"] < logit["kl_nats"]
        for logit, tuned in zip(rows[:-1:2], rows[1::2], strict=True)
    )
    assert (tmp_path / "e" / "eval.csv").read_text().count("\n") == 10
    assert "Plotly.newPlot" in (tmp_path / "e" / "eval.html").read_text()
    code, _, err = finish(
        start_command(
            "eval", *arguments({**told, "tokens": 10_000, "output": tmp_path / "e2"}), processes=2
        )
    )
    assert code == 0, err
    again = json.loads((tmp_path / "e2" / "eval.json").read_text())["measured"]
    code, _, err = finish(
        start_command(
            "eval", *arguments({**told, "lens": "auto", "tokens": 640, "output": tmp_path / "e3"})
        )
    )
    assert code == 0, err
    assert len(json.loads((tmp_path / "e3" / "eval.json").read_text())["measured"]) == 9
    for row, its in zip(rows, again, strict=True):
        assert row.pop("lens") == its.pop("lens")
        assert row == pytest.approx(its, rel=1e-5, abs=1e-6)


def test_the_run_is_logged_to_weights_and_biases_without_a_network(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    settings = {"wandb": "first-run", "checkpoint_freq": 2}
    code, _, err = finish(
        start_command(
            "train", *flags(text_file, tmp_path / "w", **settings), env={"WANDB_MODE": "offline"}
        )
    )
    assert code == 0, err
    (log,) = (tmp_path / "w" / "wandb").glob("offline-run-*/run-*.wandb")
    content = log.read_bytes()
    for name in (b"first-run", b"loss/layer_03", b"loss/mean", b"tokens_per_step"):
        assert name in content


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["train"], 2, "--model is missing"),
        (["train", "--model=lit-tl-tiny", "--data=DATA"], 2, "--output is missing"),
        (["trian"], 2, "'trian' is no command: train, eval, show, push are"),
        ([], 2, "'nothing' is no command"),
        (["train", "--learning_rate=3"], 2, "learning_rate"),
        (["train", "ALL", "--num_steps=0"], 2, "--num_steps is 0: give 1 or more"),
        (["train", "ALL", "--num_steps=x"], 2, "num_steps"),
        (["train", "ALL", "--weight_decay=nan"], 2, "--weight_decay is nan: give 0 or more"),
        (["train", "ALL", "--lr_scale=inf"], 2, "--lr_scale is inf"),
        (["train", "ALL", f"--seed={2**63}"], 2, "give a number below 2 to the 63rd"),
        (
            ["train", "ALL", "--start_from=zero", "--start_tokens=5"],
            2,
            "--start_tokens is what --start_from ridge reads",
        ),
        (["train", "ALL", "--split=test"], 1, "--split test is for data sets"),
        (["train", "ALL", "--momentum=1"], 2, "--momentum is 1.0: give a number from 0 up to"),
        (["train", "ALL", "--cpu_offload"], 2, "give --fsdp too"),
        (["train", "ALL", "--precision=int8", "--fsdp"], 2, "can't be combined"),
        (["train", "ALL", "--warmup_steps=300"], 2, "there are 250 steps"),
        (
            ["train", "ALL", "--tokens_per_step=1000"],
            1,
            "no multiple of 512 (512 tokens in a sequence x 1 processes)",
        ),
        (["train", "ALL", "--max_seq_len=1024"], 1, "the model's context is 512 tokens"),
        (["train", "ALL", "--per_gpu_batch_size=7"], 1, "give a divisor of that"),
        (
            ["train", "ALL", "--loss=ce", "--token_shift=-3", "--max_seq_len=4"],
            1,
            "--token_shift is -3, but a sequence has 4",
        ),
        (["train", "ALL", "--data=EMPTY"], 1, "empty.jsonl is empty"),
        (["train", "ALL", "--fsdp"], 1, "start them with torchrun"),
        (["train", "ALL", "--device=cuda:9"], 1, "--device cuda:9 can't be used"),
        (["train", "ALL", "--start_from=./none"], 1, "the lens folder ./none does not exist"),
        (["train", "ALL", "--model=lit-tl-tyni"], 1, "did you mean lit-tl-tiny"),
        (["train", "ALL", "--data=none.jsonl"], 1, "none.jsonl does not exist"),
        (["train", "ALL", "--data=FILE"], 1, "FILE:2: not JSON"),
        (["train", "ALL", "--output=DATA/lens"], 1, "can't be written to: Not a directory"),
        (
            ["train", "ALL", "--checkpoint_freq=1", "--checkpoint_dir=DATA/c"],
            1,
            "--checkpoint_dir DATA/c can't be written to",
        ),
        (["eval", "ALL", "--lens=none", "--max_seq_len=1"], 2, "--max_seq_len is 1"),
        (["eval", "ALL", "--lens=DATA"], 1, "is a file: give the folder that holds config.json"),
    ],
)
def test_mistakes_are_said_in_a_sentence(
    words: list[str],
    code: int,
    sentence: str,
    text_file: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "a"}\n{\n' + text_file.read_text())
    (tmp_path / "empty.jsonl").touch()
    every = ["--model=lit-tl-tiny", f"--data={text_file}", f"--output={tmp_path / 'out'}"]
    every += ["--tokens_per_step=512"] if words[:1] == ["train"] else []
    every += (
        ["--start_tokens=512"]
        if words[:1] == ["train"] and not any("--start_from=" in word for word in words)
        else []
    )
    spelt = [part for word in words for part in (every if word == "ALL" else [word])]
    spelt = [
        word.replace("DATA", str(text_file))
        .replace("FILE", str(bad))
        .replace("EMPTY", str(tmp_path / "empty.jsonl"))
        for word in spelt
    ]
    with pytest.raises(SystemExit) as ended:
        command_line.main(["lens", *spelt])
    err = capsys.readouterr().err
    assert ended.value.code == code, err
    assert sentence.replace("FILE", str(bad)).replace("DATA", str(text_file)) in err
    assert not (tmp_path / "out" / "params.pt").exists()


def test_bad_lines_are_skipped_as_told_and_counted(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    lines = text_file.read_text().splitlines(keepends=True)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join([*lines[:10], "{\n", *lines[10:20], "[]\n", *lines[20:]]))
    code, out, err = finish(
        start_command("train", *flags(bad, tmp_path / "lens", bad_lines="skip"))
    )
    assert code == 0, err
    assert f"2 lines were skipped, the first at {bad}:11: not JSON" in out
    told = json.loads((tmp_path / "lens" / "train.json").read_text())
    assert told["skipped_lines"] == 2


def test_help_is_there_at_once(tmp_path: pathlib.Path) -> None:
    code = (
        "import sys; from lit_tl.lens.__main__ import main; main(['lens', *sys.argv[1:]]); "
        "assert 'torch' not in sys.modules"
    )
    for words, said in (
        (["--help"], "upload a lens"),
        (["train", "--help"], "--checkpoint_freq"),
        (["eval", "--help"], "--tokens"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
