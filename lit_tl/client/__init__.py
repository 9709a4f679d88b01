"""The browser plug-in's files, and the manifest of its panels."""

import dataclasses
import functools
import json
import pathlib

FOLDER = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class PanelEntry:
    """One entry of `panels.json`, from which loader, layout and elements follow.

    Args:
        name: of the file in `panels/`.
        tab: where the panel stands on the page.
        compact: whether the one-column layout has it too.
    """

    name: str
    tab: str
    compact: bool

    @property
    def tag(self) -> str:
        """Of the panel's element, as LIT's layouts name it."""
        return f"lit-tl-{self.name}-module"


@functools.cache
def panels() -> tuple[PanelEntry, ...]:
    """The panels, in their order."""
    entries = json.loads((FOLDER / "panels.json").read_text("utf-8"))
    return tuple(PanelEntry(**entry) for entry in entries)


def manifest() -> str:
    """The panels as JSON for the page: names and tags."""
    return json.dumps([{"name": panel.name, "tag": panel.tag} for panel in panels()])
