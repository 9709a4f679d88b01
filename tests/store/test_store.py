"""A store's files: what goes in comes out, and what does not fit is refused."""

import pathlib
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lit_tl.store import Column, Described, Part, Store, StoreError, index
from lit_tl.store.queries import Order, Queries

PART = Part(model="m", analysis="a", identity={"settings": {"a": {}}, "weights": "w"})
CELLS = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@hypothesis.given(
    st.lists(st.fixed_dictionaries({"text": CELLS, "b": st.none() | st.booleans()}), min_size=1),
    st.integers(1, 7),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_data_come_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], shard_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("data") / "store"
    store = Store.create(folder, [], shard_rows)
    store.read_data(("x", record, None) for record in records)
    read = [each for shard in range(store.manifest.shards) for each in store.examples(shard)]
    assert [row for row, _, _ in read] == list(range(len(records)))
    there = [{k: v for k, v in record.items() if v is not None} for record in records]
    assert [record for _, record, _ in read] == there


def test_columns_that_come_later_and_lists(tmp_path: pathlib.Path) -> None:
    store = Store.create(tmp_path / "s", [], 2)
    records: list[dict[str, Any]] = [
        {"text": "a", "n": 1},
        {"text": "b", "tags": ["x", "y"]},
        {"text": "c", "n": 2.5, "scores": [1.0, 2.0], "nested": {"deep": [1]}},
    ]
    store.read_data(("x", record, None) for record in records)
    assert store.dataset().to_table().column("n").to_pylist() == [1.0, None, 2.5]
    assert store.examples(0)[1][1]["tags"] == ["x", "y"]
    assert store.examples(1)[0][1]["nested"] == '{"deep": [1]}'


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([{"text": "a", "n": 1}, {"text": "b", "n": "two"}], "row 1: 'n' is text here, but a num"),
        ([{"text": "a", "row": 1}], "row 0: 'row' is a column of the store"),
        ([], "the data hold no rows"),
    ],
)
def test_data_that_do_not_fit(
    records: list[dict[str, Any]], said: str, tmp_path: pathlib.Path
) -> None:
    store = Store.create(tmp_path / "s", [], 2)
    with pytest.raises(StoreError) as caught:
        store.read_data(("x", record, None) for record in records)
    assert said in str(caught.value)


def filled(folder: pathlib.Path, count: int) -> Store:
    """Numbers, an array, and rows that failed."""
    store = Store.create(folder, [], 10)
    store.read_data(("x", {"text": f"text {i}", "k": i % 3}, None) for i in range(count))
    store.add(PART)
    described = Described(
        columns={
            "loss": Column(kind="number", unit="nats"),
            "heads": Column(kind="number", axes=("layer", "head"), shape=(2, 3)),
            "of_tokens": Column(kind="number", axes=("token",), shape=(None,)),
        },
        coords={"layer": [4, 7]},
    )
    for shard in range(store.manifest.shards):
        records: list[Any] = []
        for row in store.rows_of(shard):
            heads = np.arange(6).reshape(2, 3) + row
            found = {"loss": row / 2, "heads": heads, "of_tokens": np.ones(row % 4)}
            records.append((row, None, found) if row % 7 else (row, "failed", {}))
        store.write(PART, shard, described, records)
    return store


def test_axes_have_names(tmp_path: pathlib.Path) -> None:
    store = filled(tmp_path / "s", 35)
    found = store.xarray("m.a")
    assert found["heads"].dims == ("row", "layer", "head")
    assert found["layer"].values.tolist() == [4, 7]
    assert found["heads"].sel(row=8, layer=7, head=2) == 13
    assert np.isnan(found["heads"].sel(row=7)).all()
    assert found.attrs["failures"] == 5
    assert store.failures()["row"].to_pylist() == [0, 7, 14, 21, 28]
    with pytest.raises(StoreError, match=r"m.a has no column los: it has loss, heads, of_tokens"):
        store.xarray("m.a", ["los"])


def test_the_index_follows_the_files(tmp_path: pathlib.Path) -> None:
    store = filled(tmp_path / "s", 35)
    index.build(store)
    assert index.is_current(store)
    queries = Queries(store)
    assert queries.rows("heads[7,2] > 30").tolist() == [26, 27, 29, 30, 31, 32, 33, 34]
    assert queries.rows("k = 1", Order(column="loss", descending=True))[:2].tolist() == [34, 31]
    assert queries.rows("m.a.error is not missing").tolist() == [0, 7, 14, 21, 28]
    last = queries.rows("", Order(column="loss"))[-5:]
    assert sorted(last.tolist()) == [0, 7, 14, 21, 28]  # without a number, behind all others
    described = store.described(PART)
    store.write(PART, 3, described, [(row, None, {"loss": 99.0}) for row in store.rows_of(3)])
    assert not index.is_current(store)
    index.build(store)
    assert Queries(store).rows("loss = 99").tolist() == [30, 31, 32, 33, 34]


def test_many_pieces_of_the_index(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose rows stand in different ones."""
    monkeypatch.setattr(index, "BATCH_ROWS", 8)
    monkeypatch.setattr("lit_tl.store.queries.BATCH_ROWS", 8)
    store = filled(tmp_path / "s", 35)
    index.build(store)
    queries = Queries(store)
    found = queries.page([34, 3, 17, 3], ["row", "text", "loss"])
    assert [each["row"] for each in found] == [34, 3, 17, 3]
    assert [each["text"] for each in found] == ["text 34", "text 3", "text 17", "text 3"]


def test_another_stores_manifest(tmp_path: pathlib.Path) -> None:
    store = filled(tmp_path / "s", 5)
    other = Part(model="m", analysis="a", identity={**PART.identity, "weights": "v"})
    with pytest.raises(StoreError, match=r"m.a in the store was made with other weights \(w, now"):
        store.add(other)
    (tmp_path / "t" / "data").mkdir(parents=True)
    with pytest.raises(StoreError, match="holds data and is no store"):
        Store.create(tmp_path / "t", [], 5)
