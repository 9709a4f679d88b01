"""Speed and memory of training a lens, against the plain per-layer Adam loop of the paper, in one
run.

    python benchmarks/lens_training.py [--rounds 3]

GPT-2 small's shape with random weights, float32, sequences of 128 tokens, batches of 8. Each side
trains in a process of its own, from the same start on the same tokens, in turns; the first step of
each is not counted. Memory is the most that a process held. The third side is the trainer with
bfloat16 products, which it picks by itself where the processor has units for them. `--profile`
shows where the time of a step goes.
"""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from typing import Callable

import torch
import transformers
from absl import app, flags
from gpt2_small_shape import D_VOCAB, machine
from plain_lens_loop import PlainLoop

_ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each side.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 4, "Steps that are counted in each process.", lower_bound=1)
_SIDES = ("plain", "lit_tl", "bfloat16")
_SIDE = flags.DEFINE_enum(
    "side", None, _SIDES, "Train one side and print JSON; for the program's own use."
)
_PROFILE = flags.DEFINE_bool("profile", False, "Profile a step of lit_tl's.")
_BATCH, _LENGTH = 8, 128


def model_of_the_shape() -> transformers.PreTrainedModel:
    """Frozen, with random weights."""
    torch.manual_seed(0)
    return (
        transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=D_VOCAB))
        .eval()
        .requires_grad_(False)
    )


def plain() -> Callable[[torch.Tensor], object]:
    """A step of the plain loop."""
    return PlainLoop(model_of_the_shape(), num_steps=1000).step


def ours(dtype: torch.dtype = torch.float32) -> Callable[[torch.Tensor], object]:
    """A step of the trainer, from the same start."""
    from lit_tl.lens import TunedLens
    from lit_tl.lens.training.config import TrainConfig
    from lit_tl.lens.training.plan import Plan
    from lit_tl.lens.training.processes import ALONE
    from lit_tl.lens.training.run import Listeners
    from lit_tl.lens.training.trainer import Trainer

    model = model_of_the_shape()
    config = TrainConfig(
        model="-",
        data="-",
        output="-",
        start_from="zero",
        max_seq_len=_LENGTH,
        tokens_per_step=_BATCH * _LENGTH,
        num_steps=1000,
    )
    trainer = Trainer(
        config=config,
        plan=Plan.of(config, context=1024, d_model=768, world_size=1),
        model=model,
        lens=TunedLens.from_model(model),
        chunks=None,  # steps are given their tokens
        processes=ALONE,
        product_dtype=dtype,
        listener=Listeners(None, None),
    )
    module = trainer.module()
    return lambda ids: trainer.step(module, ids)


def train(side: str) -> None:
    """Train one side; its tokens a second, peak memory, and first losses as JSON."""
    step = (
        plain()
        if side == "plain"
        else ours(torch.bfloat16 if side == "bfloat16" else torch.float32)
    )
    generator = torch.Generator().manual_seed(1)
    ids = [
        torch.randint(0, D_VOCAB, (_BATCH, _LENGTH), generator=generator)
        for _ in range(_STEPS.value + 1)
    ]
    losses = step(ids[0])
    started = time.perf_counter()
    for batch in ids[1:]:
        step(batch)
    seconds = time.perf_counter() - started
    content = {
        "tokens_per_second": _STEPS.value * _BATCH * _LENGTH / seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "losses": losses,
    }
    print(json.dumps(content))


def profile() -> None:
    """Where a step's time goes."""
    step = ours()
    ids = torch.randint(0, D_VOCAB, (_BATCH, _LENGTH))
    step(ids)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as results:
        step(ids)
    print(
        results.key_averages().table(
            sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40
        )
    )


def compare(side: str, own: list[dict], plain: list[dict]) -> None:
    """Print a side's ratios to the plain loop."""
    worst = max(abs(a - b) for a, b in zip(plain[0]["losses"], own[0]["losses"]))
    pairs = [
        run["tokens_per_second"] / other["tokens_per_second"] for run, other in zip(own, plain)
    ]
    memory = max(run["peak_mb"] for run in own) / max(run["peak_mb"] for run in plain)
    print(f"{side} over plain: losses of the first step differ by {worst:.1e} nats at most")
    print(
        f"    tokens/s {statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f}); "
        f"peak memory {memory:.2f}"
    )


def main(argv: list[str]) -> None:
    """Run both sides in turns and print ratios."""
    del argv
    if _PROFILE.value:
        profile()
        return
    if _SIDE.value:
        train(_SIDE.value)
        return
    results: dict[str, list[dict]] = {side: [] for side in _SIDES}
    for _ in range(_ROUNDS.value):
        for side in results:
            line = [
                sys.executable,
                str(pathlib.Path(__file__).resolve()),
                f"--side={side}",
                f"--steps={_STEPS.value}",
            ]
            finished = subprocess.run(line, capture_output=True, text=True, check=True)
            results[side].append(json.loads(finished.stdout.splitlines()[-1]))
    print(
        f"{machine()}; {_ROUNDS.value} processes of {_STEPS.value} steps of {_BATCH} x "
        f"{_LENGTH} tokens each"
    )
    for side, runs in results.items():
        speeds = [run["tokens_per_second"] for run in runs]
        print(
            f"{side:8s} tokens/s {' '.join(f'{speed:.1f}' for speed in speeds)}   peak "
            f"{max(run['peak_mb'] for run in runs):.0f} MB"
        )
    for side in _SIDES[1:]:
        compare(side, results[side], results["plain"])


if __name__ == "__main__":
    app.run(main)
