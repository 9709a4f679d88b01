"""Long data as streams."""

import gzip
import json
import pathlib

import pytest
import zstandard

from lit_tl.data.documents import START, open_documents
from lit_tl.data.errors import DataError

TEXTS = [f"text {number} é" for number in range(200)]


def lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in texts).encode()


def read(path: object, bad_lines: str = "refuse", **options: str) -> list[str]:
    documents = open_documents(
        str(path), **{"text_column": "text", "split": "train", "bad_lines": bad_lines, **options}
    )
    return [text for group in documents.groups() for text in group.texts]


def every_kind(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The same texts as a file of each kind, and as folders of two parquet files and of two files
    of lines."""
    import datasets

    content = lines(TEXTS)
    kinds = {
        "t.jsonl": content,
        "t.jsonl.gz": gzip.compress(content[:5000]) + gzip.compress(content[5000:]),
        "t.jsonl.zst": zstandard.compress(content[:5000]) + zstandard.compress(content[5000:]),
        "t.txt": "\n\n".join(TEXTS).encode(),
    }
    for name, written in kinds.items():
        (folder / name).write_bytes(written)
    (folder / "lines").mkdir()
    for part, written in enumerate((lines(TEXTS[:90]), lines(TEXTS[90:]))):
        (folder / "lines" / f"part-{part}.jsonl").write_bytes(written)
    for part in range(2):
        table = datasets.Dataset.from_dict({"text": TEXTS[part * 100 : part * 100 + 100]})
        table.to_parquet(str(folder / "set" / f"part-{part}.parquet"))
    return {name: folder / name for name in [*kinds, "set", "lines"]}


def test_every_kind_of_file_holds_the_same_texts_from_any_place_on(tmp_path: pathlib.Path) -> None:
    for name, path in every_kind(tmp_path).items():
        documents = open_documents(str(path), text_column="text", split="train", bad_lines="refuse")
        groups = list(documents.groups(START))
        assert len(groups) > 2, name
        assert [text for group in groups for text in group.texts] == TEXTS, name
        for at, group in enumerate(groups):
            place = json.loads(json.dumps(group.place))
            rest = [text for later in documents.groups(place) for text in later.texts]
            assert rest == [text for later in groups[at + 1 :] for text in later.texts], name
        assert groups[-1].place["documents"] == 200, name
        assert documents.identity() == documents.identity(), name


POEM = "  one\n two \r\n\n\n \t\nthree\nfour\n\nfive"


@pytest.mark.parametrize("suffix", [".txt", ".md", ".txt.gz"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_documents_of_plain_text_end_at_blank_lines_or_with_the_file(
    tmp_path: pathlib.Path, suffix: str, mark: bytes
) -> None:
    path = tmp_path / f"poem{suffix}"
    content = mark + POEM.encode()
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    assert read(path) == ["  one\n two", "three\nfour", "five"]
    assert read(path, txt_documents="file") == ["  one\n two \n\n\n \t\nthree\nfour\n\nfive"]


def test_a_folder_of_plain_texts_is_read_either_way(tmp_path: pathlib.Path) -> None:
    for name, text in (("a.txt", "one\n\ntwo\n"), ("b.txt", "three\nfour"), ("c.txt", "\n \n")):
        (tmp_path / name).write_text(text)
    assert read(tmp_path) == ["one", "two", "three\nfour"]
    assert read(tmp_path, txt_documents="file") == ["one\n\ntwo", "three\nfour"]
    identities = [
        json.dumps(
            open_documents(
                str(tmp_path),
                text_column="text",
                split="train",
                bad_lines="refuse",
                txt_documents=way,
            ).identity()
        )
        for way in ("blank_lines", "file")
    ]
    assert identities[0] != identities[1], "a checkpoint of one way is not gone on with the other"


def test_a_line_that_is_no_text_is_said_or_skipped_in_plain_text_too(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"one\ntw\xffo\nthree\n\nfour")
    with pytest.raises(DataError, match=r"t\.txt:2: not UTF-8: byte 0xff at column 3"):
        read(path)
    assert read(path, bad_lines="skip") == ["one\nthree", "four"]


def test_rows_without_text_are_refused_or_skipped_and_counted(tmp_path: pathlib.Path) -> None:
    import datasets

    folder = tmp_path / "set"
    datasets.Dataset.from_dict({"body": [*TEXTS[:5], None, *TEXTS[5:]]}).to_parquet(
        str(folder / "part.parquet")
    )
    with pytest.raises(
        DataError,
        match=r"row 6: no text under 'body': it is NoneType .* \(--bad_lines=skip goes on",
    ):
        read(folder, text_column="body")
    documents = open_documents(str(folder), text_column="body", split="train", bad_lines="skip")
    groups = list(documents.groups())
    assert [text for group in groups for text in group.texts] == TEXTS
    assert groups[-1].place["skipped"] == 1
    before = documents.identity()
    (folder / "part.parquet").touch()
    (folder / "notes").write_text("no data")
    assert documents.identity() == before


def test_a_folder_of_lines_has_splits_and_says_file_and_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train-0.jsonl").write_bytes(lines(TEXTS[:3]))
    (tmp_path / "train-1.jsonl").write_bytes(lines(TEXTS[3:5]) + b"{\n" + lines(TEXTS[5:6]))
    (tmp_path / "test.jsonl").write_bytes(lines(TEXTS[7:9]))
    assert read(tmp_path, split="test") == TEXTS[7:9]
    with pytest.raises(
        DataError, match=r"train-1\.jsonl:3: not JSON: .* \(--bad_lines=skip goes on"
    ):
        read(tmp_path)
    documents = open_documents(str(tmp_path), text_column="text", split="train", bad_lines="skip")
    groups = list(documents.groups())
    assert [text for group in groups for text in group.texts] == TEXTS[:6]
    assert (groups[-1].place["documents"], groups[-1].place["skipped"]) == (6, 1)
    assert str(tmp_path.parent) not in json.dumps(documents.identity())
    assert documents.most_tokens() >= 6
    (tmp_path / "more.csv").write_text("text\na\n")
    with pytest.raises(
        DataError, match=r"holds more\.csv, which would not be read beside its other files"
    ):
        read(tmp_path)
    (tmp_path / "more.csv").unlink()
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: a\n  data_files: test.jsonl\n- config_name: b\n  "
        "data_files: train-0.jsonl\n---\n"
    )
    with pytest.raises(
        DataError,
        match=r"declares several configs in its README\.md: give a file, or the folder, of one",
    ):
        read(tmp_path)


def test_a_list_is_told_from_one_bad_line(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "T.JSONL"
    path.write_bytes(b"[1]\n" + lines(TEXTS[:2]))
    assert read(path, bad_lines="skip") == TEXTS[:2]
    path.write_bytes(b'\n[\n{"text": "a"}]')
    with pytest.raises(DataError, match="is a list in JSON: make JSON lines of it"):
        read(path, bad_lines="skip")
    packed = tmp_path / "U.JSONL.GZ"
    packed.write_bytes(gzip.compress(lines(TEXTS[:2])))
    assert read(packed) == TEXTS[:2]


def test_identity_tells_an_edit_in_the_middle(tmp_path: pathlib.Path) -> None:
    result = []
    for content in (lines(TEXTS), lines(TEXTS).replace(b"text 77 ", b"text 78 ")):
        (tmp_path / "t.jsonl").write_bytes(content)
        result.append(
            open_documents(
                str(tmp_path / "t.jsonl"), text_column="text", split="train", bad_lines="refuse"
            ).identity()
        )
    assert result[0]["bytes"] == result[1]["bytes"]
    assert result[0] != result[1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[1]", 'not a JSON object: each line must be like {"text": "..."}'),
        (b'{"body": "a"}', "no text under 'text': there are 'body' (--text_column names another)"),
        (b'{"text": 3}', "no text under 'text': it is int"),
        (b'{"text": "\\ud800"}', "'text' holds half a character"),
        (b'{"text": "\xff"}', "not UTF-8: byte 0xff at column 11"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "not JSON: a number is too long"),
    ],
)
def test_bad_lines_are_refused_or_skipped_and_counted(
    tmp_path: pathlib.Path, line: bytes, reason: str
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(lines(TEXTS[:70]) + line + b"\n\n" + lines(TEXTS[70:]))
    with pytest.raises(DataError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}:71: ")
    assert reason in str(refused.value)
    assert "--bad_lines=skip" in str(refused.value)
    documents = open_documents(str(path), text_column="text", split="train", bad_lines="skip")
    groups = list(documents.groups())
    assert [text for group in groups for text in group.texts] == TEXTS
    assert groups[-1].place["skipped"] == 1
    assert groups[-1].place["first_skipped"].startswith(f"{path}:71: ")


def test_a_file_that_can_not_be_read_is_said(tmp_path: pathlib.Path) -> None:
    kinds = every_kind(tmp_path)
    for name, size in (("t.jsonl.gz", 300), ("t.jsonl.zst", -20)):
        kinds[name].write_bytes(kinds[name].read_bytes()[:size])
        with pytest.raises(
            DataError, match=rf"{name}: can't be unpacked to its end, beyond line \d+"
        ):
            read(kinds[name], bad_lines="skip")
    kinds["t.jsonl.zst"].write_bytes(b"no zstandard")
    with pytest.raises(
        DataError, match=r"t\.jsonl\.zst: can't be unpacked to its end, beyond line 0"
    ):
        read(kinds["t.jsonl.zst"])
    (tmp_path / "t.csv").write_text("a")
    (tmp_path / "list.json").write_text(json.dumps([{"text": "a"}], indent=2))
    for path, message in (
        (tmp_path / "none.jsonl", "does not exist"),
        (tmp_path / "t.csv", "files are read as .jsonl"),
        (tmp_path / "list.json", r"list\.json is a list in JSON: make JSON lines of it"),
        ("/dev/null", "is not a file or a folder"),
        ("no such text!", "does not exist"),
        ("owner/name", "the Hugging Face Hub can't be reached"),
    ):
        with pytest.raises(DataError, match=message):
            read(path)
    with pytest.raises(DataError, match=r"has no column 'body': it has text \(--text_column\)"):
        read(kinds["set"], text_column="body")
    with pytest.raises(DataError, match=r"has no split 'test': it has train \(--split\)"):
        read(kinds["set"], split="test")
    with pytest.raises(DataError, match="--split test is for data sets"):
        read(kinds["t.jsonl"], split="test")
