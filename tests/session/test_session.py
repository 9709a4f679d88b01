"""Sessions as files."""

import json
import pathlib
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lit_tl
from lit_tl.figures.grid import Axis, Colours, Grid, Part
from lit_tl.session import Session, SessionError
from lit_tl.session.digests import digest_of_data, digest_of_weights
from lit_tl.session.session import VERSION
from lit_tl.session.store import MOST, SessionStore

_TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20)
_NUMBER = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_VALUE = st.recursive(
    _TEXT | _NUMBER | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_OBJECT = st.dictionaries(_TEXT, _VALUE, max_size=4)
_LABEL = _TEXT.filter(bool)
_TEXTS = st.dictionaries(_TEXT, _TEXT, max_size=4)
_MODEL = st.fixed_dictionaries(
    {"label": _LABEL, "weights": _TEXT},
    optional={
        "source": _OBJECT | st.none(),
        "settings": _OBJECT,
        "changes": st.lists(_TEXT, max_size=3),
        "original": _TEXT,
    },
)
_EXAMPLE = st.fixed_dictionaries({"id": _TEXT, "data": _OBJECT}, optional={"meta": _OBJECT})
_DATA = st.fixed_dictionaries(
    {"label": _LABEL, "digest": _TEXT, "examples": st.lists(_EXAMPLE, max_size=3)}
)
_PAGE = st.fixed_dictionaries(
    {"query": _TEXTS, "panels": st.dictionaries(_TEXT, _OBJECT, max_size=3)},
    optional={"pairs": st.dictionaries(_TEXT, _TEXTS, max_size=2)},
)
GRID = Grid(
    title="g",
    parts=(
        Part(
            values=np.ones((1, 2)),
            rows=Axis(name="layer", labels=["0"]),
            columns=Axis(name="position", labels=["a", "b"], tokens=True),
            colours=Colours(name="rank"),
        ),
    ),
).to_json()
_PLOT = st.fixed_dictionaries({"data": st.lists(_OBJECT, max_size=2)}, optional={"layout": _OBJECT})
_FIGURE = st.fixed_dictionaries(
    {"analysis": _LABEL, "model": _TEXT, "settings": _OBJECT},
    optional={"grid": st.just(GRID), "figure": _PLOT, "csv": _TEXT, "text": _TEXT, "facts": _TEXTS},
)
SESSIONS = st.builds(
    Session.of,
    models=st.lists(_MODEL, max_size=3),
    data=st.lists(_DATA, max_size=2),
    page=_PAGE,
    figures=st.lists(_FIGURE, max_size=3),
    notes=_TEXTS,
    title=_TEXT,
)


@given(SESSIONS)
@settings(max_examples=200, deadline=None)
def test_any_session_comes_back_from_its_file(session: Session) -> None:
    """As JSON, to the last digit of its numbers."""
    assert Session.read(session.to_json()).content == session.content
    assert Session.read(session.to_json()).to_json() == session.to_json()


@given(SESSIONS, st.data())
@settings(max_examples=200, deadline=None)
def test_a_session_that_is_cut_off_is_refused(session: Session, data: st.DataObject) -> None:
    """In one sentence, wherever it is cut."""
    whole = session.to_json().rstrip()
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(SessionError, match="no session") as error:
        Session.read(whole[:end])
    assert "\n" not in str(error.value)


@given(_VALUE)
@settings(max_examples=200, deadline=None)
def test_foreign_json_is_refused(value: Any) -> None:
    """Whatever it is."""
    with pytest.raises(SessionError, match="no session of lit_tl"):
        Session.read(json.dumps(value))


def small() -> dict[str, Any]:
    return json.loads(Session.of(title="small").to_json())


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ({"version": VERSION + 1}, f"of version {VERSION + 1}, .* install a later one"),
        ({"version": "two"}, "whose version is 'two'"),
        ({"version": True}, "whose version is True"),
        ({"models": [{"label": "a"}]}, "damaged session, at models/0: 'weights' is a required"),
        ({"figures": {}}, "damaged session, at figures"),
        ({"notes": {"a": 3}}, "damaged session, at notes/a"),
        (
            {"figures": [{"analysis": "a", "model": "m", "settings": {}, "grid": {"foo": 1}}]},
            "in figure 1: a grid is damaged",
        ),
        (
            {"figures": [{"analysis": "a", "model": "m", "settings": {}, "figure": {"data": "x"}}]},
            "at figures/0/figure/data",
        ),
        ({"title": "\ud800"}, "a text holds half a character"),
        ({"notes": {"a": "b"}, "more": 2**70}, "more than 64 bits"),
        ({"page": {"query": {"models": 1}, "panels": {}}}, "at page/query/models"),
    ],
)
def test_a_damaged_session_is_refused(damage: dict[str, Any], sentence: str) -> None:
    """With the place of the damage."""
    with pytest.raises(SessionError, match=sentence):
        Session.read(json.dumps({**small(), **damage}))


def test_a_session_that_is_nested_too_deeply_is_refused() -> None:
    """Whether or not it is JSON that can be read."""
    for depth in (600, 200_000):
        text = json.dumps(small())[:-1] + f', "x": {"[" * depth}{"]" * depth}}}'
        with pytest.raises(SessionError, match="nested too deeply"):
            Session.read(text)


def test_files_have_the_rights_that_others_have(tmp_path: pathlib.Path) -> None:
    """What is saved for others can be read by them; what the server keeps can't. Links stay."""
    path, link = tmp_path / "mine.json", tmp_path / "link.json"
    Session.of().save(path)
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    link.symlink_to(path)
    Session.of(title="through").save(link)
    assert link.is_symlink()
    assert Session.load(path).title == "through"
    SessionStore(tmp_path).keep(Session.of(), "links")
    (kept,) = (tmp_path / "links").iterdir()
    assert kept.stat().st_mode & 0o077 == 0


def test_a_session_of_an_older_version_opens() -> None:
    """Version 1 had one data set, and no pairs."""
    old = {**small(), "version": 1}
    old["data"] = {"label": "ioi", "digest": "d", "examples": [{"id": "a", "data": {"text": "b"}}]}
    old["page"] = {"query": {"models": "m"}, "panels": {}}
    session = Session.read(json.dumps(old))
    assert session.content["version"] == VERSION
    assert session.data[0]["label"] == "ioi"
    assert session.example("a") == {"text": "b"}


def test_files_are_replaced_as_a_whole(tmp_path: pathlib.Path) -> None:
    """What can't be written leaves the old file, and no other."""
    path = tmp_path / "mine.json"
    lit_tl.Session.of(title="first").save(path)
    assert lit_tl.Session.load(path).title == "first"
    with pytest.raises(SessionError, match="can't be written"):
        lit_tl.Session.of().save(tmp_path / "nowhere" / "mine.json")
    lit_tl.Session.of(title="second").save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.json"]
    assert lit_tl.Session.load(path).title == "second"
    with pytest.raises(SessionError, match="can't be read: No such file"):
        Session.load(tmp_path / "none.json")


def test_a_reader_never_sees_half_a_file(tmp_path: pathlib.Path) -> None:
    """While another writes it."""
    path = tmp_path / "mine.json"
    sessions = [Session.of(title=str(i), notes={"a": "b" * 200_000}) for i in range(2)]
    sessions[0].save(path)
    done = threading.Event()

    def write() -> None:
        for i in range(40):
            sessions[i % 2].save(path)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    while not done.is_set():
        seen.add(Session.load(path).title)
    thread.join()
    assert seen <= {"0", "1"}
    assert seen


def test_the_store_is_bounded(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest autosaves go, and one page has one."""
    store = SessionStore(tmp_path)
    for i in range(MOST["autosaves"] + 5):
        store.keep(Session.of(title=str(i)), "autosaves", f"page-{i}")
    store.keep(Session.of(title="again"), "autosaves", "page-24")
    titles = [each["title"] for each in store.listing()]
    assert titles == ["again", *(str(i) for i in range(23, 4, -1))]
    monkeypatch.setattr("lit_tl.session.store.MOST_BYTES", 5000)
    for i in range(5):
        store.keep(Session.of(title=str(i), notes={"a": "b" * 1500}), "autosaves", f"large-{i}")
    assert [each["title"] for each in store.listing()][:2] == ["4", "3"]
    assert sum(each["bytes"] for each in store.listing()) <= 5000
    with pytest.raises(SessionError, match="too much to be kept"):
        store.keep(Session.of(notes={"a": "b" * 6000}), "autosaves", "huge")


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a/b", "a.json", "x" * 65])
def test_names_lead_nowhere_else(tmp_path: pathlib.Path, name: str) -> None:
    """Out of the store's folder."""
    with pytest.raises(SessionError, match="no session's name"):
        SessionStore(tmp_path).find(name)
    with pytest.raises(SessionError, match="there is no session 'unknown' on this server"):
        SessionStore(tmp_path).find("unknown")


def test_digests_tell_weights_and_data_from_others() -> None:
    """One number is enough, and so is the order."""
    torch.manual_seed(0)
    one = torch.nn.Linear(300, 200)
    before = digest_of_weights(one)
    assert digest_of_weights(one) == before
    with torch.no_grad():
        one.weight[7, 3] += 1e-3
    changed = digest_of_weights(one)
    assert changed != before
    with torch.no_grad():
        one.weight[7, 3] -= 1e-3
        one.weight.copy_(one.weight.flip(0))
    assert digest_of_weights(one) not in (before, changed)
    assert digest_of_weights(one.to(torch.bfloat16)) != before
    data = [{"text": "a", "_id": "1"}, {"text": "b"}]
    assert digest_of_data(data) == digest_of_data([{"text": "a"}, {"text": "b", "_id": "2"}])
    assert digest_of_data(data) != digest_of_data(data[::-1])
