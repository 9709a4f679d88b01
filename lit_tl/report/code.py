"""Python that makes a session's figures again. It is written from what was kept, value by value: no
text of a session's file becomes code."""

import keyword
import re
from typing import Any, Mapping, Optional, Sequence

from lit_tl.session.session import Session

_NOT_OF_NAMES = re.compile(r"\W+", re.ASCII)


class Names:
    """Variables for labels, each once."""

    def __init__(self, *taken: str):
        self._taken = set(taken)
        self._known: dict[tuple[str, str], str] = {}

    def of(self, kind: str, label: str) -> str:
        """The variable of a label; `kind` begins it where the label can't be one."""
        if (kind, label) not in self._known:
            name = _NOT_OF_NAMES.sub("_", label).strip("_").lower()
            if not name.isidentifier() or keyword.iskeyword(name):
                name = f"{kind}_{name}".rstrip("_")
            free, count = name, 1
            while free in self._taken:
                count += 1
                free = f"{name}_{count}"
            self._taken.add(free)
            self._known[kind, label] = free
        return self._known[kind, label]


class Code:
    """The Python of one session.

    Args:
        session: with kept figures.
    """

    def __init__(self, session: Session):
        self._session = session
        self._names = Names("lit_tl", "figure", "other")
        self._models = {model["label"]: model for model in session.models}

    def alone(self, figure: Mapping[str, Any]) -> str:
        """All that one figure takes."""
        parts = filter(None, [self.data([figure]), self.models([figure]), self.figure(figure)])
        return "\n".join(["import lit_tl", "", *parts])

    def data(self, figures: Optional[Sequence[Mapping[str, Any]]] = None) -> str:
        """Lists of the examples that figures of whole data sets need.

        Args:
            figures: None for all of the session.
        """
        shown = self._session.figures if figures is None else figures
        lines = []
        for data in self._session.data:
            if any(self._looks_at(figure, data["label"]) for figure in shown):
                originals = [
                    each["data"]
                    for each in data["examples"]
                    if not (each.get("meta") or {}).get("added")
                ]
                name = self._names.of("data", data["label"])
                listed = "".join(f"    {example!r},\n" for example in originals)
                lines.append(f"{name} = [\n{listed}]")
        return "\n".join(lines)

    def models(self, figures: Optional[Sequence[Mapping[str, Any]]] = None) -> str:
        """Loads the models that figures need, originals before their variants.

        Args:
            figures: None for all of the session.
        """
        shown = self._session.figures if figures is None else figures
        wanted = {label for figure in shown for label in _models_of(figure)}
        wanted |= {
            str(self._models[label].get("original") or "")
            for label in wanted
            if label in self._models
        }
        return "\n".join(
            self._loads(model) for model in self._session.models if model["label"] in wanted
        )

    def figure(self, figure: Mapping[str, Any]) -> str:
        """Draws a figure, and shows it."""
        settings = dict(figure["settings"])
        minus = settings.pop("minus", "nothing")
        if minus == "nothing":
            return f"figure = {self._draws(figure, settings)}\nfigure.show()"
        swapped = dict(figure)
        if minus == "other model":
            swapped["model"], swapped["other_model"] = figure.get("other_model"), ""
        else:
            swapped["example"] = figure.get("counterpart")
        return (
            f"figure = {self._draws(figure, settings)}\n"
            f"other = {self._draws(swapped, settings)}\n"
            "figure = figure.minus(other)\nfigure.show()"
        )

    def _draws(self, figure: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
        model = self._names.of("model", str(figure.get("model") or ""))
        arguments = [repr(str(figure["analysis"])), model]
        if figure.get("example"):
            arguments.append(repr(dict(figure["example"])))
        if figure.get("counterpart"):
            arguments.append(f"counterpart={dict(figure['counterpart'])!r}")
        if figure.get("other_model"):
            other = self._names.of("model", str(figure["other_model"]))
            arguments.append(f"other_model={other}")
        if self._looks_at(figure, str(figure.get("data") or "")):
            arguments.append(f"examples={self._names.of('data', str(figure['data']))}")
        return f"lit_tl.draw({', '.join([*arguments, *_keywords(settings)])})"

    def _looks_at(self, figure: Mapping[str, Any], label: str) -> bool:
        """Whether a figure is of a whole data set."""
        return figure.get("data") == label and "prompts" in (figure.get("facts") or {})

    def _loads(self, model: Mapping[str, Any]) -> str:
        name = self._names.of("model", str(model["label"]))
        original = self._models.get(model.get("original") or "")
        changes: Sequence[str] = model.get("changes") or ()
        if original is not None:
            loaded = self._names.of("model", str(original["label"]))
        else:
            loaded = _loaded(model.get("source"), model.get("settings") or {})
        if changes:
            loaded += f".with_interventions({', '.join(repr(str(change)) for change in changes)})"
        open_end = "  # ...: your model object" if "..." in loaded and not original else ""
        return f"{name} = {loaded}{open_end}"


def _models_of(figure: Mapping[str, Any]) -> list[str]:
    return [str(figure[key]) for key in ("model", "other_model") if figure.get(key)]


def _loaded(source: Optional[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    config = ", ".join(_keywords(settings))
    given = [f"lit_tl.HookedTransformerLITConfig({config})"] if config else []
    if not source or not source.get("model_name"):
        return f"lit_tl.HookedTransformerLIT({', '.join(['...', *given])})"
    rest = {name: value for name, value in source.items() if name != "model_name"}
    arguments = [repr(str(source["model_name"])), *given, *_keywords(rest)]
    return f"lit_tl.HookedTransformerLIT.from_pretrained({', '.join(arguments)})"


def _keywords(values: Mapping[str, Any]) -> list[str]:
    """Only names become names; a list is a tuple, as settings have them."""
    return [
        f"{name}={tuple(value)!r}" if isinstance(value, list) else f"{name}={value!r}"
        for name, value in values.items()
        if str(name).isidentifier() and not keyword.iskeyword(str(name))
    ]
