"""The hidden models that LIT's Sequence Salience looks for beside a model X: `_X_tokenizer` and `_X_salience`.

Both read the prompt with the chosen `target` after it, and share the one loaded model and its lock.
"""

import dataclasses
from typing import Any, Callable, Collection, Iterable, Iterator, Mapping, Optional, Sequence

from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.models.engine import Engine
from lit_tl.models.targets import choose_targets, target_token
from lit_tl.models.wrapper import HookedTransformerLIT, engine_of
from lit_tl.passes import salience
from lit_tl.passes.activations import Targets, Wanted, run
from lit_tl.passes.prompts import Prompt

_SPACE = "▁"


def siblings(name: str, model: HookedTransformerLIT) -> dict[str, lit_model.Model]:
    """The hidden models of a model called `name`."""
    return {f"_{name}_tokenizer": TokenizerSibling(model), f"_{name}_salience": SalienceSibling(model)}


def _whole(example: Mapping[str, Any]) -> dict[str, Any]:
    """The example as Sequence Salience means it: the target is the end of the text."""
    return {
        **example,
        "text": f"{example['text']}{example.get('target') or ''}",
        "target": "",
        "tokens": [],
        "token_embeddings": [],
    }


def _prompt(engine: Engine, example: Mapping[str, Any]) -> Prompt:
    """The whole of prompt and target.

    Raises:
        ValueError: together they are longer than the model reads.
    """
    prompt = engine.prompt(_whole(example))
    if prompt.truncated:
        raise ValueError(f"prompt and response are longer than the {len(prompt)} tokens that are read: shorten the prompt")
    return prompt


def _tokens(engine: Engine, prompt: Prompt) -> list[str]:
    return [token.replace(" ", _SPACE) for token in engine.prompter.vocabulary.strings(prompt.ids)]


class TokenizerSibling(lit_model.Model):
    """The tokens of prompt and target, a leading space written as LIT's client reads it."""

    def __init__(self, model: HookedTransformerLIT):
        self._engine = engine_of(model)

    def description(self) -> str:
        """What this is for."""
        return "Tokens for LIT's Sequence Salience."

    def input_spec(self) -> lit_types.Spec:
        """Prompt and target."""
        return {"text": lit_types.TextSegment(), "target": lit_types.TextSegment(required=False)}

    def output_spec(self) -> lit_types.Spec:
        """The tokens."""
        return {"tokens": lit_types.Tokens(parent="", token_prefix=None)}

    def predict(self, inputs: Iterable[Mapping[str, Any]], **unused: Any) -> Iterator[dict[str, Any]]:
        """Tokenize each prompt with its target."""
        for example in inputs:
            yield {"tokens": _tokens(self._engine, _prompt(self._engine, example))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A way to score tokens. Only `grad_dot_input` is drawn with signs by LIT's client; of others it gets magnitudes."""

    score: Callable[[salience.Explained, int], salience.Scores]
    contrastive: bool = False


def _all_layers(explained: salience.Explained, n_layers: int) -> salience.Scores:
    return salience.attention_value(explained, range(n_layers))


METHODS: Mapping[str, Method] = {
    "grad_l2": Method(score=lambda explained, _: salience.grad_l2(explained)),
    "grad_dot_input": Method(score=lambda explained, _: salience.grad_dot_input(explained)),
    "integrated_gradients": Method(score=lambda explained, _: salience.integrated_gradients(explained)),
    "occlusion": Method(score=lambda explained, _: salience.occlusion(explained)),
    "attention_value": Method(score=_all_layers),
    "contrast_grad_l2": Method(score=lambda explained, _: salience.grad_l2(explained), contrastive=True),
    "contrast_integrated_gradients": Method(score=lambda explained, _: salience.integrated_gradients(explained), contrastive=True),
}
"""Methods by the names of their buttons. Contrastive ones explain the answer against the foil (Yin and Neubig 2022)."""


class SalienceSibling(lit_model.Model):
    """Scores of the tokens of prompt and target for the span that `target_mask` marks, one field a method.

    A contrastive method explains the first marked token against the data's `foil`, or, where there is none, against the token
    that the model likes best besides it.
    """

    def __init__(self, model: HookedTransformerLIT):
        self._engine = engine_of(model)

    def description(self) -> str:
        """What this is for."""
        return "Token scores for LIT's Sequence Salience."

    def input_spec(self) -> lit_types.Spec:
        """Prompt, target, and which of their tokens are to be explained."""
        return {
            "text": lit_types.TextSegment(),
            "target": lit_types.TextSegment(required=False),
            "foil": lit_types.TextSegment(required=False),
            "target_mask": lit_types.TokenScores(align="", required=False),
        }

    def output_spec(self) -> lit_types.Spec:
        """Scores for each method."""
        return {"tokens": lit_types.Tokens(parent="", token_prefix=None)} | {
            name: lit_types.TokenScores(align="tokens") for name in METHODS
        }

    def predict(self, inputs: Iterable[Mapping[str, Any]], **unused: Any) -> Iterator[dict[str, Any]]:
        """Score each prompt with its target, by every method.

        Raises:
            ValueError: a mask does not fit its prompt.
        """
        yield from self.fetch(list(inputs), list(self.output_spec()))

    def fetch(self, inputs: Sequence[Mapping[str, Any]], names: Collection[str]) -> list[dict[str, Any]]:
        """The named fields of each input: no method runs that is not asked for."""
        return [self._score(example, names) for example in inputs]

    def _score(self, example: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        prompt = _prompt(self._engine, example)
        output: dict[str, Any] = {"tokens": _tokens(self._engine, prompt)} if "tokens" in names else {}
        plain, contrast = self._targets(_whole(example), prompt)
        for name in (name for name in METHODS if name in names):
            method = METHODS[name]
            explained = explain(self._engine, prompt, contrast if method.contrastive else plain)
            scores = method.score(explained, int(self._engine.model.cfg.n_layers))
            output[name] = (scores if name == "grad_dot_input" else abs(scores)).tolist()
        return output

    def _targets(self, example: Mapping[str, Any], prompt: Prompt) -> tuple[Targets, Targets]:
        with self._engine.lock:
            done = run(self._engine.model, [prompt], Wanted())
        plain = choose_targets(self._engine.prompter, [example], [prompt], done)
        pos, token = plain.pos[0], plain.token[0]
        foil: Optional[int] = target_token(self._engine.prompter, example.get("foil") or "")
        if foil is None or foil == token:
            foil = next(int(i) for i in done.logits[0, pos].topk(2).indices if int(i) != token)
        return plain, Targets(example=[0, 0], pos=[pos, pos], token=[token, foil], weight=[1.0, -1.0])


def explain(engine: Engine, prompt: Prompt, targets: Targets) -> salience.Explained:
    """A prompt and its target, with the wrapper's model, lock and bounds."""
    return salience.Explained(
        model=engine.model,
        lock=engine.lock,
        prompt=prompt,
        targets=targets,
        filler_id=engine.prompter.filler_id,
        batch_size=max(engine.config.batch_size, 16),
        token_budget=engine.config.token_budget,
    )
