"""How the page is laid out."""

from collections.abc import Mapping

from lit_nlp.api import layout

_modules = layout.LitModuleName

DEFAULT = layout.LitCanonicalLayout(
    left={
        "Data": [_modules.DataTableModule],
        "Embeddings": [_modules.EmbeddingsModule],
    },
    upper={
        "Prompt": [_modules.DatapointEditorModule],
        "Compare": [_modules.DiveModule],
    },
    lower={
        "Predictions": [_modules.GeneratedTextModule],
        "Salience": [_modules.SalienceMapModule],
        "Sequence Salience": [_modules.SequenceSalienceModule],
        "Scalars": [_modules.ScalarModule],
        "Counterfactuals": [_modules.GeneratorModule],
        "Metrics": [_modules.MetricsModule],
    },
    layoutSettings=layout.LayoutSettings(leftWidth=42, mainHeight=36),
    description="Prompts and their embeddings on the left; the selected prompt and what the model makes of it on the right.",
)

COMPACT = layout.LitCanonicalLayout(
    upper={"Prompts": [_modules.DataTableModule, _modules.DatapointEditorModule]},
    lower={
        "Predictions": [_modules.GeneratedTextModule],
        "Salience": [_modules.SalienceMapModule],
        "Embeddings": [_modules.EmbeddingsModule],
    },
    layoutSettings=layout.LayoutSettings(mainHeight=40, hideToolbar=False),
    description="One column for small screens.",
)

LAYOUTS: Mapping[str, layout.LitCanonicalLayout] = {
    "default": DEFAULT,
    "compact": COMPACT,
    "lit_standard": layout.STANDARD_LAYOUT,
    "lit_three_panel": layout.THREE_PANEL_LAYOUT,
    "lit_simple": layout.SIMPLE_LAYOUT,
}
