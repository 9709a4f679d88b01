"""The analyses of many prompts by their names, and how a command line writes them."""

import dataclasses
import difflib
import re
from typing import Mapping, Sequence

from lit_tl.analyses.catalog import catalog as of_one_prompt
from lit_tl.analyses.contract import Analysis
from lit_tl.names import split_entries
from lit_tl.precompute.analyses.activations import activations
from lit_tl.precompute.analyses.causes import causes
from lit_tl.precompute.analyses.each_example import over_each
from lit_tl.precompute.analyses.heads import heads
from lit_tl.precompute.analyses.lens import lens
from lit_tl.precompute.analyses.predictions import predictions
from lit_tl.precompute.analyses.probe import probe
from lit_tl.precompute.analyses.routing import routing
from lit_tl.precompute.analyses.top_examples import top_examples
from lit_tl.precompute.contract import OverRows
from lit_tl.settings import SettingError, Settings

BUILT_IN: Mapping[str, OverRows] = {
    each.name: each
    for each in (
        predictions,
        lens,
        heads,
        causes,
        activations,
        top_examples,
        probe,
        routing,
    )
}
_FORM = re.compile(r"(?:(?P<label>[\w.-]+)=)?(?P<name>[^\[\]=]+?)(?:\[(?P<settings>.*)\])?", re.S)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """An analysis with its settings.

    Args:
        label: of its part in a store.
        analysis: what is asked.
        settings: how.
    """

    label: str
    analysis: OverRows
    settings: Settings


def parse(text: str, own: Sequence[Analysis] = ()) -> list[Chosen]:
    """What `--analyses` asks for: `name`, `name[setting=value,...]` or `label=name[...]`, with
    commas between them.

    Args:
        text: of the flag.
        own: a user's analyses of one prompt.

    Raises:
        SettingError: there is no such analysis or setting, or two have one label.
    """
    found: list[Chosen] = []
    for entry in filter(None, split_entries(text)):
        match = _FORM.fullmatch(entry)
        if match is None:
            raise SettingError(f"analyses: {entry!r} is not name[setting=value,...]")
        analysis = _find(match["name"].strip(), own)
        given = {}
        for part in filter(None, split_entries(match["settings"] or "")):
            name, equals, value = part.partition("=")
            if not equals:
                raise SettingError(f"analyses: {part!r} in {entry!r} is not setting=value")
            given[name.strip()] = value.strip()
        try:
            settings = analysis.settings.read(given)
        except (SettingError, TypeError) as error:
            raise SettingError(f"analyses: {analysis.name}: {_plain(error)}") from error
        label = match["label"] or analysis.name
        if label in [each.label for each in found]:
            raise SettingError(f"analyses: two are called {label}: name one label={analysis.name}")
        found.append(Chosen(label=label, analysis=analysis, settings=settings))
    if not found:
        raise SettingError(f"analyses is empty: give some of {', '.join(BUILT_IN)}")
    return found


def _plain(error: Exception) -> str:
    """What is wrong, also where a required setting was not given."""
    missing = re.search(r"missing \d+ required keyword-only arguments?: (.*)", str(error))
    return f"{missing[1]} is missing: set it in brackets" if missing else str(error)


def _find(name: str, own: Sequence[Analysis]) -> OverRows:
    if name in BUILT_IN:
        return BUILT_IN[name]
    others = of_one_prompt(list(own))
    if name in others:
        try:
            return over_each(others[name])
        except ValueError as error:
            raise SettingError(f"analyses: {error}") from error
    near = difflib.get_close_matches(name, [*BUILT_IN, *others], n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(BUILT_IN)}"
    raise SettingError(
        f"analyses: there is no {name!r}: {meant} (`python -m lit_tl.analyses list` has those of "
        "one prompt)"
    )
