"""All analyses, by name."""

import difflib
import importlib
import importlib.util
import pathlib
import sys
from typing import Iterable, Mapping

from lit_tl.analyses.ablation_curve import ablation_curve
from lit_tl.analyses.ablation_effects import ablation_effects
from lit_tl.analyses.activation_patching import activation_patching, patching_over_data
from lit_tl.analyses.answer import answer
from lit_tl.analyses.attention import attention
from lit_tl.analyses.change_preview import change_preview
from lit_tl.analyses.circuit_curve import circuit_curve
from lit_tl.analyses.contract import Analysis
from lit_tl.analyses.dose_curve import dose_curve
from lit_tl.analyses.fork import fork
from lit_tl.analyses.head_finder import head_finder
from lit_tl.analyses.head_scores import head_scores_of
from lit_tl.analyses.lens_grid import lens_grid
from lit_tl.analyses.lens_over_data import lens_over_data
from lit_tl.analyses.lens_trajectory import lens_trajectory
from lit_tl.analyses.logit_shares import logit_shares
from lit_tl.analyses.pair_of_prompts import prompt_pair
from lit_tl.analyses.patched_prediction import patched_prediction
from lit_tl.analyses.predictions_difference import predictions_difference
from lit_tl.analyses.token_salience import token_salience
from lit_tl.analyses.token_values import token_values

BUILT_IN = (
    lens_grid,
    lens_trajectory,
    lens_over_data,
    attention,
    token_salience,
    head_scores_of,
    token_values,
    predictions_difference,
    activation_patching,
    patching_over_data,
    logit_shares,
    circuit_curve,
    head_finder,
    prompt_pair,
    patched_prediction,
    change_preview,
    dose_curve,
    ablation_curve,
    ablation_effects,
    answer,
    fork,
)


class CatalogError(ValueError):
    """An analysis can't be found, or two have one name."""


def catalog(more: Iterable[Analysis] = ()) -> dict[str, Analysis]:
    """The built-in analyses and a user's own, by name.

    Raises:
        CatalogError: two have one name.
    """
    collected: dict[str, Analysis] = {}
    for analysis in (*BUILT_IN, *more):
        if analysis.name in collected:
            raise CatalogError(f"two analyses are called {analysis.name!r}: rename one of them")
        collected[analysis.name] = analysis
    return collected


def find(name: str, analyses: Mapping[str, Analysis]) -> Analysis:
    """An analysis by name.

    Raises:
        CatalogError: there is none of that name.
    """
    if name in analyses:
        return analyses[name]
    near = difflib.get_close_matches(name, analyses, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(analyses)}"
    raise CatalogError(f"there is no analysis {name!r}: {hint}")


def analyses_in(source: str) -> list[Analysis]:
    """The analyses that a Python file or module defines. The file is run.

    Args:
        source: a path that ends in .py, or the name of a module.

    Raises:
        CatalogError: there is no such file or module, or no analysis in it.
    """
    if source.endswith(".py"):
        path = pathlib.Path(source).expanduser()
        if not path.is_file():
            raise CatalogError(f"{source} does not exist: give a Python file with an analysis")
        name = f"lit_tl_user_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise CatalogError(f"{source} can't be run: {type(error).__name__}: {error}") from error
    else:
        try:
            module = importlib.import_module(source)
        except ModuleNotFoundError as error:
            raise CatalogError(
                f"there is no module {source!r}: give a module or a .py file"
            ) from error
    collected = [value for value in vars(module).values() if isinstance(value, Analysis)]
    if not collected:
        raise CatalogError(f"{source} defines no analysis: decorate a function with @analysis")
    return collected
