"""What the Predictions panel shows of a prompt."""

from typing import Any, Mapping, Optional

from lit_nlp.api import model as lit_model

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.engine.prompts import text_of
from lit_tl.lit.asking import ExampleInterpreter, fields_of, loaded, wrapped

_FIELDS = ("tokens", "token_loss", "token_rank", "top_k_tokens", "truncated", "logit_diff")
_NAMED = tuple(f"{name}_{value}" for name in ("answer", "foil") for value in ("prob", "rank"))


class Predictions(ExampleInterpreter):
    """Tokens with loss (nats) and rank, likeliest tokens at each position and next, and the data's
    answer and foil."""

    def look(
        self, example: Mapping[str, Any], model: lit_model.Model, config: Mapping[str, Any]
    ) -> dict[str, Any]:
        """`loss` and `rank` are None at the first token; `top[pos]` is what the model expects after
        token `pos`; `roles` are those of a conversation's tokens, and `loss_over` says which of
        them a loss is of; `conversation` has its `messages`, what it has further, and for each
        token the message that it belongs to, or -1."""
        (fields,) = fields_of(model, [example], [*_FIELDS, *_NAMED])
        inner, wrapper = loaded(model), wrapped(model)
        return {
            "tokens": fields["tokens"],
            "roles": list(inner.prompt(example).roles),
            "conversation": _conversation(inner, example),
            "loss_over": wrapper.config.loss_over if wrapper is not None else "all",
            "loss": [None, *fields["token_loss"][1:]],
            "rank": [None, *fields["token_rank"][1:]],
            "top": fields["top_k_tokens"],
            "truncated": fields["truncated"],
            "opening": inner.prompter.describe_opening(),
            "logit_diff": fields["logit_diff"],
            "d_vocab": inner.runner.shape.d_vocab,
            "answer": _named(inner, example, fields, "answer"),
            "foil": _named(inner, example, fields, "foil"),
        }


def _conversation(model: LoadedModel, example: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    conversation = model.prompter.conversation(text_of(example))
    if conversation is None:
        return None
    return {**conversation.described(), "turns": list(model.prompt(example).turns)}


def _named(
    model: LoadedModel, example: Mapping[str, Any], fields: Mapping[str, Any], name: str
) -> Optional[dict[str, Any]]:
    prompter = model.prompter
    ids = prompter.answers(example).get(name)
    if ids is None or fields[f"{name}_prob"] is None:
        return None
    tokens = prompter.vocabulary.strings(ids)
    return {
        "token": "".join(tokens),
        "tokens": tokens,
        "probability": fields[f"{name}_prob"],
        "rank": fields[f"{name}_rank"],
    }
