"""The LIT components that make sense for language models."""

from collections.abc import Mapping

from lit_nlp.api import components as lit_components
from lit_nlp.components import core, gradient_maps, nearest_neighbors, word_replacer

from lit_tl.generators import hotflip, swap_names, token_edits
from lit_tl.interpreters import attention, drawing, predictions, projectors, token_salience
from lit_tl.metrics import language_model


def interpreters() -> Mapping[str, lit_components.Interpreter]:
    """Salience maps, projections and neighbours, by the names that LIT's client knows them by."""
    return {
        **core.required_interpreters(),
        "Grad L2 Norm": gradient_maps.GradientNorm(),
        "Grad ⋅ Input": gradient_maps.GradientDotInput(),
        "Integrated Gradients": token_salience.integrated_gradients(),
        "Occlusion": token_salience.occlusion(),
        "Predictions": predictions.Predictions(),
        "Attention": attention.Attention(),
        **drawing.FIGURES,
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
    return {"language model": language_model.LanguageModelMetrics()}
