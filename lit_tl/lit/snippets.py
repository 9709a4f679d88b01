"""Python that draws what a page shows."""

from typing import Any, Mapping, Optional

from lit_tl.analyses.contract import Analysis, Subject
from lit_tl.analyses.loaded_model import Example
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.settings import Settings

_READ = ("text", "answer", "foil", "target", "corrupted_text")


def snippet(
    model: HookedTransformerLIT,
    analysis: Analysis,
    subject: Subject,
    settings: Settings,
    other_model: Optional[HookedTransformerLIT] = None,
) -> str:
    """Python that draws the same figure.

    Models are loaded as they were loaded here; for a model that was made elsewhere, that line is
    left open.

    Args:
        model: of the page.
        analysis: what was drawn.
        subject: of what.
        settings: with which settings.
        other_model: that the figure compares with.
    """
    changed, of_model = settings.changed(), model.config.changed()
    lines = ["import lit_tl", "", f"model = {_load(model, of_model)}"]
    arguments = [repr(analysis.name), "model"]
    if "example" in analysis.uses and subject.example is not None:
        arguments.append(repr(_read(subject.example)))
    if "counterpart" in analysis.uses and subject.counterpart is not None:
        arguments.append(f"counterpart={_read(subject.counterpart)!r}")
    if "other_model" in analysis.uses and other_model is not None:
        lines.append(f"other_model = {_load(other_model, other_model.config.changed())}")
        arguments.append("other_model=other_model")
    if analysis.looks_at_data(settings):
        counts = [getattr(settings, name, None) for name in ("max_prompts", "most", "prompts")]
        most = next((count for count in counts if count is not None), len(subject.examples))
        arguments.append(f"examples={[_read(example) for example in subject.examples[:most]]!r}")
    arguments.append(_keywords(changed))
    drawn = ", ".join(filter(None, arguments))
    return "\n".join([*lines, f"figure = lit_tl.draw({drawn})", "figure.show()", ""])


def difference_snippet(
    model: HookedTransformerLIT,
    analysis: Analysis,
    subject: Subject,
    settings: Settings,
    other_model: Optional[HookedTransformerLIT],
) -> str:
    """Python that draws the same difference.

    Args:
        model: of the page.
        analysis: what was drawn.
        subject: of what.
        settings: with which settings.
        other_model: that was taken away; None where the pinned prompt was.
    """
    keywords, example = _keywords(settings.changed()), subject.example or {}
    lines = ["import lit_tl", "", f"model = {_load(model, model.config.changed())}"]
    if other_model is not None:
        lines.append(f"other_model = {_load(other_model, other_model.config.changed())}")
        asked = [("figure", "model", example), ("other", "other_model", example)]
    else:
        asked = [("figure", "model", example), ("other", "model", subject.counterpart or {})]
    for name, of_model, prompt in asked:
        arguments = [repr(analysis.name), of_model, repr(_read(prompt))]
        if getattr(settings, "against", "") == "pinned prompt" and subject.counterpart:
            arguments.append(f"counterpart={_read(subject.counterpart)!r}")
        arguments.append(keywords)
        lines.append(f"{name} = lit_tl.draw({', '.join(filter(None, arguments))})")
    return "\n".join([*lines, "figure.minus(other).show()", ""])


def _read(example: Example) -> dict[str, str]:
    return {
        name: example[name]
        for name in _READ
        if isinstance(example.get(name), str) and example[name]
    }


def _load(model: HookedTransformerLIT, changed: Mapping[str, Any]) -> str:
    config = f"lit_tl.HookedTransformerLITConfig({_keywords(changed)})" if changed else ""
    changes = ", ".join(repr(str(change)) for change in model.loaded.changes)
    under = f".with_interventions({changes})" if changes else ""
    if model.loaded_with is None:
        inside = ", ".join(filter(None, ["...", config]))
        return f"lit_tl.HookedTransformerLIT({inside}){under}  # ...: your model object"
    given = model.loaded_with
    rest = {
        key: value for key, value in given.items() if key != "model_name" and value != "float32"
    }
    inside = ", ".join(filter(None, [repr(given["model_name"]), config, _keywords(rest)]))
    return f"lit_tl.HookedTransformerLIT.from_pretrained({inside}){under}"


def _keywords(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in values.items())
