"""What a store holds: its data, and each part by the weights and settings it was made with."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any, Mapping, Optional, Sequence

from lit_tl import __version__
from lit_tl.names import safe_label
from lit_tl.store.files import StoreError, write_whole

FORMAT, VERSION = "lit_tl store", 1
_NAME = "manifest.json"
_SAID: Mapping[str, str] = {
    "weights": "weights",
    "changes": "changes of the model",
    "reading": "ways of reading prompts",
    "settings": "settings",
    "lens": "a lens",
    "code": "a version of lit_tl",
}
"""What an identity is made of, as people call it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """What one analysis found with one model.

    Args:
        model: its label.
        analysis: its name.
        identity: what the numbers depend on: digest of the weights, changes, how prompts are read,
            settings, version of the code.
        source: how the model is loaded: what was given as its name.
    """

    model: str
    analysis: str
    identity: Mapping[str, Any]
    source: str = ""

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{safe_label(self.model)}.{safe_label(self.analysis)}"

    @property
    def digest(self) -> str:
        """What each of its files carries."""
        said = json.dumps(self.identity, sort_keys=True, default=str).encode()
        return hashlib.blake2b(said, digest_size=16).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The store's own file.

    Args:
        sources: of the data, each with what tells it from others.
        shard_rows: how many prompts a file has, the last one of them fewer.
        rows: how many prompts there are; None while they are still being read.
        digest: of all of them; empty while they are still being read.
        parts: in the order in which they came.
    """

    sources: Sequence[Mapping[str, Any]]
    shard_rows: int
    rows: Optional[int] = None
    digest: str = ""
    parts: Sequence[Part] = ()

    @property
    def shards(self) -> int:
        """How many files the data, and each part, have.

        Raises:
            StoreError: the data were not read to their end.
        """
        if self.rows is None:
            raise StoreError(
                "the store's data were not read to their end: run the same command again"
            )
        return -(-self.rows // self.shard_rows)

    def part(self, name: str) -> Part:
        """A part by its name.

        Raises:
            StoreError: there is none.
        """
        for part in self.parts:
            if part.name == name:
                return part
        there = ", ".join(part.name for part in self.parts) or "none"
        raise StoreError(f"the store has no part {name}: it has {there}")

    def with_part(self, part: Part) -> "Manifest":
        """With a part more.

        Raises:
            StoreError: there is one of that name, made with something else.
        """
        for known in self.parts:
            if known.name == part.name:
                _require_same(known, part)
                return self
        return dataclasses.replace(self, parts=(*self.parts, part))

    @classmethod
    def read(cls, folder: pathlib.Path) -> "Manifest":
        """Of a store.

        Raises:
            StoreError: there is none, it is damaged, or of a later version.
        """
        path = folder / _NAME
        try:
            said = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise StoreError(f"{folder} is no store: it has no {_NAME}") from error
        except OSError as error:
            raise StoreError(f"{path} can't be read: {error.strerror}") from error
        except ValueError as error:
            raise StoreError(f"{path} is damaged: it is no JSON") from error
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise StoreError(f"{path} is no manifest of a store of lit_tl")
        if said.get("version") != VERSION:
            raise StoreError(
                f"{folder} is a store of version {said.get('version')}, and this lit_tl reads "
                f"version {VERSION}: install a later one"
            )
        try:
            return cls(
                sources=said["data"]["sources"],
                shard_rows=said["data"]["shard_rows"],
                rows=said["data"]["rows"],
                digest=said["data"]["digest"],
                parts=tuple(Part(**part) for part in said["parts"]),
            )
        except (KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged: {error} is missing or wrong") from error

    def write(self, folder: pathlib.Path) -> None:
        """Replace a store's manifest at once.

        Raises:
            StoreError: it can't be written.
        """
        said = {
            "format": FORMAT,
            "version": VERSION,
            "made_with": {"lit_tl": __version__},
            "data": {
                "sources": self.sources,
                "shard_rows": self.shard_rows,
                "rows": self.rows,
                "digest": self.digest,
            },
            "parts": [dataclasses.asdict(part) for part in self.parts],
        }
        content = json.dumps(said, indent=2, default=str).encode()
        write_whole(folder / _NAME, lambda file: file.write(content))


def _require_same(known: Part, asked: Part) -> None:
    other = [
        f"{_SAID.get(name, name)} ({_short(known.identity.get(name))}, now {_short(value)})"
        for name, value in asked.identity.items()
        if known.identity.get(name) != value
    ]
    if other:
        raise StoreError(
            f"{asked.name} in the store was made with other {' and '.join(other)}: give another "
            "--output, or the model another label"
        )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
