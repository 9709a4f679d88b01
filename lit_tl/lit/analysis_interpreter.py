"""An analysis as LIT's interpreter: what a page asks for and gets."""

import base64
import functools
import json
from typing import Any, Mapping, Optional, Sequence, get_args

import xarray as xr
from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.analyses import drawing
from lit_tl.analyses.contract import Analysis, Subject
from lit_tl.engine import jobs
from lit_tl.figures.difference import shortened
from lit_tl.figures.grid import Grid, json_bytes
from lit_tl.figures.paper_settings import Paper
from lit_tl.lit.asking import reads_text_with_ours, wrapped
from lit_tl.lit.forms import form_of
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.lit.snippets import difference_snippet, snippet
from lit_tl.settings import Settings, declarations

MAX_FIGURE_BYTES = 32_000_000
"""A grid of 100 by 2,048 cells with ten tokens in each has 23 MB."""


class AnalysisInterpreter(lit_components.Interpreter):
    """Runs an analysis and draws its answer.

    Args:
        analysis: what to run.
    """

    def __init__(self, analysis: Analysis):
        self.analysis = analysis

    def takes_long(self, config: Mapping[str, Any]) -> bool:
        """Whether other requests go before one with these settings."""
        analysis = self.analysis
        if "examples" in analysis.uses and not analysis.slow:
            return True
        return any(config.get(name) in values for name, values in analysis.slow.items())

    def description(self) -> str:
        """What the numbers are."""
        return self.analysis.description

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """TransformerLens models, on any data with a text."""
        return reads_text_with_ours(model, dataset)

    def config_spec(self) -> lit_types.Spec:
        """The analysis's settings as controls, and what is taken away from its figure."""
        spec = form_of(self.analysis.settings)
        if drawing.has_difference(self.analysis):
            choices = get_args(drawing.Minus)
            spec["minus"] = lit_types.CategoryLabel(default=choices[0], vocab=choices)
        return spec

    def meta_spec(self) -> lit_types.Spec:
        """The browser's panels know by `figure` that one comes, and what it takes to make it; by
        `tab` where it is shown; and by `only_with` which settings go with which."""
        only_with = {
            declared.name: declared.only_with
            for declared in declarations(self.analysis.settings)
            if declared.only_with is not None
        }
        return {
            "figure": lit_types.String(default=",".join(sorted(self.analysis.uses))),
            "tab": lit_types.String(default=self.analysis.tab),
            "only_with": lit_types.String(default=json.dumps(only_with)),
        }

    def run(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Optional[Sequence[Mapping[str, Any]]] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> list[Any]:
        """One drawing: of the first input, with the second as its counterpart, and the data set."""
        inner = wrapped(model)
        if inner is None:
            raise ValueError(f"{self.analysis.name} looks into TransformerLens models alone")
        return [self.draw(inputs, inner, dataset, config or {})]

    def draw(
        self,
        inputs: Sequence[Mapping[str, Any]],
        model: HookedTransformerLIT,
        dataset: lit_dataset.Dataset,
        config: Mapping[str, Any],
        other_model: Optional[HookedTransformerLIT] = None,
        file: str = "",
    ) -> dict[str, Any]:
        """What a page shows of the answer.

        Args:
            inputs: the prompt, and where there is one, its counterpart.
            model: to look into.
            dataset: whose examples an analysis of data looks at.
            config: settings, by name; `minus`: what is taken away from the figure; and `paper`: a
                file's sizes.
            other_model: to compare with.
            file: a kind of file to make of it, see `drawing.FILES`; "" for the page's own, "kept"
                for what a session keeps of it.

        Returns:
            For the page: `grid`, or Plotly's `figure`, and `tokens` of the prompt, a `note`,
            `python` that draws the same, and what the analysis itself has `said`. A file: its
            `type`, and `data` in base64.

        Raises:
            ValueError: a setting is not allowed, or the figure is too large for a page.
        """
        minus = config.get("minus", "nothing")
        paper = Paper.read(config.get("paper") or {})
        own = {name: value for name, value in config.items() if name not in ("minus", "paper")}
        settings = self.analysis.settings.read(own)
        if minus not in get_args(drawing.Minus) or (
            minus != "nothing" and not drawing.has_difference(self.analysis)
        ):
            raise ValueError(f"minus is {minus!r}: this is nothing that {self.analysis.name} takes")
        of_data = self.analysis.looks_at_data(settings)
        subject = Subject(
            model=model.loaded,
            example=inputs[0] if inputs else None,
            counterpart=inputs[1] if len(inputs) > 1 else None,
            other_model=None if other_model is None else other_model.loaded,
            examples=list(dataset.examples) if of_data else (),
        )
        if self.analysis.cells is not None and not file:
            _check_size(json_bytes(*self.analysis.cells(subject, settings)))
        if file == "kept":
            shown, table = (
                self.draw(inputs, model, dataset, config, other_model, kind) for kind in ("", "csv")
            )
            return self._kept(shown, table, subject, settings, minus)
        if minus != "nothing":
            return self._difference(model, other_model, subject, settings, minus, file, paper)
        if file:
            answer = self.analysis.answer(subject, settings)
            whole = drawing.to_file(self.analysis, answer, subject, settings, file, paper)
            return _reply(whole, file)
        python = snippet(model, self.analysis, subject, settings, other_model)
        draw = functools.partial(self._drawn, python, drawing.roles_of(subject))
        offer, latest = jobs.current().offer, None
        for result in self.analysis.results(subject, settings):
            if latest is not None and offer is not None:
                offer(draw(latest))
            latest = result
        assert latest is not None  # `results` raises where there is none
        return draw(latest)

    def _kept(
        self,
        shown: Mapping[str, Any],
        table: Mapping[str, Any],
        subject: Subject,
        settings: Settings,
        minus: drawing.Minus,
    ) -> dict[str, Any]:
        """What a session keeps of a figure; see `lit_tl/session/schema.json`."""
        against = {"minus": minus} if minus != "nothing" else {}
        compared = "pinned prompt" in (minus, getattr(settings, "against", ""))
        return {
            "analysis": self.analysis.name,
            "settings": {**settings.changed(), **against},
            "example": _plain(subject.example) if "example" in self.analysis.uses else None,
            "counterpart": _plain(subject.counterpart) if compared else None,
            "facts": drawing.facts(self.analysis, subject, settings) | against,
            "note": shown["note"],
            "python": shown["python"],
            "csv": base64.b64decode(table["data"]).decode(),
            **{name: shown[name] for name in ("grid", "figure") if name in shown},
        }

    def _difference(
        self,
        model: HookedTransformerLIT,
        other_model: Optional[HookedTransformerLIT],
        subject: Subject,
        settings: Settings,
        minus: drawing.Minus,
        file: str,
        paper: Paper,
    ) -> dict[str, Any]:
        grid = drawing.difference(self.analysis, subject, settings, minus)
        if file:
            return _reply(drawing.grid_to_file(grid, file, paper), file)
        assert subject.example is not None  # there was a figure of it
        taken = other_model if minus == "other model" else None
        known = self.analysis.answer(subject, settings).attrs  # it is kept
        less = grid.facts.get("minus prompt") or grid.facts.get("minus model") or minus
        return {
            "grid": grid.to_json(),
            "tokens": subject.model.tokens(subject.example),
            "note": " ".join(filter(None, [f"Less {shortened(less)}.", known.get("note", "")])),
            "unavailable": known.get("unavailable", {}),
            "python": difference_snippet(model, self.analysis, subject, settings, taken),
        }

    def _drawn(
        self, python: str, roles: Mapping[tuple[str, ...], Sequence[str]], result: xr.Dataset
    ) -> dict[str, Any]:
        figure = self.analysis.figure(result)
        reply: dict[str, Any] = {
            "tokens": result.attrs.get("tokens", []),
            "note": result.attrs.get("note", ""),
            "unavailable": result.attrs.get("unavailable", {}),
            "python": python,
            "said": result.attrs.get("said", {}),
            "roles": list(roles.get(tuple(map(str, result.attrs.get("tokens", []))), ())),
        }
        if isinstance(figure, Grid):
            return {"grid": figure.with_roles(roles).to_json(), **reply}
        text = figure.to_json()
        _check_size(len(text))
        return {"figure": json.loads(text), **reply}


def _plain(example: Optional[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
    """An example without what LIT's page adds to it."""
    if example is None:
        return None
    return {name: value for name, value in example.items() if not name.startswith("_")}


def _reply(content: bytes, file: str) -> dict[str, str]:
    return {"type": drawing.FILES[file], "data": base64.b64encode(content).decode()}


def _check_size(size: int) -> None:
    if size > MAX_FIGURE_BYTES:
        raise ValueError(
            f"the figure has about {size / 1e6:.0f} MB, too much for a page: show fewer layers "
            "(stride), or a shorter prompt"
        )
