"""Whole runs in this process: what they leave, and how they go on."""

import json
import pathlib
import resource
from typing import Any, Callable, Sequence

import numpy as np
import pytest
import torch

from lit_tl.data.errors import DataError
from lit_tl.lens import TunedLens
from lit_tl.lens.training.checkpoints import CheckpointError, Checkpoints
from lit_tl.lens.training.trainer import OutOfData, Trainer

Run = Callable[..., pathlib.Path]


def lens_bytes(folder: pathlib.Path) -> tuple[bytes, bytes]:
    return (folder / "params.pt").read_bytes(), (folder / "config.json").read_bytes()


def test_a_run_leaves_the_published_layout_and_its_record(short_run: Run, causal_lm: tuple) -> None:
    folder = short_run()
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "params.pt",
        "train.json",
        "losses.html",
    }
    tensors = torch.load(folder / "params.pt", weights_only=True)
    assert set(tensors) == {f"{layer}.{name}" for layer in range(4) for name in ("weight", "bias")}
    config = json.loads((folder / "config.json").read_text())
    assert config["base_model_name_or_path"] == "lit-tl-tiny"
    assert (config["d_model"], config["num_hidden_layers"], config["bias"]) == (128, 4, True)
    assert config["lens_type"] == "linear_tuned_lens"
    assert len(TunedLens.from_model_and_pretrained(causal_lm[0], str(folder))) == 4
    record = json.loads((folder / "train.json").read_text())
    assert np.array(record["losses"]).shape == (6, 4)
    assert record["settings"]["num_steps"] == 6
    assert record["versions"]["torch"] == torch.__version__
    assert record["data"]["file"] == "text.jsonl"
    assert record["tokens"] == 2048 + 512 + 6 * 512
    assert record["seconds"] > 0


def test_the_same_settings_give_the_same_lens_and_another_seed_another(short_run: Run) -> None:
    first = lens_bytes(short_run("a"))
    assert lens_bytes(short_run("b")) == first
    assert lens_bytes(short_run("c", seed=7)) != first


@pytest.mark.parametrize(
    ("settings", "stops"),
    [
        ({}, range(6)),
        ({"optimizer": "sgd", "bias_only": True, "shuffle_buffer": 0}, [3]),
        ({"loss": "ce", "start_from": "zero", "per_gpu_batch_size": 4}, [4]),
    ],
)
def test_a_run_stopped_at_any_step_goes_on_to_the_same_lens(
    settings: dict[str, Any], stops: Sequence[int], short_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = short_run("whole", **settings)
    original = Trainer._check
    for stop in stops:

        def check(trainer: Trainer, step: int, stop: int = stop) -> None:
            original(trainer, step)
            if step == stop:
                raise KeyboardInterrupt

        name = f"stopped{stop}"
        monkeypatch.setattr(Trainer, "_check", check)
        with pytest.raises(KeyboardInterrupt):
            short_run(name, checkpoint_freq=2, **settings)
        monkeypatch.setattr(Trainer, "_check", original)
        again = short_run(name, checkpoint_freq=2, **settings)
        assert lens_bytes(again) == lens_bytes(whole), stop
        record = [json.loads((folder / "train.json").read_text()) for folder in (again, whole)]
        assert record[0]["losses"] == record[1]["losses"], stop
        assert record[0]["tokens"] == record[1]["tokens"], stop


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "ce"},
        {"token_shift": 2},
        {"loss": "ce", "token_shift": -1},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.0},
        {"bias_only": True},
        {"start_from": "zero"},
        {"precision": "bfloat16"},
        {"precision": "auto"},
        {"per_gpu_batch_size": 8},
    ],
)
def test_every_setting_trains(settings: dict[str, Any], short_run: Run) -> None:
    folder = short_run(**settings, num_steps=20)
    still = short_run(
        "still", **{**settings, "lr_scale": 1e-9}, num_steps=20
    )  # sees the same batches, and does not learn
    losses, frozen = (
        np.array(json.loads((one / "train.json").read_text())["losses"]) for one in (folder, still)
    )
    assert np.isfinite(losses).all()
    assert (losses[-5:].mean(0) < frozen[-5:].mean(0)).all(), (losses, frozen)
    weights = [
        value
        for name, value in torch.load(folder / "params.pt", weights_only=True).items()
        if "weight" in name
    ]
    assert all(bool(weight.any()) != ("bias_only" in settings) for weight in weights)


def test_passes_of_any_size_give_the_same_losses(short_run: Run) -> None:
    losses = []
    for batch in (16, 4):
        record = json.loads(
            (short_run(f"batch{batch}", per_gpu_batch_size=batch) / "train.json").read_text()
        )
        assert record["plan"]["passes"] == 16 // batch
        losses.append(record["losses"])
    assert np.allclose(*losses, atol=2e-3)


def test_the_size_of_a_pass_does_not_decide_what_is_read(short_run: Run) -> None:
    record = []
    for batch in (16, 2):
        folder = short_run(f"batch{batch}", per_gpu_batch_size=batch, start_tokens=2100)
        record.append(json.loads((folder / "train.json").read_text()))
    assert record[0]["tokens"] == record[1]["tokens"] == 66 * 32 + 512 + 6 * 512
    assert np.allclose(record[0]["losses"], record[1]["losses"], atol=2e-3)


def test_checkpoints_are_gone_on_from_even_where_none_are_written(
    short_run: Run, tmp_path: pathlib.Path
) -> None:
    whole = lens_bytes(short_run("whole"))
    short_run(checkpoint_freq=2, num_steps=6)
    (tmp_path / "lens" / "checkpoints" / "step_00000006.pt").unlink()
    (tmp_path / "lens" / "params.pt").unlink()
    assert lens_bytes(short_run()) == whole
    with pytest.raises(
        CheckpointError,
        match="seed 42, and this one has 7: give the same seed, or another --output",
    ):
        short_run(seed=7)


def test_a_run_keeps_its_products_on_another_processor(
    short_run: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lit_tl.lens.training.run.product_dtype", lambda precision, device: torch.bfloat16
    )
    whole = lens_bytes(short_run("whole", precision="auto"))
    folder = short_run(checkpoint_freq=2, precision="auto")
    assert json.loads((folder / "train.json").read_text())["products"] == "bfloat16"
    (folder / "checkpoints" / "step_00000006.pt").unlink()
    monkeypatch.setattr("lit_tl.lens.training.run.product_dtype", lambda precision, device: None)
    assert lens_bytes(short_run(checkpoint_freq=2, precision="auto")) == whole
    assert lens_bytes(short_run("other", precision="auto")) != whole


def test_a_lens_can_be_trained_on(short_run: Run) -> None:
    first = short_run("first")
    more = json.loads((short_run("more", start_from=str(first), seed=5) / "train.json").read_text())
    begun = json.loads((first / "train.json").read_text())
    assert sum(more["losses"][0]) < sum(begun["losses"][0])


def test_too_little_text_is_an_error_with_the_amount_that_was_asked(
    short_run: Run, tmp_path: pathlib.Path
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text('{"text": "a b c"}\n' * 100)
    with pytest.raises(
        OutOfData,
        match=r"few.jsonl holds 1,801 tokens at the very most, and the run asks for 5,632 "
        r"\(2,048 tokens for",
    ):
        short_run(data=str(few))
    few.write_text('{"text": "a b c d e f"}\n' * 400)
    with pytest.raises(
        OutOfData,
        match=r"the text ended in the start, after 400 documents with 2,\d+ tokens: the run "
        r"asks for 9,",
    ):
        short_run(data=str(few), start_tokens=5700)
    with pytest.raises(
        OutOfData,
        match=r"the text ended in step 1 of 6, after 400 documents with 2,\d+ tokens: the run "
        r"asks for 5,632 ",
    ):
        short_run(data=str(few))
    assert not (tmp_path / "lens" / "params.pt").exists()


def test_another_model_data_or_setting_is_refused(
    short_run: Run, text_file: pathlib.Path, tmp_path: pathlib.Path, causal_lm: tuple
) -> None:
    short_run(checkpoint_freq=2)
    other = tmp_path / "other.jsonl"
    other.write_bytes(text_file.read_bytes() + b"\n")
    for change, said in (
        (
            {"lr_scale": 0.5},
            "lr_scale 1.0, and this one has 0.5: give the same lr_scale, or another --output",
        ),
        ({"num_steps": 8}, "num_steps 6, and this one has 8"),
        ({"data": str(other)}, "data {'file': 'text.jsonl'"),
        ({"max_seq_len": 16}, "max_seq_len 32, and this one has 16"),
    ):
        with pytest.raises(CheckpointError) as refused:
            short_run(checkpoint_freq=2, **change)
        assert said in str(refused.value)
    weight = causal_lm[0].transformer.h[0].mlp.c_fc.weight
    before = weight[0, 0].item()
    try:
        weight[0, 0] = before + 1
        with pytest.raises(CheckpointError, match=r"is of a run with model .*'weights'"):
            short_run(checkpoint_freq=2)
    finally:
        weight[0, 0] = before
    moved = tmp_path / "elsewhere" / "text.jsonl"
    moved.parent.mkdir()
    moved.write_bytes(text_file.read_bytes())
    short_run(
        checkpoint_freq=2, data=str(moved), per_gpu_batch_size=2
    )  # where a file lies, and how it is read, may change
    short_run(
        checkpoint_freq=2, token_shift=0, warmup_steps=3
    )  # what these are when they are not said


def test_a_run_that_a_bad_line_ended_goes_on_without_it(
    short_run: Run, text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    lines = text_file.read_text().splitlines(keepends=True)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join([*lines[:300], "{\n", *lines[300:]]))
    settings = {"data": str(bad), "checkpoint_freq": 1, "num_steps": 40}
    with pytest.raises(DataError, match=r"bad\.jsonl:301: not JSON"):
        short_run(**settings)
    assert list((tmp_path / "lens" / "checkpoints").iterdir())
    again = short_run(**settings, bad_lines="skip")
    assert json.loads((again / "train.json").read_text())["skipped_lines"] == 1
    assert lens_bytes(again) == lens_bytes(short_run("whole", data=str(text_file), num_steps=40))


def test_only_the_newest_checkpoints_stay(short_run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".step_00000002.pt.x1y2z3").write_bytes(
        b"of a run that was killed while it wrote"
    )
    short_run(checkpoint_freq=1, checkpoint_dir=str(tmp_path / "c"))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "step_00000005.pt",
        "step_00000006.pt",
    ]
    short_run("all", checkpoint_freq=1, checkpoint_keep=0)
    assert len(list((tmp_path / "all" / "checkpoints").iterdir())) == 6


def test_a_damaged_checkpoint_is_named(short_run: Run, tmp_path: pathlib.Path) -> None:
    short_run(checkpoint_freq=2)
    newest = tmp_path / "lens" / "checkpoints" / "step_00000006.pt"
    for content in (newest.read_bytes()[:1000], b"", b"no zip"):
        newest.write_bytes(content)
        with pytest.raises(
            CheckpointError,
            match=r"step_00000006\.pt is damaged: .*; delete it to go on from the one before",
        ):
            short_run(checkpoint_freq=2)
    torch.save({"a": 1}, newest)
    with pytest.raises(CheckpointError, match="is no checkpoint of lens training"):
        short_run(checkpoint_freq=2)
    only = tmp_path / "only"
    only.mkdir()
    (only / "step_00000002.pt").write_bytes(b"no zip")
    with pytest.raises(CheckpointError, match="delete it to begin anew"):
        short_run(checkpoint_dir=str(only))
    newest.unlink()
    whole = lens_bytes(short_run("whole"))
    assert lens_bytes(short_run(checkpoint_freq=2)) == whole


def test_a_full_disk_leaves_the_checkpoints_and_lens_before_it(
    short_run: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lens_bytes(short_run("whole"))
    short_run("lens", seed=3)  # an older lens in the same folder
    old = lens_bytes(tmp_path / "lens")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    original = Checkpoints.write

    def write(checkpoints: Checkpoints, step: int, state: Any) -> pathlib.Path:
        if step == 4:
            # No file may grow beyond 100 KB: the system's own refusal, in the middle of a write.
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        return original(checkpoints, step, state)

    monkeypatch.setattr(Checkpoints, "write", write)
    try:
        with pytest.raises(
            CheckpointError, match=r"step_00000004.pt can't be written: .*step_00000002.pt is whole"
        ):
            short_run("lens", checkpoint_freq=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "lens" / "checkpoints").iterdir()] == [
        "step_00000002.pt"
    ]
    assert lens_bytes(tmp_path / "lens") == old
    monkeypatch.setattr(Checkpoints, "write", original)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError, match=r"lens/params.pt can't be written: File too large"):
            short_run("lens", seed=4, checkpoint_dir=str(tmp_path / "none"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert lens_bytes(tmp_path / "lens") == old
    assert lens_bytes(short_run("lens", checkpoint_freq=2)) == whole


def test_a_loss_that_is_not_finite_ends_the_run(short_run: Run, tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"the loss of layer \d is (nan|inf) at step \d+: begin anew, .* with a smaller "
        r"--lr_scale",
    ):
        short_run(lr_scale=1e30, num_steps=20)
    with pytest.raises(
        ValueError, match=r"the loss of layer \d is (nan|inf) after the last step: begin anew"
    ):
        short_run(lr_scale=1e38, num_steps=1)
    assert not (tmp_path / "lens").joinpath("params.pt").exists()
