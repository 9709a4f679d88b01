"""The wrapper's outputs, each once: its name, its LIT type, what it needs, and how it is made."""

import dataclasses
import functools
import math
from typing import Any, Callable, Collection, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt
import torch
from lit_nlp.api import types as lit_types

from lit_tl.engine.answers import NOT_NUMBERS, Reading
from lit_tl.engine.chat_template import TEMPLATE
from lit_tl.engine.prompts import Prompt, Prompter, first_difference
from lit_tl.engine.reductions import last_and_mean
from lit_tl.engine.requests import Batch, Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.engine.token_readings import TokenReadings
from lit_tl.lit.config import HookedTransformerLITConfig, LossOver

EMBED = Site("embed")
ROLES = ("system", "user", "assistant", "template")
"""Of a conversation's tokens; losses are given by them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What a field takes from a pass."""

    forward: bool = True
    token_embeddings: bool = False
    targets: bool = False
    gradients: bool = False
    generation: bool = False
    answers: bool = False
    top_tokens: bool = False
    """The likeliest at every position."""
    attention_layer: Optional[int] = None
    residual_layer: Optional[int] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One output. `heavy` ones grow with the length of the text or cost another pass, and are made
    on request only."""

    lit_type: lit_types.LitType
    make: Callable[["ExampleView"], Any]
    needs: Needs = Needs()
    heavy: bool = False


def observed_for(needs: Collection[Needs]) -> dict[str, Observe]:
    """What a pass observes for some fields together."""
    observe: dict[str, Observe] = {}
    if any(need.token_embeddings for need in needs):
        observe["embed"] = Observe(EMBED)
    attention = {need.attention_layer for need in needs} - {None}
    if attention:
        observe["pattern"] = Observe(Site("pattern"), layers=_sorted(attention))
    residual = {need.residual_layer for need in needs} - {None}
    if residual:
        observe["pooled"] = Observe(Site("resid_post"), last_and_mean, layers=_sorted(residual))
    return observe


def _sorted(layers: Collection[Optional[int]]) -> list[int]:
    return sorted(layer for layer in layers if layer is not None)


class ExampleView:
    """One example's part of a batch, as numbers of the host.

    Args:
        prompter: of the model.
        prompt: of the example.
        batch: None where no field needs a pass.
        row: of the example in the batch.
        top_k: how many next tokens to give.
        loss_over: which tokens of a conversation its loss is of.
        generated: the model's own continuation.
        readings: of the example's answer and foil, as far as they were read.
    """

    def __init__(
        self,
        prompter: Prompter,
        prompt: Prompt,
        batch: Optional[Batch],
        row: int,
        top_k: int,
        loss_over: LossOver,
        generated: str = "",
        readings: Optional[Mapping[str, Reading]] = None,
    ):
        self._prompter, self._optional_batch = prompter, batch
        self._row, self._top_k, self._loss_over = row, top_k, loss_over
        self.prompt, self.generated, self._readings = prompt, generated, readings or {}

    @property
    def _batch(self) -> Batch:
        assert self._optional_batch is not None
        return self._optional_batch

    @functools.cached_property
    def _reading(self) -> TokenReadings:
        reading = self._batch.reading(self._row, top=self._top_k)
        if bool(reading.normalizer.isnan().any()):
            raise ValueError(NOT_NUMBERS)
        return reading

    def tokens(self) -> list[str]:
        return self._prompter.vocabulary.strings(self.prompt.ids)

    def top_k_tokens(self) -> list[list[tuple[str, float]]]:
        reading = self._reading
        probabilities = (reading.top_logits - reading.normalizer[:, None]).exp().tolist()
        strings = self._prompter.vocabulary.strings
        return [
            list(zip(strings(row), ps, strict=True))
            for row, ps in zip(reading.top_ids.tolist(), probabilities, strict=True)
        ]

    def next_tokens(self) -> list[tuple[str, float]]:
        last = self._batch.last_logits()[self._row].float()
        values, ids = last.topk(min(self._top_k, len(last)))
        probabilities = (values - self._reading.normalizer[-1]).exp().tolist()
        strings = self._prompter.vocabulary.strings(ids.tolist())
        return list(zip(strings, probabilities, strict=True))

    @functools.cached_property
    def _token_loss(self) -> list[float]:
        return self._reading.losses.tolist()

    def token_loss(self) -> list[float]:
        return [0.0, *self._token_loss]

    def token_rank(self) -> list[int]:
        """Among all tokens, 1 is the likeliest; 1 for the first token too, which nothing
        predicts."""
        return [1, *self._reading.ranks.tolist()]

    def loss(self) -> Optional[float]:
        return self._mean_loss(counted(self.prompt.roles, self._loss_over, len(self.prompt)))

    def role_loss(self, role: str) -> Optional[float]:
        """Of a role's tokens; None where it has none."""
        return self._mean_loss([each == role for each in self.prompt.roles])

    def _mean_loss(self, counts: Sequence[bool]) -> Optional[float]:
        losses = [loss for loss, counted in zip(self._token_loss, counts[1:]) if counted]
        return sum(losses) / len(losses) if losses else None

    def perplexity(self) -> Optional[float]:
        loss = self.loss()
        return None if loss is None else math.exp(min(loss, 700.0))

    def prob(self, field: str) -> Optional[float]:
        """Of all tokens of the text, each after those before it."""
        reading = self._readings.get(field)
        if reading is None or not reading.whole:
            return None
        return math.exp(sum(reading.log_probs))

    def rank(self, field: str) -> Optional[int]:
        """The largest along the text: 1 where the model would write all of it."""
        reading = self._readings.get(field)
        return None if reading is None or not reading.whole else max(reading.ranks)

    def logit_diff(self) -> Optional[float]:
        """At the first token where answer and foil differ. What is before it is the same, so that a
        difference of log-probabilities is one of logits."""
        answer, foil = self._readings.get("answer"), self._readings.get("foil")
        if answer is None or foil is None:
            return None
        place = first_difference(answer.ids, foil.ids)
        if place is None:
            alike = answer.whole and foil.whole and answer.ids == foil.ids
            return 0.0 if alike else None
        return answer.log_probs[place] - foil.log_probs[place]

    def target(self) -> str:
        targets = self._batch.targets
        assert targets is not None
        entries = zip(targets.example, targets.token, strict=True)
        ids = [token for row, token in entries if row == self._row]
        return "".join(self._prompter.vocabulary.strings(ids))

    def token_embeddings(self) -> "npt.NDArray[np.float32]":
        return _array(self._batch.observed["embed"][self._row, : len(self.prompt)])

    def gradients(self) -> "npt.NDArray[np.float32]":
        return _array(self._batch.gradients[EMBED][self._row, : len(self.prompt)])

    def attention(self, layer: int) -> "npt.NDArray[np.float32]":
        n = len(self.prompt)
        return _array(self._batch.observed["pattern"][layer][self._row, :, :n, :n])

    def last_residual(self, layer: int) -> "npt.NDArray[np.float32]":
        return _array(self._batch.observed["pooled"][layer][0][self._row])

    def mean_residual(self, layer: int) -> "npt.NDArray[np.float32]":
        return _array(self._batch.observed["pooled"][layer][1][self._row])


def _array(tensor: torch.Tensor) -> "npt.NDArray[np.float32]":
    """A float32 copy that keeps no larger tensor alive."""
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous().numpy()


def counted(roles: Sequence[str], over: LossOver, length: int) -> list[bool]:
    """Which tokens a loss is of: all of a plain text, and of a conversation those that `over`
    names."""
    if not roles or over == "all":
        return [True] * length
    return [role == over if over == "assistant" else role != TEMPLATE for role in roles]


def output_fields(
    config: HookedTransformerLITConfig, runner: Runner, *, chats: bool
) -> dict[str, Field]:
    """All outputs of a model with these settings, by name, in LIT's order of preference; of one
    that chats, losses by role too."""
    fields = _text_fields(config) | _scalar_fields()
    if chats:
        fields |= _role_fields()
    if config.output_embeddings:
        fields |= _embedding_fields(config, runner.shape.n_layers)
    if config.compute_gradients:
        fields |= _gradient_fields(config)
    if config.output_attention:
        layers = runner.layers("pattern")
        fields |= {f"attention_layer_{layer}": _attention_field(layer) for layer in layers}
    return fields


def _text_fields(config: HookedTransformerLITConfig) -> dict[str, Field]:
    fields = {
        "tokens": Field(
            lit_type=lit_types.Tokens(parent="text", token_prefix=None),
            make=ExampleView.tokens,
            needs=Needs(forward=False),
        ),
        "next_tokens": Field(
            lit_type=lit_types.GeneratedTextCandidates(parent="answer"),
            make=ExampleView.next_tokens,
        ),
        "top_k_tokens": Field(
            lit_type=lit_types.TokenTopKPreds(align="tokens"),
            make=ExampleView.top_k_tokens,
            needs=Needs(top_tokens=True),
            heavy=True,
        ),
        "token_loss": Field(
            lit_type=lit_types.TokenScores(align="tokens"), make=ExampleView.token_loss
        ),
        "token_rank": Field(
            lit_type=lit_types.TokenScores(align="tokens"), make=ExampleView.token_rank
        ),
        "truncated": Field(
            lit_type=lit_types.BooleanLitType(),
            make=lambda view: view.prompt.truncated,
            needs=Needs(forward=False),
        ),
    }
    if config.max_new_tokens:
        fields["generated_text"] = Field(
            lit_type=lit_types.GeneratedText(parent="target"),
            make=lambda view: view.generated,
            needs=Needs(generation=True),
            heavy=True,
        )
    return fields


def _scalar_fields() -> dict[str, Field]:
    makers: dict[str, tuple[Callable[[ExampleView], Any], float, float]] = {
        "loss": (ExampleView.loss, 0.0, 20.0),
        "perplexity": (ExampleView.perplexity, 1.0, 1e6),
        "logit_diff": (ExampleView.logit_diff, -20.0, 20.0),
    }
    for field in ("answer", "foil"):
        makers[f"{field}_rank"] = (functools.partial(ExampleView.rank, field=field), 1.0, 1e6)
        makers[f"{field}_prob"] = (functools.partial(ExampleView.prob, field=field), 0.0, 1.0)
    return {
        name: Field(
            lit_type=lit_types.Scalar(min_val=low, max_val=high, required=False),
            make=make,
            needs=Needs(answers=name not in ("loss", "perplexity")),
        )
        for name, (make, low, high) in makers.items()
    }


def _role_fields() -> dict[str, Field]:
    return {
        f"{role}_loss": Field(
            lit_type=lit_types.Scalar(min_val=0.0, max_val=20.0, required=False),
            make=functools.partial(ExampleView.role_loss, role=role),
        )
        for role in ROLES
    }


def _embedding_fields(config: HookedTransformerLITConfig, n_layers: int) -> dict[str, Field]:
    fields = {}
    for layer in reversed(config.layers(n_layers)):
        needs = Needs(residual_layer=layer)
        for name, make in (
            ("last", ExampleView.last_residual),
            ("mean", ExampleView.mean_residual),
        ):
            fields[f"embedding_layer_{layer}_{name}"] = Field(
                lit_type=lit_types.Embeddings(),
                make=functools.partial(make, layer=layer),
                needs=needs,
            )
    fields["token_embeddings"] = Field(
        lit_type=lit_types.TokenEmbeddings(align="tokens"),
        make=ExampleView.token_embeddings,
        needs=Needs(token_embeddings=True),
        heavy=True,
    )
    return fields


def _gradient_fields(config: HookedTransformerLITConfig) -> dict[str, Field]:
    needs = Needs(gradients=True)
    gradients = lit_types.TokenGradients(
        align="tokens",
        grad_for="token_embeddings" if config.output_embeddings else None,
        grad_target_field_key="target",
    )
    return {
        "target": Field(
            lit_type=lit_types.GeneratedText(),
            make=ExampleView.target,
            needs=Needs(targets=True),
            heavy=True,
        ),
        "token_gradients": Field(
            lit_type=gradients, make=ExampleView.gradients, needs=needs, heavy=True
        ),
    }


def _attention_field(layer: int) -> Field:
    return Field(
        lit_type=lit_types.AttentionHeads(align_in="tokens", align_out="tokens"),
        make=functools.partial(ExampleView.attention, layer=layer),
        needs=Needs(attention_layer=layer),
        heavy=True,
    )
