"""A model's own numbers, against which what is read in it is checked once, on a short prompt.

Architectures differ in what stands between a name and a number: a head before the unembedding, a
norm behind the embedding, a clipped value. Each check here finds the way that gives the model's
number, or refuses in a sentence.
"""

import contextlib
import warnings
from typing import TYPE_CHECKING, Iterator, Optional

import torch

from lit_tl.engine.agreement import apart, near, probe_ids
from lit_tl.engine.interventions import Array, Replace
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import ModelAdapter, Point
from lit_tl.engine.readout import Readout, variants
from lit_tl.engine.reductions import grouped_to_heads
from lit_tl.engine.requests import Gradients, Observe, Targets
from lit_tl.engine.sites import Component, Site
from lit_tl.engine.tree_state import tree_state

if TYPE_CHECKING:
    from lit_tl.engine.runner import Runner

_PROBE = 8
"""Tokens of the prompt that is run."""
_ROWS = 1024
"""Tokens that are embedded at a time."""
_EMBED = Point(-1, "embed")


def said(runner: "Runner") -> str:
    """A model's name in a sentence, and whether it is changed."""
    return f"{runner.shape.name}{' under its changes' if runner.interventions else ''}"


def probe_prompt(d_vocab: int, length: int = _PROBE) -> Prompt:
    """Tokens from all over a vocabulary."""
    return Prompt(ids=tuple(probe_ids(d_vocab, length).tolist()))


def checked_readout(runner: "Runner", adapter: ModelAdapter) -> Readout:
    """The readout that turns what the last block gives into the model's logits.

    Raises:
        ValueError: none does.
    """
    prompt, last = probe_prompt(runner.shape.d_vocab), runner.shape.n_layers - 1
    observe = {"last": Observe(Site("resid_post", layer=last))}
    (batch,) = runner.run([prompt], observe=observe)
    residual, expected = batch.observed["last"][0], batch.need_logits()[0]
    differences = []
    with torch.no_grad():
        for readout in variants(adapter.readout, adapter.plain_model):
            try:
                logits = readout.logits(residual)
            except (RuntimeError, TypeError, ValueError):
                continue  # a module between the two that takes something else
            if near(logits, expected):
                return readout
            differences.append(apart(logits, expected))
    raise ValueError(
        f"no lens can look into {runner.shape.name}: its last residual, normed and unembedded, "
        f"is off its logits by {min(differences, default=1.0):.0%}, so that something else stands "
        "between them"
    )


def embedding_table(runner: "Runner", adapter: ModelAdapter) -> torch.Tensor:
    """The site `embed` of every token, `[d_vocab, d_model]` float32, on the CPU.

    Raises:
        ValueError: the value depends on the position.
    """
    prompt = probe_prompt(runner.shape.d_vocab)
    (batch,) = runner.run([prompt], observe={"embed": Observe(Site("embed"))}, logits="none")
    expected = batch.observed["embed"][0]
    ids = torch.arange(runner.shape.d_vocab, device=adapter.device)
    with tree_state(adapter.module).lock, torch.no_grad():
        table = adapter.embed(ids[None])[0]
        if not near(table[list(prompt.ids)], expected):
            # More than the embedding module stands before the first block: run the model to there.
            table = torch.cat([_embedded(adapter, rows[:, None]) for rows in ids.split(_ROWS)])
    if not near(table[list(prompt.ids)], expected):
        raise ValueError(
            f"{runner.shape.name} has no embedding table: what its blocks read of a token depends "
            "on the token's position"
        )
    return table.float().cpu()


class _Reached(Exception):
    """The pass has come to the embeddings; the rest of it is not needed."""


def _embedded(adapter: ModelAdapter, ids: torch.Tensor) -> torch.Tensor:
    """The site `embed` of prompts of one token."""
    kept: list[torch.Tensor] = []

    def handler(value: torch.Tensor) -> Optional[torch.Tensor]:
        kept.append(value[:, 0].clone())
        raise _Reached

    with adapter.hooked({_EMBED: handler}), contextlib.suppress(_Reached):
        adapter.forward(ids, keep_cache=False, last=1)
    return kept[0]


def require_values(runner: "Runner") -> None:
    """Refuse to weight attention by the site `v`, unless pattern times `v` is what attention gives.

    Raises:
        ValueError: a site is missing, or `v` is not what attention reads.
    """
    runner = runner.unchanged
    state = tree_state(runner.model)
    if state.values is None:
        state.values = "".join(_why_no_values(runner))
    if state.values:
        raise ValueError(state.values)


def _why_no_values(runner: "Runner") -> Iterator[str]:
    name, layers = runner.shape.name, runner.layers("pattern")
    if not layers:
        yield f"{name} shows no attention: TransformerLens has no pattern in any of its layers"
        return
    sites = {each: Observe(Site(each), layers=layers) for each in ("pattern", "v", "z")}
    try:
        (batch,) = runner.run([probe_prompt(runner.shape.d_vocab)], observe=sites, logits="none")
    except ValueError as error:
        yield f"what attention reads can't be seen: {error}"
        return
    for layer in layers:
        pattern, v, z = (batch.observed[each][layer][0].float() for each in sites)
        if pattern.shape[0] % v.shape[1]:
            yield f"what attention reads can't be seen in {name}: `v` has {v.shape[1]} heads"
            return
        read = torch.einsum("hqk,khd->qhd", pattern, grouped_to_heads(v, pattern.shape[0], axis=1))
        z = z.reshape(z.shape[0], pattern.shape[0], -1)
        same = read.shape == z.shape and near(read, z)
        if not same and not _reads_linearly(runner, layer, v, z):
            yield (
                f"what attention reads can't be seen in {name}: its pattern times `v` is not what "
                f"its heads give in layer {layer}"
            )
            return


def _reads_linearly(runner: "Runner", layer: int, v: torch.Tensor, z: torch.Tensor) -> bool:
    """Whether what heads give is twice as large with twice the values, and where the last value is
    zero changes at the last position alone: so it is where a gate stands behind the sum."""
    prompt, site, out = probe_prompt(runner.shape.d_vocab), Site("v", layer=layer), "z"
    without_last = v.clone()
    without_last[-1] = 0
    results = []
    for values in (2 * v, without_last):
        (batch,) = runner.run(
            [prompt],
            observe={out: Observe(Site("z", layer=layer))},
            interventions=[Replace(site, Array(values.cpu().numpy()))],
            logits="none",
        )
        results.append(batch.observed[out][0].float().reshape(z.shape))
    doubled, cut = results
    return near(doubled, 2 * z) and near(cut[:-1], z[:-1]) and not near(cut[-1], z[-1])


def require_carried(runner: "Runner", component: Component) -> None:
    """Refuse to change a component with whose value the model does not go on: some architectures
    show a copy. A change in every layer has to move the logits.

    Raises:
        ValueError: the model does not have the component, or does not go on with it.
    """
    runner = runner.unchanged
    known = tree_state(runner.model).carried
    if component not in known:
        known[component] = ""  # the check itself changes the component
        known[component] = _why_not_carried(runner, component)
    if known[component]:
        raise ValueError(known[component])


def _why_not_carried(runner: "Runner", component: Component) -> str:
    name, prompt = runner.shape.name, probe_prompt(runner.shape.d_vocab)
    change = Replace(Site(component), Array(0.0))
    try:
        (plain,) = runner.run([prompt])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TransformerLens warns of what it discards
            (changed,) = runner.run([prompt], interventions=[change])
    except (ValueError, RuntimeError, TypeError, LookupError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"{component} of {name} can't be changed: {first}"
    before, after = plain.need_logits().float(), changed.need_logits().float()
    if not apart(after, before) > 1e-6:
        return (
            f"{component} of {name} can be looked at, and not changed: the model does not go on "
            "with the value that it shows"
        )
    return ""


def require_edges(runner: "Runner") -> None:
    """Refuse a model that does not show what each part writes to the residual, and reads of it.

    Raises:
        ValueError: it does not.
    """
    runner = runner.unchanged
    state = tree_state(runner.model)
    if state.edges is None:
        state.edges = _why_no_edges(runner)
    if state.edges:
        raise ValueError(state.edges)


def _why_no_edges(runner: "Runner") -> str:
    refusal = f"the edges of {runner.shape.name} can't be told apart"
    names: tuple[Component, ...] = ("result", "mlp_out", "q_input", "k_input", "v_input", "mlp_in")
    observe: dict[str, Observe] = {}
    for component in names:
        if len(runner.layers(component)) < runner.shape.n_layers:
            return f"{refusal}: it does not show {component} in every layer"
        observe[component] = Observe(Site(component), lambda value, _: value.shape[2])
    try:
        (batch,) = runner.run([probe_prompt(runner.shape.d_vocab)], observe=observe, logits="none")
    except (ValueError, RuntimeError, TypeError, LookupError, AttributeError):
        return f"{refusal}: TransformerLens does not compute what its heads write, or read"
    heads = {name: set(batch.observed[name].values()) for name in ("result", "q_input", "k_input")}
    wanted = (runner.shape.n_heads, runner.shape.n_heads, runner.shape.n_key_value_heads)
    for (name, counts), count in zip(heads.items(), wanted, strict=True):
        if counts != {count}:
            return f"{refusal}: {name} has not {count} heads in every layer"
    return ""


def require_streams(runner: "Runner") -> None:
    """Refuse a model whose residual stream can't be seen, before anything is asked of it.

    Raises:
        ValueError: it can't be run, or a site is missing.
    """
    runner = runner.unchanged
    prompt = probe_prompt(runner.shape.d_vocab, 2)
    sites = [Site("embed"), Site("resid_pre"), Site("resid_post")]
    observe = {str(site): Observe(site, lambda value, _: value[:, -1, 0]) for site in sites}
    try:
        list(runner.run([prompt], observe=observe, logits="none"))
    except ValueError as error:
        raise ValueError(
            f"{runner.shape.name} can't be looked into: its residual stream does not show ({error})"
        ) from error
    except (RuntimeError, TypeError, LookupError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{runner.shape.name} does not run in TransformerLens: {first}") from error


def why_no_gradients(runner: "Runner") -> str:
    """Why a model can't be differentiated, as a sentence; empty where it can."""
    runner = runner.unchanged
    state = tree_state(runner.model)
    if state.gradients is None:
        targets = Targets(example=[0], pos=[1], token=[0], weight=[1.0])
        request = Gradients(lambda _: targets, at=[Site("embed")])
        try:
            list(runner.run([probe_prompt(runner.shape.d_vocab)], gradients=request))
            state.gradients = ""
        except (ValueError, RuntimeError) as error:
            first = str(error).strip().split("\n")[0]
            state.gradients = f"{runner.shape.name} has no gradients: {first}"
    return state.gradients
