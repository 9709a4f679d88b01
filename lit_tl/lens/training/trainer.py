"""The training loop."""

import contextlib
import dataclasses
import math
import time
from typing import Any, Iterator, Mapping, NoReturn, Optional, Protocol, runtime_checkable

import torch
from torch.nn.parallel import DistributedDataParallel

from lit_tl.engine.runner import Runner
from lit_tl.lens.lenses import TunedLens
from lit_tl.lens.streams import all_residuals
from lit_tl.lens.training import optimizer as optimizers
from lit_tl.lens.training import start
from lit_tl.lens.training.checkpoints import Checkpoints
from lit_tl.lens.training.chunks import Chunks
from lit_tl.lens.training.config import TrainConfig
from lit_tl.lens.training.held_out import HeldOut
from lit_tl.lens.training.loss import LensLoss, Truth, row_loss
from lit_tl.lens.training.plan import Plan
from lit_tl.lens.training.processes import Processes


class OutOfData(ValueError):
    """The text ended before the run did. The message says how much there was and how much was
    asked."""


@runtime_checkable
class Listener(Protocol):
    """Who is told how a run goes on; on the first process only."""

    wandb_run_id: Optional[str]
    """Kept in checkpoints, so that a run that goes on goes on there too."""

    def read(self, tokens: int) -> None:
        """So many more tokens were worked through."""

    def step(self, step: int, losses: list[float], lr: float) -> None:
        """A step is done, with each layer's mean loss in nats."""


@dataclasses.dataclass(kw_only=True)
class Trainer:
    """One run, on one process.

    Args:
        config: its settings.
        plan: its counts.
        model: frozen; a Hugging Face or TransformerLens model.
        lens: what is trained, in place.
        chunks: the text.
        processes: this process among all.
        product_dtype: what products with the unembedding are made in; None for the weights' own.
        listener: is told of each step.
    """

    config: TrainConfig
    plan: Plan
    model: Any
    lens: TunedLens
    chunks: Chunks
    processes: Processes
    product_dtype: Optional[torch.dtype]
    listener: Listener

    def __post_init__(self) -> None:
        self.losses: list[list[float]] = []
        self.held_out: Optional[HeldOut] = None
        self._started, self._seconds_before = time.monotonic(), 0.0
        self._runner = Runner(self.model)
        self._device = self.lens.unembed.readout.weight.device
        for translator in self.lens.layer_translators:
            translator.weight.requires_grad_(not self.config.bias_only)
        self._optimizer = optimizers.make_optimizer(self.lens, self.config)
        self._schedule = optimizers.make_schedule(self._optimizer, self.config)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state. `chunks` has been made with its part of it."""
        self.lens.layer_translators.load_state_dict(state["translators"])
        optimizers.restore(self._optimizer, state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.losses = state["losses"].tolist()
        self.held_out = None if state["held_out"] is None else HeldOut.restored(state["held_out"])
        self._seconds_before = state["seconds"]

    @property
    def seconds(self) -> float:
        """Spent on the run so far, the time before a checkpoint included."""
        return self._seconds_before + time.monotonic() - self._started

    def run(self, checkpoints: Optional[Checkpoints] = None) -> None:
        """Start where no state was restored, then train to the last step.

        Raises:
            OutOfData: the text ended before.
            ValueError: a loss is not finite.
            CheckpointError: a checkpoint can't be written.
        """
        sequences = iter(self.chunks)
        if not self.losses and self.plan.start_sequences:
            self._start(sequences)
        module = self.module()
        if not self.losses and self.plan.held_out:
            self.held_out = HeldOut(self._take(sequences, self.plan.held_out, "what is held out"))
            if self.processes.is_first:
                self.listener.read(self.held_out.sequences.numel())
            self._compare(module, 0)
        first, taken = len(self.losses), None
        for step in range(first, self.config.num_steps):
            taken = self._take(
                sequences, self.plan.sequences, f"step {step + 1} of {self.config.num_steps}"
            )
            self.losses.append(self.step(module, taken))
            self._check(step)
            if self.processes.is_first:
                self.listener.step(step, self.losses[-1], float(self._schedule.get_last_lr()[0]))
            apart = self.plan.held_out // self.plan.sequences
            if HeldOut.is_due(step + 1, self.config.num_steps, apart):
                self._compare(module, step + 1)
            if (
                checkpoints is not None
                and self.config.checkpoint_freq
                and (step + 1) % self.config.checkpoint_freq == 0
            ):
                self._write(checkpoints, step + 1)
        if taken is not None:
            self._look_again(module, taken)
        if self.held_out is not None:
            self.held_out.put_back(self.lens)

    def _compare(self, module: torch.nn.Module, step: int) -> None:
        """Each layer's mean loss on what is held out, after so many steps."""
        if self.held_out is None:
            return
        batches = self._own_batches(self.held_out.sequences)
        total = torch.zeros(len(self.lens), device=self._device)
        with torch.no_grad():
            for ids in batches:
                total += module(*self._pairs(all_residuals(self._runner, ids), ids))
        self.processes.sum(total)
        mean = total / (len(batches) * self.processes.world_size)
        self.held_out.compare(step, mean.tolist(), self.lens)

    def module(self) -> torch.nn.Module:
        """Lens and loss, connected with those of the other processes."""
        alone = LensLoss(self.lens, row_loss(self.lens.unembed, dtype=self.product_dtype))
        return DistributedDataParallel(alone) if self.processes.world_size > 1 else alone

    def _start(self, sequences: Iterator[torch.Tensor]) -> None:
        taken = self._take(sequences, self.plan.start_sequences, "the start")
        start.ridge(
            self.lens,
            self._runner,
            self._own_batches(taken),
            shift=self.config.start_shift,
            reduce=self.processes.sum,
            report=lambda tokens: self.listener.read(tokens * self.processes.world_size),
            bias_only=self.config.bias_only,
        )

    def _take(self, sequences: Iterator[torch.Tensor], count: int, when: str) -> torch.Tensor:
        taken = []
        for _ in range(count):
            sequence = next(sequences, None)
            if sequence is None:
                self._refuse_too_little(when)
            taken.append(sequence)
        return torch.stack(taken)

    def _refuse_too_little(self, when: str) -> NoReturn:
        place, asked = self.chunks.place, self.plan.tokens_asked(self.config.num_steps)
        skipped = f" ({place['skipped']:,} lines were skipped)" if place.get("skipped") else ""
        raise OutOfData(
            f"the text ended in {when}, after {place.get('documents', 0):,} documents{skipped} "
            f"with {self.chunks.tokens:,} tokens: the run asks for {asked:,} "
            f"({self.plan.in_words(self.config)}); begin anew with more text, or with a smaller "
            "--num_steps, --tokens_per_step, --start_tokens or --held_out_tokens"
        )

    def _own_batches(self, taken: torch.Tensor) -> list[torch.Tensor]:
        """This process's batches, as many as the others have: the last may be short, or empty. The
        processes take turns, so that the order of sums does not depend on how many there are."""
        batches, world = list(taken.long().split(self.plan.batch)), self.processes.world_size
        batches += [batches[0][:0]] * (-len(batches) % world)
        return [batch.to(self._device) for batch in batches[self.processes.rank :: world]]

    def step(self, module: torch.nn.Module, taken: torch.Tensor) -> list[float]:
        """One optimizer step on all processes' sequences, `[sequence, pos]`; each layer's mean loss
        in nats.

        Args:
            module: of `module()`.
            taken: the same on all processes.
        """
        batches = self._own_batches(taken)
        total = torch.zeros(len(self.lens), device=self._device)
        for number, ids in enumerate(batches):
            last = number + 1 == len(batches)
            together = (
                module.no_sync()
                if isinstance(module, DistributedDataParallel) and not last
                else contextlib.nullcontext()
            )
            residuals = all_residuals(self._runner, ids)
            with together:
                losses = module(*self._pairs(residuals, ids))
                (losses.sum() / len(batches)).backward()
            total += losses.detach()
            if self.processes.is_first:
                self.listener.read(ids.numel() * self.processes.world_size)
        if self.config.gradient_bound:
            parameters = self.lens.layer_translators.parameters()
            torch.nn.utils.clip_grad_norm_(parameters, self.config.gradient_bound)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        self.processes.sum(total)
        return [float(loss) for loss in total / (len(batches) * self.processes.world_size)]

    def _pairs(self, residuals: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, Truth]:
        rows = start.aligned(residuals, self.config.shift)
        if self.config.loss == "kl":
            return rows[:-1], Truth(final=rows[-1].float())
        there = max(self.config.shift, 0)
        labels = ids[:, there : there + ids.shape[1] - abs(self.config.shift)]
        return rows[:-1], Truth(labels=labels.flatten())

    def _look_again(self, module: torch.nn.Module, taken: torch.Tensor) -> None:
        """The last step's losses are of the lens before it: see that the lens behind it has some
        too."""
        ids = self._own_batches(taken)[0]
        with torch.no_grad():
            losses = module(*self._pairs(all_residuals(self._runner, ids), ids))
        self.processes.sum(losses)
        self._refuse_infinite(losses.tolist(), "after the last step")

    def _check(self, step: int) -> None:
        self._refuse_infinite(self.losses[-1], f"at step {step + 1}")

    def _refuse_infinite(self, losses: list[float], when: str) -> None:
        for layer, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss of layer {layer} is {loss} {when}: begin anew, in another "
                    "--output where checkpoints were written, "
                    "with a smaller --lr_scale, or with --precision float32"
                )

    def _write(self, checkpoints: Checkpoints, step: int) -> None:
        if hasattr(self._optimizer, "consolidate_state_dict"):
            self._optimizer.consolidate_state_dict(to=0)
            if self._device.type == "cuda":
                torch.cuda.synchronize()  # it copies to the CPU without waiting
        if not self.processes.is_first:
            return
        state = {
            "translators": self.lens.layer_translators.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "chunks": self.chunks.state(),
            "products": None
            if self.product_dtype is None
            else str(self.product_dtype).removeprefix("torch."),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "held_out": None if self.held_out is None else self.held_out.state(),
            "seconds": self.seconds,
            "wandb_run_id": self.listener.wandb_run_id,
        }
        checkpoints.write(step, state)
