"""The text form of an intervention, and back."""

import re
from typing import Any, Mapping

from lit_tl.engine.interventions import (
    IN_PROMPT,
    Add,
    Array,
    Draw,
    FromRun,
    Intervention,
    ProjectOut,
    Replace,
    Steer,
    Value,
    Zero,
)
from lit_tl.engine.sites import Site

_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_VALUE = r"(?:array\((?P<digest>[0-9a-f]+)\)|run\((?P<ids>[\d, ]*)\))"
_FORMS: dict[str, str] = {
    "zero": r"= 0",
    "replace": rf"= {_VALUE}",
    "draw": rf"= draw\({_VALUE}, (?P<seed>\d+)\)",
    "add": rf"\+= (?P<scale>{_NUMBER}) \* {_VALUE}",
    "steer": rf"\+= (?P<scale>{_NUMBER}) \* \|x\| \* {_VALUE}",
    "project": rf"without {_VALUE}",
}


def parse_intervention(text: str, arrays: Mapping[str, Array] = {}) -> Intervention:
    """Read the text form of an intervention.

    Args:
        text: such as `L9H6 = 0`, `attn_out[3] -> mlp_in[5] = 0`, `resid_post[4]@-1 = run(0, 17)`,
            `resid_post[12] += 0.5 * array(9f3a...)`, `resid_post[12] += 0.5 * |x| * array(9f3a...)`
            for a share of the value's norm, `L9H6 = draw(array(9f3a...), 0)`,
            `resid_post[12] without array(9f3a...)`; with ` in prompt` at its end for a change that
            leaves generated tokens alone.
        arrays: the arrays that the text names, by digest.

    Returns:
        The intervention, equal to the one that the text was made from.

    Raises:
        ValueError: the text is not of that form, or names an array that is not given.
    """
    stripped = text.strip()
    whole = stripped.removesuffix(IN_PROMPT)
    match = re.fullmatch(
        r"(?P<site>\S+)(?: -> (?P<reader>\S+))? (?P<rest>(=|\+=|without) .*)", whole
    )
    if match is None:
        raise ValueError(f"{text!r} is not an intervention: write L9H6 = 0, for example")
    site = Site.parse(match["site"])
    reader = None if match["reader"] is None else Site.parse(match["reader"])
    for kind, form in _FORMS.items():
        if change := re.fullmatch(form, match["rest"]):
            where = {"reader": reader, "prompt_only": whole != stripped}
            return _make(kind, site, where, change.groupdict(), arrays)
    raise ValueError(f"{text!r}: {match['rest']!r} is not a change that can be made at a site")


def _make(
    kind: str,
    site: Site,
    where: Mapping[str, Any],
    parts: Mapping[str, Any],
    arrays: Mapping[str, Array],
) -> Intervention:
    if kind == "zero":
        return Zero(site, **where)
    if parts["digest"] is not None:
        if parts["digest"] not in arrays:
            raise ValueError(
                f"array({parts['digest']}) is not among the {len(arrays)} arrays given"
            )
        value: Value = arrays[parts["digest"]]
    else:
        value = FromRun(tuple(int(i) for i in parts["ids"].split(",") if i.strip()))
    if kind == "replace":
        return Replace(site, value, **where)
    if kind == "draw":
        return Draw(site, value, int(parts["seed"]), **where)
    if kind == "steer":
        return Steer(site, value, float(parts["scale"]), **where)
    if kind == "add":
        return Add(site, value, float(parts["scale"]), **where)
    return ProjectOut(site, value, **where)
