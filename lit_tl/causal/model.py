"""A model as causal analysis asks it: a runner, and what makes prompts of texts."""

import dataclasses
from typing import Any

from lit_tl.engine.hugging_face_models import is_hugging_face
from lit_tl.engine.prompts import Prompter
from lit_tl.engine.runner import Runner
from lit_tl.engine.transformer_lens_models import is_transformer_lens
from lit_tl.models.loading import with_hooks

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
            model: of TransformerLens; of Hugging Face, which is looked into with TransformerLens'
                hooks over its own weights (`lit_tl.models.loading.with_hooks`); a
                `HookedTransformerLIT`; or anything else that has a `runner` and a `prompter`.

        Raises:
            TypeError: it is something else.
            ValueError: the model has no tokenizer, or TransformerLens does not know it.
        """
        if isinstance(model, cls):
            return model
        loaded = getattr(model, "loaded", model)  # of a `HookedTransformerLIT`
        if isinstance(getattr(loaded, "runner", None), Runner):
            return cls(loaded.runner, loaded.prompter)
        if is_hugging_face(model) and not is_transformer_lens(model):
            model = with_hooks(model)
        runner = model if isinstance(model, Runner) else Runner(model)
        return cls(runner, Prompter(runner, max_length=_MAX_LENGTH))
