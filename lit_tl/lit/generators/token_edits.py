"""Tokens replaced or put in another order."""

import dataclasses
import random
import re
from typing import Any, Mapping, Optional, Sequence

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.lit.generators.twins import TwinGenerator, movable
from lit_tl.settings import Settings, setting

_TRIES = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplaceTokenSettings(Settings):
    """Which token, and by what."""

    token: str = setting("", "The token to replace, wherever it stands.")
    replacement: str = setting("", "The token to put there.")
    position: Optional[int] = setting(
        None, "Its place, in place of `token`.", low=1, high=1_000_000
    )


class ReplaceToken(TwinGenerator[ReplaceTokenSettings]):
    """Puts another token in the place of one."""

    settings = ReplaceTokenSettings

    def description(self) -> str:
        """What happens."""
        return (
            "Replaces one token by another, wherever it stands or at one position; the "
            "prompt stays as many tokens long."
        )

    def twins(
        self, model: LoadedModel, example: Mapping[str, Any], settings: ReplaceTokenSettings
    ) -> Sequence[Mapping[str, Any]]:
        """One twin."""
        prompt = model.prompt({"text": example["text"]})
        tokens = model.prompter.vocabulary.strings(prompt.ids)
        places = self._places(tokens, settings)
        replacement = settings.replacement
        if not replacement:
            raise ValueError("write the token to put there into replacement")
        changed = list(prompt.ids)
        for pos in places:
            changed[pos] = self._single(
                model, (" " if tokens[pos].startswith(" ") else "") + replacement.lstrip(" ")
            )
        return [{"text": model.prompter.retold(example["text"], changed)}]

    def _single(self, model: LoadedModel, text: str) -> int:
        ids = model.prompter.continuation(text)
        if len(ids) != 1:
            raise ValueError(
                f"{text!r} is {len(ids)} tokens, and a twin must stay as long as its prompt: "
                "give one that is a single token"
            )
        return ids[0]

    def _places(self, tokens: Sequence[str], settings: ReplaceTokenSettings) -> list[int]:
        if settings.position is not None:
            if settings.position >= len(tokens):
                last = len(tokens) - 1
                raise ValueError(f"position is {settings.position}: this prompt has 1 to {last}")
            return [settings.position]
        wanted = settings.token
        if not wanted:
            raise ValueError("write the token to replace into token, or its place into position")
        places = [pos for pos, token in enumerate(tokens) if token in (wanted, " " + wanted)]
        if not places:
            raise ValueError(
                f"{wanted!r} is no token of this prompt, whose tokens are "
                f"{', '.join(map(repr, tokens))}"
            )
        standing = len(re.findall(rf"(?<!\w){re.escape(wanted.strip())}(?!\w)", "".join(tokens)))
        if standing > len(places):
            raise ValueError(
                f"{wanted!r} stands {standing} times in this prompt, {len(places)} of them as "
                "a single token: give a position"
            )
        return places


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShuffleTokensSettings(Settings):
    """How many orders, and how much of the end stays."""

    count: int = setting(1, "How many twins.", low=1, high=20)
    keep_last: int = setting(1, "How many tokens at the end stay in place.", low=0, high=100)
    seed: int = setting(0, "Of the orders.", low=0, high=10_000)


class ShuffleTokens(TwinGenerator[ShuffleTokensSettings]):
    """Puts the prompt's tokens into another order: what is left is what does not depend on it."""

    settings = ShuffleTokensSettings

    def description(self) -> str:
        """What happens."""
        return "Shuffles the tokens but the last few, in orders that read as the same tokens again."

    def twins(
        self, model: LoadedModel, example: Mapping[str, Any], settings: ShuffleTokensSettings
    ) -> Sequence[Mapping[str, Any]]:
        """Up to `count` twins."""
        rng = random.Random(settings.seed)
        count = settings.count
        prompt = model.prompt({"text": example["text"]})
        ids = list(prompt.ids)
        places = movable(model, prompt)[: -settings.keep_last or None]
        if len({ids[place] for place in places}) < 2:
            raise ValueError(
                "this prompt has too few tokens to shuffle: lower keep_last, or take a longer "
                "prompt"
            )
        texts: dict[str, None] = {}
        for _ in range(_TRIES * count):
            moved = [ids[place] for place in places]
            rng.shuffle(moved)
            order = list(ids)
            for place, token in zip(places, moved, strict=True):
                order[place] = token
            text = model.prompter.retold(example["text"], order)
            if order != ids and list(model.prompter.from_text(text).ids) == order:
                texts[text] = None
            if len(texts) == count:
                break
        if not texts:
            raise ValueError(
                "no other order of these tokens reads as the same tokens again: raise "
                "keep_last or try another seed"
            )
        return [{"text": text} for text in texts]
