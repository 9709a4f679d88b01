"""Variants that a page asks for: models under changes, beside their originals."""

import copy
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Optional

from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model

from lit_tl.data import paired
from lit_tl.data.tasks import read_task
from lit_tl.engine.sites import AXES, WITHOUT_LAYER
from lit_tl.lit.lazy_model import LazyModel
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.names import safe_label
from lit_tl.variants.ground import Prompts
from lit_tl.variants.text import parse_changes

MAX_VARIANTS = 64
MAX_CHANGES = 64
_LONGEST = 60
_CLOSED = ("pattern", "attn_scores", "router")
"""Sites that a page does not complete to: they have no mean, or choose experts."""


def prompts_on_the_page(datasets: Mapping[str, lit_dataset.Dataset]) -> Callable[[str], Prompts]:
    """What finds the data sets that a page's changes name: those of the server, and tasks."""

    def find(name: str) -> Prompts:
        if name in datasets and not name.startswith("_"):
            examples: Prompts = datasets[name].examples
            return examples
        if name in paired.TASKS:
            return read_task(name).examples
        there = [each for each in datasets if not each.startswith("_")]
        more = [each for each in paired.TASKS if each not in there]
        raise ValueError(
            f"there is no data set {name!r} on this page: there are {', '.join([*there, *more])}"
        )

    return find


def served(
    model: HookedTransformerLIT,
    prompts_of: Callable[[str], Prompts],
    vector_file: Callable[[str], pathlib.Path],
) -> HookedTransformerLIT:
    """A model whose changes find data sets and files as a page may name them."""
    own = copy.copy(model)
    own.loaded = model.loaded.finding(prompts_of, vector_file)
    return own


def make(
    models: Mapping[str, lit_model.Model], owners: Mapping[str, str], config: Any
) -> tuple[str, HookedTransformerLIT]:
    """The variant that a page asks for.

    Args:
        models: of the server, by label.
        owners: the pages that variants were made for, by label.
        config: `original`: whose weights it shares; `changes`: a list of texts; `name`; `page`,
            which tells pages apart, so that nobody's variant is changed or deleted by another.

    Returns:
        Its label, and the model. Where the page has the same variant under that name, it is that.

    Raises:
        ValueError: there is no such model, or a change is not possible.
    """
    if not isinstance(config, dict):
        raise ValueError("a variant is asked for with original, changes and name")
    original, texts = config.get("original"), config.get("changes")
    wrapped = _ours(models, original)
    if wrapped is None:
        raise ValueError(f"there is no model {original!r} on this server that can be changed")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("changes are a list of texts, such as L9H6 = zero")
    changes = parse_changes("\n".join(texts))
    if not changes:
        raise ValueError("no change is staged: add one, such as L9H6 = zero")
    if len(changes) > MAX_CHANGES:
        raise ValueError(f"{len(changes)} changes are too many: at most {MAX_CHANGES} are made")
    wanted = safe_label(str(config.get("name") or f"{original}-changed"))[:_LONGEST].lstrip("_")
    page = str(config.get("page") or "")
    if not wanted:
        raise ValueError("a name is letters, digits, _, . and -: give one")
    all_changes = (*wrapped.loaded.changes, *changes)
    count = 1
    label = wanted
    while label in models:
        known = _ours(models, label)
        same = known is not None and known.original is wrapped.original
        own = owners.get(label, page) == page
        if known is not None and same and own and known.loaded.changes == all_changes:
            return label, known
        count += 1
        label = f"{wanted}-{count}"
    held = sum(bool(own and own.loaded.changes) for own in (_ours(models, each) for each in models))
    if held >= MAX_VARIANTS:
        raise ValueError(f"this server holds {held} variants, as many as it may: delete one first")
    return label, wrapped.with_interventions(*changes)


def about(models: Mapping[str, lit_model.Model], label: str) -> Optional[dict[str, Any]]:
    """What a page knows of a model that can be changed: its `changes` as texts, the label of its
    `original` (itself, where it is none; "" where it is not on the server), and what may be
    named in changes. None for other models."""
    own = _ours(models, label)
    if own is None:
        return None
    runner = own.loaded.runner
    originals = [
        each
        for each, model in ((each, _ours(models, each)) for each in models)
        if model is not None and not model.loaded.changes and model.original is own.original
    ]
    return {
        "changes": [str(change) for change in own.loaded.changes],
        "original": originals[0] if originals else "",
        "layers": runner.shape.n_layers,
        "heads": runner.shape.n_heads if runner.layers("z") else 0,
        "sites": [
            component
            for component in AXES
            if component not in _CLOSED and (component in WITHOUT_LAYER or runner.layers(component))  # type: ignore[arg-type]
        ],
        "tasks": list(paired.TASKS),
    }


def count_loaded(models: Mapping[str, lit_model.Model]) -> int:
    """How many models hold weights of their own."""
    labels = [label for label in models if not label.startswith("_")]
    ours = [(_ours(models, label), label) for label in labels]
    return len({id(own.original) if own else label for own, label in ours})


def _ours(models: Mapping[str, lit_model.Model], label: Any) -> Optional[HookedTransformerLIT]:
    model = models.get(label) if isinstance(label, str) and not label.startswith("_") else None
    wrapped = model.wrapped if isinstance(model, LazyModel) else None
    return wrapped if isinstance(wrapped, HookedTransformerLIT) else None
