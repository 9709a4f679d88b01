"""Estimates of activation patching, from gradients: all cells of a map at once.

- **Attribution patching** (Nanda 2023; Syed et al. 2023) takes the metric's gradient at an
  activation `a` of the run that is patched, and multiplies: `grad(a) . (a_source - a)`. One forward
  pass of each prompt, and one backward pass.
- **Integrated gradients** average that gradient over runs between the two. On the path through the
  input embeddings (EAP-IG, Hanna et al. 2024), each run's embeddings lie between those of the two
  prompts: as many forward and backward passes as steps. On the site's own path the activation
  itself moves, a layer at a time, which costs as many passes a layer; the estimates of a layer then
  add up to what patching all of it does, where the model is smooth on the way. A mixture of experts
  is not: its router jumps from one expert to another, and more steps need not come nearer.

Steps are nodes of Gauss and Legendre.
"""

import dataclasses
from typing import Any, Iterator, Literal, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from lit_tl.causal.maps import has_positions
from lit_tl.causal.metrics import (
    Measure,
    Metric,
    Scale,
    require_numbers,
    require_slope,
    scale_between,
)
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import one_or_many
from lit_tl.causal.pairs import NONE, Direction, PairError, Pairs, PromptPair, Sides
from lit_tl.causal.patching import Setup, as_result, run_source, set_up, values_of
from lit_tl.engine import jobs
from lit_tl.engine.interventions import Intervention, Numbers, Replace
from lit_tl.engine.one_pass import LastLogits
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Batch, Gradients, Objective, Observe
from lit_tl.engine.sites import AXES, Site

Method = Literal["attribution patching", "integrated gradients"]
Path = Literal["embeddings", "activations"]
_EMBED = Site("embed")
Values = Mapping[int, torch.Tensor]
"""Of one prompt, by layer."""


def estimate(
    model: Any,
    pairs: Pairs,
    component: str = "resid_pre",
    *,
    direction: Direction = "denoise",
    metric: Metric = "normalised logit difference",
    dims: Optional[Sequence[str]] = None,
    layers: Optional[Sequence[int]] = None,
    method: Method = "integrated gradients",
    path: Path = "embeddings",
    steps: int = 5,
) -> xr.Dataset:
    """What `patch` would give, estimated from gradients.

    Args:
        model: of ours, of TransformerLens or of Hugging Face, or a `Runner`.
        pairs: one or several, as in `patch`; and the next four, too.
        component: what is patched.
        direction: of the patch.
        metric: its name, or a function of your own, with a graph.
        dims: the axes of the map.
        layers: only these.
        method: see above. Plain attribution patching is unreliable for residuals and MLPs.
        path: of integrated gradients: through the input embeddings, or each site's own.
        steps: of integrated gradients.

    Returns:
        What `patch` returns.

    Raises:
        PairError: the pair does not suit the metric, the component or the path.
        ValueError: there is no such component, map, layer, metric, method or path, or the model has
            no gradients.
    """
    ask: dict[str, Any] = {
        "direction": direction,
        "metric": metric,
        "dims": dims,
        "layers": layers,
        "method": method,
        "path": path,
        "steps": steps,
    }
    of = CausalModel.of(model)

    def make(pair: PromptPair) -> xr.Dataset:
        *_, result = estimate_steps(of, pair, component, **ask)
        return result

    by_position = has_positions(component, dims)
    return one_or_many(of, pairs, make, direction=direction, metric=metric, by_position=by_position)


def estimate_steps(
    model: Any,
    pair: PromptPair,
    component: str = "resid_pre",
    *,
    direction: Direction = "denoise",
    metric: Metric = "normalised logit difference",
    dims: Optional[Sequence[str]] = None,
    layers: Optional[Sequence[int]] = None,
    method: Method = "integrated gradients",
    path: Path = "embeddings",
    steps: int = 5,
) -> Iterator[xr.Dataset]:
    """`estimate` of one pair, with attribution patching before integrated gradients."""
    if method not in ("attribution patching", "integrated gradients"):
        raise ValueError(
            f"method is {method!r}: choose from attribution patching and integrated gradients"
        )
    if path not in ("embeddings", "activations"):
        raise ValueError(f"path is {path!r}: choose from embeddings and activations")
    check_steps(steps)
    setup = set_up(
        model, pair, component, direction=direction, metric=metric, dims=dims, layers=layers
    )
    if method == "integrated gradients" and path == "embeddings":
        require_path(setup.sides)
    if method == "attribution patching":
        require_slope(setup.measure, direction)
    work = _Estimate.begin(setup)
    if setup.measure.has_slope(direction):
        yield work.result(work.plain, "attribution patching")
    if method == "attribution patching":
        return
    if path == "embeddings":
        yield work.result(work.along_embeddings(steps), f"integrated gradients, {steps} steps")
    else:
        yield work.result(
            work.along_activations(steps), f"integrated gradients, {steps} steps of each layer"
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Estimate:
    """The two runs of a pair, with the gradient at the one that is patched.

    Args:
        setup: of the map.
        measure: that knows the clean run.
        scale: of the metric.
        base: values of the run that is patched.
        difference: the source's less these, 0 where a position has no partner.
        embeddings: of both prompts, `[pos, d_model]`, the source's in the base's positions.
        plain: gradients at the run that is patched.
    """

    setup: Setup
    measure: Measure
    scale: Scale
    base: Values
    difference: Values
    embeddings: tuple[torch.Tensor, torch.Tensor]
    plain: Values

    @classmethod
    def begin(cls, setup: Setup) -> "_Estimate":
        source_run = run_source(setup, {"embed": Observe(_EMBED)})
        source, source_logits = values_of(source_run), source_run.need_logits()[0]
        seen: list[tuple[Measure, Scale]] = []

        def objective(batch: Batch) -> Objective:
            own = batch.need_logits()[0]
            seen.append(scale_between(setup.measure, setup.direction, own, source_logits))
            return objective_of(seen[0][0], batch)

        (batch,) = setup.model.runner.run(
            [setup.sides.base],
            observe={
                "value": Observe(Site(setup.plan.component), layers=setup.plan.layers),
                "embed": Observe(_EMBED),
            },
            gradients=Gradients(objective, at=_sites(setup)),
            logits=LastLogits(setup.measure.read),
        )
        base = values_of(batch)
        axis = _position_axis(setup.plan.component)
        base_embeddings = batch.observed["embed"][0]
        measure, scale = seen[0]
        return cls(
            setup=setup,
            measure=measure,
            scale=scale,
            base=base,
            difference={
                layer: _aligned(setup, source[layer], value, axis) - value
                for layer, value in base.items()
            },
            embeddings=(
                base_embeddings,
                _aligned(setup, source_run.observed["embed"][0], base_embeddings, 0),
            ),
            plain=_by_layer(setup, batch, [1.0]),
        )

    def along_embeddings(self, steps: int) -> Values:
        """Gradients, averaged over runs whose embeddings lie between the two prompts'."""
        shares, weights = nodes_between(steps)
        prompts = prompts_between(self.setup.sides.base, self.embeddings, shares)
        total: dict[int, torch.Tensor] = {}
        for batch in self._run(prompts, _sites(self.setup)):
            own = _by_layer(self.setup, batch, [weights[i] for i in batch.index])
            total = {layer: value + total.get(layer, 0.0) for layer, value in own.items()}
        return total

    def along_activations(self, steps: int) -> Values:
        """Gradients, averaged over runs in which a layer's values lie between the two runs'."""
        shares, weights = nodes_between(steps)
        total: dict[int, torch.Tensor] = {}
        for layer in jobs.each(self.setup.plan.layers):
            site = Site(self.setup.plan.component, layer)
            each = [self._moved(site, share) for share in shares]
            prompts = [self.setup.sides.base] * steps
            for batch in self._run(prompts, [site], each):
                value = _weighted(batch.gradients[site], [weights[i] for i in batch.index])
                total[layer] = value + total.get(layer, 0.0)
        return total

    def _moved(self, site: Site, share: float) -> list[Intervention]:
        assert site.layer is not None
        value = self.base[site.layer] + share * self.difference[site.layer]
        return [Replace(site, Numbers(value))]

    def _run(
        self,
        prompts: Sequence[Prompt],
        sites: Sequence[Site],
        each: Optional[Sequence[Sequence[Intervention]]] = None,
    ) -> Iterator[Batch]:
        return self.setup.model.runner.run(
            prompts,
            each=each,
            gradients=Gradients(lambda batch: objective_of(self.measure, batch), at=sites),
            logits=LastLogits(self.setup.measure.read),
            batch_size=max(8, len(prompts)),
        )

    def result(self, gradients: Values, method: str) -> xr.Dataset:
        """The map that gradients make."""
        setup, scale = self.setup, self.scale
        unchanged = scale.corrupt if setup.direction == "denoise" else scale.clean
        moved = np.stack(
            [self._scores(layer, gradients[layer]) for layer in setup.plan.layers]
        )  # layer, head or neuron, position
        if setup.plan.units is None:
            moved = moved[:, 0]
        values = setup.empty_map(scale.of(unchanged))
        if "position" in setup.plan.dims:
            where = setup.sides.positions()
            moved = moved if "layer" in setup.plan.dims else moved[0]
            values[..., where] = scale.of(unchanged) + moved[..., where] / scale.size
        else:
            moved = moved.sum(-1) if "layer" in setup.plan.dims else moved[0].sum(-1)
            values[...] = scale.of(unchanged) + moved / scale.size
        return as_result(setup, values, scale, method)

    def _scores(self, layer: int, gradient: torch.Tensor) -> "npt.NDArray[np.float64]":
        """By head or neuron and position: `grad . (source - base)`."""
        plan = self.setup.plan
        product = (gradient.float() * self.difference[layer].float()).cpu()
        axes = list(AXES[plan.component])
        position = axes[_position_axis(plan.component)]
        unit = next((axis for axis in axes if axis in ("head", "neuron")), None)
        kept = [axis for axis in axes if axis == position or (plan.units and axis == unit)]
        others = [i for i, axis in enumerate(axes) if axis not in kept]
        summed = product.sum(others) if others else product  # no axes would mean all of them
        if len(kept) == 1:
            return summed.double().numpy()[None]
        return summed.double().numpy() if kept[1] == position else summed.double().numpy().T


def _sites(setup: Setup) -> list[Site]:
    return [Site(setup.plan.component, layer) for layer in setup.plan.layers]


def _position_axis(component: str) -> int:
    return next(i for i, axis in enumerate(AXES[component]) if axis in ("pos", "query_pos"))


def _aligned(setup: Setup, source: torch.Tensor, base: torch.Tensor, axis: int) -> torch.Tensor:
    """The source's values in the base's positions; the base's where there is no partner."""
    partner = setup.sides.partner
    where = torch.tensor(np.flatnonzero(partner != NONE), device=base.device)
    from_where = torch.tensor(partner[partner != NONE], device=base.device)
    return base.index_copy(axis, where, source.to(base).index_select(axis, from_where))


def require_path(sides: Sides) -> None:
    """See that a path through the embeddings leads from one prompt to the other.

    Raises:
        PairError: no token that differs has a partner.
    """
    if not any(sides.base.ids[p] != sides.source.ids[sides.partner[p]] for p in sides.positions()):
        raise PairError(
            "the tokens that differ have no partner, so that no path through the embeddings leads "
            "from one prompt to the other: choose attribution patching, the path through the "
            "activations, or prompts of one length"
        )


def prompts_between(
    base: Prompt, embeddings: tuple[torch.Tensor, torch.Tensor], shares: Sequence[float]
) -> list[Prompt]:
    """A prompt with embeddings that lie between two, at each share of the way."""
    start, end = (each.float() for each in embeddings)
    return [
        dataclasses.replace(base, token_embeddings=(start + share * (end - start)).cpu().numpy())
        for share in shares
    ]


def objective_of(measure: Measure, batch: Batch) -> Objective:
    """The sum of a metric over the runs of a batch."""
    rows, read = len(batch.prompts), measure.read
    last = batch.lengths[0]

    def value(logits: torch.Tensor) -> torch.Tensor:
        total = measure.value(logits.reshape(rows, read, -1)).sum()
        if not total.requires_grad:
            raise ValueError(
                f"{measure.name} has no gradient, so that nothing can be estimated from it: keep "
                "the graph of the logits, or take the exact map"
            )
        return total

    return Objective(
        example=[row for row in range(rows) for _ in range(read)],
        pos=[pos for _ in range(rows) for pos in range(last - read, last)],
        value=value,
    )


def _by_layer(setup: Setup, batch: Batch, weights: Sequence[float]) -> dict[int, torch.Tensor]:
    return {
        layer: _weighted(batch.gradients[Site(setup.plan.component, layer)], weights)
        for layer in setup.plan.layers
    }


def _weighted(gradient: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """The weighted sum over runs."""
    require_numbers("the metric's gradient", gradient)
    of_runs = torch.tensor(weights, device=gradient.device, dtype=torch.float32)
    return torch.tensordot(of_runs, gradient.float(), 1)


def check_steps(steps: int) -> None:
    """See that there is a number of steps.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps is {steps}: give a whole number of at least 1")


def nodes_between(steps: int) -> tuple[list[float], list[float]]:
    """Gauss and Legendre's nodes and weights between 0 and 1."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
