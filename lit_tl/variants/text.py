"""From text to changes; see `lit_tl.variants.changes` for how they are written."""

import ast
import json
import re
from typing import Any

from lit_tl.engine.sites import Site
from lit_tl.variants.changes import (
    Action,
    Along,
    Change,
    Direction,
    Layer,
    Term,
    ToMean,
    ToOthers,
    ToRun,
    ToZero,
    Without,
)

_STRING = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_NAME = rf"(?:{_STRING}|[\w.\-]+)"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_FILE = rf"file\(\s*{_NAME}(?:\s*,\s*{_STRING})?\s*\)"
_TERM = rf"(?:(?:mean|unembed|lens)\(\s*{_NAME}\s*\)|{_FILE}|{_STRING})"
_DIRECTION = rf"dir\(\s*(?P<plus>{_TERM})(?:\s*-\s*(?P<minus>{_TERM}))?\s*\)"
_FORMS: dict[str, re.Pattern[str]] = {
    name: re.compile(form, re.DOTALL)
    for name, form in {
        "zero": r"=\s*(?:zero|0)",
        "mean": rf"=\s*mean\(\s*(?P<data_set>{_NAME})\s*\)",
        "resample": rf"=\s*resample\(\s*(?P<data_set>{_NAME})(?:\s*,\s*(?P<seed>\d+))?\s*\)",
        "run": rf"=\s*run\(\s*(?P<prompt>{_STRING})\s*\)",
        "along": rf"(?P<sign>[+-])=\s*(?:(?P<strength>{_NUMBER})\s*\*\s*)?{_DIRECTION}",
        "without": rf"without\s*{_DIRECTION}",
    }.items()
}
_PARTS = re.compile(rf"(?:{_STRING}|[^;\n\"'])+", re.DOTALL)
_WHOLE_TERM = re.compile(
    rf"(?:(?P<kind>\w+)\(\s*(?P<name>{_NAME})(?:\s*,\s*(?P<key>{_STRING}))?\s*\)|(?P<text>{_STRING}))",
    re.DOTALL,
)
_SHORT = (
    (re.compile(r"L(\d+)N(\d+)"), r"mlp_post[\1].n\2"),
    (re.compile(r"(attn|mlp)(\[\d+\])?(?=@|$)"), r"\1_out\2"),
)
_LAYER = re.compile(r"L(?P<layer>\d+)(?P<positions>@\S+)?")
_EXAMPLES = (
    '= zero, = mean(ioi), = resample(ioi), = run("another prompt"), += 0.5 * dir("love" - "hate") '
    'or without dir("love" - "hate"); names of other signs stand in quotation marks, and in prompt '
    "may end it"
)


def parse_changes(text: str) -> tuple[Change, ...]:
    """The changes of a text, between which stand semicolons or ends of lines.

    Raises:
        ValueError: a part is no change; or a quotation mark is not closed.
    """
    parts, end = [], 0
    for match in _PARTS.finditer(text):
        between = text[end : match.start()]
        if between.strip(" ;\n\t"):
            break
        parts.append(match[0])
        end = match.end()
    if text[end:].strip(" ;\n\t"):
        raise ValueError(f"{text[end:].strip()!r}: a quotation mark is not closed")
    return tuple(parse_change(part) for part in parts if part.strip())


def parse_change(text: str) -> Change:
    """Read a change.

    Args:
        text: as `lit_tl.variants.changes` shows it. `attn[3]` and `mlp[3]` stand for `attn_out[3]`
            and `mlp_out[3]`, `L3N17` for `mlp_post[3].n17`, `-= 0.5 * ...` for `+= -0.5 * ...`.

    Returns:
        The change, equal to the one that the text was made from.

    Raises:
        ValueError: the text is not of that form; the message says what may stand there.
    """
    stripped = text.strip()
    whole = re.sub(r"\s+in\s+prompt$", "", stripped)
    match = re.match(
        r"(?P<where>[^\s=+]+?)\s*(?P<rest>(?:=|\+=|-=|without\b).*)$", whole, re.DOTALL
    )
    if match is None:
        raise ValueError(
            f"{stripped!r} is not a change: write a site and what becomes of it, as in L9H6 = zero"
        )
    where = _where(match["where"])
    for name, form in _FORMS.items():
        if found := form.fullmatch(match["rest"].strip()):
            return Change(where, _action(name, found.groupdict()), whole != stripped)
    raise ValueError(
        f"{stripped!r}: {match['rest'].strip()!r} is not what can become of a site: write "
        f"{_EXAMPLES}"
    )


def _where(text: str) -> "Site | Layer":
    if match := _LAYER.fullmatch(text):
        return Layer(
            int(match["layer"]), Site.parse(f"resid_pre{match['positions'] or ''}").positions
        )
    for short, long in _SHORT:
        text = short.sub(long, text) if short.match(text) else text
    return Site.parse(text)


def _action(name: str, parts: dict[str, Any]) -> Action:
    if name == "zero":
        return ToZero()
    if name == "mean":
        return ToMean(_unquoted(parts["data_set"]))
    if name == "resample":
        return ToOthers(_unquoted(parts["data_set"]), int(parts["seed"] or 0))
    if name == "run":
        return ToRun(_unquoted(parts["prompt"]))
    minus = parts["minus"]
    direction = Direction(_term(parts["plus"]), None if minus is None else _term(minus))
    if name == "without":
        return Without(direction)
    strength = float(parts["strength"] or 1.0)
    return Along(-strength if parts["sign"] == "-" else strength, direction)


def _term(text: str) -> Term:
    match = _WHOLE_TERM.fullmatch(text)
    assert match is not None
    if match["text"] is not None:
        return Term("prompt", _unquoted(match["text"]))
    key = _unquoted(match["key"] or '""')
    return Term(match["kind"], _unquoted(match["name"]), key)  # type: ignore[arg-type]  # by _TERM


def _unquoted(text: str) -> str:
    """A text without its quotation marks; backslashes as in Python and JSON."""
    if text[0] not in "\"'":
        return text
    try:
        if text[0] == '"':
            return str(json.loads(text, strict=False))
        return str(ast.literal_eval(text.replace("\n", "\\n")))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{text} is no text: write \\\\ for a backslash") from error
