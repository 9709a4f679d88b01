"""A command line as settings. Loads no torch."""

import copy
from typing import Any, Iterable, Sequence, TypeVar

from absl import flags

from lit_tl.settings import Declared, SettingError, Settings, declarations

S = TypeVar("S", bound=Settings)


class UsageError(ValueError):
    """The command line can't be understood."""


def define(settings: type[Settings]) -> flags.FlagValues:
    """A flag for each field, with its name, default, help and kind."""
    values = flags.FlagValues()
    for declared in declarations(settings):
        common: dict[str, Any] = {"help": declared.text, "flag_values": values}
        if declared.choices:
            flags.DEFINE_enum(declared.name, declared.default, list(declared.choices), **common)
        elif declared.kind == "bool":
            flags.DEFINE_bool(declared.name, declared.default, **common)
        else:
            default = declared.default
            text = ",".join(map(str, default)) if isinstance(default, tuple) else default
            flags.DEFINE_string(declared.name, None if text is None else str(text), **common)
    return values


def read(
    settings: type[S], argv: Sequence[str], others: Iterable[Any] = ()
) -> tuple[S, dict[str, Any]]:
    """A command line as settings.

    Args:
        settings: what flags are made from.
        argv: the command's name, then its flags.
        others: absl flags of another library, which are read beside them.

    Returns:
        The settings, and the values of the other flags by name.

    Raises:
        UsageError: a flag is unknown or missing, a value not allowed, or something is not a flag.
    """
    values = define(settings)
    more = [copy.deepcopy(flag) for flag in others if flag.name not in values]
    for flag in more:
        values[flag.name] = flag
    try:
        rest = values(list(argv))
    except flags.Error as error:
        raise UsageError(str(error).split("\n")[0]) from error
    if len(rest) > 1:
        raise UsageError(f"{rest[1]!r} is not a flag")
    fields = declarations(settings)
    given = {declared.name: getattr(values, declared.name) for declared in fields}
    for declared in fields:
        if declared.is_required and not given[declared.name]:
            raise UsageError(f"--{declared.name} is missing: {declared.text}")
    try:
        result = settings.read({name: value for name, value in given.items() if value is not None})
    except SettingError as error:
        raise UsageError(f"--{error}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    return result, {flag.name: flag.value for flag in more}


def help_text(settings: type[Settings], others: Iterable[Any] = ()) -> str:
    """What `--help` says of the flags."""
    lines = [_help_of(declared) for declared in declarations(settings)]
    names = {declared.name for declared in declarations(settings)}
    lines += [f"  --{flag.name}\n      {flag.help}" for flag in others if flag.name not in names]
    return "\n".join(lines)


def _help_of(declared: Declared) -> str:
    default = "" if declared.default is None else f" [{declared.default}]"
    choices = f" One of {', '.join(declared.choices)}." if declared.choices else ""
    return f"  --{declared.name}{default}\n      {declared.text}{choices}"


def wants_help(argv: Sequence[str]) -> bool:
    """Whether a command line asks for help."""
    return any(a in ("-h", "--help", "-help", "--helpfull", "--helpshort") for a in argv)


def as_list(settings: type[Settings]) -> list[Any]:
    """The flags of a settings class, to be read beside those of another."""
    values = define(settings)
    return [values[declared.name] for declared in declarations(settings)]
