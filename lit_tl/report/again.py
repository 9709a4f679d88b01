"""The command that makes a kept figure again."""

import json
import shlex
from typing import Any, Mapping, Optional, Sequence

_FLAGS = ("lens", "prepend_bos", "chat", "chat_template")
_NAMES = {"lens": "lens_files"}


def command(figure: Mapping[str, Any], models: Sequence[Mapping[str, Any]]) -> Optional[str]:
    """The command line that writes a figure's file.

    Args:
        figure: that was kept.
        models: of the session.

    Returns:
        None where no command does: of a difference, an analysis of a data set, or a model that was
        made elsewhere.
    """
    settings = dict(figure["settings"])
    example: Mapping[str, Any] = figure.get("example") or {}
    known = {model["label"]: model for model in models}
    model = known.get(figure.get("model"))
    entry = _entry(model, known)
    if entry is None or settings.pop("minus", "nothing") != "nothing" or not example.get("text"):
        return None
    if settings.get("over") == "data set" or example.get("corrupted_text"):
        return None  # the command takes one text
    words = ["python", "-m", "lit_tl.analyses", figure["analysis"], f"--model={entry}"]
    if figure.get("other_model"):
        other = _entry(known.get(figure["other_model"]), known)
        if other is None:
            return None
        words.append(f"--other_model={other}")
    words += [
        f"--{name}={example[name]}" for name in ("text", "answer", "foil") if example.get(name)
    ]
    if figure.get("counterpart"):
        words.append(f"--counterpart={figure['counterpart'].get('text', '')}")
    of_model = (model or {}).get("settings") or {}
    words += [
        f"--{_NAMES.get(name, name)}={_text(of_model[name])}" for name in _FLAGS if name in of_model
    ]
    words += [f"--{name}={_text(value)}" for name, value in settings.items()]
    ending = "svg" if figure.get("grid") else "html"
    return shlex.join([*words, f"--output=figure.{ending}"])


def _entry(
    model: Optional[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]
) -> Optional[str]:
    """A model as `--model` takes it."""
    if model is None:
        return None
    source = model.get("source") or (known.get(model.get("original", "")) or {}).get("source")
    if not source or not source.get("model_name"):
        return None
    version = f"@{source['revision']}" if source.get("revision") else ""
    if source.get("checkpoint_value") is not None:
        version = f"@step={source['checkpoint_value']}"
    changes = "; ".join(model.get("changes") or ())
    return f"{source['model_name']}{version}" + (f"{{{changes}}}" if changes else "")


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def plainly(value: Any) -> str:
    """A value of a setting, for people."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
