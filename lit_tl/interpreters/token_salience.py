"""Salience Maps that LIT lacks or gets wrong: integrated gradients that reach the input, and occlusion."""

import dataclasses
from typing import Any, Callable, Mapping, Optional, Sequence, cast

import numpy as np
from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import dtypes as lit_dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.models.engine import Engine
from lit_tl.models.siblings import explain
from lit_tl.models.targets import choose_targets, target_token
from lit_tl.models.wrapper import HookedTransformerLIT, engine_of
from lit_tl.passes import salience
from lit_tl.passes.activations import Targets, Wanted, run


def wrapped(model: lit_model.Model) -> Optional[HookedTransformerLIT]:
    """The wrapper behind the server's own layers, or None for a model of another kind."""
    inner = getattr(model, "wrapped", model)
    return inner if isinstance(inner, HookedTransformerLIT) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSalience(lit_components.Interpreter):
    """A Salience Map for the gradient's target, or for the data's answer against its foil.

    Scores are scaled so that their magnitudes add up to 1, as LIT's other maps are.
    """

    text: str
    score: Callable[[salience.Explained, Mapping[str, Any]], salience.Scores]
    extra_config: lit_types.Spec = dataclasses.field(default_factory=dict)

    def description(self) -> str:
        """What the method does, and its source."""
        return self.text

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """TransformerLens models, on any data with a text."""
        return wrapped(model) is not None and "text" in dataset.spec()

    def config_spec(self) -> lit_types.Spec:
        """What can be chosen on the page."""
        contrast = lit_types.CategoryLabel(required=False, default="target", vocab=["target", "answer against foil"])
        return {"explain": contrast, **self.extra_config}

    def meta_spec(self) -> lit_types.Spec:
        """One signed map, run when it is asked for."""
        return {"saliency": lit_types.TokenSalience(autorun=False, signed=True)}

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Optional[Sequence[Mapping[str, Any]]] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[dict[str, lit_dtypes.TokenSalience]]:
        """A map for each input.

        Raises:
            ValueError: the contrast is asked for where an example has no answer and foil.
        """
        engine = engine_of(cast(HookedTransformerLIT, wrapped(model)))
        config = config or {}
        return [{"token_gradients": self._map(example, engine, config)} for example in inputs]

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
