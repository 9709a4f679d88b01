"""From an entry of `--datasets` to prompts."""

import dataclasses
import difflib
import os
import pathlib
import re
from typing import Callable, Mapping, Optional

from lit_tl.data import hub_prompts, paired, prompt_files, tasks
from lit_tl.data.columns import PromptData
from lit_tl.data.errors import DataError
from lit_tl.data.prompt_files import DEFAULT_MAX_EXAMPLES
from lit_tl.names import safe_label, split_label

_READERS: Mapping[str, Callable[[str, int], PromptData]] = {
    ".jsonl": prompt_files.read_json_lines,
    ".ndjson": prompt_files.read_json_lines,
    ".txt": prompt_files.read_text_lines,
    ".md": prompt_files.read_text_lines,
    ".csv": lambda path, most: prompt_files.read_table(path, max_examples=most),
    ".tsv": lambda path, most: prompt_files.read_table(path, max_examples=most),
    ".json": lambda path, most: prompt_files.read_json_list(path, max_examples=most),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptSource:
    """Where prompts come from: `[label=]` and then `task[@seed=N][@count=N]`, a file, or
    `hf:owner/name[split,column,:count]`."""

    label: str
    name: str
    seed: Optional[int] = None
    count: Optional[int] = None

    @classmethod
    def parse(cls, text: str) -> "PromptSource":
        """Read one entry of `--datasets`.

        Raises:
            DataError: the entry is not of that form.
        """
        label, rest = split_label(text)
        if not rest:
            raise DataError(
                f"--datasets entry {text!r} names no data: use [label=]task[@seed=N][@count=N] or "
                "[label=]file"
            )
        if rest.startswith("hf:"):
            default = hub_prompts.HubEntry.parse(rest).name.split("/")[-1]
            return cls(label=safe_label(label or default), name=rest)
        name, *options = rest.split("@") if rest.split("@")[0] in paired.TASKS else [rest]
        numbers: dict[str, int] = {}
        for option in options:
            match = re.fullmatch(r"(seed|count)=(\d+)", option)
            if match is None:
                raise DataError(f"--datasets entry {text!r}: {option!r} is not seed=N or count=N")
            numbers[match[1]] = int(match[2])
        default = name if name in paired.TASKS else pathlib.Path(name).stem
        return cls(label=safe_label(label or default), name=name, **numbers)

    def load(self, max_examples: int = DEFAULT_MAX_EXAMPLES) -> PromptData:
        """Read or generate the prompts.

        Raises:
            DataError: they can't be read.
        """
        if self.name in paired.TASKS:
            count = tasks.SHIPPED_COUNT if self.count is None else self.count
            return tasks.read_task(self.name, self.seed, count)
        if self.name.startswith("hf:"):
            return hub_prompts.read_hub(self.name)
        file = pathlib.Path(self.name).expanduser()
        looks_like_file = file.suffix or os.sep in self.name
        if not file.exists() and not looks_like_file:
            near = difflib.get_close_matches(self.name, paired.TASKS, n=3, cutoff=0.5)
            tasks_listed = f"the tasks are {', '.join(paired.TASKS)}"
            hint = f"did you mean {', '.join(near)}?" if near else tasks_listed
            raise DataError(f"unknown data set {self.name!r}: {hint} (or give a file of prompts)")
        suffix = file.suffix.lower()
        if suffix not in _READERS and file.exists():
            kinds = ", ".join(sorted(_READERS))
            ending = file.suffix or "a name without ending"
            raise DataError(f"{self.name}: files are read as {kinds}, not as {ending}")
        return _READERS.get(suffix, prompt_files.read_text_lines)(str(file), max_examples)
