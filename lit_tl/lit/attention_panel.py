"""What the Attention panel shows of all heads: their scores, and a small map of each."""

import base64
from typing import Any, Mapping

import numpy as np
from lit_nlp.api import model as lit_model

from lit_tl.analyses.attention import AttentionOverviewSettings, attention_overview
from lit_tl.analyses.contract import Subject
from lit_tl.analyses.head_scores import scored
from lit_tl.figures.grids import layer_by_head
from lit_tl.lit.asking import ExampleInterpreter, loaded


class AttentionHeads(ExampleInterpreter):
    """All heads on one example, in one pass. A head in full is the analysis "Attention"."""

    def look(
        self, example: Mapping[str, Any], model: lit_model.Model, config: Mapping[str, Any]
    ) -> dict[str, Any]:
        """`tokens`, `n_layers`, `n_heads`, `layers` (those with attention),
        `scores[name][layer][head]` (see `lit_tl.causal.attention_patterns`), `grids` of them by
        name, and `maps`: bytes in
        base64, for each of `layers` and each head `size` x `size` of them, scaled to the head's
        strongest weight.

        Raises:
            ValueError: the model has no attention.
        """
        del config
        inner = loaded(model)
        subject = Subject(model=inner, example=example)
        seen = attention_overview.answer(subject, AttentionOverviewSettings())
        shape, layers = inner.runner.shape, seen["layer"].values.tolist()
        scores, grids = {}, {}
        n_tokens = len(seen.attrs["tokens"])
        for name in seen["score"].values.tolist():
            rows: list[list[Any]] = [[None] * shape.n_heads for _ in range(shape.n_layers)]
            for layer in layers:
                values = seen["scores"].sel(layer=layer, score=name).values
                rows[layer] = [None if np.isnan(value) else float(value) for value in values]
            scores[name] = rows
            of_score = seen["scores"].sel(score=name).values
            grids[name] = layer_by_head(scored(name, of_score, layers, n_tokens)).to_json()
        return {
            "tokens": seen.attrs["tokens"],
            "n_layers": shape.n_layers,
            "n_heads": shape.n_heads,
            "layers": layers,
            "scores": scores,
            "grids": grids,
            "size": seen.attrs["size"],
            "maps": base64.b64encode(seen["maps"].values.tobytes()).decode(),
        }
