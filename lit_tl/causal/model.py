"""A model as causal analysis asks it: a runner, and what makes prompts of texts."""

import dataclasses
from typing import Any

from lit_tl.engine.prompts import Prompter
from lit_tl.engine.runner import Runner

_MAX_LENGTH = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class CausalModel:
    """A model with its prompts.

    Args:
        runner: of the model.
        prompter: of the runner.
    """

    runner: Runner
    prompter: Prompter

    @classmethod
    def of(cls, model: Any) -> "CausalModel":
        """What a public function was given, as a model.

        Args:
            model: of TransformerLens; of Hugging Face, wrapped in a `Runner` with its tokenizer; a
                `HookedTransformerLIT`; or anything else that has a `runner` and a `prompter`.

        Raises:
            TypeError: it is something else.
            ValueError: the model has no tokenizer.
        """
        if isinstance(model, cls):
            return model
        loaded = getattr(model, "loaded", model)  # of a `HookedTransformerLIT`
        if isinstance(getattr(loaded, "runner", None), Runner):
            return cls(loaded.runner, loaded.prompter)
        runner = model if isinstance(model, Runner) else Runner(model)
        return cls(runner, Prompter(runner, max_length=_MAX_LENGTH))
