"""Salience Maps that LIT lacks or gets wrong: integrated gradients that reach the input,
occlusion."""

import dataclasses
from typing import Any, Callable, Literal, Mapping, cast

import attr
import numpy as np
from lit_nlp.api import dtypes as lit_dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.analyses.token_salience import explained
from lit_tl.engine.targets import answer_against_foil, choose_targets, said_of_several
from lit_tl.lit.asking import ExampleInterpreter, loaded
from lit_tl.lit.forms import form_of, read_form
from lit_tl.salience import integrated, methods
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapSettings(Settings):
    """What every map can be asked."""

    explain: Literal["target", "answer against foil"] = setting(
        "target", "The gradient's target, or the data's answer against its foil."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntegratedGradientsSettings(MapSettings):
    """Of integrated gradients."""

    tolerance: float = setting(
        0.05, "Completeness gap to reach, as a share of the sum.", low=0.001, high=1.0
    )
    budget: int = setting(400, "Most points on the path.", low=17, high=10_000)


@attr.s(auto_attribs=True, frozen=True, slots=True)
class NotedSalience(lit_dtypes.TokenSalience):
    """Scores, and a sentence on how far off they may be, empty where there is none to say."""

    note: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSalience(ExampleInterpreter):
    """A Salience Map. Scores are scaled so that their magnitudes add up to 1, as LIT's other maps
    are.

    Args:
        text: what the method does, and its source.
        score: of the prompt's tokens, and what is to be said of them.
        settings: what can be chosen on the page.
        takes_long: whether other requests go first.
    """

    text: str
    score: Callable[[methods.Explained, Any], tuple[methods.Scores, str]]
    settings: type[MapSettings] = MapSettings
    takes_long: bool = False

    def description(self) -> str:
        """What the method does, and its source."""
        return self.text

    def config_spec(self) -> lit_types.Spec:
        """What can be chosen on the page."""
        return form_of(self.settings)

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
        settings = read_form(self.settings, config)
        return {"token_gradients": self._map(example, loaded(model), settings)}

    def _map(
        self, example: Mapping[str, Any], model: LoadedModel, settings: MapSettings
    ) -> lit_dtypes.TokenSalience:
        prompt, compared = model.prompt(example), ""
        if settings.explain == "answer against foil":
            contrast = answer_against_foil(model.prompter, example, prompt)
            prompt, targets, compared = contrast.prompt, contrast.targets, contrast.note
        else:
            (batch,) = model.runner.run([prompt])
            targets = choose_targets(model.prompter, [example], batch)
            if list(targets.pos) == [len(prompt) - 1]:
                name = "target" if example.get("target") else "answer"
                compared = said_of_several(model.prompter, example.get(name), f"the {name}")
        scores, note = self.score(explained(model, prompt, targets), settings)
        note = "; ".join(sentence for sentence in (compared, note) if sentence)
        scale = float(np.abs(scores).sum()) or 1.0
        tokens = model.prompter.vocabulary.strings(prompt.ids)
        made: lit_dtypes.TokenSalience = cast(Any, NotedSalience)(tokens, scores / scale, note)
        return made


def _integrated(what: methods.Explained, settings: Any) -> tuple[methods.Scores, str]:
    estimates = integrated.integrated_gradients(
        what, tolerance=settings.tolerance, budget=settings.budget
    )
    *_, last = estimates
    return last.scores, last.describe()


def integrated_gradients() -> TokenSalience:
    """Integrated gradients whose path ends at the prompt itself."""
    return TokenSalience(
        text="Integrated gradients (Sundararajan et al. 2017) from a prompt of beginning-of-text "
        "tokens, refined until they add up.",
        score=_integrated,
        settings=IntegratedGradientsSettings,
        takes_long=True,
    )


def occlusion() -> TokenSalience:
    """One token at a time replaced."""
    return TokenSalience(
        text="Occlusion: how much the target's log-probability drops when a token is replaced "
        "by the beginning-of-text token.",
        score=lambda what, settings: (methods.occlusion(what), ""),
        takes_long=True,
    )
