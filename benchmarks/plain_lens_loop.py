"""A tuned lens trained as the paper describes it, plainly: what the benchmarks of training compare
with.

Belrose et al. 2023 (arXiv 2303.08112), section 3: translators begin as the identity, and each
layer's KL divergence to the model's prediction is minimised by Adam; all layers in one step,
float32, the learning rate falling to 0.
"""

from typing import Any, Callable, Optional, Sequence

import torch

from lit_tl.lens import TunedLens

LEARNING_RATE = 1e-3


class PlainLoop:
    """Steps of the plain loop on one lens."""

    def __init__(self, model: Any, num_steps: int, lr: float = LEARNING_RATE):
        self.lens = TunedLens.from_model(model)
        self._model = model
        self._optimizer = torch.optim.Adam(self.lens.layer_translators.parameters(), lr=lr)
        self._schedule = torch.optim.lr_scheduler.LinearLR(
            self._optimizer, 1.0, 0.0, total_iters=num_steps
        )

    def step(self, ids: torch.Tensor) -> list[float]:
        """One step on `[batch, pos]` token ids; each layer's mean KL in nats."""
        with torch.no_grad():
            out = self._model(ids, output_hidden_states=True, use_cache=False)
            log_p = out.logits.log_softmax(-1)
        losses = []
        for layer in range(len(self.lens)):
            log_q = self.lens(out.hidden_states[layer], layer).log_softmax(-1)
            loss = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
            loss.backward()
            losses.append(float(loss.detach()))
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        return losses

    def run(
        self, batches: Sequence[torch.Tensor], report: Optional[Callable[[int], None]] = None
    ) -> None:
        """A step on each batch."""
        for number, ids in enumerate(batches):
            self.step(ids)
            if report is not None:
                report(number)
