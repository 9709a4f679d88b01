"""Rows in two dimensions: exact principal components, whatever the files; kept, and made anew."""

import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.decomposition

from lit_tl.store import Column, Described, Part, Store, StoreError
from lit_tl.store.projections import choices, placed

COUNT, LAYERS, WIDTH = 103, 2, 7


def make(folder: pathlib.Path, values: "npt.NDArray[Any]") -> tuple[Store, Part]:
    """A store of vectors `[row, layer, d]`; each tenth row failed."""
    store = Store.create(folder, [{"label": "x"}], 20)
    store.read_data(("x", {"text": f"text {i}"}, None) for i in range(len(values)))
    part = Part(model="m", analysis="activations", identity={"settings": {}})
    store.add(part)
    column = Column(kind="number", axes=("layer", "d_model"), shape=(LAYERS, WIDTH))
    described = Described(columns={"value": column}, coords={"layer": [3, 8]})
    for shard in range(store.manifest.shards):
        rows = [
            (row, "failed", {}) if row % 10 == 0 else (row, None, {"value": values[row]})
            for row in store.rows_of(shard)
        ]
        store.write(part, shard, described, rows)
    return store, part


@pytest.fixture
def values() -> "npt.NDArray[Any]":
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(COUNT, LAYERS, WIDTH)) * np.arange(1, WIDTH + 1)
    return (mixed + 1000.0).astype(np.float32)  # far from 0, as residuals are


def test_components_are_those_of_scikit_learn(
    tmp_path: pathlib.Path, values: "npt.NDArray[Any]"
) -> None:
    store, part = make(tmp_path / "s", values)
    there = [row for row in range(COUNT) if row % 10]
    assert choices(store) == [{"part": "m.activations", "layers": [3, 8]}]
    for place, layer in enumerate((3, 8)):
        found = placed(store, part.name, layer, "pca")
        reference = sklearn.decomposition.PCA(2, svd_solver="full")
        expected = reference.fit_transform(values[there, place].astype(np.float64))
        assert found.rows.tolist() == there
        for axis in range(2):
            own = found.places[:, axis]
            sign = np.sign(own @ expected[:, axis])
            np.testing.assert_allclose(own, sign * expected[:, axis], atol=1e-3)
        assert found.explained == pytest.approx(reference.explained_variance_ratio_, rel=1e-5)


def test_they_are_made_once(tmp_path: pathlib.Path, values: "npt.NDArray[Any]") -> None:
    store, part = make(tmp_path / "s", values)
    calls: list[tuple[int, ...]] = []

    def further(points: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
        calls.append(points.shape)
        return points[:, 2:4]

    first = placed(store, part.name, 3, "other", further)
    again = placed(Store(store.folder), part.name, 3, "other", further)
    assert calls == [(len(first.rows), WIDTH)]
    np.testing.assert_array_equal(first.places, again.places)
    assert again.explained is None


def test_what_can_not_be_placed_is_said(tmp_path: pathlib.Path, values: "npt.NDArray[Any]") -> None:
    store, part = make(tmp_path / "s", values)
    with pytest.raises(StoreError, match=r"has no layer 5: it has 3, 8"):
        placed(store, part.name, 5, "pca")
    with pytest.raises(StoreError, match=r"the store has no part m.other"):
        placed(store, "m.other", 3, "pca")
    few, part = make(tmp_path / "few", values[:3])
    with pytest.raises(StoreError, match="has 2 rows with numbers: too few"):
        placed(few, part.name, 3, "pca")
