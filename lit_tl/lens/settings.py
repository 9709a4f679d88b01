"""Fields of configs that are also flags. Loads no torch."""

import dataclasses
from typing import Any, Literal, Union

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
BadLines = Literal["refuse", "skip"]


def setting(default: Any, text: str, *, result: bool = True) -> Any:
    """A field with its help text. `result` marks what the trained lens depends on: a run that goes on may not change it."""
    return dataclasses.field(default=default, metadata={"help": text, "result": result})


def required(text: str, *, result: bool = True) -> Any:
    """A field that has to be given."""
    return dataclasses.field(metadata={"help": text, "result": result, "required": True})


def at_least(name: str, value: Union[int, float, None], least: int) -> None:
    """Refuse a number that is too small.

    Raises:
        ValueError: it is.
    """
    if value is not None and value < least:
        raise ValueError(f"--{name} is {value}: give {least} or more")
