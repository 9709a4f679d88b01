"""How much compute a lens of the bundled model takes to come as near to the model as the paper's
plain loop does in 250 steps.

    python benchmarks/lens_convergence.py [--output curve.html]

Both see text of the bundled model's kind, sequences of 128 tokens; nearness is the KL divergence to
the model on text of another seed, a mean over layers and tokens. Compute is CPU seconds of this
process, all threads; evaluation is not counted. The plain loop starts from the identity; at Adam's
usual learning rate, and again at ten times that, which suits this small model better.
"""

import json
import pathlib
import tempfile
import time
from typing import Callable

import plotly.graph_objects as go
import torch
from absl import app, flags
from gpt2_small_shape import machine
from plain_lens_loop import LEARNING_RATE, PlainLoop

from lit_tl.bundled.fit_lens import write_text
from lit_tl.data.documents import open_documents
from lit_tl.lens import TunedLens
from lit_tl.lens.evaluation import evaluate
from lit_tl.lens.training.chunks import Chunks
from lit_tl.lens.training.config import TrainConfig
from lit_tl.lens.training.loss import row_loss
from lit_tl.lens.training.plan import Plan
from lit_tl.lens.training.processes import ALONE
from lit_tl.lens.training.run import encoder
from lit_tl.lens.training.trainer import Trainer
from lit_tl.models.causal_lm import load_causal_lm

_OUTPUT = flags.DEFINE_string(
    "output", None, "Write the curves as a figure: .html, or .json for Plotly's."
)
_PLAIN_STEPS = flags.DEFINE_integer("plain_steps", 250, "Steps of the plain loop.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 150, "Steps of lit_tl's trainer.", lower_bound=1)
_LENGTH, _PLAIN_TOKENS, _TOKENS, _START_TOKENS = 128, 2048, 512, 32_768
Curve = list[tuple[float, float]]
"""CPU seconds, and the KL divergence then in nats."""


class Clock:
    """CPU seconds of training, evaluation left out, and the curve."""

    wandb_run_id = None

    def __init__(self, measure: Callable[[], float], every: int):
        self.curve: Curve = []
        self._measure, self._every = measure, every
        self._spent, self._since = 0.0, time.process_time()

    def mark(self) -> None:
        """Measure how near the lens is now."""
        self._spent += time.process_time() - self._since
        self.curve.append((self._spent, self._measure()))
        self._since = time.process_time()

    def read(self, tokens: int) -> None:
        """Part of training; nothing to do."""

    def step(self, step: int, losses: list[float], lr: float) -> None:
        """Measure now and then."""
        del losses, lr
        if (step + 1) % self._every == 0:
            self.mark()


class Comparison:
    """The bundled model, text to train on, and text to measure with."""

    def __init__(self, folder: pathlib.Path):
        self.model, tokenizer = load_causal_lm("lit-tl-tiny", device="cpu")
        self._encode, self._folder = encoder(tokenizer, 2048), folder
        for name, seed, count in (("train", 11, 60_000), ("check", 12, 3_000)):
            write_text(folder / name, seed, count)
            (folder / name).rename(folder / f"{name}.jsonl")
        self._check = list(torch.stack(self._rows("check", 192)).split(16))

    def plain(self, lr: float) -> Curve:
        """The paper's plain loop at a learning rate."""
        rows = self._rows("train", _PLAIN_STEPS.value * _PLAIN_TOKENS // _LENGTH)
        loop = PlainLoop(self.model, _PLAIN_STEPS.value, lr)
        clock = Clock(self._nearness(loop.lens), 10)
        loop.run(
            list(torch.stack(rows).split(_PLAIN_TOKENS // _LENGTH)),
            lambda step: clock.step(step, [], 0.0),
        )
        return clock.curve

    def lit_tl(self) -> Curve:
        """lit_tl's trainer with its own defaults."""
        config = TrainConfig(
            model="lit-tl-tiny",
            data="-",
            output="-",
            max_seq_len=_LENGTH,
            tokens_per_step=_TOKENS,
            num_steps=_STEPS.value,
            start_tokens=_START_TOKENS,
        )
        lens = TunedLens.from_model(self.model)
        clock = Clock(self._nearness(lens), 10)
        Trainer(
            config=config,
            plan=Plan.of(config, context=512, d_model=128, world_size=1),
            model=self.model,
            lens=lens,
            chunks=self._chunks("train"),
            processes=ALONE,
            product_dtype=None,
            listener=clock,
        ).run()
        return clock.curve

    def _chunks(self, name: str) -> Chunks:
        documents = open_documents(
            f"{self._folder}/{name}.jsonl", text_column="text", split="", bad_lines="refuse"
        )
        return Chunks(documents, self._encode, length=_LENGTH, shuffle_buffer=1024, seed=0)

    def _rows(self, name: str, count: int) -> list[torch.Tensor]:
        return [row.long() for row, _ in zip(self._chunks(name), range(count))]

    def _nearness(self, lens: TunedLens) -> Callable[[], float]:
        loss = row_loss(lens.unembed)
        return lambda: float(
            evaluate(self.model, {"lens": lens}, loss, self._check).lenses["lens"].kl.mean()
        )


def main(argv: list[str]) -> None:
    """Train each way, print, and draw."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(pathlib.Path(folder))
        curves = {
            "lit_tl": comparison.lit_tl(),
            "plain loop": comparison.plain(LEARNING_RATE),
            "plain loop, 10 x the learning rate": comparison.plain(10 * LEARNING_RATE),
        }
    print(machine())
    for name, curve in curves.items():
        print(f"{name:36s} {curve[-1][0]:7.1f} CPU s   KL {curve[-1][1]:.4f} nats")
    seconds, goal = curves["plain loop"][-1]
    reached = next((at for at, kl in curves["lit_tl"] if kl <= goal), None)
    share = (
        "not reached"
        if reached is None
        else f"reached in {reached:.1f} CPU s, {reached / seconds:.3f} of its compute"
    )
    print(f"the plain loop's KL: {share}")
    if _OUTPUT.value:
        write_figure(pathlib.Path(_OUTPUT.value), curves)


def write_figure(path: pathlib.Path, curves: dict[str, Curve]) -> None:
    """The curves, with the plain loop's end as a line across."""
    figure = go.Figure()
    for (name, curve), colour in zip(curves.items(), ("#188038", "#1a73e8", "#9aa0a6")):
        x, y = zip(*curve)
        figure.add_scatter(
            x=x, y=y, name=name, mode="lines+markers", line_color=colour, marker_size=5
        )
    figure.add_hline(
        y=curves["plain loop"][-1][1],
        line_dash="dot",
        line_color="#1a73e8",
        annotation_text="plain loop, 250 steps",
    )
    figure.update_xaxes(title="CPU seconds", type="log")
    figure.update_yaxes(title="KL to the model (nats, mean over layers)")
    figure.update_layout(template="plotly_white", legend={"x": 0.62, "y": 0.95}, margin={"t": 30})
    path.write_text(
        figure.to_html(include_plotlyjs=True)
        if path.suffix == ".html"
        else json.dumps(figure.to_plotly_json())
    )


if __name__ == "__main__":
    app.run(main)
