"""What a run says while it goes on."""

import sys
from typing import Optional

import tqdm

from lit_tl.lens.training.plan import Plan


class Progress:
    """A bar on standard error with tokens a second and time left, and a line with each layer's loss
    now and then.

    Args:
        plan: of the run.
        num_steps: of the run.
        finished: steps that an earlier process has made.
        loss: its name, for the lines.
    """

    def __init__(self, plan: Plan, num_steps: int, *, finished: int, loss: str):
        self._num_steps, self._loss = num_steps, loss
        self._every = max(1, num_steps // 20)
        per_step = plan.sequences * plan.length
        before = (plan.start_sequences * plan.length if finished else 0) + finished * per_step
        self._bar = tqdm.tqdm(
            total=plan.tokens_asked(num_steps),
            initial=before,
            unit=" tokens",
            unit_scale=True,
            mininterval=0.5 if sys.stderr.isatty() else 15.0,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def read(self, tokens: int) -> None:
        """So many more tokens were worked through."""
        self._bar.update(min(tokens, self._bar.total - self._bar.n))

    def step(self, step: int, losses: list[float], lr: float) -> None:
        """Show the mean on the bar, and each layer's loss every twentieth of the run."""
        del lr
        self._bar.set_postfix_str(f"{self._loss} {sum(losses) / len(losses):.3f}", refresh=False)
        if (step + 1) % self._every == 0 or step == 0 or step + 1 == self._num_steps:
            self.say(
                f"step {step + 1}/{self._num_steps}  {self._loss} by layer: "
                f"{' '.join(f'{loss:.3f}' for loss in losses)}"
            )

    def say(self, line: str) -> None:
        """A line that does not break the bar."""
        self._bar.write(line, file=sys.stderr)

    def close(self, failed: bool = False) -> None:
        """Leave the bar as it is."""
        del failed
        self._bar.close()


class WandbRun:
    """A run on Weights & Biases. `WANDB_PROJECT`, `WANDB_ENTITY` and `WANDB_MODE=offline` of the
    environment count, as always.

    Args:
        name: of the run.
        folder: where its files go.
        config: what is logged of the settings.
        run_id: of a run to go on with.

    Raises:
        ValueError: wandb is missing or refuses, with what to do.
    """

    def __init__(
        self, name: str, folder: str, config: dict[str, object], run_id: Optional[str] = None
    ):
        try:
            import wandb
        except ImportError as error:
            raise ValueError(
                "--wandb needs the package wandb: pip install 'lit_tl[train]', or leave the flag "
                "out"
            ) from error
        try:
            self._run = wandb.init(
                name=name, dir=folder, config=config, id=run_id, resume="allow" if run_id else None
            )
        except (wandb.errors.Error, OSError) as error:
            raise ValueError(
                f"--wandb: {str(error).splitlines()[0]} (WANDB_MODE=offline keeps the log on "
                "this machine)"
            ) from error
        self.run_id = str(self._run.id)

    def step(self, step: int, losses: list[float], lr: float) -> None:
        """Each layer's loss, their mean, and the learning rate."""
        by_layer = {f"loss/layer_{layer:02d}": loss for layer, loss in enumerate(losses)}
        self._run.log({**by_layer, "loss/mean": sum(losses) / len(losses), "lr": lr}, step=step + 1)

    def close(self, failed: bool = False) -> None:
        """Finish the upload, and mark the run as finished or failed."""
        self._run.finish(exit_code=int(failed))
