"""What LIT components of ours share: which model they ask, and for which fields."""

from typing import Any, Collection, Mapping, Optional, Sequence, cast

from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.lit.model import HookedTransformerLIT


def wrapped(model: lit_model.Model) -> Optional[HookedTransformerLIT]:
    """The wrapper behind the server's own layers, or None for a model of another kind."""
    inner = getattr(model, "wrapped", model)
    return inner if isinstance(inner, HookedTransformerLIT) else None


def loaded(model: lit_model.Model) -> LoadedModel:
    """What analyses ask of a LIT model of ours.

    Raises:
        TypeError: the model is of another kind.
    """
    inner = wrapped(model)
    if inner is None:
        raise TypeError(f"{type(model).__name__} is not a TransformerLens model")
    return inner.loaded


def reads_text_with_ours(model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
    """Whether a model is ours and the data have a text."""
    return wrapped(model) is not None and "text" in dataset.spec()


def fields_of(
    model: lit_model.Model, examples: Sequence[Mapping[str, Any]], names: Collection[str]
) -> list[Mapping[str, Any]]:
    """The named fields of each example, in one pass; the server keeps them.

    Raises:
        ValueError: the model's config leaves one of them out.
    """
    for name in names:
        inner = wrapped(model)
        if name == "token_gradients" and inner is not None and inner.no_gradients:
            raise ValueError(inner.no_gradients)
        if name not in model.output_spec():
            raise ValueError(
                f"this model was loaded without {name}: load it again with that output switched on"
            )
    return list(cast(Any, model).predict(examples, fields=names))


class ExampleInterpreter(lit_components.Interpreter):
    """An interpreter for TransformerLens models, on any data with a text, that looks at one example
    at a time."""

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """TransformerLens models, on any data with a text."""
        return reads_text_with_ours(model, dataset)

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Optional[Sequence[Mapping[str, Any]]] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[Any]:
        """A result for each input; see `look`."""
        return [self.look(example, model, config or {}) for example in inputs]

    def look(
        self, example: Mapping[str, Any], model: lit_model.Model, config: Mapping[str, Any]
    ) -> Any:
        """What there is to say of one example."""
        raise NotImplementedError
