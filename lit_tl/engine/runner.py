"""The one way to run a model: batches, locks, hooks, interventions, gradients."""

import collections
import dataclasses
from typing import Any, Iterator, Mapping, Optional, Sequence

import torch

from lit_tl.engine import answers as answers_
from lit_tl.engine import freed_memory, generation, jobs, memory, selfchecks
from lit_tl.engine.adapt import adapt
from lit_tl.engine.answers import Answer, Reading
from lit_tl.engine.backward import ReadoutDiffers
from lit_tl.engine.batches import plan_batches
from lit_tl.engine.interventions import FromRun, Intervention
from lit_tl.engine.one_pass import Keep, Request, run_once
from lit_tl.engine.opening import Opening, opening_of
from lit_tl.engine.placing import ByPoint, Placed, check_reader, place, points_of, with_rows
from lit_tl.engine.plain_tree import make_background_twin, make_twin
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import ModelAdapter, ModelShape, Point, WeightName
from lit_tl.engine.readout import Readout
from lit_tl.engine.requests import Batch, Gradients, Observe
from lit_tl.engine.sites import INSIDE_ATTENTION, Component, Site
from lit_tl.engine.token_readings import ReadTokens
from lit_tl.engine.transformer_lens_models import TransformerLensAdapter
from lit_tl.engine.tree_state import TreeWalk, hooks_of_users, state_of, tree_state

DEFAULT_BATCH_SIZE = 8
DEFAULT_TOKEN_BUDGET = 2048
BACKGROUND_TOKENS = 512
"""Most tokens in a batch of background work on a CPU, where other work waits for a batch to end."""
_FUSED_HAS = {"embed", "resid_pre", "resid_post", "unembed_in"}
_FUSED_MAY_HAVE = {"z", "attn_out", "mlp_post", "mlp_out"}


class Runner:
    """Runs prompts through a model. Safe to use from several threads.

    Args:
        model: a TransformerLens or Hugging Face model, or an adapter for one.
        batch_size: most prompts in a batch.
        token_budget: most tokens in a batch, padding included.
        interventions: changes that hold in every run.
        tokenizer: of a Hugging Face model.

    Raises:
        TypeError: the model is of another kind.
        ValueError: an intervention is at a site that the model does not have.
    """

    def __init__(
        self,
        model: Any,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        token_budget: int = DEFAULT_TOKEN_BUDGET,
        interventions: Sequence[Intervention] = (),
        tokenizer: Any = None,
    ):
        self._adapter = adapt(model, tokenizer=tokenizer)
        self.model = self._adapter.module
        self._walk = TreeWalk(self.model)
        self.shape: ModelShape = self._adapter.shape
        """What is fixed when a model is loaded."""
        self.tokenizer = self._adapter.tokenizer  # of Hugging Face, or None
        self.batch_size, self.token_budget = batch_size, token_budget
        self.interventions = tuple(interventions)
        self.require(self.interventions)

    def require(self, interventions: Sequence[Intervention]) -> None:
        """See that changes are possible: their sites exist, and edges end where the model reads.

        Raises:
            ValueError: one is not; the message says what there is.
        """
        for intervention in interventions:
            points_of(self._adapter, intervention.site, read_only=False)
            check_reader(self._adapter, intervention)

    def with_interventions(self, interventions: Sequence[Intervention]) -> "Runner":
        """The same model with further changes, behind those of this runner, in every run. It shares
        the weights, and what is known of the model.

        Raises:
            ValueError: an intervention is at a site that the model does not have.
        """
        return Runner(
            self._adapter,
            batch_size=self.batch_size,
            token_budget=self.token_budget,
            interventions=(*self.interventions, *interventions),
        )

    @property
    def unchanged(self) -> "Runner":
        """Without its interventions: what is found out of a model, all its runners share."""
        return Runner(self._adapter) if self.interventions else self

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return self._adapter.device

    @property
    def readout(self) -> Readout:
        """Final norm and unembedding, seen to give the model's logits.

        Raises:
            ValueError: more than these stands between the last block and the logits.
        """
        state = tree_state(self.model)
        if state.readout is None:
            state.readout = selfchecks.checked_readout(self.unchanged, self._adapter)
        readout: Readout = state.readout
        return readout

    def output_is_read_out(self) -> bool:
        """Whether the logits are what `readout` makes of the last residual: nothing is changed
        behind it, by an intervention or a hook."""
        if any(each.site.component == "unembed_in" for each in self.interventions):
            return False
        readout = self.readout
        with readout.lock:
            return not any(
                module._forward_hooks or module._forward_pre_hooks
                for part in (readout.norm, readout.project, readout.unembedding)
                for module in part.modules()
            )

    def opening(self, prepend_bos: Optional[bool] = None) -> Opening:
        """What comes in front of a text; see `opening_of`."""
        adapter = self._adapter
        return opening_of(
            adapter.tokenizer,
            family=adapter.family,
            custom=adapter.prepends_bos,
            prepend_bos=prepend_bos,
        )

    def is_unchanged(self) -> bool:
        """Whether the model runs as it was loaded: without interventions of this runner, and
        without a user's hooks."""
        with tree_state(self.model).lock:
            return not self.interventions and not hooks_of_users(self._walk)

    def layers(self, component: Component) -> tuple[int, ...]:
        """The layers that have a component; empty where the model has none."""
        every = (Point(layer, component) for layer in range(self.shape.n_layers))
        return tuple(point.layer for point in every if point in self._adapter.points)

    def weights(self, layer: int, name: WeightName) -> torch.Tensor:
        """A matrix of a block; see `ModelAdapter.weights`."""
        return self._adapter.weights(layer, name)

    def state(self) -> str:
        """What changes when the model computes something else; see `tree_state.state_of`."""
        return state_of(self._walk, self.interventions)

    def embedding_table(self) -> torch.Tensor:
        """The site `embed` of every token; see `selfchecks.embedding_table`."""
        return selfchecks.embedding_table(self.unchanged, self._adapter)

    def run(
        self,
        prompts: Sequence[Prompt],
        *,
        observe: Optional[Mapping[str, Observe]] = None,
        interventions: Sequence[Intervention] = (),
        each: Optional[Sequence[Sequence[Intervention]]] = None,
        gradients: Optional[Gradients] = None,
        logits: Keep = "all",
        keep_cache: bool = False,
        batch_size: Optional[int] = None,
    ) -> Iterator[Batch]:
        """Run prompts, a batch at a time: one forward pass, and one backward pass for gradients.

        Prompts of like length run together, right-padded without a mask: real positions of a causal
        model never see the padding after them, so that a batch equals its single runs. Parameters
        are frozen for the pass, and the unembedding's full product stays out of the graph. Between
        batches the current `jobs.Job` hears how far the work is, and may stop it.

        Args:
            prompts: what to run.
            observe: sites to look at, by the names that they have in `Batch.observed`.
            interventions: what to change, after the runner's own.
            each: what else to change in each prompt alone, in the order of the prompts.
            gradients: of which targets, at which sites.
            logits: "none" leaves them out, with the unembedding of all positions but the last;
                `LastLogits` gives those of the last positions of prompts of one length;
                `ReadTokens` reads what they say of the prompts' own tokens and of the likeliest,
                a piece at a time.
            keep_cache: whether batches keep keys and values to go on from.
            batch_size: most prompts in a batch; None for the runner's own.

        Returns:
            Batches, longest prompts first; `Batch.index` says where their prompts stand in the
            list.

        Raises:
            ValueError: a site does not exist, numbers do not fit it, or the model does not do what
                a change relies on; the message says which.
            lit_tl.engine.memory.OutOfMemory: a prompt does not fit into memory. Where several do
                not, they run in smaller batches.
            lit_tl.engine.jobs.Cancelled: the job was cancelled.
        """
        every = (*self.interventions, *interventions)
        request = Request(observe or {}, every, gradients, logits, keep_cache)
        placed = self.place(every)
        own = None if each is None else [self.place(changes) for changes in each]
        lengths = [len(prompt.ids) for prompt in prompts]
        finished = 0
        size, job, budget = batch_size or self.batch_size, jobs.current(), self.token_budget
        if job.background and self.device.type == "cpu":
            budget = min(budget, BACKGROUND_TOKENS)
        plan = plan_batches(lengths, batch_size=size, token_budget=budget)
        waiting = collections.deque(plan)
        while waiting:
            job.check()
            index = waiting.popleft()
            here = placed if own is None else with_rows(placed, [own[i] for i in index])
            batch = self._run_if_it_fits([prompts[i] for i in index], request, here, index)
            if batch is None:
                waiting.extendleft((index[len(index) // 2 :], index[: len(index) // 2]))
                continue
            finished += len(index)
            if finished < len(prompts) or len(plan) > 1:
                # one pass alone is part of something that knows its length better
                job.advance(finished, len(prompts))
            yield batch

    def run_ids(
        self,
        ids: torch.Tensor,
        *,
        observe: Optional[Mapping[str, Observe]] = None,
        interventions: Sequence[Intervention] = (),
        logits: Keep = "all",
    ) -> Batch:
        """Run token ids `[batch, pos]` without padding as one batch; see `run`."""
        every = (*self.interventions, *interventions)
        request = Request(observe or {}, every, None, logits, False)
        prompts = [Prompt(ids=tuple(row)) for row in ids.tolist()]
        batch = self._run_if_it_fits(prompts, request, self.place(every), None)
        if batch is None:
            raise memory.OutOfMemory(f"{len(prompts)} prompts at once do not fit: give fewer")
        return batch

    def continue_greedily(
        self, batch: Batch, *, max_new_tokens: int, interventions: Sequence[Intervention] = ()
    ) -> list[str]:
        """The text that the model goes on with after each prompt of a batch, which ran with
        `keep_cache`; see `generation.continue_greedily`."""
        placed = self.place((*self.interventions, *interventions))
        tree = batch.tree or self.tree_for(placed, ())
        with tree_state(tree.module).lock, torch.no_grad():
            return generation.continue_greedily(
                tree, batch, placed, max_new_tokens=max_new_tokens, batch_size=self.batch_size
            )

    def read_answers(
        self, batch: Batch, answers: Sequence[Answer], *, interventions: Sequence[Intervention] = ()
    ) -> list[Reading]:
        """What the model thinks of answers, after a batch that ran with the same interventions, and
        with `keep_cache` where an answer has several tokens; see `answers.read_answers`."""
        placed = self.place((*self.interventions, *interventions))
        tree = batch.tree or self.tree_for(placed, ())
        with tree_state(tree.module).lock, torch.no_grad():
            return answers_.read_answers(tree, batch, answers, placed)

    def tree_for(self, placed: ByPoint, sites: Sequence[Site]) -> ModelAdapter:
        """The module tree for a pass: the fused one where it has all that is asked for."""
        bridge = self._adapter
        if not isinstance(bridge, TransformerLensAdapter):
            return bridge
        edges = any(each.intervention.reader for here in placed.values() for each in here)
        components = {point.component for point in placed} | {site.component for site in sites}
        if edges or not components <= _FUSED_HAS | _FUSED_MAY_HAVE:
            return bridge
        inside = (site for site in sites if site.component in _FUSED_MAY_HAVE)
        seen = {point for site in inside for point in points_of(bridge, site)}
        state = tree_state(bridge.module)
        with state.lock:
            if hooks_of_users(self._walk):
                return bridge
            parameters = tuple(map(id, self._walk.parameters()))
            if state.twin_of != parameters:
                state.twin, state.twin_of = make_twin(bridge), parameters
                state.background_twin = None
            if state.twin is None or not state.twin.has_all({*placed, *seen}):
                return bridge
            if jobs.current().background:
                state.background_twin = state.background_twin or make_background_twin(bridge)
                return state.background_twin or bridge
        return state.twin

    def _run_if_it_fits(
        self,
        prompts: Sequence[Prompt],
        request: Request,
        placed: ByPoint,
        index: Optional[Sequence[int]],
    ) -> Optional[Batch]:
        """A batch; None where memory is too short for all of its prompts together."""
        length, rows = max((len(prompt) for prompt in prompts), default=0), len(prompts)
        state, first = tree_state(self.model), next(self.model.parameters())
        device = first.device
        needs = memory.Needs(
            gradients=request.gradients is not None,
            logits=request.logits == "all"
            or request.gradients is not None
            or (isinstance(request.logits, ReadTokens) and not self._reads_tokens()),
            observe=request.observe,
            bytes_of_number=max(2, first.element_size()),
            fused_attention=not state.twin_of or state.twin is not None,
        )
        needed = memory.bytes_of_pass(self.shape, needs, rows=rows, length=length)
        if rows == 1 and needed > memory.free_on(device):
            freed_memory.collect_and_give_back()  # what ended a moment ago may still hold some
        fits = needed <= memory.free_on(device)
        if fits:
            try:
                return self._run(prompts, request, placed, index)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
        if rows == 1:
            known = None if fits else needed
            raise memory.does_not_fit(self.shape.name, length, known, device)
        memory.say_halving(self.shape.name, rows)
        return None

    def _run(
        self,
        prompts: Sequence[Prompt],
        request: Request,
        placed: ByPoint,
        index: Optional[Sequence[int]] = None,
    ) -> Batch:
        for prompt in prompts:
            prompt.check(self.shape)
        sites = [wanted.site for wanted in request.observe.values()]
        tree = self.tree_for(placed, [*sites, *(request.gradients.at if request.gradients else ())])
        places = range(len(prompts)) if index is None else index
        batch = Batch(index=places, prompts=prompts, tree=tree)
        with tree_state(tree.module).lock:
            cut = request.gradients is not None
            if isinstance(request.logits, ReadTokens) and (cut or not self._reads_tokens()):
                request = dataclasses.replace(request, logits="all")
            try:
                batch = run_once(tree, batch, request, placed, cut_unembed=cut)
                if batch.readings is not None:
                    tree_state(tree.module).reads_tokens = True
                return batch
            except ReadoutDiffers:
                if not cut:
                    tree_state(self.model).reads_tokens = False
                    request = dataclasses.replace(request, logits="all")
                return run_once(tree, batch, request, placed, cut_unembed=False)
            except RuntimeError:
                if not (cut and request.keep_cache):
                    raise
                # RWKV writes its cache over what a backward pass needs.
                request = dataclasses.replace(request, keep_cache=False)
                return run_once(tree, batch, request, placed, cut_unembed=cut)

    def _reads_tokens(self) -> bool:
        """Whether tokens can be read without all logits being there."""
        state = tree_state(self.model)
        with state.lock:
            return state.reads_tokens is not False and not hooks_of_users(self._walk)

    def place(self, interventions: Sequence[Intervention]) -> dict[Point, list[Placed]]:
        """Interventions by point, with the values of other runs that they need."""
        carried = tree_state(self.model).carried
        for component in {each.site.component for each in interventions} & INSIDE_ATTENTION:
            if carried.get(component) != "":
                selfchecks.require_carried(self, component)
        from_runs = self._values_of_runs(interventions)
        return place(self._adapter, interventions, lambda run, site: from_runs[run, site])

    def _values_of_runs(
        self, interventions: Sequence[Intervention]
    ) -> dict[tuple[FromRun, Site], torch.Tensor]:
        wanted: dict[FromRun, set[Site]] = collections.defaultdict(set)
        for intervention in interventions:
            for value in intervention.values:
                if isinstance(value, FromRun):
                    for point in points_of(self._adapter, intervention.site):
                        layer = None if point.layer < 0 else point.layer
                        wanted[value].add(intervention.site.at(layer))
        values = {}
        for run, sites in wanted.items():
            ordered = sorted(sites, key=str)
            observe = {str(site): Observe(site) for site in ordered}
            request = Request(observe, (), None, "none", False)
            batch = self._run([Prompt(ids=run.ids)], request, {})
            for site in ordered:
                values[run, site] = batch.observed[str(site)][0]
        return values
