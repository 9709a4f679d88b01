"""Prompts out of data sets of the Hugging Face Hub, streamed: no more is read than is shown."""

import dataclasses
import itertools
import re
from typing import Any, Mapping, Optional

from lit_tl.data import hub_rows
from lit_tl.data.columns import PromptData, has_prompt, prompt_data
from lit_tl.data.errors import DataError
from lit_tl.data.prompt_files import text_column_of, with_text

_FORM = re.compile(r"hf:([\w.-]+(?:/[\w.-]+)?)(?:/([\w.-]+))?(?:\[(.*)\])?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubEntry:
    """A data set of the Hub: `hf:owner/name[split,column,:count]`, what is in brackets optional; a
    config as owner/name/config."""

    name: str
    config: Optional[str] = None
    split: str = "train"
    column: str = ""
    count: int = 200

    @classmethod
    def parse(cls, text: str) -> "HubEntry":
        """Read `hf:...`.

        Raises:
            DataError: it is not of that form.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise DataError(f"{text!r} is not of the form hf:owner/name[split,column,:count]")
        parts = [part.strip() for part in (match[3] or "").split(",")]
        counts = [part for part in parts if part.startswith(":")]
        names = [part for part in parts if not part.startswith(":")]
        are_numbers = all(count[1:].isdigit() and int(count[1:]) for count in counts)
        if len(counts) > 1 or len(names) > 2 or not are_numbers:
            raise DataError(
                f"{text!r}: in brackets go a split, a column and a count, as in [train,text,:200]"
            )
        split, column = [*names, "", ""][:2]
        return cls(
            name=match[1],
            config=match[2],
            split=split or "train",
            column=column,
            count=int(counts[0][1:]) if counts else 200,
        )


def read_hub(source: str) -> PromptData:
    """Prompts of a data set on the Hub.

    Args:
        source: `hf:owner/name[split,column,:count]`, or the same without `hf:`.

    Raises:
        DataError: there is no such data set, split or column, or the Hub can't be reached.
    """
    entry = HubEntry.parse(source if source.startswith("hf:") else f"hf:{source}")
    where = f"{entry.name}[{entry.split}]"
    with hub_rows.said_plainly(entry.name, where):
        rows = list(
            itertools.islice(hub_rows.stream(entry.name, entry.config, entry.split), entry.count)
        )
    if not rows:
        raise DataError(f"{where} is empty")
    if entry.column in ("", "messages") and isinstance(rows[0].get("messages"), list):
        chats = [(number, _plain(row)) for number, row in enumerate(rows, start=1)]
        return prompt_data(where, [each for each in chats if has_prompt(each[1])])
    column = text_column_of(list(rows[0]), entry.column, where)
    records = [
        (number, _plain(with_text(row, column)))
        for number, row in enumerate(rows, start=1)
        if isinstance(row[column], str)
    ]
    if not records:
        raise DataError(f"{where}: column {column!r} holds no text")
    return prompt_data(where, records)


def _plain(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Only what a table shows: texts, numbers and labels; and conversations."""
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, (str, int, float, bool)) or name == "messages"
    }
