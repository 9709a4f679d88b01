"""How well each token was predicted, as a figure."""

import math
from typing import Any, Callable, Mapping

from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.figures.along_prompt import token_bars
from lit_tl.interpreters.asking import fields_of
from lit_tl.interpreters.figure import Drawing, FigureInterpreter

_QUANTITIES: Mapping[str, tuple[str, Callable[[float, int], float]]] = {
    "loss": ("nats", lambda loss, rank: loss),
    "probability": ("probability", lambda loss, rank: math.exp(-loss)),
    "rank": ("rank, 1 is the likeliest", lambda loss, rank: rank),
}


class TokenValues(FigureInterpreter):
    """Loss, probability or rank of each token, given those before it."""

    name = "Loss along the prompt"

    def description(self) -> str:
        """What the numbers are."""
        return "How well the model predicts each token from those before it."

    def config_spec(self) -> lit_types.Spec:
        """Which quantity."""
        return {"quantity": lit_types.CategoryLabel(default="loss", vocab=list(_QUANTITIES), required=False)}

    def draw(self, model: lit_model.Model, example: Mapping[str, Any], **settings: Any) -> Drawing:
        """A bar for each token but the first, which nothing predicts."""
        (fields,) = fields_of(model, [example], ["tokens", "token_loss", "token_rank"])
        unit, quantity = _QUANTITIES[str(settings["quantity"])]
        tokens = fields["tokens"]
        values = [quantity(*pair) for pair in zip(fields["token_loss"][1:], fields["token_rank"][1:], strict=True)]
        return Drawing(
            figure=token_bars(tokens, [None, *values], unit=unit, logarithmic=settings["quantity"] == "rank"),
            columns=["position", "token", str(settings["quantity"])],
            rows=[[pos, tokens[pos], value] for pos, value in enumerate(values, start=1)],
            tokens=tokens,
        )
