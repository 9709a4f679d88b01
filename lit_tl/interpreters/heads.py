"""A number for each attention head, as a figure."""

import math
from typing import Any, Mapping

import torch
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.figures.grids import layer_by_head
from lit_tl.interpreters.asking import fields_of, wrapped
from lit_tl.interpreters.figure import Drawing, FigureInterpreter
from lit_tl.models.wrapper import engine_of
from lit_tl.passes.head_scores import HEAD_SCORES, head_scores


class HeadScores(FigureInterpreter):
    """Layer x head, coloured by what heads do on the prompt; see `lit_tl.passes.head_scores`."""

    name = "Head scores"

    def description(self) -> str:
        """What the numbers are."""
        return "Attention to what followed an earlier copy (induction), to the previous, duplicate or first token, or its entropy."

    def config_spec(self) -> lit_types.Spec:
        """Which score."""
        return {"score": lit_types.CategoryLabel(default="induction", vocab=list(HEAD_SCORES), required=False)}

    def draw(self, model: lit_model.Model, example: Mapping[str, Any], **settings: Any) -> Drawing:
        """One score of every head."""
        inner = wrapped(model)
        assert inner is not None
        engine = engine_of(inner)
        names = [f"attention_layer_{layer}" for layer in range(int(inner.model.cfg.n_layers))]
        (fields,) = fields_of(model, [example], names)
        prompt = engine.prompt(example)
        score = str(settings["score"])
        scores = [head_scores(torch.from_numpy(fields[name]), prompt.ids)[score] for name in names]
        most = math.log(max(len(prompt.ids), 2)) if score == "entropy" else 0.5
        unknown = all(value is None for row in scores for value in row)
        return Drawing(
            figure=layer_by_head(scores, name=score, unit="nats" if score == "entropy" else "attention", most=most),
            columns=["layer", "head", score],
            rows=[[layer, head, value] for layer, row in enumerate(scores) for head, value in enumerate(row)],
            tokens=engine.prompter.vocabulary.strings(prompt.ids),
            note="No token of this prompt stood in it before, so that this score has nothing to go by." if unknown else "",
        )
