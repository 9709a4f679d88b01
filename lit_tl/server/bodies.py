"""What requests bring: JSON objects within bounds."""

from collections.abc import Mapping
from typing import Any

from lit_nlp.api import types as lit_types
from lit_nlp.lib import serialize
from werkzeug import wrappers

from lit_tl.names import safe_label

MAX_INPUTS, MAX_TEXT = 20_000, 2**19


def read_body(request: wrappers.Request) -> dict[str, Any]:
    """The JSON object that a request brings.

    Raises:
        ValueError: it brings something else.
    """
    try:
        data = serialize.from_json(request.get_data(as_text=True) or "{}")
    except RecursionError as error:
        raise ValueError("the body of a request must be JSON: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"the body of a request must be JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("inputs") or [], list):
        raise ValueError('the body of a request must be a JSON object with a list of "inputs"')
    if len(data.get("inputs") or []) > MAX_INPUTS:
        raise ValueError(f"a request takes at most {MAX_INPUTS:,} inputs: ask in parts")
    for example in data.get("inputs") or []:
        if isinstance(example, str):
            continue
        fields = example.get("data") if isinstance(example, dict) and "id" in example else None
        if not isinstance(fields, dict):
            raise ValueError('an input must be an id, or an object with "id" and "data"')
        _check_length(fields)
    if not isinstance(data.get("config") or {}, dict):
        raise ValueError('the "config" of a request must be a JSON object')
    return data


def _check_length(example: Mapping[str, Any]) -> None:
    for name, value in example.items():
        if isinstance(value, (str, list)) and len(value) > MAX_TEXT:
            raise ValueError(
                f"{name[:100]} is {len(value):,} long: at most {MAX_TEXT:,} characters or numbers "
                "are read"
            )


def name_for_a_url(data: lit_types.JsonDict, taken: Mapping[str, Any]) -> None:
    """Make the name that a request gives one that an address can hold, or refuse it.

    LIT's client puts names into addresses as they are: other characters than these would end
    them."""
    config = data.get("config") or {}
    if name := config.get("new_name"):
        config["new_name"] = safe_label(str(name))
        if config["new_name"] in taken:
            raise ValueError(f"the name {config['new_name']!r} is taken: choose another")
