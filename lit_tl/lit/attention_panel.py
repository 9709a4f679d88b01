"""What the Attention panel shows: a number for each head, small maps of some, one large."""

import base64
from typing import Any, Mapping, Optional, Sequence

import numpy as np
import torch
from jaxtyping import Float
from lit_nlp.api import model as lit_model

from lit_tl.analyses.attention_patterns import HEAD_SCORES, head_scores
from lit_tl.engine.reductions import grouped_to_heads, norms
from lit_tl.engine.requests import Observe
from lit_tl.engine.selfchecks import require_values
from lit_tl.engine.sites import Site
from lit_tl.lit.asking import ExampleInterpreter, fields_of, loaded

MAP_SIZE = 28
"""Small maps have at most so many rows: those of a longer prompt keep the strongest weight of each
patch."""

Pattern = Float[torch.Tensor, "head query_pos key_pos"]


class Attention(ExampleInterpreter):
    """Attention in parts, each in bytes rather than in digits. `config["want"]` is one of

    scores: `tokens`, `n_layers`, `n_heads`, `layers` (those with attention), and
    `scores[name][layer][head]`, see `lit_tl.analyses.attention_patterns`; maps: of
    `config["heads"]`, pairs of layer and head, 8-bit maps of `size` x `size`, each scaled to its
    strongest weight; head: of `config["layer"]` and `config["head"]`, where None is the mean over
    them, the whole matrix in 16 bits: weights are these numbers times `scale`.
    `config["value_weighted"]` multiplies each weight by the norm of the value vector that it reads
    (Kobayashi et al. 2020, without the output projection).
    """

    def look(
        self, example: Mapping[str, Any], model: lit_model.Model, config: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A part of the attention on one example.

        Raises:
            ValueError: no such part, layer or head.
        """
        asked = _Asked(example, model)
        want = config.get("want", "scores")
        if want == "scores":
            return asked.scores()
        if want == "maps":
            return asked.maps([(int(layer), int(head)) for layer, head in config.get("heads", [])])
        if want == "head":
            return asked.head(
                config.get("layer"), config.get("head"), bool(config.get("value_weighted"))
            )
        raise ValueError(f"want={want!r} is no part of attention: scores, maps and head are")


class _Asked:
    """One example's attention, layer by layer as it is needed."""

    def __init__(self, example: Mapping[str, Any], model: lit_model.Model):
        self._example, self._model, self._loaded = example, model, loaded(model)
        shape = self._loaded.runner.shape
        self._n_layers, self._n_heads = shape.n_layers, shape.n_heads
        self._layers = self._loaded.runner.layers("pattern")
        if not self._layers:
            raise ValueError(
                f"{shape.name} has no attention to show: TransformerLens gives no pattern in any "
                "of its layers"
            )

    def _patterns(self, layers: Sequence[int]) -> list[Pattern]:
        for layer in layers:
            self._check("layer", layer, self._n_layers)
            if layer not in self._layers:
                raise ValueError(
                    f"layer {layer} has no attention: layers {', '.join(map(str, self._layers))} "
                    "of this model have"
                )
        names = [f"attention_layer_{layer}" for layer in layers]
        (fields,) = fields_of(self._model, [self._example], names)
        return [torch.from_numpy(fields[name]) for name in names]

    def _check(self, kind: str, value: int, count: int) -> None:
        if not 0 <= value < count:
            raise ValueError(
                f"{kind} {value} is out of range: this model has {kind}s 0 to {count - 1}"
            )

    def scores(self) -> dict[str, Any]:
        prompt = self._loaded.prompt(self._example)
        patterns = zip(self._layers, self._patterns(self._layers), strict=True)
        by_layer = {layer: head_scores(pattern, prompt.ids) for layer, pattern in patterns}
        no_row = dict.fromkeys(HEAD_SCORES, [None] * self._n_heads)
        rows = [by_layer.get(layer, no_row) for layer in range(self._n_layers)]
        return {
            "tokens": self._loaded.prompter.vocabulary.strings(prompt.ids),
            "n_layers": self._n_layers,
            "n_heads": self._n_heads,
            "layers": list(self._layers),
            "scores": {name: [row[name] for row in rows] for name in HEAD_SCORES},
        }

    def maps(self, heads: Sequence[tuple[int, int]]) -> dict[str, Any]:
        layers = sorted({layer for layer, _ in heads})
        patterns = dict(zip(layers, self._patterns(layers), strict=True))
        for _, head in heads:
            self._check("head", head, self._n_heads)
        if not heads:
            return {"size": 0, "data": ""}
        chosen = torch.stack([patterns[layer][head] for layer, head in heads]).float()
        size = min(chosen.shape[-1], MAP_SIZE)
        small = torch.nn.functional.adaptive_max_pool2d(chosen[None], size)[0]  # head size size
        small = small / small.amax((1, 2), keepdim=True).clamp_min(1e-12)
        return {"size": size, "data": _text((255 * small).round().to(torch.uint8).numpy())}

    def head(
        self, layer: Optional[int], head: Optional[int], value_weighted: bool
    ) -> dict[str, Any]:
        layers = list(self._layers) if layer is None else [int(layer)]
        patterns = self._patterns(layers)
        if head is not None:
            self._check("head", int(head), self._n_heads)
        if value_weighted:
            patterns = [
                pattern * norms[:, None]
                for pattern, norms in zip(patterns, self._value_norms(layers), strict=True)
            ]
        chosen = [pattern.mean(0) if head is None else pattern[int(head)] for pattern in patterns]
        weights = torch.stack(chosen).mean(0).double().numpy()  # query key
        scale = float(weights.max()) / 65535 or 1.0
        return {
            "size": len(weights),
            "scale": scale,
            "data": _text(np.round(weights / scale).astype("<u2")),
        }

    def _value_norms(self, layers: Sequence[int]) -> list[Float[torch.Tensor, "head key_pos"]]:
        require_values(self._loaded.runner)
        prompt = self._loaded.prompt(self._example)
        observe = {"norms": Observe(Site("v"), norms, layers=layers)}
        (batch,) = self._loaded.runner.run([prompt], observe=observe, logits="none")
        by_layer = batch.observed["norms"]  # layer: batch pos value_head
        rows = [by_layer[layer][0].T.cpu() for layer in layers]
        return [grouped_to_heads(row, self._n_heads, axis=0) for row in rows]


def _text(numbers: "np.ndarray") -> str:
    return base64.b64encode(numbers.tobytes()).decode()
