"""Prompts in files, and what is said of files that can't be read."""

import pathlib

import pytest
from lit_nlp.api import types as lit_types

from lit_tl.data.errors import DataError
from lit_tl.data.files import JsonLines, Prompts, TextLines
from lit_tl.data.sources import DatasetSource


def write(tmp_path: pathlib.Path, content: bytes, name: str = "data.jsonl") -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


def test_text_lines(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "\ufeffone\r\n\n zwei \none\n日本 🙂".encode(), "data.txt")
    data = TextLines(path)
    assert [example["text"] for example in data.examples] == ["one", " zwei ", "日本 🙂"]
    assert "1 more are repeated" in data.description()
    assert len(TextLines(path, max_examples=2)) == 2


def test_json_lines_give_each_field_one_type(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path,
        b'{"text": "a", "answer": " b", "kind": "x", "score": 1, "ok": true, "tokens": ["a"], "extra": {"k": [1]}}\n'
        b'{"text": "c", "kind": "y", "score": 2.5, "note": null}\n',
    )
    data = JsonLines(path)
    spec = data.spec()
    assert isinstance(spec["kind"], lit_types.CategoryLabel)
    assert spec["kind"].vocab == ["x", "y"]
    assert isinstance(spec["score"], lit_types.Scalar)
    assert isinstance(spec["tokens"], lit_types.Tokens)
    assert "note" not in spec
    assert data.examples[1] == {"text": "c", "answer": "", "kind": "y", "score": 2.5, "ok": False, "tokens": [], "extra": ""}
    assert data.examples[0]["extra"] == '{"k": [1]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', r"data.jsonl:2: not JSON: Expecting value"),
        (b'{"text": "a"}\n\n[1]\n', r"data.jsonl:3: not a JSON object"),
        (b'{"prompt": "a"}\n', r"data.jsonl:1: no text"),
        (b'{"text": 5}\n', r"data.jsonl:1: no text"),
        (b'{"text": "a", "x": 1}\n{"text": "b", "x": "y"}\n', r"data.jsonl:2: 'x' is text here, but a number on line 1"),
        (b'{"text": "a", "x": NaN}\n', r"data.jsonl:1: NaN is not JSON"),
        (b'{"text": "a"}\n{"text": "\xff"}\n', r"data.jsonl:2: not UTF-8: byte 0xff at column 11"),
        (b"\n \n", "holds no text"),
        (b"", "holds no text"),
    ],
)
def test_bad_lines_are_named_with_the_reason(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        JsonLines(write(tmp_path, content))


def test_missing_files_and_folders(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        TextLines(str(tmp_path / "none.txt"))
    with pytest.raises(DataError, match="is a folder"):
        TextLines(str(tmp_path))


def test_prompts_in_memory() -> None:
    assert [example["text"] for example in Prompts(["a", {"text": "b"}]).examples] == ["a", "b"]
    with pytest.raises(DataError, match="prompt 2 has no text"):
        Prompts(["a", {"prompt": "b"}])
    with pytest.raises(DataError, match="empty list"):
        Prompts([])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ioi", ("ioi", "ioi", None, None)),
        ("new=ioi@seed=7@count=50", ("new", "ioi", 7, 50)),
        ("runs/prompts.txt", ("prompts", "runs/prompts.txt", None, None)),
        ("mine=a@b.txt", ("mine", "a@b.txt", None, None)),
    ],
)
def test_sources_are_read(text: str, expected: tuple) -> None:
    source = DatasetSource.parse(text)
    assert (source.label, source.name, source.seed, source.count) == expected


def test_malformed_and_unknown_sources_are_refused(tmp_path: pathlib.Path) -> None:
    for text in ("", "a="):
        with pytest.raises(DataError, match="names no data"):
            DatasetSource.parse(text)
    with pytest.raises(DataError, match="'seeds=3' is not seed=N or count=N"):
        DatasetSource.parse("ioi@seeds=3")
    with pytest.raises(DataError, match="unknown data set 'agreemen': did you mean agreement"):
        DatasetSource.parse("agreemen").load()
    path = write(tmp_path, b"x", "data.pkl")
    with pytest.raises(DataError, match="files are read as"):
        DatasetSource.parse(path).load()


def test_odd_but_plausible_values(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, b'{"text": "a", "tags": ["x"], "answer": 5}\n{"text": "b", "tags": [], "answer": 7}\n')
    assert JsonLines(path).examples[1] == {"text": "b", "tags": [], "answer": "7"}
    with pytest.raises(DataError, match="a number in 'n' is too large"):
        JsonLines(write(tmp_path, b'{"text": "a", "n": 1' + b"0" * 400 + b"}\n"))
    with pytest.raises(DataError, match="prompt 1 has no text"):
        Prompts([1, 2])
    assert len(Prompts("one prompt").examples) == 1


def test_a_task_gives_as_many_examples_as_there_are() -> None:
    assert len(DatasetSource.parse("ioi@seed=7@count=500").load()) == 500
    few = DatasetSource.parse("capital@seed=7@count=500").load()
    assert len(few) < 500
    assert f"There are no more than {len(few)} different ones" in few.description()
    with pytest.raises(DataError, match="count of 0"):
        DatasetSource.parse("ioi@count=0").load()
