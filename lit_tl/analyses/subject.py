"""What an analysis looks at: models, prompts, a data set."""

import dataclasses
import functools
import hashlib
import json
from typing import Any, Mapping, Optional, Sequence

import numpy as np

from lit_tl.engine.byte_cache import ByteCache
from lit_tl.engine.prompts import Prompt, Prompter
from lit_tl.engine.runner import Runner
from lit_tl.lens.choice import LensChoice, choose_lenses

Example = Mapping[str, Any]
"""A prompt as `text`, and where there are any: `answer`, `foil`, `target`, `tokens`, ..."""
RESULT_CACHE_BYTES = 64 * 2**20
READ_FIELDS = ("text", "tokens", "token_embeddings", "answer", "foil", "target", "target_mask")
"""All that a model reads of an example."""


class LoadedModel:
    """A model with what analyses ask of it.

    Args:
        runner: of the model.
        max_seq_length: longest prompt in tokens.
        prepend_bos: whether a beginning-of-text token comes first.
        lens: which lenses to read with, as in `HookedTransformerLITConfig.lens`.

    Raises:
        ValueError: the model has no tokenizer.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        max_seq_length: int = 512,
        prepend_bos: bool = True,
        lens: str = "auto",
    ):
        self.runner = runner
        self.prompter = Prompter(runner, max_length=max_seq_length, prepend_bos=prepend_bos)
        self.results = ByteCache(RESULT_CACHE_BYTES)
        """Finished analyses by `key`."""
        self._lens = lens
        self._settings = (max_seq_length, prepend_bos, lens)

    @functools.cached_property
    def lenses(self) -> LensChoice:
        """The lenses; a published one is looked for when somebody first looks through it.

        Raises:
            LensError: a lens that is named can't be loaded.
        """
        return choose_lenses(self.runner.model, self._lens)

    def prompt(self, example: Example) -> Prompt:
        """What the model reads of an example; see `Prompter.prompt`."""
        return self.prompter.prompt(example)

    def tokens(self, example: Example) -> list[str]:
        """An example's tokens as people read them."""
        return self.prompter.vocabulary.strings(self.prompt(example).ids)

    def state(self) -> str:
        """What changes when the model, or how it reads text, does."""
        return f"{id(self):x}:{self.runner.state()}:{self._settings}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """What one run of an analysis looks at. An analysis declares which parts it uses.

    Args:
        model: the model.
        example: the prompt.
        counterpart: a second prompt, to compare with.
        other_model: a second model.
        examples: a data set.
    """

    model: LoadedModel
    example: Optional[Example] = None
    counterpart: Optional[Example] = None
    other_model: Optional[LoadedModel] = None
    examples: Sequence[Example] = ()

    def need_example(self) -> Example:
        """The prompt.

        Raises:
            ValueError: there is none.
        """
        if self.example is None:
            raise ValueError("no prompt is given: select one, or give example={'text': ...}")
        return self.example

    def key(self) -> str:
        """What changes when something does that a result depends on."""
        digest = hashlib.sha256(self.model.state().encode())
        digest.update((self.other_model.state() if self.other_model else "").encode())
        for example in (self.example, self.counterpart, *self.examples):
            digest.update(_content(example))
        return digest.hexdigest()


def _content(example: Optional[Example]) -> bytes:
    if example is None:
        return b"none\0"
    read = [example.get(name) for name in READ_FIELDS]
    return json.dumps(read, default=_as_text).encode() + b"\0"


def _as_text(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [str(value.shape), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    return str(value)
