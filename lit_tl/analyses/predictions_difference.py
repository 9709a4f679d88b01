"""Two predictions set against each other: of two prompts, or of two models."""

import dataclasses
from typing import Iterator, Literal, Sequence

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from jaxtyping import Float

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine import jobs
from lit_tl.engine.token_readings import ReadTokens
from lit_tl.engine.vocabulary import Vocabulary
from lit_tl.figures.difference import aligned, shortened
from lit_tl.figures.predictions import difference_bars
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionsDifferenceSettings(Settings):
    """What is taken away, and how many next tokens are shown."""

    against: Literal["pinned prompt", "other model"] = setting(
        "pinned prompt", "Whose predictions are taken away."
    )
    top_k: int = setting(10, "How many next tokens to show.", low=1, high=15)


@analysis(
    "Predictions difference",
    figure=difference_bars,
    uses=("example", "counterpart", "other_model"),
    tab="Predictions",
)
def predictions_difference(
    subject: Subject, settings: PredictionsDifferenceSettings
) -> Iterator[xr.Dataset]:
    """Predictions less those of the pinned prompt, or of another model: each token's loss, and the
    probability of what comes next.

    Tokens are set against each other as a text comparison aligns them. The next tokens are those
    whose probability differs most, of the likeliest of both.
    """
    example = subject.need_example()
    other, less = _taken(subject, example, settings)
    one, two = [_Reading.of(*each) for each in jobs.each([(subject.model, example), other])]
    places = aligned(one.tokens, two.tokens)
    there = places >= 0
    other_loss, other_rank = (np.full(len(places), np.nan) for _ in range(2))
    other_loss[there], other_rank[there] = two.loss[places[there]], two.rank[places[there]]
    tokens, probabilities = _next(one, two, settings.top_k)
    unmatched = int((~there).sum())
    notes = [
        f"Less {shortened(less)}.",
        f"{unmatched} tokens have no partner there, and no number." if unmatched else "",
        "A text was cut to what the model reads." if one.truncated or two.truncated else "",
    ]
    yield xr.Dataset(
        {
            "loss": ("position", one.loss),
            "other_loss": ("position", other_loss),
            "rank": ("position", one.rank),
            "other_rank": ("position", other_rank),
            "loss_difference": ("position", one.loss - other_loss),
            "probability": ("next_token", probabilities[0]),
            "other_probability": ("next_token", probabilities[1]),
            "probability_difference": ("next_token", probabilities[0] - probabilities[1]),
        },
        coords={
            "position": np.arange(len(places)),
            "token": ("position", one.tokens),
            "other_position": ("position", places),
            "next_token": tokens,
        },
        attrs={
            "value": "loss_difference",
            "tokens": one.tokens,
            "also": "probability_difference",
            "unit": "nats",
            "note": " ".join(filter(None, notes)),
        },
    )


def _taken(
    subject: Subject, example: Example, settings: PredictionsDifferenceSettings
) -> tuple[tuple[LoadedModel, Example], str]:
    """The model and the prompt whose predictions are taken away, and their name."""
    if settings.against == "pinned prompt":
        if subject.counterpart is None:
            raise ValueError("no prompt is pinned: pin one to see the difference from it")
        return (subject.model, subject.counterpart), str(subject.counterpart.get("text", ""))
    if subject.other_model is None:
        raise ValueError(
            "there is no other model to see the difference from: load one in the Configure dialog"
        )
    return (subject.other_model, example), subject.other_model.runner.shape.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Reading:
    """What a model thinks of a prompt: loss (nats) and rank of each token, none of the first."""

    tokens: list[str]
    truncated: bool
    loss: "npt.NDArray[np.float64]"
    rank: "npt.NDArray[np.float64]"
    next_log_probs: Float[torch.Tensor, " d_vocab"]
    vocabulary: Vocabulary

    @classmethod
    def of(cls, model: LoadedModel, example: Example) -> "_Reading":
        prompt = model.prompt(example)
        (batch,) = model.runner.run([prompt], logits=ReadTokens())
        reading, vocabulary = batch.reading(0, top=0), model.prompter.vocabulary
        assert batch.last is not None  # readings were asked for
        return cls(
            tokens=vocabulary.strings(prompt.ids),
            truncated=prompt.truncated,
            loss=np.array([np.nan, *reading.losses.tolist()]),
            rank=np.array([np.nan, *reading.ranks.tolist()]),
            next_log_probs=batch.last[0].float().log_softmax(-1).cpu(),
            vocabulary=vocabulary,
        )

    def likeliest(self, top_k: int) -> list[int]:
        """The likeliest next tokens."""
        top = self.next_log_probs.topk(min(top_k, len(self.next_log_probs)))
        top_ids: list[int] = top.indices.tolist()
        return top_ids

    def probabilities(self, tokens: Sequence[str]) -> list[float]:
        """Of next tokens; NaN where the vocabulary has none of that name."""
        found = []
        for token in tokens:
            try:
                (token_id,) = self.vocabulary.ids([token])
            except ValueError:
                found.append(float("nan"))
            else:
                found.append(self.next_log_probs[token_id].exp().item())
        return found


def _next(one: _Reading, two: _Reading, top_k: int) -> tuple[list[str], "npt.NDArray[np.float64]"]:
    """The next tokens that differ most, of the likeliest of both, and their probabilities
    `[2, next_token]`. Tokens that only one model has come last."""
    if one.vocabulary.all_strings() == two.vocabulary.all_strings():
        # by number: two tokens may have one spelling
        ids = [*dict.fromkeys([*one.likeliest(top_k), *two.likeliest(top_k)])]
        names = one.vocabulary.strings(ids)
        both = np.stack([each.next_log_probs[ids].exp().numpy() for each in (one, two)])
    else:
        spelled = [each.vocabulary.strings(each.likeliest(top_k)) for each in (one, two)]
        names = [*dict.fromkeys([*spelled[0], *spelled[1]])]
        both = np.array([each.probabilities(names) for each in (one, two)])
    size = np.nan_to_num(np.abs(both[0] - both[1]), nan=-1.0)
    order = np.argsort(-size, kind="stable")[:top_k]
    return [names[place] for place in order], both[:, order].astype(float)
