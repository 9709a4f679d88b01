"""How the page is laid out. Panels of ours come from the client's manifest."""

from collections.abc import Mapping

from lit_nlp.api import layout

from lit_tl.client import panels

_modules = layout.LitModuleName
_OF_LIT: Mapping[str, list[str]] = {
    "Browse": [],
    "Predictions": [],
    "Chat": [],
    "Attention": [],
    "Lens": [],
    "Causes": [],
    "Interventions": [],
    "Salience": [],
    "Sequence Salience": [_modules.SequenceSalienceModule],
    "Salience Maps": [_modules.SalienceMapModule],
    "Generated Text": [_modules.GeneratedTextModule],
    "Figures": [],
    "Embeddings": [_modules.EmbeddingsModule],
    "Counterfactuals": [_modules.GeneratorModule],
    "Metrics": [_modules.MetricsModule],
}
"""Tabs of the lower half in their order, with LIT's own modules."""
_COMPACT_TABS = (
    "Browse",
    "Predictions",
    "Chat",
    "Attention",
    "Lens",
    "Causes",
    "Interventions",
    "Salience",
    "Figures",
    "Embeddings",
    "Metrics",
)


_LEFT = "Session"
"""A tab of ours beside the data."""


def _tabs(names: tuple[str, ...], *, compact: bool) -> dict[str, list[str]]:
    """Tabs with our panels first."""
    tabs: dict[str, list[str]] = {}
    for name in names:
        ours = [panel for panel in panels() if panel.tab == name and (panel.compact or not compact)]
        lit_modules = [] if compact and ours else _OF_LIT.get(name, [])
        tabs[name] = [*(panel.tag for panel in ours), *lit_modules]
    return tabs


def _more_tabs() -> tuple[str, ...]:
    names = (panel.tab for panel in panels() if panel.tab not in _OF_LIT and panel.tab != _LEFT)
    return tuple(dict.fromkeys(names))


DEFAULT = layout.LitCanonicalLayout(
    left={
        "Data": [_modules.DataTableModule],
        "Compare": [_modules.DiveModule],
        "Scalars": [_modules.ScalarModule],
        **_tabs((_LEFT,), compact=False),
    },
    upper={"Prompt": [_modules.DatapointEditorModule]},
    lower=_tabs((*_OF_LIT, *_more_tabs()), compact=False),
    layoutSettings=layout.LayoutSettings(leftWidth=28, mainHeight=17),
    description="Prompts on the left; the selected prompt and what the model makes of it on "
    "the right.",
)

COMPACT = layout.LitCanonicalLayout(
    upper={"Prompts": [_modules.DataTableModule, _modules.DatapointEditorModule]},
    lower=_tabs((*_COMPACT_TABS, *_more_tabs(), _LEFT), compact=True),
    layoutSettings=layout.LayoutSettings(mainHeight=36, hideToolbar=False),
    description="One column for small screens.",
)

LAYOUTS: Mapping[str, layout.LitCanonicalLayout] = {
    "default": DEFAULT,
    "compact": COMPACT,
    "lit_standard": layout.STANDARD_LAYOUT,
    "lit_three_panel": layout.THREE_PANEL_LAYOUT,
    "lit_simple": layout.SIMPLE_LAYOUT,
}
