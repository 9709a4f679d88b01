"""What a server loads for a session that it is started with."""

import dataclasses
import pathlib
from typing import Any, Callable, Mapping, Optional, TypeVar

from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.models.errors import BUNDLED_MODELS
from lit_tl.session.session import Session
from lit_tl.settings import SettingError

C = TypeVar("C", bound=HookedTransformerLITConfig)
_BY_LABEL = ("lens", "prepend_bos", "chat_template")


def model_entries(session: Session, say: Callable[[str], None]) -> Optional[tuple[str, ...]]:
    """Entries of `--models` for the models of a session that can be loaded here; variants are made
    by the page.

    Args:
        session: that names them.
        say: hears which can't.

    Returns:
        None where the session names none that can be loaded: the bundled one then shows the data.
    """
    entries = []
    for model in session.models:
        if model.get("changes") and model.get("original"):
            continue
        source: Mapping[str, Any] = model.get("source") or {}
        name = source.get("model_name")
        if not name:
            say(f"the session's model {model['label']} was made elsewhere: it is not loaded")
        elif _is_missing(str(name)):
            say(f"the session's model {model['label']} is not at {name}: give it with --models")
        else:
            version = f"@{source['revision']}" if source.get("revision") else ""
            if source.get("checkpoint_value") is not None:
                version = f"@step={source['checkpoint_value']}"
            entries.append(f"{model['label']}={name}{version}")
    return tuple(entries) or None


def _is_missing(name: str) -> bool:
    path = name.startswith((".", "/", "~")) or name.endswith(".gguf")
    return path and name not in BUNDLED_MODELS and not pathlib.Path(name).expanduser().exists()


def with_settings(config: C, session: Session) -> C:
    """Settings of the command line, and where they are the defaults, those that the session's
    models were used with.

    Args:
        config: of the command line.
        session: whose models have settings.

    Raises:
        SettingError: a setting of the session is not allowed here.
    """
    known = {field.name: field for field in dataclasses.fields(HookedTransformerLITConfig)}
    given: dict[str, Any] = {}
    for name, field in known.items():
        if getattr(config, name) != field.default:
            continue
        values = {
            model["label"]: model["settings"][name]
            for model in session.models
            if not model.get("changes") and name in (model.get("settings") or {})
        }
        if not values:
            continue
        if name in _BY_LABEL and len({*map(str, values.values())}) > 1:
            given[name] = ",".join(f"{label}={value}" for label, value in values.items())
        else:
            given[name] = next(iter(values.values()))
    if isinstance(given.get("chat_template"), str) and _lacks(given["chat_template"]):
        raise SettingError(
            f"the session's chat template {given['chat_template']} is not here: give one with "
            "--chat_template"
        )
    read = HookedTransformerLITConfig.read(given)
    return dataclasses.replace(config, **{name: getattr(read, name) for name in given})


def _lacks(template: str) -> bool:
    return "=" not in template and not pathlib.Path(template).expanduser().exists()
