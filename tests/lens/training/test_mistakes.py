"""Mistakes on the command line of `python -m lit_tl.lens` are answered in a sentence."""

import pathlib

import pytest

from lit_tl.lens import __main__ as command_line


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
