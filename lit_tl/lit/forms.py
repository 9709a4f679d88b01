"""LIT's forms, made from settings."""

from typing import Any, Mapping, Optional, TypeVar

from lit_nlp.api import types as lit_types

from lit_tl.settings import Declared, Settings, declarations

S = TypeVar("S", bound=Settings)

_OF_LIT = ("model_name", "dataset_name")
"""What LIT's page puts into every form of a generator."""
_LEAST, _MOST = -(2**31), 2**31 - 1


def form_of(settings: type[Settings]) -> lit_types.Spec:
    """The fields of a settings class as LIT's dialogs and panels ask for them, with their
    defaults."""
    return {declared.name: _control(declared) for declared in declarations(settings)}


def _control(declared: Declared) -> lit_types.LitType:
    if declared.choices:
        return lit_types.CategoryLabel(
            default=declared.default, vocab=list(declared.choices), required=False
        )
    if declared.kind == "switch":
        return lit_types.CategoryLabel(
            default=str(declared.default).lower(), vocab=["auto", "true", "false"], required=False
        )
    if declared.kind == "bool":
        return lit_types.BooleanLitType(default=bool(declared.default), required=False)
    if declared.kind in ("int", "float") and not declared.optional:
        low = _LEAST if declared.low is None else declared.low
        high = _MOST if declared.high is None else declared.high
        kind = lit_types.Integer if declared.kind == "int" else lit_types.Scalar
        return kind(default=declared.default, min_val=low, max_val=high, required=False)
    if declared.kind == "strs":
        return lit_types.Tokens(default=list(declared.default), required=False)
    text = "" if declared.default is None else str(declared.default)
    return lit_types.String(default=text, required=declared.is_required)


def read_form(settings: type[S], config: Optional[Mapping[str, Any]]) -> S:
    """Settings from what LIT's page sends for `form_of(settings)`.

    Raises:
        SettingError: a name is unknown, or a value is not allowed.
    """
    given = {name: value for name, value in (config or {}).items() if name not in _OF_LIT}
    return settings.read(given)
