"""Everything a training run is told: the flags of `python -m lit_tl.lens train`, as one dataclass.
Loads no torch."""

import dataclasses
import math
from typing import Any, Literal, Optional

from lit_tl.lens.settings import WorkOnText
from lit_tl.settings import required, setting

LossName = Literal["kl", "ce"]
OptimizerName = Literal["adam", "sgd"]
_LEAST_WARMUP = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(WorkOnText):
    """One run. The defaults follow Belrose et al. 2023 (arXiv 2303.08112), section 3 and appendix,
    but for the start.

    Raises:
        ValueError: a value is out of its range, or two do not go together.
    """

    output: str = required("Folder for the lens and the run's record.", result=False)
    shuffle_buffer: int = setting(
        1024,
        "Sequences among which the next one is drawn at random; 0 for the order of the data.",
        low=0,
    )
    seed: int = setting(42, "Of the order of the sequences.", low=0)
    start_from: str = setting(
        "ridge",
        "Where translators begin: ridge (closed form), zero (the logit lens), or a lens's "
        "folder or Hub id.",
    )
    start_tokens: Optional[int] = setting(
        None, "Tokens that ridge reads. Default: 65,536, or 16 x d_model where that is more.", low=1
    )
    bias_only: bool = setting(False, "Train biases alone; the weights stay where they started.")
    loss: LossName = setting(
        "kl", "KL divergence to the model's prediction, or cross-entropy with the text."
    )
    token_shift: Optional[int] = setting(
        None, "How many tokens ahead of the input the target lies. Default: 0 for kl, 1 for ce."
    )
    num_steps: int = setting(250, "Optimizer steps.", low=1)
    tokens_per_step: int = setting(
        2**18, "Tokens in one optimizer step, on all processes together.", low=2
    )
    optimizer: OptimizerName = setting("adam", "Adam, or SGD with Nesterov momentum.")
    lr_scale: float = setting(
        1.0,
        "Factor on the learning rate, which is 1.28 / d_model (at most 0.01) for Adam, and 1 - "
        "momentum for SGD.",
    )
    momentum: float = setting(0.9, "Of SGD; Adam's first beta.")
    decay_biases: bool = setting(False, "Let biases decay like weights.")
    held_out_tokens: int = setting(
        4096,
        "Tokens that are not trained on: of each layer, the translator that did best on them is "
        "kept. Rounded up to whole steps; 0 keeps the last.",
        low=0,
    )
    weight_decay: float = setting(1e-3, "Of weights towards zero, which is the identity.", low=0)
    warmup_steps: Optional[int] = setting(
        None,
        "Steps of rising learning rate; it falls to 0 after. Default for adam: a "
        "tenth, or 20 (half of a shorter run); 0 for sgd.",
        low=0,
    )
    max_grad_norm: Optional[float] = setting(
        None,
        "Longest gradient, over all layers; 0 for no bound. Default: 1 for sgd, 0 for adam.",
        low=0,
    )
    zero: bool = setting(
        False, "Shard the optimizer's state over processes (ZeRO stage 1).", result=False
    )
    checkpoint_freq: Optional[int] = setting(
        None, "Steps between checkpoints. Default: none are written.", result=False, low=1
    )
    checkpoint_dir: Optional[str] = setting(
        None, "Folder for checkpoints. Default: <output>/checkpoints.", result=False
    )
    checkpoint_keep: int = setting(
        2, "How many of the newest checkpoints are kept; 0 for all.", result=False, low=0
    )
    wandb: Optional[str] = setting(
        None, "Name of the run on Weights & Biases; needs lit_tl[train].", result=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.lr_scale < math.inf:
            raise ValueError(f"--lr_scale is {self.lr_scale}: give a number above 0")
        if self.seed >= 2**63:
            raise ValueError(f"--seed is {self.seed}: give a number below 2 to the 63rd")
        if self.start_tokens is not None and self.start_from != "ridge":
            raise ValueError(
                "--start_tokens is what --start_from ridge reads, and --start_from is "
                f"{self.start_from}: leave one of them out"
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"--momentum is {self.momentum}: give a number from 0 up to, but not, 1"
            )
        if self.warmup_steps is not None and self.warmup_steps > self.num_steps:
            raise ValueError(
                f"--warmup_steps is {self.warmup_steps}, but there are {self.num_steps} steps "
                "(--num_steps)"
            )
        if self.max_seq_len is not None and abs(self.shift) >= self.max_seq_len:
            raise ValueError(
                f"--token_shift is {self.shift}, but a sequence has {self.max_seq_len} tokens "
                "(--max_seq_len)"
            )

    @property
    def shift(self) -> int:
        """`token_shift`, or what the loss has for it."""
        return (1 if self.loss == "ce" else 0) if self.token_shift is None else self.token_shift

    @property
    def start_shift(self) -> int:
        """Where the model's own prediction of the target lies, which ridge regresses on."""
        return self.shift - 1 if self.loss == "ce" else self.shift

    @property
    def warmup(self) -> int:
        """`warmup_steps`, or what the optimizer has for it."""
        return (
            (self._gentle_start if self.optimizer == "adam" else 0)
            if self.warmup_steps is None
            else self.warmup_steps
        )

    @property
    def _gentle_start(self) -> int:
        """With fewer steps, Adam's first ones at a high rate spoil what the start has found."""
        return max(self.num_steps // 10, min(_LEAST_WARMUP, self.num_steps // 2))

    @property
    def gradient_bound(self) -> float:
        """`max_grad_norm`, or what the optimizer has for it; 0 for none."""
        if self.max_grad_norm is not None:
            return self.max_grad_norm
        return 1.0 if self.optimizer == "sgd" else 0.0

    def results(self) -> dict[str, Any]:
        """The settings on which the lens depends, with what stands for those that were not said."""
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata["result"]
        }
        return given | {
            "token_shift": self.shift,
            "warmup_steps": self.warmup,
            "max_grad_norm": self.gradient_bound,
        }
