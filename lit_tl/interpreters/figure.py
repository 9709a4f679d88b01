"""Interpreters that draw: a Plotly figure, its numbers, and how to make it in a notebook. One browser panel shows any of them."""

import dataclasses
import json
from typing import Any, Mapping, Sequence

import plotly.graph_objects as go
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.interpreters.asking import ExampleInterpreter, wrapped
from lit_tl.models.config import HookedTransformerLITConfig
from lit_tl.models.wrapper import HookedTransformerLIT

MAX_FIGURE_BYTES = 8_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure, and the same numbers as a table."""

    figure: go.Figure
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    tokens: Sequence[str]
    """The prompt. Where `figure.layout.meta["pos"] == "x"`, the x axis counts its tokens."""
    note: str = ""


class FigureInterpreter(ExampleInterpreter):
    """Subclasses say what they are called, what can be set, and how to draw."""

    name: str

    def meta_spec(self) -> lit_types.Spec:
        """The browser panel knows by this that a figure comes."""
        return {"figure": lit_types.String()}

    def draw(self, model: lit_model.Model, example: Mapping[str, Any], **settings: Any) -> Drawing:
        """Draw one example; `settings` are those of `config_spec()`, which has their defaults.

        Raises:
            ValueError: a setting has no such value.
        """
        raise NotImplementedError

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All settings: what is given, else the defaults.

        Raises:
            ValueError: an unknown setting, or a value that is not among its choices.
        """
        spec = self.config_spec()
        if unknown := [key for key in given if key not in spec]:
            raise ValueError(f"{self.name} has no setting {unknown[0]!r}; it has {', '.join(spec) or 'none'}")
        chosen = {key: given.get(key, getattr(field, "default", None)) for key, field in spec.items()}
        for key, field in spec.items():
            if isinstance(field, lit_types.CategoryLabel) and field.vocab and chosen[key] not in field.vocab:
                raise ValueError(f"{key}={chosen[key]!r} is none of {', '.join(field.vocab)}")
        return chosen

    def look(self, example: Mapping[str, Any], model: lit_model.Model, config: Mapping[str, Any]) -> dict[str, Any]:
        """The drawing as JSON, with the Python that makes it.

        Raises:
            ValueError: a setting is wrong, or the figure is too large for a page.
        """
        settings = self.settings(config)
        drawing = self.draw(model, example, **settings)
        text = drawing.figure.to_json()
        if len(text) > MAX_FIGURE_BYTES:
            raise ValueError(f"the figure has {len(text) / 1e6:.0f} MB, too much for a page: choose less, or a shorter prompt")
        return {
            "figure": json.loads(text),
            "columns": drawing.columns,
            "rows": drawing.rows,
            "tokens": drawing.tokens,
            "note": drawing.note,
            "python": self.snippet(model, example, settings),
        }

    def snippet(self, model: lit_model.Model, example: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
        """Python that makes the same figure from `lit_tl` alone."""
        inner = wrapped(model)
        assert inner is not None
        read = {key: example[key] for key in inner.input_spec() if isinstance(example.get(key), str) and example[key]}
        return snippet_of(inner, self.name, read, settings)


def snippet_of(model: HookedTransformerLIT, name: str, example: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Python that loads a model as it was loaded here and draws; for a model that was made elsewhere, that part is left open."""
    defaults = HookedTransformerLITConfig()
    changed = {
        field.name: getattr(model.config, field.name)
        for field in dataclasses.fields(defaults)
        if getattr(model.config, field.name) != getattr(defaults, field.name)
    }
    config = f"lit_tl.HookedTransformerLITConfig({_keywords(changed)})" if changed else ""
    if model.loaded_with is None:
        load = f"lit_tl.HookedTransformerLIT({', '.join(filter(None, ['...', config]))})  # ...: your model object"
    else:
        rest = {key: value for key, value in model.loaded_with.items() if key != "model_name" and value != "float32"}
        first = repr(model.loaded_with["model_name"])
        load = f"lit_tl.HookedTransformerLIT.from_pretrained({', '.join(filter(None, [first, config, _keywords(rest)]))})"
    arguments = [repr(name), "model", repr(dict(example)), _keywords(settings)]
    return f"import lit_tl\n\nmodel = {load}\nfigure = lit_tl.draw({', '.join(filter(None, arguments))})\nfigure.show()\n"


def _keywords(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in values.items())
