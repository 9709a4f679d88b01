"""How well a language model predicts a data set or a slice of it, for LIT's Metrics module."""

import math
from typing import Any, Mapping, Optional, Sequence

from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.lit.asking import fields_of, loaded, reads_text_with_ours, wrapped
from lit_tl.lit.fields import ROLES, counted

_WHOSE = {
    "system": "the system's",
    "user": "the user's",
    "assistant": "the assistant's",
    "template": "the chat template's",
}
_HIGH, _LOW = lit_types.MetricBestValue.HIGHEST, lit_types.MetricBestValue.LOWEST


class LanguageModelMetrics(lit_components.Metrics):
    """Means over the tokens of all prompts, the first of each left out since nothing predicts it,
    and over the prompts' answers."""

    def description(self) -> str:
        """What is measured."""
        return (
            "Loss, perplexity and accuracy of next tokens; accuracy and logit difference of "
            "the data's answers."
        )

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """TransformerLens models, on any data with a text."""
        return reads_text_with_ours(model, dataset)

    def is_field_compatible(
        self, pred_spec: lit_types.LitType, parent_spec: Optional[lit_types.LitType]
    ) -> bool:
        """Unused: metrics are of whole predictions rather than of pairs of fields."""
        return False

    def meta_spec(self) -> lit_types.Spec:
        """What each number is."""
        return {
            "loss": lit_types.MetricResult(
                best_value=_LOW, description="mean -log p of a token, in nats"
            ),
            "perplexity": lit_types.MetricResult(best_value=_LOW, description="exp(loss)"),
            "top_1": lit_types.MetricResult(
                best_value=_HIGH, description="share of tokens that were the likeliest"
            ),
            "top_5": lit_types.MetricResult(
                best_value=_HIGH, description="share of tokens among the five likeliest"
            ),
            **{
                f"{role}_loss": lit_types.MetricResult(
                    best_value=_LOW, description=f"mean loss of {said} tokens, in nats"
                )
                for role, said in _WHOSE.items()
            },
            "answer_accuracy": lit_types.MetricResult(
                best_value=_HIGH, description="share of answers that were the likeliest"
            ),
            "logit_diff": lit_types.MetricResult(
                best_value=_HIGH, description="mean of logit[answer] - logit[foil]"
            ),
        }

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Optional[Sequence[Mapping[str, Any]]] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[dict[str, Any]]:
        """One entry with the metrics; those that nothing in the data speaks of are left out."""
        if not inputs:
            return []
        rows = fields_of(model, inputs, ["token_loss", "token_rank", "answer_rank", "logit_diff"])
        inner = wrapped(model)
        over = inner.config.loss_over if inner is not None else "all"
        roles = [loaded(model).prompt(example).roles for example in inputs]
        counts = [
            counted(each, over, len(row["token_loss"]))[1:]
            for each, row in zip(roles, rows, strict=True)
        ]
        losses = _chosen([row["token_loss"][1:] for row in rows], counts)
        ranks = _chosen([row["token_rank"][1:] for row in rows], counts)
        answers = [row["answer_rank"] for row in rows if row["answer_rank"] is not None]
        differences = [row["logit_diff"] for row in rows if row["logit_diff"] is not None]
        metrics: dict[str, float] = {}
        if losses:
            loss = _mean(losses)
            metrics |= {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
            metrics |= {f"top_{k}": _mean([rank <= k for rank in ranks]) for k in (1, 5)}
        for role in ROLES:
            of_role = [[one == role for one in each[1:]] for each in roles]
            losses = _chosen([row["token_loss"][1:] for row in rows], of_role)
            if losses:
                metrics[f"{role}_loss"] = _mean(losses)
        if answers:
            metrics["answer_accuracy"] = _mean([rank == 1 for rank in answers])
        if differences:
            metrics["logit_diff"] = _mean(differences)
        return [{"pred_key": "next_tokens", "label_key": "text", "metrics": metrics}]


def _chosen(values: Sequence[Sequence[Any]], counts: Sequence[Sequence[bool]]) -> list[Any]:
    """Those of all prompts that count."""
    return [
        value
        for row, counted in zip(values, counts, strict=True)
        for value, counts_too in zip(row, counted)
        if counts_too
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
