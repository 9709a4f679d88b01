"""What a page asks of a store over HTTP, and what attacks get."""

import json
import pathlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from lit_tl import HookedTransformerLIT
from lit_tl.store import Store
from tests.live_server import LitServer
from tests.precompute.conftest import make_store, prompts, write

COUNT = 1500


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Predictions and activations of the bundled model and of a variant."""
    models = ["lit-tl-tiny", "cut=lit-tl-tiny{L2H0 = zero}"]
    analyses = "predictions,activations[site=resid_post[1]]"
    return make_store(tmp_path_factory.mktemp("stores"), analyses, COUNT, models)


@pytest.fixture(scope="module")
def server(store: Store) -> Iterator[LitServer]:
    started = LitServer("--store", str(store.folder))
    yield started
    assert started.stop() == 0


def ask(server: LitServer, path: str, **question: Any) -> Any:
    request = urllib.request.Request(server.url + path, json.dumps(question).encode())
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def refused(server: LitServer, path: str, **question: Any) -> str:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(server, path, **question)
    assert caught.value.code == 400
    return str(json.load(caught.value)["error"])


def losses(store: Store, label: str = "lit-tl-tiny") -> "np.ndarray[Any, Any]":
    table = store.dataset(f"{label}.predictions").to_table(["loss"])
    return np.array(table["loss"].to_pylist())


def test_rows_are_sorted_and_filtered(server: LitServer, store: Store) -> None:
    own = losses(store)
    page = ask(
        server,
        "browse_rows",
        sort="lit-tl-tiny.loss",
        descending=True,
        first=100,
        count=50,
        columns=["lit-tl-tiny.loss", "text"],
    )
    order = np.argsort(-own, kind="stable")
    assert page["total"] == page["of"] == COUNT
    assert [row["row"] for row in page["rows"]] == order[100:150].tolist()
    assert page["rows"][0]["text"] == prompts(COUNT)[order[100]]["text"]
    some = ask(
        server,
        "browse_rows",
        filter=f'lit-tl-tiny.loss > {np.median(own)} and text has "Spain"',
        columns=[],
    )
    spain = np.array(["Spain" in each["text"] for each in prompts(COUNT)])
    assert some["total"] == int(((own > np.median(own)) & spain).sum())


def test_histograms_and_statistics(server: LitServer, store: Store) -> None:
    own = losses(store)
    found = ask(server, "browse_histogram", column="lit-tl-tiny.loss", bins=20)
    counts, edges = np.histogram(own, bins=20)
    assert found["counts"] == counts.tolist()
    assert found["edges"] == pytest.approx(edges)
    by_topic = ask(server, "browse_statistics", columns=["lit-tl-tiny.loss"], by="topic")
    topics = np.array([each["topic"] for each in prompts(COUNT)])
    for line in by_topic:
        mine = own[topics == line["slice"]]
        assert line["count"] == len(mine)
        assert line["mean"] == pytest.approx(mine.mean())
        assert line["median"] == pytest.approx(np.median(mine))


def test_two_models_are_compared(server: LitServer, store: Store) -> None:
    difference = losses(store, "cut") - losses(store)
    found = ask(
        server,
        "compare_columns",
        column="lit-tl-tiny.loss",
        other_column="cut.loss",
        columns=["text"],
        count=10,
    )
    order = np.argsort(-np.abs(difference), kind="stable")[:10]
    assert [row["row"] for row in found["rows"]] == order.tolist()
    assert [row["difference"] for row in found["rows"]] == pytest.approx(difference[order])
    spread = found["spread"]
    assert spread["mean"] == pytest.approx(difference.mean())
    error = difference.std() / np.sqrt(COUNT)
    assert spread["low"] == pytest.approx(difference.mean() - 1.96 * error, abs=0.3 * error)
    assert spread["high"] == pytest.approx(difference.mean() + 1.96 * error, abs=0.3 * error)


def test_opened_rows_come_from_the_store_and_edited_ones_do_not(
    server: LitServer, store: Store, bundled: HookedTransformerLIT, tmp_path: pathlib.Path
) -> None:
    """The store's numbers are changed on the disk, so that it is seen where a number is from."""
    opened = ask(server, "open_rows", rows=[7, 1203, 44])
    name = opened["dataset"]
    data = ask(server, f"get_dataset?dataset_name={name}")
    texts = [each["data"]["text"] for each in data]
    assert texts == [prompts(COUNT)[row]["text"] for row in (7, 1203, 44)]
    query = f"get_preds?model=lit-tl-tiny&dataset_name={name}&requested_fields=loss,token_loss"
    found = ask(server, query, inputs=data)
    own = losses(store)
    assert [each["loss"] for each in found] == own[[7, 1203, 44]].tolist()
    (example,) = [{**data[0], "data": {**data[0]["data"], "text": "Something else"}}]
    example |= {"id": "", "meta": {"added": True}}
    example["data"]["_id"] = ""
    (changed,) = ask(server, query, inputs=[example])
    (plain,) = bundled.predict([{"text": "Something else"}], fields=["loss"])
    assert changed["loss"] == pytest.approx(plain["loss"], rel=1e-5)


def test_what_is_described(server: LitServer, store: Store) -> None:
    (found,) = ask(server, "describe_stores")
    assert found["rows"] == COUNT
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["lit-tl-tiny.predictions"]["same"] == ["lit-tl-tiny"]
    assert parts["cut.predictions"]["same"] == ["cut"]
    assert parts["cut.predictions"]["changes"] == ["L2H0 = zero"]


@pytest.mark.parametrize(
    ("path", "question", "said"),
    [
        ("browse_rows", {"filter": "loss >"}, "loss is there of several"),
        ("browse_rows", {"filter": "cut.loss >"}, "the filter ends where a number should stand"),
        ("browse_rows", {"sort": "nothing", "columns": []}, "there is no column nothing"),
        ("browse_rows", {"columns": ["nothing"]}, "there is no column nothing"),
        ("browse_rows", {"columns": "text"}, "columns are a list of names"),
        ("browse_rows", {"first": -1, "columns": []}, "first is -1: give a whole number"),
        ("browse_rows", {"store": "other", "columns": []}, "there is no store 'other'"),
        ("browse_histogram", {"column": "text"}, "text is no number"),
        ("compare_columns", {"column": "text", "other_column": "cut.loss"}, "text is no number"),
        ("open_rows", {"rows": []}, "no row is chosen"),
        ("open_rows", {"rows": [10**9]}, "rows are a list of numbers of rows"),
        ("open_rows", {"rows": list(range(1001))}, "more than the 1,000 that a page holds"),
        ("open_rows", {"filter": "cut.loss > 1e9"}, "no row is chosen"),
    ],
)
def test_bad_questions(server: LitServer, path: str, question: dict[str, Any], said: str) -> None:
    sentence = refused(server, path, **question)
    assert said in sentence
    assert "\n" not in sentence


ATTACKS = (
    "text = (SELECT content FROM read_text('/etc/passwd'))",
    "read_text('/etc/passwd') is missing",
    "1 = 1) UNION SELECT * FROM read_csv('/etc/passwd') --",
    "text has \"x\" ; COPY t TO '/tmp/out.csv'",
    '`t" UNION SELECT 1 --` > 1',
    "getenv('HOME') = \"x\"",
    'text has "\') OR true --" and nothing > 1',
)


@pytest.mark.parametrize("text", ATTACKS)
def test_a_filter_reads_no_file_and_runs_nothing(server: LitServer, text: str) -> None:
    sentence = refused(server, "browse_rows", filter=text, columns=[])
    assert "root:" not in sentence
    assert "at character" in sentence


@pytest.mark.parametrize(
    "name", ['loss" FROM t; SELECT 1 --', "'; DROP TABLE t; --", "read_text('/etc/passwd')"]
)
def test_names_of_columns_are_names(server: LitServer, name: str) -> None:
    for question in ({"sort": name, "columns": []}, {"columns": [name]}):
        assert "there is no column" in refused(server, "browse_rows", **question)
    assert "there is no column" in refused(server, "browse_histogram", column=name)
    assert "there is no column" in refused(
        server, "browse_statistics", columns=["cut.loss"], by=name
    )


def test_the_database_itself_may_open_nothing(store: Store, tmp_path: pathlib.Path) -> None:
    """Were SQL to get through, there would be nothing to be had."""
    import duckdb

    from lit_tl.store.queries import Queries

    queries = Queries(store)
    other = tmp_path / "other.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), other)
    for sql in (
        f"SELECT * FROM '{other}'",
        "SELECT * FROM read_text('/etc/passwd')",
        f"COPY t TO '{tmp_path / 'out.csv'}'",
        f"ATTACH '{tmp_path / 'new.db'}'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
    ):
        with pytest.raises(duckdb.Error):
            queries._records(sql, [])
    assert list(tmp_path.iterdir()) == [other]


def test_a_large_data_set_is_looked_at_without_a_store(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once, and again when it has changed."""
    from lit_tl.server.browsing import BrowseDesk, open_stores

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write(tmp_path / "large.jsonl", prompts(300))
    said: list[str] = []
    (opened,) = open_stores([str(path)], said.append).values()
    desk = BrowseDesk({"large": opened}, dict, lambda label, data: {}, lambda model: "")
    page = desk.rows({"filter": 'number > 250 and text has "Italy"', "columns": ["number"]})
    assert page["total"] == sum(i > 250 and i % 3 == 2 for i in range(300))
    assert len(desk.first_windows()["large"].examples) == 300
    open_stores([str(path)], said.append)
    assert said == ["reading large"]
    write(path, prompts(301))
    (again,) = open_stores([str(path)], said.append).values()
    assert again.manifest.rows == 301
    assert said == ["reading large", "reading large"]


def test_what_is_no_store_is_said(tmp_path: pathlib.Path) -> None:
    from lit_tl.data.errors import DataError
    from lit_tl.server.browsing import open_stores
    from lit_tl.store import StoreError

    with pytest.raises(StoreError, match=r"is no store: it has no manifest.json"):
        open_stores([str(tmp_path)])
    with pytest.raises(DataError, match=r"missing.jsonl"):
        open_stores([str(tmp_path / "missing.jsonl")])
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(StoreError, match="is no manifest of a store"):
        open_stores([str(tmp_path)])
    (tmp_path / "manifest.json").write_text('{"format": "lit_tl store", "version": 99}')
    with pytest.raises(StoreError, match="install a later one"):
        open_stores([str(tmp_path)])
