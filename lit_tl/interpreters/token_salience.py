"""Salience Maps that LIT lacks or gets wrong: integrated gradients that reach the input, and occlusion."""

import dataclasses
from typing import Any, Callable, Mapping

import numpy as np
from lit_nlp.api import dtypes as lit_dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.interpreters.asking import ExampleInterpreter, wrapped
from lit_tl.models.engine import Engine
from lit_tl.models.siblings import explain
from lit_tl.models.targets import choose_targets, target_token
from lit_tl.models.wrapper import engine_of
from lit_tl.passes import salience
from lit_tl.passes.activations import Targets, Wanted, run


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSalience(ExampleInterpreter):
    """A Salience Map for the gradient's target, or for the data's answer against its foil.

    Scores are scaled so that their magnitudes add up to 1, as LIT's other maps are.
    """

    text: str
    score: Callable[[salience.Explained, Mapping[str, Any]], salience.Scores]
    extra_config: lit_types.Spec = dataclasses.field(default_factory=dict)

    def description(self) -> str:
        """What the method does, and its source."""
        return self.text

    def config_spec(self) -> lit_types.Spec:
        """What can be chosen on the page."""
        contrast = lit_types.CategoryLabel(required=False, default="target", vocab=["target", "answer against foil"])
        return {"explain": contrast, **self.extra_config}

    def meta_spec(self) -> lit_types.Spec:
        """One signed map, run when it is asked for."""
        return {"saliency": lit_types.TokenSalience(autorun=False, signed=True)}

    def look(
        self, example: Mapping[str, Any], model: lit_model.Model, config: Mapping[str, Any]
    ) -> dict[str, lit_dtypes.TokenSalience]:
        """The map of one example.

        Raises:
            ValueError: the contrast is asked for where the example has no answer and foil.
        """
        inner = wrapped(model)
        assert inner is not None
        return {"token_gradients": self._map(example, engine_of(inner), config)}

    def _map(self, example: Mapping[str, Any], engine: Engine, config: Mapping[str, Any]) -> lit_dtypes.TokenSalience:
        prompt = engine.prompt(example)
        with engine.lock:
            done = run(engine.model, [prompt], Wanted())
        if config.get("explain") == "answer against foil":
            targets = _contrast(example, engine, len(prompt) - 1)
        else:
            targets = choose_targets(engine.prompter, [example], [prompt], done)
        scores = self.score(explain(engine, prompt, targets), config)
        scale = float(np.abs(scores).sum()) or 1.0
        return lit_dtypes.TokenSalience(engine.prompter.vocabulary.strings(prompt.ids), scores / scale)


def _contrast(example: Mapping[str, Any], engine: Engine, pos: int) -> Targets:
    tokens = [target_token(engine.prompter, example.get(field) or "") for field in ("answer", "foil")]
    if None in tokens:
        raise ValueError("this prompt has no answer and foil to set against each other: choose 'target', or fill them in")
    return Targets(example=[0, 0], pos=[pos, pos], token=[token for token in tokens if token is not None], weight=[1.0, -1.0])


def integrated_gradients() -> TokenSalience:
    """Integrated gradients whose path ends at the prompt itself."""
    return TokenSalience(
        text="Integrated gradients (Sundararajan et al. 2017) from a prompt of beginning-of-text tokens.",
        score=lambda explained, config: salience.integrated_gradients(explained, int(config.get("steps") or 32)),
        extra_config={"steps": lit_types.Integer(default=32, min_val=4, max_val=256, required=False)},
    )


def occlusion() -> TokenSalience:
    """One token at a time replaced."""
    return TokenSalience(
        text="Occlusion: how much the target's log-probability drops when a token is replaced by the beginning-of-text token.",
        score=lambda explained, config: salience.occlusion(explained),
    )
