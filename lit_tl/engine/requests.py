"""What a run is asked for, and what it brings back."""

import dataclasses
from typing import Any, Callable, Mapping, Optional, Sequence, Union

import torch
from jaxtyping import Float

from lit_tl.engine.prompts import Prompt
from lit_tl.engine.sites import Site
from lit_tl.engine.token_readings import TokenReadings, readings_of_logits


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a reduction knows of the value that it is given.

    Args:
        layer: of the value; -1 for a component of no layer.
        lengths: tokens of each prompt; rows past them are padding and mean nothing.
        prompts: of the batch, in its order.
    """

    layer: int
    lengths: torch.Tensor
    prompts: Sequence[Prompt]


Reduce = Callable[[torch.Tensor, Seen], Any]
"""Makes of a value `[batch, *axes]` what is kept of it. It runs inside the hook, so that a value
that is not kept whole never outlives its layer."""


@dataclasses.dataclass(frozen=True)
class Observe:
    """A site to look at. What is seen is what flows on: after interventions.

    Args:
        site: without a layer: every layer that has the component. Its head, neuron and positions
            are selected before `reduce`; a single one of them leaves no axis.
        reduce: what to keep; None keeps the value, without its graph.
        layers: only these layers, where the site names none.
        stack: put the values of all layers into one tensor, layer first, in place.
    """

    site: Site
    reduce: Optional[Reduce] = None
    layers: Optional[Sequence[int]] = None
    stack: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Targets:
    """What a backward pass explains: for each example the sum over its entries of
    `weight * log p(token | tokens up to pos)`, in nats. An answer with weight 1 and a foil with
    weight -1 make their logit difference."""

    example: Sequence[int]
    pos: Sequence[int]
    token: Sequence[int]
    weight: Sequence[float]

    def total(self, read: Float[torch.Tensor, "entry d_vocab"]) -> Float[torch.Tensor, ""]:
        """The sum over all entries, of their logits."""
        log_probs = at_least_float32(read).log_softmax(-1)
        weights = torch.tensor(self.weight, device=read.device)
        tokens = torch.tensor(self.token, device=read.device)
        return (log_probs.gather(-1, tokens[:, None])[:, 0] * weights).sum()

    def repeated(self, count: int) -> "Targets":
        """The entries of a first example, for each of `count` examples."""
        return Targets(
            example=[i for i in range(count) for _ in self.pos],
            pos=list(self.pos) * count,
            token=list(self.token) * count,
            weight=list(self.weight) * count,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """What a backward pass explains where it is no sum of log-probabilities.

    Args:
        example: whose logits are read, for each entry.
        pos: at which position.
        value: makes of these logits `[entry, d_vocab]` the number whose gradient is asked for.
    """

    example: Sequence[int]
    pos: Sequence[int]
    value: Callable[[torch.Tensor], torch.Tensor]

    def total(self, read: Float[torch.Tensor, "entry d_vocab"]) -> Float[torch.Tensor, ""]:
        """The number."""
        return self.value(read)


@dataclasses.dataclass(frozen=True)
class Gradients:
    """Gradients of a batch's targets with respect to sites.

    Args:
        of: the targets, or another objective, given the batch after its forward pass.
        at: the sites; without a layer, every layer that has the component. Gradients are of whole
            values: a site's head, neuron or positions select from them.
    """

    of: Callable[["Batch"], Union[Targets, Objective]]
    at: Sequence[Site] = (Site("embed"),)


@dataclasses.dataclass(kw_only=True)
class Batch:
    """What one pass brought. Rows past a prompt's length are padding and mean nothing.

    Args:
        index: the places of its prompts in the run's list.
        prompts: in the order of its rows.
        logits: `[batch, pos, d_vocab]` in the weights' dtype; None where a run leaves them out.
        logits_from: the position of the first of them: 0, or later with `LastLogits`.
        readings: of each prompt's tokens, where a run gives these in place of logits.
        last: logits after each prompt, `[batch, d_vocab]`, where there are readings.
        observed: by the names of the request: of a site in one layer the value; of a site in
            several a mapping from layers to values, or one tensor with `stack`.
        gradients: by site, in nats per unit, of each layer's own site.
        targets: whose gradients these are.
        cache: Hugging Face's keys and values of the padded batch, where asked for and possible.
        tree: the module tree that ran, whose cache this is.
    """

    index: Sequence[int]
    prompts: Sequence[Prompt]
    logits: Optional[Float[torch.Tensor, "batch pos d_vocab"]] = None
    logits_from: int = 0
    readings: Optional[Sequence[TokenReadings]] = None
    last: Optional[Float[torch.Tensor, "batch d_vocab"]] = None
    observed: dict[str, Any] = dataclasses.field(default_factory=dict)
    gradients: Mapping[Site, torch.Tensor] = dataclasses.field(default_factory=dict)
    targets: Optional[Targets] = None
    cache: Optional[Any] = None
    tree: Optional[Any] = None

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt."""
        return [len(prompt.ids) for prompt in self.prompts]

    def need_logits(self) -> Float[torch.Tensor, "batch pos d_vocab"]:
        """The logits.

        Raises:
            ValueError: the run left them out.
        """
        if self.logits is None:
            raise ValueError("this run kept no logits: run with logits='all'")
        return self.logits

    def last_logits(self) -> Float[torch.Tensor, "batch d_vocab"]:
        """Logits of what comes after each prompt."""
        if self.last is not None:
            return self.last
        logits = self.need_logits()
        rows = torch.arange(len(self.prompts), device=logits.device)
        last = torch.tensor(self.lengths, device=logits.device) - 1
        return logits[rows, last - self.logits_from]

    def reading(self, row: int, *, top: int) -> TokenReadings:
        """What the model thinks of the tokens of a prompt.

        Args:
            row: of the prompt.
            top: how many of the likeliest tokens are wanted at each position; where the run read
                them, no more than it kept.

        Raises:
            ValueError: the run left logits out.
        """
        if self.readings is not None:
            return self.readings[row]
        prompt = self.prompts[row]
        return readings_of_logits(self.need_logits()[row, : len(prompt)], prompt.ids, top)

    def log_probs_of(self, targets: Targets) -> Float[torch.Tensor, " entry"]:
        """`log p(token | tokens up to pos)` of each entry, in nats; float32, or float64 where the
        model is."""
        logits = self.need_logits()
        rows = torch.tensor(targets.example, device=logits.device)
        read = logits[rows, torch.tensor(targets.pos, device=logits.device) - self.logits_from]
        read = at_least_float32(read).log_softmax(-1)
        return read.gather(-1, torch.tensor(targets.token, device=logits.device)[:, None])[:, 0]

    def target_values(self, targets: Targets) -> Float[torch.Tensor, " batch"]:
        """What `targets` adds up for each example, in nats."""
        entries = self.log_probs_of(targets)
        weights = torch.tensor(targets.weight, device=entries.device, dtype=entries.dtype)
        rows = torch.tensor(targets.example, device=entries.device)
        total = torch.zeros(len(self.prompts), device=entries.device, dtype=entries.dtype)
        return total.index_add(0, rows, entries * weights)


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """The values in float32 where they are in half precision, else as they are."""
    return values if values.dtype == torch.float64 else values.float()
