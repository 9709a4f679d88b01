"""One pass of a module tree over one batch: forward, and backward for gradients."""

import contextlib
import dataclasses
from typing import Literal, Mapping, Optional, Sequence, Union

import torch

from lit_tl.engine.backward import ReadoutDiffers, backward, require_near
from lit_tl.engine.batches import pad
from lit_tl.engine.interventions import Intervention
from lit_tl.engine.passes import Pass
from lit_tl.engine.placing import ByPoint, points_of
from lit_tl.engine.protocol import ModelAdapter
from lit_tl.engine.readout import Readout
from lit_tl.engine.requests import Batch, Gradients, Observe, Targets
from lit_tl.engine.sites import Site
from lit_tl.engine.token_readings import ReadTokens, read_tokens
from lit_tl.engine.tree_state import tree_state


@dataclasses.dataclass(frozen=True)
class LastLogits:
    """Logits of the last positions of prompts of one length, and no others.

    Args:
        count: of positions, at least 1.
    """

    count: int = 1


Keep = Union[Literal["all", "none"], ReadTokens, LastLogits]
_FINAL, _UNEMBED_IN = "(input of the unembedding)", Site("unembed_in")


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of a pass; see `Runner.run`."""

    observe: Mapping[str, Observe]
    interventions: Sequence[Intervention]
    gradients: Optional[Gradients]
    logits: Keep
    keep_cache: bool


def run_once(
    tree: ModelAdapter,
    batch: Batch,
    request: Request,
    placed: ByPoint,
    *,
    cut_unembed: bool,
) -> Batch:
    """Fill in what a batch brings. The caller holds the tree's lock.

    Args:
        tree: to run.
        batch: with its prompts.
        request: what is asked.
        placed: interventions by the point that they change.
        cut_unembed: keep the graph out of the full product with the unembedding.

    Raises:
        ReadoutDiffers: the tree's readout gives other logits than the tree.
    """
    gradients = request.gradients
    at = (
        {}
        if gradients is None
        else {site: points_of(tree, site, read_only=False) for site in gradients.at}
    )
    wanted = request.logits
    observe = {**request.observe, _FINAL: Observe(_UNEMBED_IN)}
    run = Pass(
        tree,
        batch.prompts,
        observe=observe if isinstance(wanted, ReadTokens) else request.observe,
        placed=placed,
        gradient_points=[point for points in at.values() for point in points],
        cut_unembed=cut_unembed,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(gradients is not None))
        if gradients is not None:
            stack.enter_context(tree.differentiated())
        handlers, ids = run.handlers(), pad(batch.prompts)
        with tree.hooked(handlers):
            logits, batch.cache = tree.forward(
                ids,
                keep_cache=request.keep_cache,
                last=_read_by_unembedding(tree, request, batch),
            )
        run.check()
        batch.observed = run.observed
        if wanted == "all" or gradients or isinstance(wanted, LastLogits):
            batch.logits = logits.detach()
            batch.logits_from = max(batch.lengths) - logits.shape[1]
        if isinstance(wanted, ReadTokens):
            final = batch.observed.pop(_FINAL)
            batch.readings, batch.last = read_tokens(_readout_of(tree), batch, final, wanted.top)
            if logits.shape[1]:
                longest = max(range(len(batch.prompts)), key=batch.lengths.__getitem__)
                require_near(batch.last[longest], logits[longest, -1])
        if gradients is not None:
            explained = gradients.of(batch)
            batch.targets = explained if isinstance(explained, Targets) else None
            batch.gradients = backward(tree, run, batch, logits, explained, at)
    return batch


def _read_by_unembedding(tree: ModelAdapter, request: Request, batch: Batch) -> Optional[int]:
    """How many positions, from the end on; None for all. Readings are compared with the tree's own
    logits once: that product alone takes as long as reading a tenth of a short batch."""
    if isinstance(request.logits, LastLogits):
        if len(set(batch.lengths)) > 1:
            raise ValueError("the last logits are those of prompts of one length")
        return request.logits.count
    if isinstance(request.logits, ReadTokens) and request.gradients is None:
        return 0 if tree_state(tree.module).reads_tokens else 1
    return None if request.logits == "all" or request.gradients is not None else 1


def _readout_of(tree: ModelAdapter) -> Readout:
    """The readout of a tree.

    Raises:
        ReadoutDiffers: it has none.
    """
    try:
        return tree.readout
    except ValueError as error:
        raise ReadoutDiffers from error
