"""What our generators have in common: twins of a prompt, as many tokens long, so that one can be patched into the other."""

from typing import Any, Mapping, Optional, Sequence

from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model

from lit_tl.interpreters.asking import wrapped
from lit_tl.models.engine import Engine
from lit_tl.models.wrapper import engine_of


class TwinGenerator(lit_components.Generator):
    """Subclasses give texts; here they become examples, with the prompt that they come from as `corrupted_text` where the data has
    that field."""

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """TransformerLens models, on any data with a text."""
        return wrapped(model) is not None and "text" in dataset.spec()

    def generate(
        self,
        example: Mapping[str, Any],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[dict[str, Any]]:
        """New examples, each with the changes of one twin.

        Raises:
            ValueError: this prompt has no such twin, and why; or a setting is wrong.
        """
        inner = wrapped(model)
        if inner is None:
            raise ValueError("choose a TransformerLens model: its tokens are what is changed")
        engine = engine_of(inner)
        twins = self.twins(engine, example, config or {})
        length = len(engine.prompt({"text": example["text"]}))
        for twin in twins:
            if twin["text"] == example["text"]:
                raise ValueError("that changes nothing: the new prompt would be this one")
            if (its := len(engine.prompt({"text": twin["text"]}))) != length:
                raise ValueError(
                    f"that makes a prompt of {its} tokens out of one of {length}, and a twin must be as long: {twin['text']!r}"
                )
        spec = dataset.spec()
        whole = {name: value for name, value in example.items() if name in spec}
        pair = {"corrupted_text": example["text"]} if "corrupted_text" in spec else {}
        read_by_models: dict[str, list[Any]] = {name: [] for name in ("tokens", "token_embeddings", "target_mask") if name in spec}
        return [{**whole, **pair, **read_by_models, **twin} for twin in twins]

    def twins(self, engine: Engine, example: Mapping[str, Any], config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The fields that differ, `text` among them."""
        raise NotImplementedError


def whole_number(config: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """A setting, which a page may send as text.

    Raises:
        ValueError: it is no whole number in these bounds.
    """
    given = config.get(name, default)
    try:
        value = int(default if given in ("", None) else given)
    except (TypeError, ValueError):
        value = least - 1
    if not least <= value <= most:
        raise ValueError(f"{name} is {given!r}, but must be a whole number from {least} to {most}")
    return value
