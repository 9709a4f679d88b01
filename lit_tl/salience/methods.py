"""How much each token of a prompt counts for a target.

Scores are `[pos]`, in nats of the target's log-probability unless said otherwise.

Costs, for a prompt of n tokens: gradients take one forward and one backward pass; occlusion n
forward passes; attention-value weighting one forward pass. Integrated gradients, in `integrated`,
take 17 to some hundred of both.
"""

import dataclasses
from typing import Callable, Optional, Sequence

import numpy as np
import torch
from jaxtyping import Float

from lit_tl.engine.prompts import Prompt
from lit_tl.engine.reductions import grouped_to_heads, norms
from lit_tl.engine.requests import Gradients, Observe, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.selfchecks import require_values
from lit_tl.engine.sites import Site

Scores = Float[np.ndarray, " pos"]
Embeddings = Float[np.ndarray, "pos d_model"]
_EMBED = Site("embed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explained:
    """A prompt, what to explain in it, and the model that is asked.

    Args:
        runner: of the model.
        prompt: whose tokens get scores.
        targets: entries of example 0.
        filler_id: the token of an uninformative prompt, in general the beginning-of-text token:
            what scores are relative to.
    """

    runner: Runner
    prompt: Prompt
    targets: Targets
    filler_id: int

    @property
    def _batch_size(self) -> int:
        """Variants of one prompt have one length, so that more of them fit into a batch."""
        return max(self.runner.batch_size, 16)

    def evaluate(self, prompts: Sequence[Prompt], take: Callable[..., None]) -> None:
        """Run variants of the prompt forward and backward. `take` receives, batch by batch, the
        variants' places in the list, the target's values, gradients and embeddings."""
        gradients = Gradients(lambda batch: self.targets.repeated(len(batch.prompts)), at=(_EMBED,))
        observe = {"embed": Observe(_EMBED)}
        size = self._batch_size
        runs = self.runner.run(prompts, observe=observe, gradients=gradients, batch_size=size)
        for batch in runs:
            targets = self.targets.repeated(len(batch.prompts))
            values = batch.target_values(targets).cpu().numpy()
            gradient = batch.gradients[_EMBED].float().cpu().numpy()
            embeddings = batch.observed["embed"].float().cpu().numpy()
            take(list(batch.index), values, gradient, embeddings)

    def values_of(self, prompts: Sequence[Prompt]) -> "np.ndarray":
        """The target's value for variants of the prompt, in nats."""
        values = np.zeros(len(prompts), np.float32)
        for batch in self.runner.run(prompts, batch_size=self._batch_size):
            targets = self.targets.repeated(len(batch.prompts))
            values[list(batch.index)] = batch.target_values(targets).cpu().numpy()
        return values

    def baseline(self) -> Embeddings:
        """Token embeddings of a prompt of fillers, as long as this one."""
        filler = Prompt(ids=(self.filler_id,) * len(self.prompt))
        observe = {"embed": Observe(_EMBED)}
        (batch,) = self.runner.run([filler], observe=observe, logits="none")
        embeddings: np.ndarray = batch.observed["embed"][0].float().cpu().numpy()
        return embeddings


def gradients(explained: Explained) -> tuple[Embeddings, Embeddings]:
    """The gradient of the target with respect to the token embeddings, and the token embeddings."""
    results: list[tuple[Embeddings, Embeddings]] = []

    def take(index: list[int], values: np.ndarray, gradient: np.ndarray, at: np.ndarray) -> None:
        results.append((gradient[0], at[0]))

    explained.evaluate([explained.prompt], take)
    return results[0]


def grad_l2(explained: Explained) -> Scores:
    """Euclidean norm of the gradient at each token (Simonyan et al. 2014), in nats per unit of
    embedding; never negative."""
    return np.linalg.norm(gradients(explained)[0], axis=-1)


def grad_dot_input(explained: Explained) -> Scores:
    """Gradient times embedding (Shrikumar et al. 2017), signed: the first-order share of each token
    in the target."""
    gradient, embeddings = gradients(explained)
    return (gradient * embeddings).sum(-1)


def occlusion(explained: Explained) -> Scores:
    """The drop of the target when one token at a time is replaced by the filler (Zeiler and Fergus
    2014), signed. Tokens after what predicts the last of the target have no part in it."""
    ids = explained.prompt.ids
    seen = max(explained.targets.pos) + 1
    plain = dataclasses.replace(explained.prompt, token_embeddings=None)
    prompts = [
        dataclasses.replace(plain, ids=(*ids[:pos], explained.filler_id, *ids[pos + 1 :]))
        for pos in range(seen)
    ]
    values = explained.values_of([*prompts, plain])
    return np.pad(values[-1] - values[:-1], (0, len(ids) - seen))


def attention_value(explained: Explained, layers: Optional[Sequence[int]] = None) -> Scores:
    """Attention from the positions that predict the target, weighted by the norms of what is read
    there (Kobayashi et al. 2020, without the output projection), over all heads of `layers`; scores
    add up to 1.

    Args:
        explained: the prompt and its target.
        layers: None for every layer with attention.

    Raises:
        ValueError: the model shows no attention, or not what it reads.
    """
    require_values(explained.runner)
    layers = explained.runner.layers("pattern") if layers is None else layers
    observe = {
        "pattern": Observe(Site("pattern"), layers=layers),
        "norms": Observe(Site("v"), norms, layers=layers),
    }
    (batch,) = explained.runner.run([explained.prompt], observe=observe, logits="none")
    positions = sorted(set(explained.targets.pos))
    total = torch.zeros(len(explained.prompt))
    for layer in layers:
        pattern = batch.observed["pattern"][layer][0].float()
        of_heads = grouped_to_heads(batch.observed["norms"][layer][0].T, pattern.shape[0], axis=0)
        total += (pattern[:, positions].mean(1) * of_heads).sum(0).cpu()
    return (total / total.sum()).numpy()
