"""An analysis as LIT's interpreter: what a page asks for and gets."""

import json
from typing import Any, Mapping, Optional, Sequence

from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.analyses.contract import Analysis
from lit_tl.analyses.subject import Subject
from lit_tl.analyses.tables import table
from lit_tl.lit.asking import loaded, reads_text_with_ours, wrapped
from lit_tl.lit.forms import form_of, read_form
from lit_tl.lit.snippets import snippet

MAX_FIGURE_BYTES = 8_000_000


class AnalysisInterpreter(lit_components.Interpreter):
    """Runs an analysis and draws its answer.

    Args:
        analysis: what to run.
    """

    def __init__(self, analysis: Analysis):
        self.analysis = analysis

    def description(self) -> str:
        """What the numbers are."""
        return self.analysis.description

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """TransformerLens models, on any data with a text."""
        return reads_text_with_ours(model, dataset)

    def config_spec(self) -> lit_types.Spec:
        """The analysis's settings as controls."""
        return form_of(self.analysis.settings)

    def meta_spec(self) -> lit_types.Spec:
        """The browser panel knows by this that a figure comes, and what it takes to make it."""
        uses = sorted(self.analysis.uses)
        return {"figure": lit_types.String(default=",".join(uses))}

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Optional[Sequence[Mapping[str, Any]]] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[Any]:
        """One drawing: of the first input, with the second as its counterpart, and the data set."""
        return [self.draw(inputs, model, dataset, config or {})]

    def draw(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        config: Mapping[str, Any],
        other_model: Optional[lit_model.Model] = None,
    ) -> dict[str, Any]:
        """A drawing as JSON: Plotly's figure, a table, the prompt's tokens, a note, and Python.

        Args:
            inputs: the prompt, and where there is one, its counterpart.
            model: of ours.
            dataset: whose examples an analysis of data looks at.
            config: settings, by name.
            other_model: of ours, to compare with.

        Raises:
            ValueError: a setting is not allowed, or the figure is too large for a page.
        """
        settings = read_form(self.analysis.settings, config)
        of_data = "examples" in self.analysis.uses
        subject = Subject(
            model=loaded(model),
            example=inputs[0] if inputs else None,
            counterpart=inputs[1] if len(inputs) > 1 else None,
            other_model=None if other_model is None else loaded(other_model),
            examples=list(dataset.examples) if of_data else (),
        )
        result = self.analysis.answer(subject, settings)
        text = self.analysis.figure(result).to_json()
        if len(text) > MAX_FIGURE_BYTES:
            megabytes = len(text) / 1e6
            raise ValueError(
                f"the figure has {megabytes:.0f} MB, too much for a page: choose less, or a "
                "shorter "
                "prompt"
            )
        columns, rows = table(result)
        inner = wrapped(model)
        assert inner is not None
        return {
            "figure": json.loads(text),
            "columns": columns,
            "rows": rows,
            "tokens": [] if of_data or not inputs else subject.model.tokens(inputs[0]),
            "note": result.attrs.get("note", ""),
            "python": snippet(inner, self.analysis, subject, settings, wrapped(other_model)),
        }
