"""How much each token of a prompt counts for a target. Scores are `[pos]`, in nats of the target's log-probability unless said.

Costs, for a prompt of n tokens: gradients one forward and one backward pass; integrated gradients `steps` of both; occlusion
n forward passes; attention-value weighting one forward pass. Passes run together in batches.
"""

import contextlib
import dataclasses
from typing import Any, Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from lit_tl.passes.activations import Activations, Targets, Wanted, run, target_values
from lit_tl.passes.batches import plan_batches
from lit_tl.passes.prompts import Prompt

Scores = Float[np.ndarray, " pos"]
Embeddings = Float[np.ndarray, "pos d_model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explained:
    """A prompt, what is to be explained in it (entries of example 0), and the model that is asked."""

    model: Any
    lock: contextlib.AbstractContextManager[Any]
    prompt: Prompt
    targets: Targets
    filler_id: int
    """The token of an uninformative prompt, in general the beginning-of-text token: what scores are relative to."""
    batch_size: int
    token_budget: int

    def runs(
        self, prompts: Sequence[Prompt], wanted: Callable[[Targets], Wanted]
    ) -> Iterator[tuple[list[int], Targets, Activations]]:
        """Run variants of the prompt in batches, each under the lock: their indices, targets and activations."""
        lengths = [len(prompt) for prompt in prompts]
        for batch in plan_batches(lengths, batch_size=self.batch_size, token_budget=self.token_budget):
            targets = self.targets.repeated(len(batch))
            with self.lock:
                done = run(self.model, [prompts[i] for i in batch], wanted(targets))
            yield batch, targets, done

    def with_embeddings(self, embeddings: Embeddings) -> Prompt:
        """The prompt with other token embeddings."""
        return dataclasses.replace(self.prompt, token_embeddings=embeddings)

    def baseline(self) -> Embeddings:
        """Token embeddings of a prompt of fillers, as long as this one."""
        filler = Prompt(ids=(self.filler_id,) * len(self.prompt))
        ((_, _, done),) = self.runs([filler], lambda _: Wanted(token_embeddings=True))
        assert done.token_embeddings is not None
        return done.token_embeddings[0].float().cpu().numpy()


def _backward(targets: Targets) -> Wanted:
    return Wanted(token_embeddings=True, targets=lambda _: targets)


def gradients(explained: Explained) -> tuple[Embeddings, Embeddings]:
    """The gradient of the target with respect to the token embeddings, and the token embeddings."""
    ((_, _, done),) = explained.runs([explained.prompt], _backward)
    assert done.gradients is not None
    assert done.token_embeddings is not None
    return done.gradients[0].float().cpu().numpy(), done.token_embeddings[0].float().cpu().numpy()


def grad_l2(explained: Explained) -> Scores:
    """Euclidean norm of the gradient at each token (Simonyan et al. 2014), in nats per unit of embedding; never negative."""
    return np.linalg.norm(gradients(explained)[0], axis=-1)


def grad_dot_input(explained: Explained) -> Scores:
    """Gradient times embedding (Shrikumar et al. 2017), signed: the first-order share of each token in the target."""
    gradient, embeddings = gradients(explained)
    return (gradient * embeddings).sum(-1)


def integrated_gradients(explained: Explained, steps: int = 32) -> Scores:
    """Integrated gradients (Sundararajan et al. 2017), signed, from a prompt of fillers.

    The path integral is a Gauss-Legendre quadrature with `steps` nodes, exact for polynomials of degree 2 * steps - 1. Scores
    add up to the target's value minus its value at the fillers (completeness, section 3), up to the quadrature's error. Zero
    embeddings would be no place to start from: a norm layer jumps there.

    Raises:
        ValueError: `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"integrated gradients with {steps} steps: give at least 1")
    _, embeddings = gradients(explained)
    baseline = explained.baseline()
    moved = embeddings - baseline
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    prompts = [explained.with_embeddings((baseline + 0.5 * (node + 1) * moved).astype(np.float32)) for node in nodes]
    total = np.zeros_like(embeddings)
    for batch, _, done in explained.runs(prompts, _backward):
        assert done.gradients is not None
        total += np.einsum("bpd,b->pd", done.gradients.float().cpu().numpy(), 0.5 * weights[batch])
    return (total * moved).sum(-1)


def occlusion(explained: Explained) -> Scores:
    """The drop of the target when a token is replaced by the filler (Zeiler and Fergus 2014), signed: one token at a time. Tokens
    after what predicts the last of the target have no part in it."""
    ids = explained.prompt.ids
    seen = max(explained.targets.pos) + 1
    plain = dataclasses.replace(explained.prompt, token_embeddings=None)
    prompts = [dataclasses.replace(plain, ids=(*ids[:pos], explained.filler_id, *ids[pos + 1 :])) for pos in range(seen)]
    values = np.zeros(len(prompts) + 1, np.float32)
    for batch, targets, done in explained.runs([*prompts, plain], lambda _: Wanted()):
        values[batch] = target_values(done, targets).cpu().numpy()
    return np.pad(values[-1] - values[:-1], (0, len(ids) - seen))


def attention_value(explained: Explained, layers: Sequence[int]) -> Scores:
    """Attention from the positions that predict the target, weighted by the norms of what is read there (Kobayashi et al. 2020,
    without the output projection), over all heads of `layers`; scores add up to 1."""
    wanted = Wanted(attention_layers=frozenset(layers), value_norms=True)
    ((_, _, done),) = explained.runs([explained.prompt], lambda _: wanted)
    positions = sorted(set(explained.targets.pos))
    total = torch.zeros(len(explained.prompt))
    for layer in layers:
        pattern, norms = done.patterns[layer][0].float(), done.value_norms[layer][0].T
        norms = norms.repeat_interleave(pattern.shape[0] // norms.shape[0], dim=0)
        total += (pattern[:, positions].mean(1) * norms).sum(0).cpu()
    return (total / total.sum()).numpy()
