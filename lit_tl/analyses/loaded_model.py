"""A model with what analyses ask of it; and the same under changes."""

import copy
import functools
import pathlib
import threading
from typing import Any, Callable, Mapping, Optional, Sequence, Union

import cachetools
import xarray as xr

from lit_tl.engine.interventions import Intervention
from lit_tl.engine.prompts import Prompt, Prompter
from lit_tl.engine.runner import Runner
from lit_tl.lens.choice import LensChoice, choose_lenses
from lit_tl.variants.changes import Change
from lit_tl.variants.ground import Ground, KnownVectors, Prompts, prompts_of
from lit_tl.variants.making import interventions_of

Example = Mapping[str, Any]
"""A prompt as `text`, and where there are any: `answer`, `foil`, `target`, `tokens`, ..."""
RESULT_CACHE_BYTES = 64 * 2**20


class LoadedModel:
    """A model with what analyses ask of it.

    Args:
        runner: of the model.
        max_seq_length: longest prompt in tokens.
        prepend_bos: whether a beginning-of-text token comes first; None is what the model expects.
        lens: which lenses to read with, as in `HookedTransformerLITConfig.lens`.
        chat: whether a plain text is a user's turn of a conversation.
        chat_template: in Jinja, in place of the tokenizer's own.

    Raises:
        ValueError: the model has no tokenizer, or should chat and has no chat template.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        max_seq_length: int = 4096,
        prepend_bos: Optional[bool] = None,
        lens: str = "auto",
        chat: bool = False,
        chat_template: Optional[str] = None,
    ):
        self.runner = runner
        self.prompter = Prompter(
            runner,
            max_length=max_seq_length,
            prepend_bos=prepend_bos,
            chat=chat,
            chat_template=chat_template,
        )
        self.results = _new_results()
        """Finished analyses, for whoever holds `results_lock`."""
        self.results_lock = threading.Lock()
        self.changes: tuple[Union[Change, Intervention], ...] = tuple(runner.interventions)
        """What tells a variant from the model that was loaded."""
        self.prompts_of: Callable[[str], Prompts] = prompts_of
        """Where changes find data sets."""
        self.vector_file: Callable[[str], pathlib.Path] = pathlib.Path
        """Where changes find vectors."""
        self._vectors = KnownVectors()
        self._lens = lens
        self._settings = (max_seq_length, prepend_bos, lens, chat, chat_template)
        self._original: Optional[LoadedModel] = None

    @functools.cached_property
    def lenses(self) -> LensChoice:
        """The lenses; a published one is looked for when somebody first looks through it.

        Raises:
            LensError: a lens that is named can't be loaded.
        """
        if self._original is not None:
            return self._original.lenses
        return choose_lenses(self.runner.model, self._lens)

    def with_interventions(
        self,
        changes: Sequence[Union[Change, Intervention]],
        data_sets: Mapping[str, Prompts] = {},
    ) -> "LoadedModel":
        """The model under further changes, behind its own: the same weights, prompter and lenses,
        and results of its own. It takes no memory for weights.

        Args:
            changes: see `lit_tl.variants.changes`.
            data_sets: prompts by the names that changes use, beside those of `prompts_of`.

        Raises:
            ValueError: the model has no such site, a vector does not fit it, or there is no such
                data set; the message says what there is.
        """
        ground = self.ground(data_sets)
        made = interventions_of(changes, ground)
        changed = copy.copy(self)
        changed.runner = self.runner.with_interventions(made)
        changed.changes = (*self.changes, *changes)
        changed.results, changed.results_lock = _new_results(), threading.Lock()
        changed.prompts_of, changed._original = ground.prompts_of, self
        return changed

    @property
    def _loaded(self) -> "LoadedModel":
        """The model without the changes of variants."""
        return self if self._original is None else self._original._loaded

    def finding(
        self, prompts_of: Callable[[str], Prompts], vector_file: Callable[[str], pathlib.Path]
    ) -> "LoadedModel":
        """The same model, whose changes find data sets and vectors in another way."""
        own = copy.copy(self)
        own.prompts_of, own.vector_file = prompts_of, vector_file
        return own

    def ground(self, data_sets: Mapping[str, Prompts] = {}) -> Ground:
        """What changes of this model are made on, with data sets beside those of `prompts_of`.
        Means and directions are those of the model that was loaded, so that equal changes are
        equal, whether they are made at once or one after the other."""

        def found(name: str) -> Prompts:
            return data_sets[name] if name in data_sets else self.prompts_of(name)

        return Ground(
            runner=self._loaded.runner,
            prompter=self.prompter,
            lenses=lambda: self.lenses,
            prompts_of=found,
            file=self.vector_file,
            known=self._vectors,
        )

    def prompt(self, example: Example) -> Prompt:
        """What the model reads of an example; see `Prompter.prompt`."""
        return self.prompter.prompt(example)

    def tokens(self, example: Example) -> list[str]:
        """An example's tokens as people read them."""
        return self.prompter.vocabulary.strings(self.prompt(example).ids)

    def state(self) -> str:
        """What changes when the model, or how it reads text, does."""
        return f"{id(self):x}:{self.runner.state()}:{self._settings}"


def _new_results() -> "cachetools.LRUCache[Any, xr.Dataset]":
    return cachetools.LRUCache(RESULT_CACHE_BYTES, getsizeof=lambda result: result.nbytes)
