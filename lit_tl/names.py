"""Names that people give to models, data sets and lenses, and what a page can carry of them."""

import os
import re
from typing import Any, Mapping

_TAG, _LINK = re.compile(r"<(?=[A-Za-z/!?])"), re.compile(r"\]([(:\[])")
_NOT_SAFE = re.compile(r"[^\w.-]")


def safe_label(text: str) -> str:
    """A label of letters, digits, `_`, `.` and `-`: other characters end addresses or columns."""
    return _NOT_SAFE.sub("-", text.strip())


def without_markup(text: str) -> str:
    """A text that a page shows as it is where it renders markdown: no tag begins in it, and no
    link. What keeps them from it is a character of no width."""
    return _LINK.sub("]\u200b\\1", _TAG.sub("<\u200b", text))


def split_label(entry: str) -> tuple[str, str]:
    """The two parts of `label=source`; the label is empty where there is none.

    A source may hold an equals sign itself, as `pythia-70m@step=1000` or a path may.
    """
    label, equals, rest = entry.partition("=")
    if not equals or "@" in label or os.sep in label:
        return "", entry.strip()
    return label.strip(), rest.strip()


def split_entries(text: str) -> tuple[str, ...]:
    """Entries that are separated by commas, but not by those in brackets or braces; empty ones
    included."""
    parts, depth, quote, last = [""], 0, "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote and last != "\\" else quote
        elif letter in "\"'" and depth:
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth = max(depth - 1, 0)
        elif letter == "," and not depth:
            parts.append("")
            last = letter
            continue
        parts[-1] += letter
        last = "" if last == "\\" else letter
    return tuple(part.strip() for part in parts)


def split_changes(entry: str) -> tuple[str, str]:
    """The two parts of `source{changes}`; the changes are empty where there are none.

    Raises:
        ValueError: a brace is not closed.
    """
    source, brace, rest = entry.partition("{")
    if not brace:
        return entry, ""
    if not rest.rstrip().endswith("}"):
        raise ValueError(f"{entry!r}: close the brace, as in gpt2-small{{L9H6 = zero}}")
    return source.strip(), rest.rstrip()[:-1].strip()


def unused_label(label: str, taken: Mapping[str, Any], kind: str) -> str:
    """The label, if nothing has it yet.

    Raises:
        ValueError: the label is taken.
    """
    if label in taken:
        raise ValueError(f"two {kind}s are called {label!r}: name one of them with label=...")
    return label
