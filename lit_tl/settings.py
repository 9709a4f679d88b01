"""Settings: frozen dataclasses from which flags, forms, a panel's controls and keywords are made.

A subclass of `Settings` declares each field once, with its type, default, bounds and help text:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class HeadScoreSettings(Settings):
        score: Literal["induction", "entropy"] = setting("induction", "Which score.")
        top: int = setting(20, "How many heads to list.", low=1, high=100)

Making an instance checks every value, so that a page, a command line and Python get the same error.
"""

import dataclasses
import difflib
import math
import types
import typing
from typing import Any, Literal, Mapping, Optional, TypeVar, Union

Kind = Literal["bool", "int", "float", "str", "ints", "strs", "switch"]
Switch = Union[bool, str]
"""The type of a field that is True, False or "auto"."""
S = TypeVar("S", bound="Settings")


class SettingError(ValueError):
    """A value is not allowed. The message begins with the setting's name."""


def setting(
    default: Any,
    text: str,
    *,
    low: Optional[float] = None,
    high: Optional[float] = None,
    result: bool = True,
    by_model: bool = False,
    only_with: Optional[tuple[str, tuple[str, ...]]] = None,
) -> Any:
    """A field with a default.

    Args:
        default: its value where nothing is given.
        text: what `--help` and tooltips say.
        low: least value of a number.
        high: greatest value of a number.
        result: whether results depend on it. A training run that goes on may not change it.
        by_model: whether a switch may be given for each model, as `label=true,...`.
        only_with: the name of another field and those of its values beside which this one may
            differ from its default.
    """
    metadata = {
        "help": text,
        "low": low,
        "high": high,
        "result": result,
        "by_model": by_model,
        "only_with": only_with,
    }
    return dataclasses.field(default=default, metadata=metadata)


def required(text: str, *, result: bool = True) -> Any:
    """A field that has to be given."""
    return dataclasses.field(metadata={"help": text, "result": result, "required": True})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declared:
    """One field of a settings class, as flags and forms need it.

    Args:
        name: of the field.
        kind: of its value. "ints" and "strs" are tuples.
        default: None where there is none.
        text: help.
        choices: the values that are allowed; empty where any is.
        low: least value of a number.
        high: greatest value of a number.
        optional: whether None is allowed.
        is_required: whether it has to be given.
        by_model: whether it may be given for each model, as `label=value,...`.
        only_with: another field and those of its values beside which this one may differ from its
            default; None where it always may.
    """

    name: str
    kind: Kind
    default: Any
    text: str
    choices: tuple[str, ...]
    low: Optional[float]
    high: Optional[float]
    optional: bool
    is_required: bool
    by_model: bool
    only_with: Optional[tuple[str, tuple[str, ...]]] = None

    def check(self, value: Any) -> None:
        """Refuse a value that is not allowed.

        Raises:
            SettingError: the value has the wrong type, is out of bounds or is no choice.
        """
        if value is None and self.optional:
            return
        if self.kind == "switch":
            self._check_switch(value)
            return
        if self.choices and value not in self.choices:
            near = difflib.get_close_matches(str(value), self.choices, n=1, cutoff=0.6)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise SettingError(f"{self.name} is {value!r}: choose {_listed(self.choices)}{meant}")
        expected = _TYPES[self.kind]
        is_bool = isinstance(value, bool)
        if not isinstance(value, expected) or (is_bool and self.kind != "bool"):
            raise SettingError(f"{self.name} is {value!r}: give {_NOUNS[self.kind]}")
        inner = {"ints": int, "strs": str}.get(self.kind)
        if inner is not None and not all(type(part) is inner for part in value):
            raise SettingError(f"{self.name} is {value!r}: give {_NOUNS[self.kind]}")
        if self.kind in ("int", "float"):
            self._check_bounds(value)

    def _check_switch(self, value: Any) -> None:
        entries = [part.partition("=")[::2] for part in str(value).split(",")]
        by_model = self.by_model and all(label and word in _SWITCH for label, word in entries)
        if not isinstance(value, bool) and value != "auto" and not by_model:
            more = ", or small=true,mine=auto for each model" if self.by_model else ""
            raise SettingError(f"{self.name} is {value!r}: give auto, true or false{more}")

    def _check_bounds(self, value: float) -> None:
        finite = math.isfinite(value)
        too_low = self.low is not None and value < self.low
        too_high = self.high is not None and value > self.high
        if finite and not too_low and not too_high:
            return
        if self.low is not None and self.high is not None:
            raise SettingError(f"{self.name} is {value}: give {self.low} to {self.high}")
        if self.low is not None:
            raise SettingError(f"{self.name} is {value}: give {self.low} or more")
        bound = "a finite number" if self.high is None else f"at most {self.high}"
        raise SettingError(f"{self.name} is {value}: give {bound}")

    def read(self, value: Any) -> Any:
        """A value out of a form or a flag, where numbers may be text and empty text means none.

        Raises:
            SettingError: the text can't be read.
        """
        if not isinstance(value, str) or self.kind == "str":
            if isinstance(value, list):
                return tuple(value)
            if self.kind == "int" and isinstance(value, float) and value.is_integer():
                return int(value)
            if self.kind == "float" and type(value) is int:
                return float(value)
            return None if value == "" and self.optional else value
        text = value.strip()
        if self.kind == "switch":
            return _SWITCH.get(text.lower(), text)
        if text == "":
            return None if self.optional else self.default
        try:
            return _READERS[self.kind](text)
        except (ValueError, KeyError) as error:
            raise SettingError(f"{self.name} is {value!r}: give {_NOUNS[self.kind]}") from error


_TYPES: Mapping[Kind, Any] = {
    "bool": bool,
    "int": int,
    "float": (int, float),
    "str": str,
    "ints": tuple,
    "strs": tuple,
    "switch": (bool, str),
}
_SWITCH: Mapping[str, Any] = {"auto": "auto", "true": True, "false": False}
_NOUNS: Mapping[Kind, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "ints": "whole numbers such as 0, 3, 11",
    "strs": "texts with commas between them",
    "switch": "auto, true or false",
}
_READERS: Mapping[Kind, Any] = {
    "bool": lambda text: {"true": True, "false": False, "1": True, "0": False}[text.lower()],
    "int": int,
    "float": float,
    "ints": lambda text: tuple(int(part) for part in text.split(",")),
    "strs": lambda text: tuple(part.strip() for part in text.split(",")),
}


def _listed(choices: tuple[str, ...]) -> str:
    return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of settings classes.

    Raises:
        SettingError: a value is not allowed.
    """

    def __post_init__(self) -> None:
        for declared in declarations(type(self)):
            value = getattr(self, declared.name)
            declared.check(value)
            if declared.only_with is None or value == declared.default:
                continue
            other, values = declared.only_with
            if getattr(self, other) not in values:
                raise SettingError(
                    f"{declared.name} is {value!r}, which does nothing with {other} "
                    f"{getattr(self, other)!r}: set {other} to {_listed(values)}"
                )

    @classmethod
    def read(cls: type[S], values: Mapping[str, Any]) -> S:
        """Settings from what a page, a form or keywords give: names to values, or to values as
        text.

        Raises:
            SettingError: a name is unknown, or a value is not allowed.
        """
        known = {declared.name: declared for declared in declarations(cls)}
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                listed = f"choose {_listed(tuple(known))}" if known else ""
                meant = f"did you mean {near[0]!r}?" if near else listed
                raise SettingError(
                    f"{name} is not a setting: {meant if known else 'there is none'}"
                )
        read = {name: known[name].read(value) for name, value in values.items()}
        given = {
            name: value for name, value in read.items() if value is not None or known[name].optional
        }
        return cls(**given)

    def changed(self) -> dict[str, Any]:
        """The values that differ from their defaults."""
        return {
            declared.name: getattr(self, declared.name)
            for declared in declarations(type(self))
            if getattr(self, declared.name) != declared.default
        }


def known(switch: Switch) -> Optional[bool]:
    """A switch for code: None where it is "auto".

    Raises:
        SettingError: it is given for each model, and not for one.
    """
    if isinstance(switch, bool):
        return switch
    if switch != "auto":
        raise SettingError(f"{switch!r} is for each model by its label: give auto, true or false")
    return None


def declarations(cls: type[Settings]) -> list[Declared]:
    """The fields of a settings class, in their order; those that hold settings themselves are left
    out."""
    hints = typing.get_type_hints(cls)
    return [
        _declared(field, hints[field.name])
        for field in dataclasses.fields(cls)
        if not (isinstance(hints[field.name], type) and issubclass(hints[field.name], Settings))
    ]


def _declared(field: "dataclasses.Field[Any]", hint: Any) -> Declared:
    parts = [hint]
    if typing.get_origin(hint) in (Union, types.UnionType):
        parts = list(typing.get_args(hint))
    switch = bool in parts and str in parts
    if switch:
        parts.remove(str)
    (kind,) = (part for part in parts if part is not type(None))
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    return Declared(
        name=field.name,
        kind="switch" if switch else _kind_of(kind),
        default=None if field.default is dataclasses.MISSING else field.default,
        text=field.metadata.get("help", ""),
        choices=choices,
        low=field.metadata.get("low"),
        high=field.metadata.get("high"),
        optional=type(None) in parts,
        is_required=bool(field.metadata.get("required")),
        by_model=bool(field.metadata.get("by_model")),
        only_with=field.metadata.get("only_with"),
    )


def _kind_of(hint: Any) -> Kind:
    if typing.get_origin(hint) is tuple:
        return "ints" if typing.get_args(hint)[0] is int else "strs"
    kinds: Mapping[Any, Kind] = {bool: "bool", int: "int", float: "float"}
    return kinds.get(hint, "str")
