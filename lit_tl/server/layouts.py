"""How the page is laid out."""

from collections.abc import Mapping

from lit_nlp.api import layout

_modules = layout.LitModuleName

_PREDICTIONS = "lit-tl-predictions-module"
_ATTENTION = "lit-tl-attention-module"
_FIGURES = "lit-tl-figure-module"

DEFAULT = layout.LitCanonicalLayout(
    left={
        "Data": [_modules.DataTableModule],
        "Compare": [_modules.DiveModule],
        "Scalars": [_modules.ScalarModule],
    },
    upper={"Prompt": [_modules.DatapointEditorModule]},
    lower={
        "Predictions": [_PREDICTIONS, _modules.GeneratedTextModule],
        "Attention": [_ATTENTION],
        "Salience": [_modules.SalienceMapModule],
        "Sequence Salience": [_modules.SequenceSalienceModule],
        "Figures": [_FIGURES],
        "Embeddings": [_modules.EmbeddingsModule],
        "Counterfactuals": [_modules.GeneratorModule],
        "Metrics": [_modules.MetricsModule],
    },
    layoutSettings=layout.LayoutSettings(leftWidth=34, mainHeight=30),
    description="Prompts on the left; the selected prompt and what the model makes of it on the right.",
)

COMPACT = layout.LitCanonicalLayout(
    upper={"Prompts": [_modules.DataTableModule, _modules.DatapointEditorModule]},
    lower={
        "Predictions": [_PREDICTIONS],
        "Attention": [_ATTENTION],
        "Salience": [_modules.SalienceMapModule],
        "Figures": [_FIGURES],
        "Embeddings": [_modules.EmbeddingsModule],
        "Metrics": [_modules.MetricsModule],
    },
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
