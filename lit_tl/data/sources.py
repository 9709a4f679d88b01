"""From an entry of `--datasets` to a LIT data set."""

import dataclasses
import difflib
import os
import pathlib
import re
from typing import Callable, Mapping, Optional

from lit_nlp.api import dataset as lit_dataset

from lit_tl.data import files, paired, tables, tasks
from lit_tl.data.errors import DataError
from lit_tl.data.files import DEFAULT_MAX_EXAMPLES

_READERS: Mapping[str, Callable[[str, int], lit_dataset.Dataset]] = {
    ".jsonl": files.JsonLines,
    ".ndjson": files.JsonLines,
    ".txt": files.TextLines,
    ".md": files.TextLines,
    ".csv": lambda path, most: tables.Table(path, max_examples=most),
    ".tsv": lambda path, most: tables.Table(path, max_examples=most),
    ".json": lambda path, most: tables.JsonFile(path, max_examples=most),
}
LOADERS: Mapping[str, type[lit_dataset.Dataset]] = {
    "text lines": files.TextLines,
    "JSON lines": files.JsonLines,
    "CSV or TSV": tables.Table,
    "JSON": tables.JsonFile,
    "Hub": tables.HubTable,
    "paired task": tasks.PairedTask,
}
"""Data sets that LIT's dialog can load, by the name it shows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """Where prompts come from: `[label=]` and then `task[@seed=N][@count=N]`, a file, or `hf:owner/name[split,column,:count]`."""

    label: str
    name: str
    seed: Optional[int] = None
    count: Optional[int] = None

    @classmethod
    def parse(cls, text: str) -> "DatasetSource":
        """Read one entry of `--datasets`.

        Raises:
            DataError: the entry is not of that form.
        """
        label, equals, rest = text.partition("=")
        if not equals or "@" in label or os.sep in label:
            label, rest = "", text
        rest = rest.strip()
        if not rest:
            raise DataError(f"--datasets entry {text!r} names no data: use [label=]task[@seed=N][@count=N] or [label=]file")
        if rest.startswith("hf:"):
            hub = tables.HubSource.parse(rest)
            return cls(label=re.sub(r"[^\w.-]", "-", label.strip() or hub.name.split("/")[-1]), name=rest)
        name, *options = rest.split("@") if rest.split("@")[0] in paired.TASKS else [rest]
        numbers: dict[str, int] = {}
        for option in options:
            match = re.fullmatch(r"(seed|count)=(\d+)", option)
            if match is None:
                raise DataError(f"--datasets entry {text!r}: {option!r} is not seed=N or count=N")
            numbers[match[1]] = int(match[2])
        default = name if name in paired.TASKS else pathlib.Path(name).stem
        return cls(label=re.sub(r"[^\w.-]", "-", label.strip() or default), name=name, **numbers)

    def load(self, max_examples: int = DEFAULT_MAX_EXAMPLES) -> lit_dataset.Dataset:
        """Read or generate the data.

        Raises:
            DataError: it can't be read.
        """
        if self.name in paired.TASKS:
            return tasks.PairedTask(self.name, self.seed, tasks.SHIPPED_COUNT if self.count is None else self.count)
        if self.name.startswith("hf:"):
            return tables.HubTable(self.name)
        file = pathlib.Path(self.name).expanduser()
        looks_like_file = file.suffix or os.sep in self.name
        if not file.exists() and not looks_like_file:
            near = difflib.get_close_matches(self.name, paired.TASKS, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else f"the tasks are {', '.join(paired.TASKS)}"
            raise DataError(f"unknown data set {self.name!r}: {hint} (or give a file of prompts)")
        suffix = file.suffix.lower()
        if suffix not in _READERS and file.exists():
            raise DataError(
                f"{self.name}: files are read as {', '.join(sorted(_READERS))}, not as {file.suffix or 'a name without ending'}"
            )
        return _READERS.get(suffix, files.TextLines)(str(file), max_examples)
