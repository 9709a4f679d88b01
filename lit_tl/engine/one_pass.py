"""One pass of a module tree over one batch: forward, and backward for gradients."""

import contextlib
import dataclasses
from typing import Literal, Mapping, Optional, Sequence, Union

import torch

from lit_tl.engine.backward import ReadoutDiffers, backward, require_near
from lit_tl.engine.batches import pad
from lit_tl.engine.interventions import Intervention
from lit_tl.engine.passes import Pass, Placed, points_of
from lit_tl.engine.protocol import ModelAdapter, Point
from lit_tl.engine.readout import Readout
from lit_tl.engine.requests import Batch, Gradients, Observe
from lit_tl.engine.sites import Site
from lit_tl.engine.token_readings import ReadTokens, read_tokens

Keep = Union[Literal["all", "none"], ReadTokens]
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
    placed: Mapping[Point, Sequence[Placed]],
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
                last_position_only=wanted != "all" and gradients is None,
            )
        run.check()
        batch.observed = run.observed
        batch.logits = logits.detach() if wanted == "all" or gradients else None
        if isinstance(wanted, ReadTokens):
            final = batch.observed.pop(_FINAL)
            batch.readings, batch.last = read_tokens(_readout_of(tree), batch, final, wanted.top)
            longest = max(range(len(batch.prompts)), key=batch.lengths.__getitem__)
            require_near(batch.last[longest], logits[longest, -1])
        if gradients is not None:
            batch.targets = gradients.of(batch)
            batch.gradients = backward(tree, run, batch, logits, at)
    return batch


def _readout_of(tree: ModelAdapter) -> Readout:
    """The readout of a tree.

    Raises:
        ReadoutDiffers: it has none.
    """
    try:
        return tree.readout
    except ValueError as error:
        raise ReadoutDiffers from error
