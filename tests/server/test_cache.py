"""What a page asks for twice is computed once, and never outlives the model it was made with."""

import itertools
from typing import Any

import numpy as np
import pytest
from werkzeug.test import Client

from lit_tl import HookedTransformerLIT
from lit_tl.lit.lazy_model import LazyModel, PredictionCache
from lit_tl.server import build
from tests.server.conftest import ask, ids_of


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_opening_a_page_computes_no_attention_and_no_gradient(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]
) -> None:
    """In whichever order its requests arrive."""
    asked: list[tuple[str, ...]] = []
    original = HookedTransformerLIT.predict

    def watch(self: HookedTransformerLIT, inputs: Any, *, fields: Any = None) -> Any:
        asked.append(tuple(fields))
        return original(self, inputs, fields=fields)

    monkeypatch.setattr(HookedTransformerLIT, "predict", watch)
    settings = build.BuildConfig()
    fresh = Client(
        build.build_app(
            {"tiny": bundled},
            build.load_datasets(["ioi"], settings, build.StartLog(quiet=True)),
            settings,
        )
    )
    ids = ids_of(fresh, "ioi")
    query = {"model": "tiny", "dataset_name": "ioi"}
    opening = (
        lambda: ask(fresh, "/get_preds", ids, requested_types="Scalar", **query),
        lambda: ask(fresh, "/get_metrics", ids, metrics="", **query),
    )
    for place in order:
        opening[place]()
    ask(fresh, "/get_preds", ids, requested_types="Embeddings", **query)
    first = len(asked)
    assert first == 13, "a hundred prompts in batches of eight, each once for all requests"
    assert not any(name in bundled.heavy_fields() for names in asked for name in names)
    ask(fresh, "/get_interpretations", ids[:1], interpreter="Grad L2 Norm", **query)
    assert asked[first:] == [("target", "token_gradients", "token_embeddings")]


def test_a_changed_weight_or_hook_is_not_answered_from_the_cache(
    bundled: HookedTransformerLIT,
) -> None:
    model = LazyModel(bundled, PredictionCache(2**20))
    example = [{"text": "The capital of France is"}]
    (before,) = model.fetch(example, ["loss"])
    handle = bundled.model.add_hook("blocks.1.hook_resid_post", lambda value, hook: value * 0.5)
    try:
        (hooked,) = model.fetch(example, ["loss"])
    finally:
        bundled.model.reset_hooks()
    assert handle is None
    assert hooked["loss"] != before["loss"]
    assert model.fetch(example, ["loss"])[0] == before
    weight = next(iter(bundled.model.parameters()))
    saved = weight.detach().clone()
    weight.data.mul_(1.5)
    try:
        assert model.fetch(example, ["loss"])[0] != before, "written through .data"
    finally:
        weight.data.copy_(saved)
    before_hook = model.state()
    handle = bundled.model.blocks[1].register_forward_hook(lambda module, given, output: None)
    assert model.state() == before_hook, "libraries hook plain modules by themselves"
    handle.remove()


def test_a_projection_does_not_outlive_the_weights_it_was_made_with(
    bundled: HookedTransformerLIT,
) -> None:
    data = build.load_datasets(
        {"capital": "capital@count=8"}, settings := build.BuildConfig(), build.StartLog(quiet=True)
    )
    own = Client(build.build_app({"tiny": bundled}, data, settings))
    config = {
        "dataset_name": "capital",
        "model_name": "tiny",
        "field_name": "embedding_layer_3_last",
        "proj_kw": {"n_components": 3},
    }

    def points() -> np.ndarray:
        query = {"model": "tiny", "dataset_name": "capital", "interpreter": "pca"}
        return np.array(
            [
                row["z"]
                for row in ask(own, "/get_interpretations", ids_of(own, "capital"), config, **query)
            ]
        )

    before = points()
    bundled.model.add_hook("blocks.3.hook_resid_post", lambda value, hook: value * 2)
    try:
        doubled = points()
    finally:
        bundled.model.reset_hooks()
    assert np.allclose(np.abs(doubled), 2 * np.abs(before), rtol=1e-3, atol=1e-3)
    assert np.allclose(points(), before)
