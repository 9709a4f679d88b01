"""Direct logit attribution: what each part of a model writes into a logit.

The logits are linear in the final norm's output, and with its scale held at the run's own value the
norm is linear in the residual, which is the sum of what the parts write. A part's share is then
`w . gamma * (part - mean(part)) * s`, with `w` the unembedding's row of the answer, or that of the
answer less the foil's. Nothing is folded or centred: it is the model as it was loaded. What is left
(the norm's and the unembedding's bias, a soft-cap) is the remainder, so that shares and remainder
sum to the logit.
"""

import dataclasses
from typing import Any, Literal, Mapping, Optional, Sequence, Union

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from lit_tl.causal.final_norm import final_norm
from lit_tl.causal.model import CausalModel
from lit_tl.causal.next_token import Asked, read_question
from lit_tl.causal.over_pairs import mean_of_shares
from lit_tl.causal.pairs import PairError, Pairs, PromptPair, listed
from lit_tl.engine import jobs, selfchecks
from lit_tl.engine.one_pass import LastLogits
from lit_tl.engine.readout import Readout
from lit_tl.engine.reductions import grouped_to_heads
from lit_tl.engine.requests import Batch, Observe
from lit_tl.engine.sites import Site

By = Literal["component", "head", "source", "neuron"]
_SUM = 1e-3
"""How far shares may be off the logit, as a share of the largest logit."""


def logit_attribution(
    model: Any,
    text: Union[str, Pairs],
    answer: Optional[Union[str, int]] = None,
    foil: Optional[str] = None,
    *,
    by: By = "component",
    top: int = 50,
    layer: Optional[int] = None,
) -> xr.Dataset:
    """What each part writes into the logit of an answer, after a prompt.

    Args:
        model: of ours, of TransformerLens or of Hugging Face, or a `Runner`.
        text: the prompt; or a pair, whose clean prompt, answer and foil are meant; or several
            pairs, whose mean is asked for.
        answer: what comes after it, with its leading space, or a token's id. Of several tokens the
            first is meant; with a foil, the first at which they differ.
        foil: what it is set against: shares are then of the difference of two logits.
        by: `component` for the embedding and each layer's attention and MLP; `head` by layer and
            head; `source` by layer, head and the position that is attended to; `neuron` for the
            neurons that count most.
        top: how many neurons.
        layer: of neurons, the only one; None for all layers.

    Returns:
        `share` in logits, `remainder` as an attribute, and by component also `cumulative`, the sum
        up to there. Shares and remainder sum to the attribute `logit`. Of several pairs what they
        have in common, as `over_pairs` gives it: their `mean`, with `share` by `pair`.

    Raises:
        ValueError: the prompt or the answer is empty, or the model can't be split so.
    """
    of = CausalModel.of(model)
    if not isinstance(text, str):
        pairs = listed(text)
        ask: dict[str, Any] = {"by": by, "top": top, "layer": layer}
        if len(pairs) == 1 and isinstance(text, PromptPair):
            return logit_attribution(of, text.clean, text.answer, text.foil or None, **ask)
        return _over_pairs(of, pairs, by, ask)
    if layer is not None and by != "neuron":
        raise ValueError(f"layer is {layer}: it is that of neurons, and by is {by!r}")
    asked = read_question(of, text, answer, foil)
    names = {"component": _by_component, "head": _by_head, "source": _by_source}
    if by == "neuron":
        return _by_neuron(of, asked, top, layer)
    if by not in names:
        raise ValueError(f"by is {by!r}: choose from component, head, source and neuron")
    return names[by](of, asked)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Split:
    """A run whose last residual is split.

    Args:
        batch: what was observed.
        direction: what a part is multiplied with.
        logit: of the model: the answer's, or answer less foil.
        constant: what no part writes: biases, and what a soft-cap does.
    """

    batch: Batch
    direction: Float[torch.Tensor, " d_model"]
    logit: float
    constant: float

    def share(self, part: torch.Tensor) -> torch.Tensor:
        """Of parts `[..., d_model]`, in logits."""
        return part.float() @ self.direction.to(part.device)


def _split(model: CausalModel, asked: Asked, observe: Mapping[str, Observe]) -> _Split:
    """Run a prompt, and hold the final norm at what it does there.

    Raises:
        ValueError: more than a norm and a product stands between the residual and the logits.
    """
    runner, readout = model.runner, model.runner.readout
    last = {"last": Observe(Site("resid_post", runner.shape.n_layers - 1, positions=-1))}
    (batch,) = runner.run([asked.prompt], observe={**observe, **last}, logits=LastLogits())
    residual = batch.observed["last"][0].float()
    norm = final_norm(readout)
    offset = norm.offset.float()
    matrix = readout.matrix().float()
    row, shift = matrix[asked.answer], _bias(readout, asked.answer)
    logits = batch.last_logits()[0].float()
    logit = float(logits[asked.answer])
    if asked.foil is not None:
        row = row - matrix[asked.foil]
        shift -= _bias(readout, asked.foil)
        logit -= float(logits[asked.foil])
    scale, is_linear = _scale(readout, logits)
    row, shift = row * scale, shift * scale
    direction = norm.direction(row, residual)
    linear = float(residual @ direction) + float(row @ offset) + shift
    constant = float(row @ offset) + shift + (logit - linear)
    bound = _SUM if batch.observed["last"].dtype == torch.float32 else 5e-2
    if is_linear and abs(logit - linear) > bound * float(logits.abs().max()):
        raise ValueError(
            f"the logits of {selfchecks.said(runner)} are not the product of its final norm and "
            "unembedding, so that they can't be split among its parts"
        )
    return _Split(batch=batch, direction=direction, logit=logit, constant=constant)


def _scale(readout: Readout, logits: torch.Tensor) -> tuple[float, bool]:
    """What a model multiplies its logits by, and whether that is all that it does to them."""
    small, large = logits.new_tensor([1e-2]), logits.new_tensor([1e2])
    scale = float(readout.finish(small) / small)
    return scale, abs(float(readout.finish(large) / large) - scale) < 1e-3 * abs(scale)


def _bias(readout: Readout, token: int) -> float:
    bias = getattr(readout.unembedding, "b_U", None)
    bias = getattr(readout.unembedding, "bias", None) if bias is None else bias
    return 0.0 if bias is None else float(bias.detach()[token])


def _parts_of_layers(model: CausalModel) -> dict[str, Observe]:
    runner = model.runner
    inside = ("attn_out", "mlp_out") if runner.shape.parallel_blocks else ("resid_mid",)
    return {name: Observe(Site(name, positions=-1)) for name in ("resid_pre", *inside)}


def _by_component(model: CausalModel, asked: Asked) -> xr.Dataset:
    split = _split(model, asked, _parts_of_layers(model))
    seen, layers = split.batch.observed, model.runner.shape.n_layers
    names, parts = ["embed"], [seen["resid_pre"][0][0]]
    for layer in range(layers):
        before = seen["resid_pre"][layer][0]
        after = seen["last"][0] if layer == layers - 1 else seen["resid_pre"][layer + 1][0]
        attention = (
            seen["attn_out"][layer][0]
            if model.runner.shape.parallel_blocks
            else seen["resid_mid"][layer][0] - before
        )
        names += [f"attn {layer}", f"mlp {layer}"]
        parts += [attention, after - before - attention]
    share = split.share(torch.stack([part.float() for part in parts])).double().cpu().numpy()
    return _result(
        model,
        asked,
        split,
        {"share": ("component", share), "cumulative": ("component", np.cumsum(share))},
        {"component": names},
        split.constant,
    )


def observed_of_heads(model: CausalModel) -> dict[str, Observe]:
    """What shows that heads add up to what attention writes."""
    written = ("attn_out",) if model.runner.shape.parallel_blocks else ("resid_pre", "resid_mid")
    return {
        "result": Observe(Site("result", positions=-1)),
        "summed": Observe(Site("result"), lambda value, _: value.sum(2)),
        **{f"of {name}": Observe(Site(name)) for name in written},  # type: ignore[arg-type]
    }


def check_heads(model: CausalModel, seen: Mapping[str, Any]) -> None:
    """See that heads add up to what attention writes, but for a bias, the same everywhere.

    Raises:
        ValueError: they do not.
    """
    for layer, summed in seen["summed"].items():
        if model.runner.shape.parallel_blocks:
            written = seen["of attn_out"][layer]
        else:
            written = seen["of resid_mid"][layer] - seen["of resid_pre"][layer]
        rest = (written - summed)[0].float()
        apart = float((rest - rest[:1]).abs().max())
        bound = _SUM if summed.dtype == torch.float32 else 5e-2
        if apart > bound * max(float(summed.abs().max()), float(written.abs().max())):
            raise ValueError(
                f"the heads of {model.runner.shape.name} do not add up to what attention writes, "
                "as where a norm comes behind them: a share can't be told by head"
            )


def _by_head(model: CausalModel, asked: Asked) -> xr.Dataset:
    split = _split(model, asked, observed_of_heads(model))
    check_heads(model, split.batch.observed)
    layers = sorted(split.batch.observed["result"])
    values = torch.stack([split.batch.observed["result"][layer][0] for layer in layers])
    share = split.share(values).double().cpu().numpy()  # layer head
    return _result(
        model,
        asked,
        split,
        {"share": (("layer", "head"), share)},
        {"layer": layers, "head": np.arange(share.shape[1])},
        split.logit - float(share.sum()),
    )


def _by_source(model: CausalModel, asked: Asked) -> xr.Dataset:
    observe = {
        "pattern": Observe(Site("pattern", positions=-1)),
        "v": Observe(Site("v")),
        **observed_of_heads(model),
    }
    split = _split(model, asked, observe)
    check_heads(model, split.batch.observed)
    seen, runner = split.batch.observed, model.runner
    layers = sorted(seen["pattern"])
    shares = []
    for layer in layers:
        pattern = seen["pattern"][layer][0].float()  # head key_pos
        values = grouped_to_heads(seen["v"][layer][0].float(), len(pattern), axis=1)
        out = split.share(runner.weights(layer, "W_O").float())  # head d_head
        share = pattern * torch.einsum("phd,hd->hp", values, out)
        own = split.share(seen["result"][layer][0])
        if float((share.sum(-1) - own).abs().max()) > _SUM * max(1.0, float(own.abs().max())):
            raise ValueError(
                f"the heads of {runner.shape.name} are not its pattern times `v` times `W_O`, so "
                "that a share can't be told by source position"
            )
        shares.append(share)
    share = torch.stack(shares).double().cpu().numpy()
    strings = model.prompter.vocabulary.strings(asked.prompt.ids)
    return _result(
        model,
        asked,
        split,
        {"share": (("layer", "head", "position"), share)},
        {
            "layer": layers,
            "head": np.arange(share.shape[1]),
            "position": np.arange(share.shape[2]),
            "token": ("position", strings),
        },
        split.logit - float(share.sum()),
    )


def _by_neuron(model: CausalModel, asked: Asked, top: int, layer: Optional[int]) -> xr.Dataset:
    if top < 1:
        raise ValueError(f"top is {top}: give at least 1")
    runner = model.runner
    there = runner.layers("mlp_post")
    layers = list(there) if layer is None else [layer]
    if not layers or not set(layers) <= set(there):
        where = "" if layer is None else f" in layer {layer}"
        raise ValueError(f"{runner.shape.name} shows no neurons{where}")
    split = _split(model, asked, _of_neurons(model, layers))
    found, total = [], 0.0
    for at in layers:
        out = runner.weights(at, "W_out").float()
        every = split.batch.observed["post"][at][0].float()  # pos neuron
        rest = _written_by_mlp(model, split.batch.observed, at) - every @ out
        bound = _SUM if split.batch.observed["post"][at].dtype == torch.float32 else 5e-2
        if float((rest - rest[:1]).abs().max()) > bound * float((every @ out).abs().max()):
            raise ValueError(
                f"the MLPs of {runner.shape.name} do not write its neurons times `W_out`, as where "
                "a norm comes behind them: a share can't be told by neuron"
            )
        post = every[-1]
        share = post * split.share(out)
        total += float(share.sum())
        best = share.abs().topk(min(top, len(share))).indices.tolist()
        found += [(at, neuron, float(share[neuron])) for neuron in best]
    found = sorted(found, key=lambda each: -abs(each[2]))[:top]
    kept = sum(each[2] for each in found)
    result = _result(
        model,
        asked,
        split,
        {"share": ("neuron", np.array([each[2] for each in found]))},
        {
            "neuron": [f"L{at}N{neuron}" for at, neuron, _ in found],
            "neuron_layer": ("neuron", [each[0] for each in found]),
            "index": ("neuron", [each[1] for each in found]),
        },
        split.logit - kept,
    )
    result.attrs["other_neurons"] = total - kept
    return result


def _of_neurons(model: CausalModel, layers: list[int]) -> dict[str, Observe]:
    observe = {"post": Observe(Site("mlp_post"), layers=layers)}
    if model.runner.shape.parallel_blocks:
        return observe | {"out": Observe(Site("mlp_out"), layers=layers)}
    return observe | {
        "mid": Observe(Site("resid_mid"), layers=layers),
        "after": Observe(Site("resid_post"), layers=layers),
    }


def _written_by_mlp(model: CausalModel, seen: Mapping[str, Any], layer: int) -> torch.Tensor:
    """What an MLP adds to the residual, `[pos, d_model]`."""
    if model.runner.shape.parallel_blocks:
        out: torch.Tensor = seen["out"][layer][0].float()
        return out
    written: torch.Tensor = seen["after"][layer][0].float() - seen["mid"][layer][0].float()
    return written


def _result(
    model: CausalModel,
    asked: Asked,
    split: _Split,
    data: Mapping[str, Any],
    coords: Mapping[str, Any],
    remainder: float,
) -> xr.Dataset:
    strings = model.prompter.vocabulary.string
    of = repr(strings(asked.answer))
    if asked.foil is not None:
        of = f"{of} less {strings(asked.foil)!r}"
    return xr.Dataset(
        dict(data),
        coords=dict(coords),
        attrs={
            "value": "share",
            "unit": "logits",
            "of": of,
            "logit": split.logit,
            "remainder": remainder,
            "method": "direct logit attribution, the final norm's scale that of the run",
            "tokens": model.prompter.vocabulary.strings(asked.prompt.ids),
            "note": f"{asked.note[:1].upper()}{asked.note[1:]}." if asked.note else "",
        },
    )


def _over_pairs(
    model: CausalModel, pairs: Sequence[PromptPair], by: By, ask: Mapping[str, Any]
) -> xr.Dataset:
    """What many answers' attributions have in common."""
    if by not in ("component", "head"):
        raise ValueError(
            f"prompts have neither positions nor largest neurons in common: by {by} takes one "
            "prompt; choose component or head for many"
        )
    left_out: list[str] = []
    kept: dict[int, xr.Dataset] = {}
    for place in jobs.each(range(len(pairs))):
        try:
            kept[place] = logit_attribution(model, pairs[place], **ask)
        except PairError as error:
            left_out.append(f"pair {place}: {error}")
    if not kept:
        raise PairError(f"no pair can be looked into: {left_out[0]}")
    return mean_of_shares(kept, left_out, len(pairs))
