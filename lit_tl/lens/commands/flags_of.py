"""Flags out of a config dataclass, so that the two can't differ. Loads no torch."""

import dataclasses
import types
import typing
from typing import Any, Literal, Sequence, TypeVar, Union

from absl import flags

Config = TypeVar("Config")


class UsageError(ValueError):
    """The command line can't be understood."""


def define(config: type[Any]) -> flags.FlagValues:
    """A flag for each field: of its name, its default, its `help` in the metadata, and a kind after its type."""
    values = flags.FlagValues()
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        kind = hints[field.name]
        if typing.get_origin(kind) in (Union, types.UnionType):
            (kind,) = (part for part in typing.get_args(kind) if part is not type(None))
        default = None if field.default is dataclasses.MISSING else field.default
        common: dict[str, Any] = {"help": field.metadata["help"], "flag_values": values}
        if typing.get_origin(kind) is Literal:
            flags.DEFINE_enum(field.name, default, list(typing.get_args(kind)), **common)
        elif kind is bool:
            flags.DEFINE_bool(field.name, default, **common)
        elif kind is int:
            flags.DEFINE_integer(field.name, default, **common)
        elif kind is float:
            flags.DEFINE_float(field.name, default, **common)
        else:
            flags.DEFINE_string(field.name, default, **common)
    return values


def read(config: type[Config], argv: Sequence[str]) -> Config:
    """A command line as a config. `argv[0]` is the command's name.

    Raises:
        UsageError: a flag is unknown or missing, a value not allowed, or something is not a flag.
    """
    values = define(config)
    try:
        rest = values(list(argv))
    except flags.Error as error:
        raise UsageError(str(error).split("\n")[0]) from error
    if len(rest) > 1:
        raise UsageError(f"{rest[1]!r} is not a flag")
    told = {field.name: getattr(values, field.name) for field in dataclasses.fields(config)}  # type: ignore[arg-type]  # a dataclass
    for field in dataclasses.fields(config):  # type: ignore[arg-type]  # a dataclass
        if field.metadata.get("required") and not told[field.name]:
            raise UsageError(f"--{field.name} is missing: {field.metadata['help']}")
    try:
        return config(**told)
    except ValueError as error:
        raise UsageError(str(error)) from error


def help_text(config: type[Any]) -> str:
    """What --help says of the flags."""
    lines = []
    for field in dataclasses.fields(config):
        default = "" if field.default in (dataclasses.MISSING, None) else f" [{field.default}]"
        lines.append(f"  --{field.name}{default}\n      {field.metadata['help']}")
    return "\n".join(lines)
