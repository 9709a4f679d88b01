"""What a model predicts: the numbers of LIT's table, for every prompt."""

import dataclasses
from typing import Any, Mapping, Sequence

from lit_tl.analyses.loaded_model import Example
from lit_tl.lit.fields import ROLES
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.contract import over_rows
from lit_tl.settings import Settings, setting
from lit_tl.store import Column, Described
from lit_tl.store.columns import Record

MOST_TOKENS = 100
"""How many next tokens a model that computes for stores gives."""
_SCALARS: Mapping[str, Column] = {
    "loss": Column(kind="number", unit="nats"),
    "perplexity": Column(kind="number"),
    "logit_diff": Column(kind="number", unit="logits"),
    "answer_rank": Column(kind="count"),
    "answer_prob": Column(kind="number", unit="probability"),
    "foil_rank": Column(kind="count"),
    "foil_prob": Column(kind="number", unit="probability"),
    "truncated": Column(kind="boolean"),
}
_OF_TOKENS: Mapping[str, Column] = {
    "tokens": Column(kind="text", axes=("token",), shape=(None,)),
    "token_loss": Column(kind="number", axes=("token",), shape=(None,), unit="nats"),
    "token_rank": Column(kind="count", axes=("token",), shape=(None,)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSettings(Settings):
    """What is kept of them."""

    top_k: int = setting(10, "How many next tokens to keep.", low=1, high=MOST_TOKENS)
    of_tokens: bool = setting(True, "Keep tokens, and the loss and rank of each.")


def _columns(model: HookedTransformerLIT, settings: PredictionSettings) -> Described:
    columns = dict(_SCALARS)
    if model.loaded.prompter.template.exists:
        columns |= {f"{role}_loss": Column(kind="number", unit="nats") for role in ROLES}
    if settings.of_tokens:
        columns |= _OF_TOKENS
    columns |= {
        "n_tokens": Column(kind="count"),
        "next_token": Column(kind="text"),
        "next_prob": Column(kind="number", unit="probability"),
        "next_tokens": Column(kind="text", axes=("rank",), shape=(settings.top_k,)),
        "next_probs": Column(
            kind="number", axes=("rank",), shape=(settings.top_k,), unit="probability"
        ),
    }
    return Described(columns=columns)


@over_rows("predictions", columns=_columns)
def predictions(
    model: HookedTransformerLIT, examples: Sequence[Example], settings: PredictionSettings
) -> Sequence[Record]:
    """Loss, perplexity, answer, foil, next tokens, and the loss and rank of each token."""
    named = [name for name in model.output_spec() if name in _columns(model, settings).columns]
    asked = [*dict.fromkeys([*named, "tokens", "next_tokens"])]
    return [
        _record(prediction, named, settings) for prediction in model.predict(examples, fields=asked)
    ]


def _record(
    prediction: Mapping[str, Any], named: Sequence[str], settings: PredictionSettings
) -> Record:
    following = prediction["next_tokens"][: settings.top_k]
    tokens, probabilities = [list(part) for part in zip(*following, strict=True)]
    return {
        **{name: prediction[name] for name in named},
        "n_tokens": len(prediction["tokens"]),
        "next_token": tokens[0],
        "next_prob": probabilities[0],
        "next_tokens": tokens,
        "next_probs": probabilities,
    }
