"""How far heads read what earlier heads write, by their weights alone."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from lit_tl.causal.model import CausalModel
from lit_tl.engine import jobs
from lit_tl.engine.reductions import grouped_to_heads

Kind = Literal["Q", "K", "V"]
KINDS: tuple[str, ...] = get_args(Kind)


def composition_scores(model: Any) -> xr.Dataset:
    """Composition of every two heads (Elhage et al. 2021): `|W_OV A| / (|W_OV| |A|)` with
    Frobenius norms, where `W_OV` is what the earlier head moves, and `A` what the later one makes
    of it: `W_QK` for its queries, `W_QK` transposed for its keys, `W_OV` for its values.

    Weights are the model's own: gains of the norms between are not folded in.

    Args:
        model: of ours, of TransformerLens or of Hugging Face, or a `Runner`.

    Returns:
        `score` by `kind` (Q, K, V), `sender_layer`, `sender_head`, `layer` and `head`; NaN where
        the head does not come behind the sender.

    Raises:
        ValueError: the model does not have these matrices in every layer.
    """
    runner = CausalModel.of(model).runner
    layers, heads = runner.shape.n_layers, runner.shape.n_heads
    q, k, v, o = (_weights(runner, name, heads) for name in ("W_Q", "W_K", "W_V", "W_O"))
    # |X B| = |R B| with X = Q R: thin matrices stand for those of d_model x d_model.
    r_v, r_k, r_q = (torch.linalg.qr(each)[1] for each in (v, k, q))
    r_o = torch.linalg.qr(o.transpose(-1, -2))[1].transpose(-1, -2)
    norm_ov = (r_v @ r_o).norm(dim=(-2, -1))
    norm_qk = (r_q @ r_k.transpose(-1, -2)).norm(dim=(-2, -1))
    readers = {
        "Q": (q, r_k.transpose(-1, -2), norm_qk),
        "K": (k, r_q.transpose(-1, -2), norm_qk),
        "V": (v, r_o, norm_ov),
    }
    scores = np.full((len(KINDS), layers, heads, layers, heads), np.nan)
    for sender in jobs.each(range(layers * heads - heads)):
        layer, head = divmod(sender, heads)
        behind = slice((layer + 1) * heads, None)
        for place, kind in enumerate(KINDS):
            read, rest, norms = readers[kind]
            moved = r_v[sender] @ (o[sender] @ read[behind]) @ rest[behind]
            own = moved.norm(dim=(-2, -1)) / (norm_ov[sender] * norms[behind])
            scores[place, layer, head, layer + 1 :] = own.reshape(-1, heads).cpu().numpy()
    return xr.Dataset(
        {"score": (("kind", "sender_layer", "sender_head", "layer", "head"), scores)},
        coords={
            "kind": list(KINDS),
            "sender_layer": np.arange(layers),
            "sender_head": np.arange(heads),
            "layer": np.arange(layers),
            "head": np.arange(heads),
        },
        attrs={"value": "score", "method": "composition of weights, norms not folded"},
    )


def strongest(scores: xr.Dataset, kind: Kind, count: int = 10) -> list[tuple[str, str, float]]:
    """The pairs of heads that compose most: sender, reader and score.

    Args:
        scores: of `composition_scores`.
        kind: into what of the reader.
        count: how many.
    """
    values: npt.NDArray[np.float64] = scores["score"].sel(kind=kind).values
    order = np.argsort(-np.nan_to_num(values, nan=-1.0).ravel(), kind="stable")[:count]
    found = []
    for place in order:
        a, b, c, d = (int(i) for i in np.unravel_index(place, values.shape))
        found.append((f"L{a}H{b}", f"L{c}H{d}", float(values[a, b, c, d])))
    return found


def _weights(runner: Any, name: Any, heads: int) -> torch.Tensor:
    """A matrix of every head, `[layer * head, ...]` float32; that of shared keys and values for
    each of their query heads."""
    each = [runner.weights(layer, name).float() for layer in range(runner.shape.n_layers)]
    return torch.cat([grouped_to_heads(matrices, heads, axis=0) for matrices in each])
