"""What each attention head does: where it attends, and what it writes."""

import dataclasses
from typing import Any, Iterator, Literal, Mapping, Optional, Sequence, get_args

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from jaxtyping import Float

from lit_tl.causal.attention_patterns import head_scores
from lit_tl.causal.final_norm import final_norm
from lit_tl.causal.logit_attribution import check_heads, observed_of_heads
from lit_tl.causal.model import CausalModel
from lit_tl.engine import jobs
from lit_tl.engine.agreement import near
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.reductions import grouped_to_heads
from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.sites import Site

HeadScore = Literal["previous token", "duplicate token", "induction", "copying"]
SCORES: tuple[str, ...] = get_args(HeadScore)


def find_heads(
    model: Any,
    texts: Sequence[str] = (),
    *,
    sequences: int = 8,
    length: int = 25,
    seed: int = 0,
    top: int = 5,
) -> xr.Dataset:
    """Scores of all heads, over generated sequences and over your own texts.

    A generated sequence is random tokens, and the same once more, so that what a head does does not
    depend on what the tokens say.

    `previous token`, `duplicate token` and `induction` are attention: to the token before, to
    earlier copies of the token itself, and to what followed them (see
    `lit_tl.causal.attention_patterns`). `copying` is in logits: how much a head raises the logits
    of the tokens that it attends to, over all tokens' mean, weighted by its attention; NaN where
    what heads write is not added to the residual as it is.

    Args:
        model: of ours, of TransformerLens or of Hugging Face, or a `Runner`.
        texts: your own.
        sequences: how many are generated.
        length: of their first half, in tokens.
        seed: of their tokens.
        top: how many texts to name for each head and score.

    Returns:
        `score` by `score_name`, `layer` and `head`, over generated sequences; with texts also
        `text_score`, their mean, and `top_text` and `top_score` by `rank`: the texts with the
        largest score, by their place in the list (-1 for none).

    Raises:
        ValueError: the model shows no attention, or a number is out of range.
    """
    of = CausalModel.of(model)
    if isinstance(texts, str):
        raise ValueError("texts are a list of texts, and not one: give [text]")
    for name, number in (("sequences", sequences), ("length", length), ("top", top)):
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise ValueError(f"{name} is {number!r}: give a whole number of at least 1")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed is {seed!r}: give a whole number of at least 0")
    empty = next((place for place, text in enumerate(texts) if not text), None)
    if empty is not None:
        raise ValueError(f"text {empty} is empty: give texts with words")
    if not of.runner.layers("pattern"):
        raise ValueError(f"{of.runner.shape.name} shows no attention")
    job = jobs.current()
    generated = repeated_sequences(of, sequences, length, seed)
    with job.part(0.0, 0.5 if texts else 1.0):
        scores = np.stack(list(scores_of(of, generated)))
    data: dict[str, Any] = {"score": (("score_name", "layer", "head"), _mean(scores))}
    layers = of.runner.layers("pattern")
    coords: dict[str, Any] = {
        "score_name": list(SCORES),
        "layer": list(layers),
        "head": np.arange(scores.shape[-1]),
    }
    note = ""
    if texts:
        prompts = [of.prompter.prompt({"text": text}) for text in texts]
        note = _said_of_cut(prompts)
        with job.part(0.5, 1.0):
            own = np.stack(list(scores_of(of, prompts)))
        data |= _of_texts(own, top)
        coords["rank"] = np.arange(min(top, len(texts)))
    return xr.Dataset(
        data,
        coords=coords,
        attrs={
            "value": "score",
            "unit": "attention; of copying: logits",
            "method": f"{sequences} sequences of {length} random tokens, twice",
            "texts": len(texts),
            "note": note,
        },
    )


def _said_of_cut(prompts: Sequence[Prompt]) -> str:
    """Which texts are read in part, as a sentence; empty where none is."""
    cut = [place for place, prompt in enumerate(prompts) if prompt.truncated]
    if not cut:
        return ""
    most = max(len(prompt) for prompt in prompts)
    named = ", ".join(map(str, cut[:10])) + (", ..." if len(cut) > 10 else "")
    return (
        f"{len(cut)} of {len(prompts)} texts {'is' if len(cut) == 1 else 'are'} longer than the "
        f"{most} tokens that are read, and read up to there: {named}."
    )


def repeated_sequences(model: CausalModel, count: int, length: int, seed: int) -> list[Prompt]:
    """Random tokens, and the same once more, behind what comes in front of every text."""
    context, opening = model.prompter.max_length, model.prompter.opening.ids
    if len(opening) + 2 * length > context:
        raise ValueError(
            f"length is {length}: twice that does not fit into the {context} tokens that are read"
        )
    special = set(getattr(model.runner.tokenizer, "all_special_ids", ()))
    usual = [i for i in range(len(model.prompter.vocabulary.all_strings())) if i not in special]
    rng = np.random.default_rng(seed)
    halves = [rng.choice(usual, length, replace=length > len(usual)).tolist() for _ in range(count)]
    return [Prompt(ids=(*opening, *half, *half)) for half in halves]


def _of_texts(scores: "npt.NDArray[np.float64]", top: int) -> dict[str, Any]:
    """The mean over texts, and those with the largest scores."""
    count = min(top, len(scores))
    known = np.where(np.isnan(scores), -np.inf, scores)
    best = np.argsort(-known, axis=0, kind="stable")[:count]
    values = np.take_along_axis(scores, best, 0)
    dims = ("rank", "score_name", "layer", "head")
    return {
        "text_score": (dims[1:], _mean(scores)),
        "top_text": (dims, np.where(np.isnan(values), -1, best)),
        "top_score": (dims, values),
    }


def _mean(scores: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    """Over the first axis, of what there is; NaN for nothing."""
    there = np.isfinite(scores)
    total = np.where(there, scores, 0.0).sum(0) / np.maximum(there.sum(0), 1)
    return np.where(there.any(0), total, np.nan)


def scores_of(model: CausalModel, prompts: Sequence[Prompt]) -> Iterator["npt.NDArray[np.float64]"]:
    """Of each prompt `[score, layer, head]`; NaN where a prompt has nothing to go by."""
    layers = model.runner.layers("pattern")
    for prompt in jobs.each(prompts):
        attention = _attention(model, prompt)
        copying = _copying(model, prompt)
        yield np.array(
            [
                *([attention[layer][name] for layer in layers] for name in SCORES[:-1]),
                [copying[layer] for layer in layers],
            ],
            dtype=float,
        )


def _attention(model: CausalModel, prompt: Prompt) -> Mapping[int, dict[str, list[Any]]]:
    def reduce(patterns: torch.Tensor, seen: Seen) -> dict[str, list[Any]]:
        return head_scores(patterns[0], prompt.ids)

    observe = {"scores": Observe(Site("pattern"), reduce)}
    (batch,) = model.runner.run([prompt], observe=observe, logits="none")
    found: Mapping[int, dict[str, list[Any]]] = batch.observed["scores"]
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Readers:
    """What raises the logit of each token of a prompt, over all tokens' mean: for each position
    that reads, `[query, key, d_model]` up to the scale of the query."""

    directions: Float[torch.Tensor, "key d_model"]
    scales: Float[torch.Tensor, " query"]


def _copying(model: CausalModel, prompt: Prompt) -> Mapping[int, list[Optional[float]]]:
    """Of each head, in logits; None where its output is not read from the residual as it is."""
    runner = model.runner
    last = Site("resid_post", runner.shape.n_layers - 1)
    observe = {
        "pattern": Observe(Site("pattern")),
        "v": Observe(Site("v")),
        "last": Observe(last),
    }
    try:
        observe |= observed_of_heads(model)
        (batch,) = runner.run([prompt], observe=observe, logits="none")
        check_heads(model, batch.observed)
        readers = _readers(model, prompt, batch.observed["last"][0])
    except ValueError:  # nothing that heads write is read from the residual as it is
        return {layer: [None] * runner.shape.n_heads for layer in runner.layers("pattern")}
    found: dict[int, list[Optional[float]]] = {}
    for layer, patterns in batch.observed["pattern"].items():
        pattern = patterns[0].float()[:, 1:]  # head query key; the first token has no choice
        values = grouped_to_heads(batch.observed["v"][layer][0].float(), len(pattern), axis=1)
        try:
            weights = runner.weights(layer, "W_O").float()
        except ValueError:
            found[layer] = [None] * len(pattern)
            continue
        moved = torch.einsum("khd,hdm->hkm", values, weights)  # what each key writes
        own = torch.einsum("hk,hkm->hm", pattern[:, -1], moved)
        if not near(own, batch.observed["result"][layer][0]):
            found[layer] = [None] * len(pattern)
            continue
        raised = torch.einsum("hkm,km->hk", moved, readers.directions.to(moved))
        per_query = torch.einsum("hqk,hk->hq", pattern, raised)
        found[layer] = (per_query * readers.scales[1:].to(per_query)).mean(-1).tolist()
    return found


def _readers(model: CausalModel, prompt: Prompt, residual: torch.Tensor) -> _Readers:
    readout = model.runner.readout
    norm = final_norm(readout)
    matrix = readout.matrix().float()
    rows = matrix[list(prompt.ids)] - matrix.mean(0)
    directions = rows.double() * norm.gamma
    if norm.centred:
        directions = directions - directions.mean(-1, keepdim=True)
    return _Readers(directions.float(), norm.scales(residual.float()).float())
