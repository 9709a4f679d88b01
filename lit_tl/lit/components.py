"""The LIT components that make sense for language models."""

from collections.abc import Iterable, Mapping

from lit_nlp.api import components as lit_components
from lit_nlp.components import core, gradient_maps, nearest_neighbors, word_replacer

from lit_tl.analyses.catalog import catalog
from lit_tl.analyses.contract import Analysis
from lit_tl.lit import attention_panel, metrics, predictions_panel, projectors, salience_maps
from lit_tl.lit.analysis_interpreter import AnalysisInterpreter
from lit_tl.lit.generators import hotflip, swap_names, token_edits


def interpreters(more: Iterable[Analysis] = ()) -> Mapping[str, lit_components.Interpreter]:
    """Salience maps, projections and neighbours, by the names that LIT's client knows them by; the
    panels' own; and every analysis, a user's `more` among them."""
    analyses = catalog(more)
    return {
        **core.required_interpreters(),
        "Grad L2 Norm": gradient_maps.GradientNorm(),
        "Grad ⋅ Input": gradient_maps.GradientDotInput(),
        "Integrated Gradients": salience_maps.integrated_gradients(),
        "Occlusion": salience_maps.occlusion(),
        "Predictions": predictions_panel.Predictions(),
        "Attention heads": attention_panel.AttentionHeads(),
        **{name: AnalysisInterpreter(analysis) for name, analysis in analyses.items()},
        "nearest neighbors": nearest_neighbors.NearestNeighbors(),
        "pca": projectors.Projections(projectors.Pca),
        "umap": projectors.Projections(projectors.Umap),
    }


def generators() -> Mapping[str, lit_components.Generator]:
    """Ways to make new prompts out of a selected one."""
    return {
        "Swap names": swap_names.SwapNames(),
        "Replace a token": token_edits.ReplaceToken(),
        "Shuffle tokens": token_edits.ShuffleTokens(),
        "HotFlip": hotflip.HotFlip(),
        "Word Replacer": word_replacer.WordReplacer(),
    }


def lit_metrics() -> Mapping[str, lit_components.Metrics]:
    """Metrics over a data set or a slice of it."""
    return {"LM": metrics.LanguageModelMetrics()}
