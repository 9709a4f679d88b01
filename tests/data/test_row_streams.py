"""Data sets as streams of rows: files of every kind, packed ones, globs, addresses."""

import bz2
import csv
import gzip
import json
import pathlib
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest

from lit_tl.data.errors import DataError
from lit_tl.data.prompt_source import PromptSource
from lit_tl.data.row_streams import open_rows

RECORDS: list[dict[str, Any]] = [
    {"text": f"prompt {i}", "answer": f" a{i}", "number": float(i)} for i in range(5)
]


def lines(records: list[dict[str, Any]] = RECORDS) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(entry: str) -> list[Any]:
    return [row.error or dict(row.record) for row in open_rows(entry).read()]


def test_files_of_every_kind(tmp_path: pathlib.Path) -> None:
    table = pa.Table.from_pylist(RECORDS)
    (tmp_path / "a.jsonl").write_bytes(lines())
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines()))
    (tmp_path / "b.ndjson.bz2").write_bytes(bz2.compress(lines()))
    (tmp_path / "c.json").write_text(json.dumps(RECORDS))
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    with pa.ipc.new_file(str(tmp_path / "e.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(str(tmp_path / "f.arrow"), table.schema) as stream:
        stream.write_table(table)
    for name, delimiter in (("g.csv", ","), ("h.tsv", "\t"), ("i.csv", ";")):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(RECORDS[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(RECORDS)
    for path in sorted(tmp_path.iterdir()):
        found = read(str(path))
        assert found == RECORDS, path.name
    (tmp_path / "text.txt").write_text("one\n\ntwo\n")
    assert read(str(tmp_path / "text.txt")) == [{"text": "one"}, {"text": "two"}]


def test_globs_addresses_and_tasks(tmp_path: pathlib.Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_bytes(lines([{"text": name}]))
    assert read(f"{tmp_path}/*.jsonl") == [{"text": "a"}, {"text": "b"}]
    with fsspec.open("memory://bucket/x.jsonl", "wb") as file:
        file.write(lines())
    assert read("memory://bucket/x.jsonl") == RECORDS
    task = PromptSource.parse("ioi@seed=3@count=4").load().examples
    assert read("ioi@seed=3@count=4") == task


def test_a_row_that_can_not_be_read_has_a_reason(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(
        b'{"text": "x"}\n{\n\xff\n{"answer": "y"}\n{"messages": 3}\n[1]\n\n{"text": 5}\n'
    )
    found = read(str(path))
    assert found[0] == {"text": "x"}
    assert [":2:" in found[1], ":3:" in found[2]] == [True, True]
    assert len(found) == 7
    assert all(isinstance(each, str) and "\n" not in each for each in found[1:])


def test_conversations_become_texts(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_bytes(lines([{"messages": [{"role": "user", "content": "Hello"}]}]))
    (record,) = read(str(path))
    assert record["text"].startswith("messages:")
    assert record["roles"] == "user"


def test_the_identity_changes_with_the_content(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines())
    before = open_rows(str(path)).identity
    assert open_rows(str(path)).identity == before
    path.write_bytes(lines(RECORDS[:4]))
    assert open_rows(str(path)).identity != before


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("missing.jsonl", "does not exist"),
        ("no/*.jsonl", "no file is there"),
        ("picture.png", "files are read as"),
        ("noprotocol://x.jsonl", "noprotocol"),
        ("ioii", "did you mean ioi?"),
    ],
)
def test_what_is_not_there_is_said(
    entry: str, said: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        list(open_rows(entry).read())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_cut_are_said(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"cut.parquet can't be read"):
        read(str(tmp_path / "cut.parquet"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(lines())[:-9])
    with pytest.raises(DataError, match="can't be read"):
        read(str(tmp_path / "cut.jsonl.gz"))
