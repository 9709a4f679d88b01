"""Prompts in tables."""

import json
import pathlib

import pytest

from lit_tl.data.errors import DataError
from lit_tl.data.hub_prompts import HubEntry, read_hub
from lit_tl.data.prompt_files import read_json_list, read_table
from lit_tl.data.prompt_source import PromptSource


def write(tmp_path: pathlib.Path, content: str, name: str) -> str:
    (tmp_path / name).write_text(content, "utf-8")
    return str(tmp_path / name)


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.csv", ";"), ("t.tsv", "\t")])
def test_rows_become_prompts(tmp_path: pathlib.Path, name: str, delimiter: str) -> None:
    rows = [
        ["prompt", "answer", "score", "kind"],
        ['"a, b; c"', " 7", "1.5", "x"],
        ['"two\nlines ""quoted"""', "", "", "y"],
    ]
    data = read_table(write(tmp_path, "\n".join(delimiter.join(row) for row in rows) + "\n", name))
    assert data.examples == [
        {"text": "a, b; c", "answer": " 7", "score": 1.5, "kind": "x"},
        {"text": 'two\nlines "quoted"', "answer": "", "score": None, "kind": "y"},
    ]
    assert data.columns["score"].kind == "scalar"
    assert data.columns["kind"].kind == "label"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,x\na,1\nb\n", r"t.csv:3: 1 cells, but the header has 2"),
        ("title,x\na,1\n", r"has no column called text or prompt: name one of title, x"),
        ("text,text\na,1\n", r"t.csv:1: the header names a column twice"),
        ("text,x\n", r"t.csv holds no prompts"),
        ("", r"holds no text"),
    ],
)
def test_bad_tables_are_refused(tmp_path: pathlib.Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path, content, "t.csv"))


def test_a_column_can_be_chosen(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "text,title\na,b\n", "t.csv")
    assert read_table(path, text_column="title").examples == [{"text": "b"}]
    with pytest.raises(DataError, match="has no column 'name': it has text, title"):
        read_table(path, text_column="name")


def test_json_files(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, json.dumps(["a", {"prompt": "b", "answer": " c"}]), "t.json")
    assert [example["text"] for example in read_json_list(path).examples] == ["a", "b"]
    for content, message in (
        ("[1]", "does not hold a list"),
        ("{", r"t.json:1: not JSON"),
        ('[{"x": 1}]', "entry 1 has no column"),
    ):
        with pytest.raises(DataError, match=message):
            read_json_list(write(tmp_path, content, "t.json"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:NeelNanda/pile-10k", ("NeelNanda/pile-10k", None, "train", "", 200)),
        ("hf:imdb[test,text,:50]", ("imdb", None, "test", "text", 50)),
        (
            "hf:wikitext/x/wikitext-2-v1[validation,:7]",
            ("wikitext/x", "wikitext-2-v1", "validation", "", 7),
        ),
    ],
)
def test_hub_sources_are_read(text: str, expected: tuple) -> None:
    source = HubEntry.parse(text)
    assert (source.name, source.config, source.split, source.column, source.count) == expected
    assert PromptSource.parse(f"mine={text}").label == "mine"


@pytest.mark.parametrize(
    "text", ["hf:", "hf:a b", "hf:a[train,text,more]", "hf:a[:0]", "hf:a[:x]", "hf:a[:1,:2]"]
)
def test_malformed_hub_sources_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"hf:|in brackets"):
        HubEntry.parse(text)


def test_a_hub_data_set_without_network_is_a_sentence() -> None:
    with pytest.raises(DataError, match="NeelNanda/pile-10k"):
        read_hub("hf:NeelNanda/pile-10k[train,text,:3]")


def test_tables_as_other_programs_write_them(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "pandas.csv"
    file.write_text("\n,text,score,\n0,one,1,\n\n1," + "long " * 40_000 + ",2,\n2,three,3,\n")
    table = read_table(str(file), max_examples=2)
    assert [example["score"] for example in table.examples] == [1.0, 2.0]
    assert list(table.columns) == ["text", "score"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "text,tokens\nfoo,bar\n",
            "'tokens' is text, but models read it as a list of texts",
        ),
        ("a.json", '[{"text": "\\ud800"}]', "half a character"),
        ("a.json", '[{"text": "a", "x": NaN}]', "'x' is nan, which is no number"),
        ("a.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_a_page_could_not_show_is_refused_when_it_is_read(
    name: str, content: str, message: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        (read_table if name.endswith("csv") else read_json_list)(str(tmp_path / name))


def test_fewer_than_one_example_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    with pytest.raises(DataError, match="max_examples is -3: give 1 or more"):
        read_table(str(tmp_path / "a.csv"), max_examples=-3)


def test_a_column_of_the_hub_can_be_named_without_a_split() -> None:
    source = HubEntry.parse("hf:squad[,question,:5]")
    assert (source.split, source.column, source.count) == ("train", "question", 5)
