"""What a model thinks of a prompt's answer, and how it goes on."""

import dataclasses
import math
from typing import Literal, Mapping, Optional

import torch
from jaxtyping import Float

from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.engine.answers import Answer
from lit_tl.engine.prompts import first_difference

Curve = Literal["probability", "log-probability", "logit difference"]
"""What is measured of an answer: of the answer and its foil, all their tokens; or how far one is
above the other in logits."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AnswerUnder:
    """What a run says.

    Args:
        log_probs: of answer and foil, of those that the example has, in nats; of all their tokens.
        difference: logit of the answer less that of the foil, at the first token at which they
            differ; None where the example lacks one of them, or they begin alike to the end.
        next_log_probs: of the token after the prompt, in nats.
        text: what is generated.
    """

    log_probs: Mapping[str, float]
    difference: Optional[float]
    next_log_probs: Float[torch.Tensor, " d_vocab"]
    text: str

    def measured(self, curve: Curve) -> dict[str, float]:
        """The lines of a curve, by name."""
        if curve == "logit difference":
            return {} if self.difference is None else {"answer less foil": self.difference}
        if curve == "log-probability":
            return dict(self.log_probs)
        return {name: math.exp(value) for name, value in self.log_probs.items()}


def answer_under(model: LoadedModel, example: Example, *, new_tokens: int = 0) -> AnswerUnder:
    """Run a prompt.

    Args:
        model: that runs it.
        example: with `answer` and `foil` where there are any.
        new_tokens: how many tokens to generate.

    Raises:
        ValueError: the example has no text.
    """
    prompt, answers = model.prompt(example), model.prompter.answers(example)
    (batch,) = model.runner.run([prompt], keep_cache=True)
    asked = [Answer(0, ids) for ids in answers.values()]
    readings = model.runner.read_answers(batch, asked) if asked else []
    named = dict(zip(answers, readings, strict=True))
    difference = None
    if {"answer", "foil"} <= set(named):
        place = first_difference(answers["answer"], answers["foil"])
        if place is not None and all(len(each.log_probs) > place for each in named.values()):
            difference = named["answer"].log_probs[place] - named["foil"].log_probs[place]
    logits = batch.last_logits()[0].float().cpu()
    text = ""
    if new_tokens:
        (text,) = model.runner.continue_greedily(batch, max_new_tokens=new_tokens)
    return AnswerUnder(
        log_probs={name: sum(each.log_probs) for name, each in named.items()},
        difference=difference,
        next_log_probs=logits.log_softmax(-1),
        text=text,
    )


def require_lines(under: AnswerUnder, curve: Curve) -> None:
    """See that there is something to draw.

    Raises:
        ValueError: there is not; the message says what to fill in.
    """
    if under.measured(curve):
        return
    if curve == "logit difference":
        raise ValueError(
            "this prompt has no answer and foil that differ: fill them in, or choose the "
            "probability"
        )
    raise ValueError("this prompt has no answer: fill it in, to see what becomes of it")
