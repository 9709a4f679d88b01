"""A short run does not spoil its own start: each layer keeps the translator that was best on text
that is not trained on."""

import json
import pathlib
from typing import Callable

import pytest
import torch

from lit_tl.lens import TunedLens
from lit_tl.lens.training.config import TrainConfig
from lit_tl.lens.training.held_out import HeldOut
from tests.lens.training.conftest import flags, run_here, same_lens

Run = Callable[..., pathlib.Path]


def held_out(folder: pathlib.Path) -> dict:
    content: dict = json.loads((folder / "train.json").read_text())["held_out"]
    return content


@pytest.mark.parametrize("num_steps", [2, 20])
@pytest.mark.parametrize("lr_scale", [1.0, 30.0])
def test_no_layer_ends_worse_than_it_started(
    num_steps: int, lr_scale: float, short_run: Run
) -> None:
    measured = held_out(short_run(num_steps=num_steps, lr_scale=lr_scale, held_out_tokens=2048))
    start, best = measured["losses"]["0"], measured["best_losses"]
    assert all(after <= before for before, after in zip(start, best, strict=True))
    assert measured["tokens"] == 2048
    assert list(map(int, measured["losses"]))[-1] == num_steps


def test_layers_that_training_spoils_are_as_they_started_and_named(
    short_run: Run, text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """With a rate that is far too high, no layer gains."""
    start = short_run("start", num_steps=1, lr_scale=1e-9, held_out_tokens=512)
    words = flags(text_file, tmp_path / "spoilt", lr_scale=1000, warmup_steps=0)
    code, out, err = run_here("train", *words)
    assert code == 0, err
    assert held_out(tmp_path / "spoilt")["layers_not_helped"] == [0, 1, 2, 3]
    assert "training did not help layers 0, 1, 2, 3: there the lens is as it started" in out
    spoilt, started = (torch.load(folder / "params.pt") for folder in (tmp_path / "spoilt", start))
    for name, value in started.items():
        assert torch.allclose(spoilt[name], value, rtol=1e-2, atol=1e-2), name


def test_what_is_kept_is_what_was_best(causal_lm: tuple) -> None:
    lens = TunedLens.from_model(causal_lm[0])
    kept = HeldOut(torch.zeros(1, 4, dtype=torch.long))
    for step, losses in enumerate(([3.0, 1.0, 2.0, 2.0], [2.0, 2.0, float("nan"), 1.0], [2.5] * 4)):
        with torch.no_grad():
            for translator in lens.layer_translators:
                translator.bias.fill_(step)
        kept.compare(step, losses, lens)
    kept.put_back(lens)
    assert [translator.bias[0].item() for translator in lens.layer_translators] == [1, 0, 0, 1]
    assert kept.layers_not_helped() == [1, 2]


def test_none_may_be_held_out(short_run: Run) -> None:
    assert held_out(short_run(held_out_tokens=0)) is None


def test_a_run_that_was_stopped_keeps_the_same(short_run: Run, tmp_path: pathlib.Path) -> None:
    whole = short_run("whole", num_steps=6, lr_scale=30.0)
    folder = short_run("stopped", num_steps=6, lr_scale=30.0, checkpoint_freq=2, checkpoint_keep=0)
    for path in (folder / "checkpoints").glob("step_0000000[46].pt"):
        path.unlink()
    again = short_run("stopped", num_steps=6, lr_scale=30.0, checkpoint_freq=2, checkpoint_keep=0)
    assert same_lens(whole, again)
    assert held_out(whole) == held_out(again)


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 0), (6, 3), (20, 10), (50, 20), (200, 20), (250, 25)]
)
def test_adam_starts_gently(steps: int, warmup: int) -> None:
    given = {"model": "m", "data": "d", "output": "o", "num_steps": steps}
    assert TrainConfig(**given).warmup == warmup
    assert TrainConfig(**given, optimizer="sgd").warmup == 0


def test_the_published_recipe_can_be_given() -> None:
    """SGD with clipping, or Adam with it, and decay of biases as well."""
    given = {"model": "m", "data": "d", "output": "o"}
    assert TrainConfig(**given).gradient_bound == 0
    assert TrainConfig(**given, optimizer="sgd").gradient_bound == 1
    assert TrainConfig(**given, max_grad_norm=0.5, decay_biases=True).gradient_bound == 0.5
    assert TrainConfig(**given, optimizer="sgd", max_grad_norm=0.0).gradient_bound == 0
