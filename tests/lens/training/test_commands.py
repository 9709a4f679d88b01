"""`python -m lit_tl.lens train` and `eval`, as a user types them."""

import contextlib
import json
import pathlib
import signal
import subprocess
import sys

import pytest
import torch

from tests.lens.training.conftest import (
    arguments,
    finish,
    flags,
    losses,
    run_here,
    run_together,
    same_lens,
    start_command,
)
from tests.live_server import end_by_ctrl_c


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
    """Once by kill -9, once by Ctrl-C."""
    command = flags(text_file, tmp_path / "stopped", checkpoint_freq=1, num_steps=30)
    seen: set[str] = set()
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        process = start_command("train", *command, preexec_fn=end_by_ctrl_c)
        while process.poll() is None:
            files = {path.name for path in (tmp_path / "stopped" / "checkpoints").glob("step_*.pt")}
            if files - seen:
                process.send_signal(number)
                seen |= files
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
        result, _, err = finish(process)
        assert result == code, err
        assert "Traceback" not in err
    code, _, err = run_here("train", *command)
    assert code == 0, err
    assert "going on from the checkpoint of step" in err
    code, _, err = run_here("train", *flags(text_file, tmp_path / "whole", num_steps=30))
    assert code == 0, err
    assert same_lens(tmp_path / "whole", tmp_path / "stopped")
    assert torch.equal(losses(tmp_path / "whole"), losses(tmp_path / "stopped"))


def test_a_model_on_the_cpu_has_nowhere_to_be_offloaded_from(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    settings = {"fsdp": True, "cpu_offload": True, "device": "cpu"}
    codes, _, err = run_together(["train", *flags(text_file, tmp_path / "lens", **settings)])
    assert codes == [1]
    assert (
        "--cpu_offload takes the model's shards off a GPU, and there is none here: leave the "
        "flag out" in err
    )


def test_int8_needs_its_package_and_trains_with_it(
    text_file: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", *flags(text_file, tmp_path / "int8", precision="int8")]
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "bitsandbytes", None)
        code, _, err = run_here(*command)
    assert code == 1
    assert "--precision int8 needs the package bitsandbytes: pip install 'lit_tl[int8]'" in err
    code, _, err = run_here(*command)
    assert code == 0, err
    assert bool(torch.isfinite(losses(tmp_path / "int8")).all())


def test_eval_prints_a_table_and_writes_its_numbers(
    whole: pathlib.Path, text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    record = {
        "model": "lit-tl-tiny",
        "data": text_file,
        "lens": whole,
        "output": tmp_path / "e",
        "max_seq_len": 64,
    }
    code, out, err = run_here("eval", *arguments({**record, "tokens": 10_000}))
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
    words = ["eval", *arguments({**record, "tokens": 10_000, "output": tmp_path / "e2"})]
    codes, _, err = run_together(words, words)
    assert codes == [0, 0], err
    again = json.loads((tmp_path / "e2" / "eval.json").read_text())["measured"]
    code, _, err = run_here(
        "eval", *arguments({**record, "lens": "auto", "tokens": 640, "output": tmp_path / "e3"})
    )
    assert code == 0, err
    assert len(json.loads((tmp_path / "e3" / "eval.json").read_text())["measured"]) == 9
    for row, expected in zip(rows, again, strict=True):
        assert row.pop("lens") == expected.pop("lens")
        assert row == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_run_is_logged_to_weights_and_biases_without_a_network(
    text_file: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = {"wandb": "first-run", "checkpoint_freq": 2}
    code, _, err = run_here("train", *flags(text_file, tmp_path / "w", **settings))
    assert code == 0, err
    (log,) = (tmp_path / "w" / "wandb").glob("offline-run-*/run-*.wandb")
    content = log.read_bytes()
    for name in (b"first-run", b"loss/layer_03", b"loss/mean", b"tokens_per_step"):
        assert name in content


def test_bad_lines_are_skipped_as_told_and_counted(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    lines = text_file.read_text().splitlines(keepends=True)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join([*lines[:10], "{\n", *lines[10:20], "[]\n", *lines[20:]]))
    code, out, err = run_here("train", *flags(bad, tmp_path / "lens", bad_lines="skip"))
    assert code == 0, err
    assert f"2 lines were skipped, the first at {bad}:11: not JSON" in out
    record = json.loads((tmp_path / "lens" / "train.json").read_text())
    assert record["skipped_lines"] == 2


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
        finished = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        assert said in finished.stdout
