"""A session: what is on a page, as one JSON file. Its form is in `schema.json`."""

import copy
import dataclasses
import datetime
import functools
import importlib.metadata
import importlib.resources
import json
import math
import pathlib
from typing import Any, Callable, Mapping, Optional, Sequence, Union

import jsonschema
import orjson

from lit_tl.figures.grid_text import read_grid
from lit_tl.whole_files import replace

FORMAT = "lit_tl session"
VERSION = 2
MAX_BYTES = 200 * 2**20
_NAMED = ("lit_tl", "lit-nlp", "transformer-lens", "torch", "transformers", "numpy")


class SessionError(ValueError):
    """A file is no session. The message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """What was on a page. It is read from a file, and nothing of it is run.

    Args:
        content: as JSON has it, in the form of `schema.json`.

    Raises:
        SessionError: it has another form.
    """

    content: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", up_to_date(self.content))

    @classmethod
    def load(cls, path: Union[str, pathlib.Path]) -> "Session":
        """Read a session.

        Args:
            path: the file.

        Raises:
            SessionError: it can't be read, is cut off, is no session, or one of a later version.
        """
        file = _expanded(path)
        try:
            if file.stat().st_size > MAX_BYTES:
                raise SessionError(
                    f"{path} is larger than the {MAX_BYTES // 2**20} MB that a session may have"
                )
            data = file.read_bytes()
        except OSError as error:
            raise SessionError(f"{path} can't be read: {error.strerror}") from error
        except ValueError as error:
            raise SessionError(f"{str(path)!r} is no path: {error}") from error
        try:
            return cls.read(data)
        except SessionError as error:
            raise SessionError(f"{path}: {error}") from error

    @classmethod
    def read(cls, data: Union[str, bytes]) -> "Session":
        """A session from JSON.

        Raises:
            SessionError: it is no session.
        """
        try:
            content = json.loads(data, parse_constant=_refuse)
        except RecursionError as error:
            raise SessionError("no session: nested too deeply") from error
        except ValueError as error:
            raise SessionError(f"no session: it is cut off, or no JSON ({error})") from error
        return cls(content=content)

    def save(self, path: Union[str, pathlib.Path]) -> None:
        """Write the session: the file is the old one, or the new one as a whole.

        Args:
            path: the file.

        Raises:
            SessionError: it can't be written.
        """
        file = _expanded(path)
        try:
            replace(file, lambda to: to.write(self.to_json()))
        except OSError as error:
            raise SessionError(f"{path} can't be written: {error.strerror}") from error

    def to_json(self) -> bytes:
        """As the file has it."""
        return orjson.dumps(self.content, option=orjson.OPT_INDENT_2)

    @property
    def title(self) -> str:
        """What the reader called it."""
        return str(self.content.get("title") or "")

    @property
    def figures(self) -> Sequence[Mapping[str, Any]]:
        """The figures that were kept, with their results."""
        figures: Sequence[Mapping[str, Any]] = self.content["figures"]
        return figures

    @property
    def models(self) -> Sequence[Mapping[str, Any]]:
        """The models and variants of the page."""
        models: Sequence[Mapping[str, Any]] = self.content["models"]
        return models

    @property
    def data(self) -> Sequence[Mapping[str, Any]]:
        """The data sets, with their examples."""
        data: Sequence[Mapping[str, Any]] = self.content["data"]
        return data

    @property
    def notes(self) -> Mapping[str, str]:
        """Notes on examples, by their ids."""
        notes: Mapping[str, str] = self.content["notes"]
        return notes

    def example(self, example_id: str) -> Optional[Mapping[str, Any]]:
        """The data of an example; None where the session has no such one."""
        for data in self.data:
            for each in data["examples"]:
                if each["id"] == example_id:
                    found: Mapping[str, Any] = each["data"]
                    return found
        return None

    @classmethod
    def of(
        cls,
        *,
        models: Sequence[Mapping[str, Any]] = (),
        data: Sequence[Mapping[str, Any]] = (),
        page: Optional[Mapping[str, Any]] = None,
        figures: Sequence[Mapping[str, Any]] = (),
        notes: Mapping[str, str] = {},
        title: str = "",
    ) -> "Session":
        """A session that is written now; see `schema.json` for the parts.

        Raises:
            SessionError: a part has another form.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(
            content={
                "format": FORMAT,
                "version": VERSION,
                "title": title,
                "written": {"time": now, "versions": versions()},
                "models": list(models),
                "data": list(data),
                "page": dict(page or {"query": {}, "panels": {}}),
                "figures": list(figures),
                "notes": dict(notes),
            }
        )


def up_to_date(content: Any) -> dict[str, Any]:
    """A session in today's form.

    Args:
        content: of any version that there has been.

    Raises:
        SessionError: it is no session, one of a later version, or damaged; one sentence says where.
    """
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise SessionError(f'no session of lit_tl: it has no "format": "{FORMAT}"')
    version = content.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SessionError(f"a session whose version is {version!r}: it is damaged")
    if version > VERSION:
        raise SessionError(
            f"a session of version {version}, and this lit_tl reads up to {VERSION}: install a "
            "later one"
        )
    try:
        known = copy.deepcopy(dict(content))
        for step in range(version, VERSION):
            known = _STEPS[step](known)
        _validator().validate(known)
        _check_values(known)
    except jsonschema.ValidationError as error:
        where = "/".join(map(str, error.absolute_path)) or "the whole"
        raise SessionError(f"a damaged session, at {where}: {error.message[:200]}") from error
    except RecursionError as error:
        raise SessionError("no session: nested too deeply") from error
    for number, figure in enumerate(known["figures"], start=1):
        if "grid" in figure:
            try:
                read_grid(figure["grid"])
            except ValueError as error:
                raise SessionError(f"a damaged session, in figure {number}: {error}") from error
    return known


def _check_values(content: Any) -> None:
    """Refuse what can't be written again."""
    if isinstance(content, float) and not math.isfinite(content):
        raise SessionError(f"a damaged session: {content} is no JSON")
    if isinstance(content, int) and not -(2**63) <= content < 2**64:
        raise SessionError("a damaged session: a number has more than 64 bits")
    if isinstance(content, str):
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise SessionError("a damaged session: a text holds half a character") from error
    for key, each in content.items() if isinstance(content, Mapping) else ():
        _check_values(key)
        _check_values(each)
    for each in content if isinstance(content, (list, tuple)) else ():
        _check_values(each)


def _from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had one data set, and pairs were not kept."""
    data = content.get("data")
    content["data"] = [data] if isinstance(data, Mapping) else data
    if isinstance(content.get("page"), dict):
        content["page"].setdefault("pairs", {})
    content["version"] = 2
    return content


_STEPS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""From a version to the next."""


@functools.cache
def _validator() -> Any:
    schema = json.loads(importlib.resources.files(__package__).joinpath("schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def versions() -> dict[str, str]:
    """Of the libraries that numbers depend on."""
    return {name: importlib.metadata.version(name) for name in _NAMED}


def _expanded(path: Union[str, pathlib.Path]) -> pathlib.Path:
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:
        raise SessionError(f"{path}: {error}") from error
