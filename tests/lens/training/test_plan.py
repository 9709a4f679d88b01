"""A run's tokens fall into sequences, passes and processes without a rest."""

from typing import Any

import pytest

from lit_tl.lens.training.config import TrainConfig
from lit_tl.lens.training.plan import LONGEST, Plan


def plan(*, context: int = 512, d_model: int = 128, world_size: int = 1, **settings: Any) -> Plan:
    config = TrainConfig(model="m", data="d", output="o", **settings)
    return Plan.of(config, context=context, d_model=d_model, world_size=world_size)


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("batch", [None, 1, 2, 4])
def test_passes_of_all_processes_make_up_a_step(world_size: int, batch: int | None) -> None:
    made = plan(
        world_size=world_size, tokens_per_step=8192, max_seq_len=256, per_gpu_batch_size=batch
    )
    assert made.length * made.batch * made.passes * world_size == 8192
    assert made.sequences == 32
    assert batch is None or made.batch == batch


def test_sequences_are_as_long_as_the_model_reads_but_not_longer_than_2048() -> None:
    assert plan(context=512, tokens_per_step=2**18).length == 512
    assert plan(context=131_072, tokens_per_step=2**18).length == LONGEST == 2048
    assert plan(context=131_072, tokens_per_step=2**18, max_seq_len=4096).length == 4096


def test_a_pass_is_bounded_and_a_long_sequence_runs_alone() -> None:
    assert plan(tokens_per_step=2**18, max_seq_len=256).batch == 8
    assert plan(tokens_per_step=2**18, max_seq_len=4096, context=8192).batch == 1


def test_the_start_reads_what_ridge_needs_and_other_starts_nothing() -> None:
    made = plan(tokens_per_step=2**18, max_seq_len=500 // 4 * 4 + 12)
    assert made.start_sequences * made.length >= 65_536
    assert (made.start_sequences - 1) * made.length < 65_536
    wide = plan(tokens_per_step=2**18, d_model=8192)
    assert wide.start_sequences * wide.length >= 16 * 8192
    assert plan(tokens_per_step=2**18, start_from="zero").start_sequences == 0


def test_the_tokens_asked_for_are_those_of_start_and_steps() -> None:
    made = plan(tokens_per_step=1024, max_seq_len=128, start_tokens=1000)
    assert made.start_sequences == 8
    assert made.tokens_asked(5) == 8 * 128 + 4096 + 5 * 1024
    config = TrainConfig(
        model="m", data="d", output="o", tokens_per_step=1024, num_steps=5, start_tokens=1000
    )
    assert made.in_words(config) == (
        "1,024 tokens for the start, 4,096 tokens held out, 5 steps of 1,024 tokens in sequences "
        "of 128"
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"tokens_per_step": 1000, "max_seq_len": 512},
            r"is 1000, which is no multiple of 512 .*: near it are 512 and 1024",
        ),
        (
            {"tokens_per_step": 100, "max_seq_len": 512},
            "is 100, which is no multiple of 512 .*: near it are 512$",
        ),
        (
            {"tokens_per_step": 512, "max_seq_len": 512, "world_size": 2},
            "no multiple of 1024 .*512 tokens in a sequence x 2 processes",
        ),
        (
            {"tokens_per_step": 2048, "max_seq_len": 256, "per_gpu_batch_size": 3},
            "--per_gpu_batch_size is 3, but a step has 8 sequences",
        ),
        (
            {"tokens_per_step": 1024, "max_seq_len": 1024},
            "--max_seq_len is 1024, but the model's context is 512 tokens",
        ),
        (
            {"tokens_per_step": 512, "max_seq_len": 4, "loss": "ce", "token_shift": 4},
            "--token_shift is 4, but a sequence has 4 tokens",
        ),
    ],
)
def test_what_does_not_divide_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plan(**settings)
