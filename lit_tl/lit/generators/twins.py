"""What generators of twins share: a twin is a prompt with as many tokens as the one it comes
from."""

from typing import Any, Generic, Mapping, Optional, Sequence, TypeVar

from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.engine.chat_template import TEMPLATE
from lit_tl.engine.prompts import Prompt
from lit_tl.lit.asking import reads_text_with_ours, wrapped
from lit_tl.lit.forms import form_of, read_form
from lit_tl.settings import Settings

S = TypeVar("S", bound=Settings)


def movable(model: LoadedModel, prompt: Prompt) -> list[int]:
    """Places of tokens that a twin may change: those of the text, and of a conversation those of
    its messages."""
    if prompt.roles:
        added = model.prompter.vocabulary.is_added
        return [
            pos
            for pos, (role, token) in enumerate(zip(prompt.roles, prompt.ids, strict=True))
            if role != TEMPLATE and not added(token)
        ]
    return list(range(model.prompter.beginning(prompt.ids), len(prompt)))


class TwinGenerator(lit_components.Generator, Generic[S]):
    """Subclasses give texts; here they become examples, with the prompt that they come from as
    `corrupted_text` where the data have that field."""

    settings: type[S]

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """TransformerLens models, on any data with a text."""
        return reads_text_with_ours(model, dataset)

    def config_spec(self) -> lit_types.Spec:
        """What can be chosen on the page."""
        return form_of(self.settings)

    def generate(
        self,
        example: Mapping[str, Any],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[dict[str, Any]]:
        """New examples, each with the changes of one twin.

        Raises:
            SettingError: a setting is not allowed.
            ValueError: this prompt has no such twin; the message says why.
        """
        inner = wrapped(model)
        if inner is None:
            raise ValueError("choose a TransformerLens model: its tokens are what is changed")
        subject = inner.loaded
        twins = self.twins(subject, example, read_form(self.settings, config))
        length = len(subject.prompt({"text": example["text"]}))
        for twin in twins:
            if twin["text"] == example["text"]:
                raise ValueError("that changes nothing: the new prompt would be this one")
            count = len(subject.prompt({"text": twin["text"]}))
            if count != length:
                raise ValueError(
                    f"that makes a prompt of {count} tokens out of one of {length}, and a twin "
                    f"must be as long: {twin['text']!r}"
                )
        spec = dataset.spec()
        whole = {name: value for name, value in example.items() if name in spec}
        pair = {"corrupted_text": example["text"]} if "corrupted_text" in spec else {}
        read_by_models: dict[str, list[Any]] = {
            name: [] for name in ("tokens", "token_embeddings", "target_mask") if name in spec
        }
        return [{**whole, **pair, **read_by_models, **twin} for twin in twins]

    def twins(
        self, model: LoadedModel, example: Mapping[str, Any], settings: S
    ) -> Sequence[Mapping[str, Any]]:
        """The fields that differ, `text` among them."""
        raise NotImplementedError
