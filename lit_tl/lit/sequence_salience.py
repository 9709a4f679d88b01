"""The hidden models that LIT's Sequence Salience looks for beside a model X: `_X_tokenizer` and
`_X_salience`. Both read the prompt with the chosen `target` after it, and share the one model."""

import dataclasses
from typing import Any, Callable, Collection, Iterable, Iterator, Mapping, Optional, Sequence

from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.analyses.token_salience import explained
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Targets
from lit_tl.engine.targets import choose_targets, difference
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.salience import integrated, methods

_SPACE = "▁"


def siblings(name: str, model: HookedTransformerLIT) -> dict[str, lit_model.Model]:
    """The hidden models of a model called `name`."""
    return {
        f"_{name}_tokenizer": TokenizerSibling(model),
        f"_{name}_salience": SalienceSibling(model),
    }


def _whole(model: LoadedModel, example: Mapping[str, Any]) -> dict[str, Any]:
    """The example as Sequence Salience means it: the target is the end of the text."""
    text = model.prompter.followed_by(str(example["text"]), str(example.get("target") or ""))
    return {**example, "text": text, "target": "", "tokens": [], "token_embeddings": []}


def _prompt(model: LoadedModel, example: Mapping[str, Any]) -> Prompt:
    """The whole of prompt and target.

    Raises:
        ValueError: together they are longer than the model reads.
    """
    prompt = model.prompt(_whole(model, example))
    if prompt.truncated:
        raise ValueError(
            f"prompt and response are longer than the {len(prompt)} tokens that are read: shorten "
            "the prompt"
        )
    return prompt


def _tokens(model: LoadedModel, prompt: Prompt) -> list[str]:
    strings = model.prompter.vocabulary.strings(prompt.ids)
    return [token.replace(" ", _SPACE) for token in strings]


class TokenizerSibling(lit_model.Model):
    """The tokens of prompt and target, a leading space written as LIT's client reads it."""

    def __init__(self, model: HookedTransformerLIT):
        self._loaded = model.loaded

    def description(self) -> str:
        """What this is for."""
        return "Tokens for LIT's Sequence Salience."

    def state(self) -> str:
        """What changes when the model does."""
        return self._loaded.state()

    def input_spec(self) -> lit_types.Spec:
        """Prompt and target."""
        target = lit_types.TextSegment(required=False)
        return {"text": lit_types.TextSegment(), "target": target}

    def output_spec(self) -> lit_types.Spec:
        """The tokens."""
        return {"tokens": lit_types.Tokens(parent="", token_prefix=None)}

    def predict(
        self, inputs: Iterable[Mapping[str, Any]], **unused: Any
    ) -> Iterator[dict[str, Any]]:
        """Tokenize each prompt with its target."""
        for example in inputs:
            yield {"tokens": _tokens(self._loaded, _prompt(self._loaded, example))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A way to score tokens. LIT's client draws only `grad_dot_input` with signs; of others it gets
    magnitudes."""

    score: Callable[[methods.Explained], methods.Scores]
    contrastive: bool = False
    takes_long: bool = False


def _integrated_gradients(explained: methods.Explained) -> methods.Scores:
    *_, last = integrated.integrated_gradients(explained)
    return last.scores


METHODS: Mapping[str, Method] = {
    "grad_l2": Method(score=methods.grad_l2),
    "grad_dot_input": Method(score=methods.grad_dot_input),
    "integrated_gradients": Method(score=_integrated_gradients, takes_long=True),
    "occlusion": Method(score=methods.occlusion, takes_long=True),
    "attention_value": Method(score=methods.attention_value),
    "contrast_grad_l2": Method(score=methods.grad_l2, contrastive=True),
    "contrast_integrated_gradients": Method(
        score=_integrated_gradients, contrastive=True, takes_long=True
    ),
}
"""Methods by the names of their buttons. Contrastive ones explain the answer against the foil (Yin
and Neubig 2022)."""


SLOW_FIELDS = frozenset(name for name, method in METHODS.items() if method.takes_long)


class SalienceSibling(lit_model.Model):
    """Scores of the tokens of prompt and target for the span that `target_mask` marks, one field a
    method.

    A contrastive method explains the first marked token against the token of the data's `foil` that
    stands at its place behind the prompt, after the same tokens. Where there is none, it explains
    it against the token that the model likes best besides it.
    """

    def __init__(self, model: HookedTransformerLIT):
        self._loaded = model.loaded

    def description(self) -> str:
        """What this is for."""
        return "Token scores for LIT's Sequence Salience."

    def state(self) -> str:
        """What changes when the model does."""
        return self._loaded.state()

    def input_spec(self) -> lit_types.Spec:
        """Prompt, target, and which of their tokens to explain."""
        return {
            "text": lit_types.TextSegment(),
            "target": lit_types.TextSegment(required=False),
            "foil": lit_types.TextSegment(required=False),
            "target_mask": lit_types.TokenScores(align="", required=False),
        }

    def output_spec(self) -> lit_types.Spec:
        """Scores for each method."""
        scores = {name: lit_types.TokenScores(align="tokens") for name in METHODS}
        return {"tokens": lit_types.Tokens(parent="", token_prefix=None)} | scores

    def predict(
        self, inputs: Iterable[Mapping[str, Any]], **unused: Any
    ) -> Iterator[dict[str, Any]]:
        """Score each prompt with its target, by every method.

        Raises:
            ValueError: a mask does not fit its prompt.
        """
        yield from self.fetch(list(inputs), list(self.output_spec()))

    def fetch(
        self, inputs: Sequence[Mapping[str, Any]], names: Collection[str]
    ) -> list[dict[str, Any]]:
        """The named fields of each input: no method runs that is not asked for."""
        return [self._score(example, names) for example in inputs]

    def _score(self, example: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        prompt = _prompt(self._loaded, example)
        output: dict[str, Any] = {}
        if "tokens" in names:
            output["tokens"] = _tokens(self._loaded, prompt)
        plain, contrast = self._targets(example, prompt)
        for name in (name for name in METHODS if name in names):
            method = METHODS[name]
            targets = contrast if method.contrastive else plain
            scores = method.score(explained(self._loaded, prompt, targets))
            output[name] = (scores if name == "grad_dot_input" else abs(scores)).tolist()
        return output

    def _targets(self, own: Mapping[str, Any], prompt: Prompt) -> tuple[Targets, Targets]:
        (batch,) = self._loaded.runner.run([prompt])
        plain = choose_targets(self._loaded.prompter, [_whole(self._loaded, own)], batch)
        pos, token = plain.pos[0], plain.token[0]
        foil = self._foil(own, prompt, pos + 1)
        if foil is None or foil == token:
            likeliest = batch.need_logits()[0, pos].topk(2).indices.tolist()
            foil = next(i for i in likeliest if i != token)
        return plain, difference(token, foil, pos)

    def _foil(self, example: Mapping[str, Any], prompt: Prompt, pos: int) -> Optional[int]:
        """The foil's token at a position of the whole, if all before it is as in the foil."""
        foil = self._loaded.prompter.answers(example).get("foil", ())
        before = self._loaded.prompt({**_whole(self._loaded, example), "text": example["text"]}).ids
        place = pos - len(before)
        same = prompt.ids[:pos] == (*before, *foil[: max(place, 0)])
        return foil[place] if same and 0 <= place < len(foil) else None
