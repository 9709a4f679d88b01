"""Two names change places, as in the corrupted prompts of indirect object identification (Wang et
al. 2022)."""

import dataclasses
import re
from typing import Any, Mapping, Sequence

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.lit.generators.twins import TwinGenerator
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwapNamesSettings(Settings):
    """Which names."""

    first_name: str = setting("", "Left empty: the answer, or the first name of the text.")
    second_name: str = setting("", "Left empty: the foil, or the next name of the text.")


def swapped(text: str, first: str, second: str) -> str:
    """The text with the two words in each other's places, whole words only."""
    return re.sub(
        rf"\b({re.escape(first)}|{re.escape(second)})\b",
        lambda match: second if match[1] == first else first,
        text,
    )


def names_in(text: str) -> list[str]:
    """Capitalised words in the order of their first appearance, those that stand more than once
    before the others, a sentence's first word only where it stands capitalised within a sentence
    too."""
    words = [match[0] for match in re.finditer(r"\b[A-Z][\w'-]*", text)]
    starts = {match[1] for match in re.finditer(r"(?:^|[.!?]\s+)([A-Z][\w'-]*)", text)}
    inner = [match[1] for match in re.finditer(r"(?<![.!?]\s)(?<!^)\b([A-Z][\w'-]*)", text)]
    names = list(dict.fromkeys(word for word in words if word not in starts or word in inner))
    return sorted(names, key=lambda name: -min(words.count(name), 2))


class SwapNames(TwinGenerator[SwapNamesSettings]):
    """Swaps two names everywhere in the text, and in answer and foil."""

    settings = SwapNamesSettings

    def description(self) -> str:
        """What happens."""
        return (
            "Swaps two names; left empty, they are the answer's and the foil's, or the "
            "first two names of the text."
        )

    def twins(
        self, model: LoadedModel, example: Mapping[str, Any], settings: SwapNamesSettings
    ) -> Sequence[Mapping[str, Any]]:
        """One twin."""
        text = str(example["text"])
        asked = [settings.first_name.strip(), settings.second_name.strip()]
        names = [name for name in asked if name]
        names += [name for name in self._candidates(example) if name not in asked]
        if len(names) < 2:
            raise ValueError(
                "this prompt has no two names to swap: write them into first_name and second_name"
            )
        first, second = names[:2]
        if missing := [
            name for name in (first, second) if not re.search(rf"\b{re.escape(name)}\b", text)
        ]:
            raise ValueError(f"{missing[0]!r} does not stand in this prompt")
        fields = [
            name
            for name in ("text", "answer", "foil", "target")
            if isinstance(example.get(name), str)
        ]
        return [{name: swapped(example[name], first, second) for name in fields}]

    def _candidates(self, example: Mapping[str, Any]) -> list[str]:
        text = str(example["text"])
        pair = [str(example.get(name) or "").strip() for name in ("answer", "foil")]
        if all(name and re.search(rf"\b{re.escape(name)}\b", text) for name in pair):
            return pair
        return names_in(text)
