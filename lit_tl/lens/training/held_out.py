"""Text that is not trained on, and for each layer the translator that did best on it."""

import copy
import math
from typing import Any, Mapping, Optional, Sequence

import torch

from lit_tl.lens.lenses import TunedLens

_LOOKS = 10
"""How often a run looks at its held-out text at most, beside before the first step."""


class HeldOut:
    """What a run keeps of each layer: the last layers of a short run can end worse than they
    started, while others gain.

    Args:
        sequences: `[sequence, pos]`, never trained on.
    """

    def __init__(self, sequences: torch.Tensor):
        self.sequences = sequences
        self.losses: dict[int, list[float]] = {}
        """By the number of steps before it, each layer's loss in nats."""
        self._best: Optional[dict[str, torch.Tensor]] = None
        self.best_steps: list[int] = []
        """By layer, after how many steps its translator was best."""

    @staticmethod
    def is_due(step: int, num_steps: int, steps_held_out: int) -> bool:
        """Whether to look after so many steps: ten times in a run, but not before as much has been
        trained on as is held out, and at the end."""
        apart = max(num_steps // _LOOKS, steps_held_out, 1)
        return step == num_steps or step % apart == 0

    def compare(self, step: int, losses: Sequence[float], lens: TunedLens) -> None:
        """Keep the translators of the layers that are better than ever. A loss that is not a number
        is not better than anything."""
        self.losses[step] = list(losses)
        state = lens.layer_translators.state_dict()
        if self._best is None:
            self._best = {name: value.cpu().clone() for name, value in state.items()}
            self.best_steps = [step] * len(losses)
            return
        for layer, loss in enumerate(losses):
            if math.isfinite(loss) and loss < self.losses[self.best_steps[layer]][layer]:
                self.best_steps[layer] = step
                for name in state:
                    if name.startswith(f"{layer}."):
                        self._best[name] = state[name].cpu().clone()

    def put_back(self, lens: TunedLens) -> None:
        """Give each layer the translator that was best."""
        if self._best is not None:
            lens.layer_translators.load_state_dict(self._best)

    def layers_not_helped(self) -> list[int]:
        """The layers whose translator was best before the first step."""
        return [layer for layer, step in enumerate(self.best_steps) if step == 0]

    def describe(self) -> dict[str, Any]:
        """For the record of a run: losses in nats, by step and layer."""
        best = [self.losses[step][layer] for layer, step in enumerate(self.best_steps)]
        return {
            "tokens": int(self.sequences.numel()),
            "losses": {str(step): losses for step, losses in self.losses.items()},
            "best_steps": self.best_steps,
            "best_losses": best,
            "layers_not_helped": self.layers_not_helped(),
        }

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "sequences": self.sequences,
            "losses": copy.deepcopy(self.losses),
            "best": self._best,
            "best_steps": list(self.best_steps),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "HeldOut":
        """From a checkpoint."""
        held_out = cls(state["sequences"])
        held_out.losses, held_out._best = dict(state["losses"]), state["best"]
        held_out.best_steps = list(state["best_steps"])
        return held_out
