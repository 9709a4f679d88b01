"""Prompts in files, and what is said of files that can't be read."""

import pathlib

import pytest

from lit_tl.data.columns import Column, prompts_in_memory
from lit_tl.data.errors import DataError
from lit_tl.data.prompt_files import read_json_lines, read_text_lines
from lit_tl.data.prompt_source import PromptSource


def write(tmp_path: pathlib.Path, content: bytes, name: str = "data.jsonl") -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


def test_text_lines(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "\ufeffone\r\n\n zwei \none\n日本 🙂".encode(), "data.txt")
    data = read_text_lines(path)
    assert [example["text"] for example in data.examples] == ["one", " zwei ", "日本 🙂"]
    assert "1 more are repeated" in data.description
    assert len(read_text_lines(path, max_examples=2).examples) == 2


def test_json_lines_give_each_field_one_type(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path,
        b'{"text": "a", "answer": " b", "kind": "x", "score": 1, "ok": true, "tokens": ["a"], '
        b'"extra": {"k": [1]}}\n'
        b'{"text": "c", "kind": "y", "score": 2.5, "note": null}\n',
    )
    data = read_json_lines(path)
    columns = data.columns
    assert columns["kind"] == Column(kind="label", labels=("x", "y"))
    assert columns["score"] == Column(kind="scalar", low=1.0, high=2.5)
    assert columns["tokens"].kind == "tokens"
    assert "note" not in columns
    assert data.examples[1] == {
        "text": "c",
        "answer": "",
        "kind": "y",
        "score": 2.5,
        "ok": False,
        "tokens": [],
        "extra": "",
    }
    assert data.examples[0]["extra"] == '{"k": [1]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', r"data.jsonl:2: not JSON: Expecting value"),
        (b'{"text": "a"}\n\n[1]\n', r"data.jsonl:3: not a JSON object"),
        (b'{"prompt": "a"}\n', r"data.jsonl:1: no text"),
        (b'{"text": 5}\n', r"data.jsonl:1: no text"),
        (b'{"messages": []}\n', r"data.jsonl:1: a conversation has no messages"),
        (b'{"messages": [{"role": "user"}]}\n', r"data.jsonl:1: message 1 has content None"),
        (
            b'{"messages": [{"role": "user", "content": "a"}], "tools": {"a": 1}}\n',
            r"data.jsonl:1: tools are a list of JSON schemas",
        ),
        (
            b'{"text": "a", "corrupted_messages": [{"role": "user", "content": 5}]}\n',
            r"data.jsonl:1: message 1 has content 5",
        ),
        (
            b'{"text": "a", "x": 1}\n{"text": "b", "x": "y"}\n',
            r"data.jsonl:2: 'x' is text here, but a number on line 1",
        ),
        (b'{"text": "a", "x": NaN}\n', r"data.jsonl:1: NaN is not JSON"),
        (b'{"text": "a"}\n{"text": "\xff"}\n', r"data.jsonl:2: not UTF-8: byte 0xff at column 11"),
        (b"\n \n", "holds no text"),
        (b"", "holds no text"),
    ],
)
def test_bad_lines_are_named_with_the_reason(
    tmp_path: pathlib.Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_json_lines(write(tmp_path, content))


def test_missing_files_and_folders(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_text_lines(str(tmp_path / "none.txt"))
    with pytest.raises(DataError, match="is a folder"):
        read_text_lines(str(tmp_path))


def test_prompts_in_memory() -> None:
    assert [example["text"] for example in prompts_in_memory(["a", {"text": "b"}]).examples] == [
        "a",
        "b",
    ]
    with pytest.raises(DataError, match="prompt 2 has no text"):
        prompts_in_memory(["a", {"prompt": "b"}])
    with pytest.raises(DataError, match="empty list"):
        prompts_in_memory([])


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
    source = PromptSource.parse(text)
    assert (source.label, source.name, source.seed, source.count) == expected


def test_malformed_and_unknown_sources_are_refused(tmp_path: pathlib.Path) -> None:
    for text in ("", "a="):
        with pytest.raises(DataError, match="names no data"):
            PromptSource.parse(text)
    with pytest.raises(DataError, match="'seeds=3' is not seed=N or count=N"):
        PromptSource.parse("ioi@seeds=3")
    with pytest.raises(DataError, match="unknown data set 'agreemen': did you mean agreement"):
        PromptSource.parse("agreemen").load()
    path = write(tmp_path, b"x", "data.pkl")
    with pytest.raises(DataError, match="files are read as"):
        PromptSource.parse(path).load()


def test_odd_but_plausible_values(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path,
        b'{"text": "a", "tags": ["x"], "answer": 5}\n{"text": "b", "tags": [], "answer": 7}\n',
    )
    assert read_json_lines(path).examples[1] == {"text": "b", "tags": [], "answer": "7"}
    with pytest.raises(DataError, match="a number in 'n' is too large"):
        read_json_lines(write(tmp_path, b'{"text": "a", "n": 1' + b"0" * 400 + b"}\n"))
    with pytest.raises(DataError, match="prompt 1 has no text"):
        prompts_in_memory([1, 2])
    assert len(prompts_in_memory("one prompt").examples) == 1


def test_a_task_gives_as_many_examples_as_there_are() -> None:
    assert len(PromptSource.parse("ioi@seed=7@count=500").load().examples) == 500
    few = PromptSource.parse("capital@seed=7@count=500").load()
    assert len(few.examples) < 500
    assert f"There are no more than {len(few.examples)} different ones" in few.description
    with pytest.raises(DataError, match="count of 0"):
        PromptSource.parse("ioi@count=0").load()
