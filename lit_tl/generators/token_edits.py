"""Tokens replaced or put in another order."""

import random
import re
from typing import Any, Mapping, Sequence

from lit_nlp.api import types as lit_types

from lit_tl.generators.twins import TwinGenerator, whole_number
from lit_tl.models.engine import Engine

_TRIES = 50


class ReplaceToken(TwinGenerator):
    """Puts another token in the place of one."""

    def description(self) -> str:
        """What happens."""
        return "Replaces one token by another, wherever it stands or at one position; the prompt stays as many tokens long."

    def config_spec(self) -> lit_types.Spec:
        """Which token, and by what."""
        return {
            "token": lit_types.String(default="", required=False),
            "replacement": lit_types.String(default="", required=False),
            "position": lit_types.String(default="", required=False),
        }

    def twins(self, engine: Engine, example: Mapping[str, Any], config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """One twin."""
        prompt = engine.prompt({"text": example["text"]})
        tokens = engine.prompter.vocabulary.strings(prompt.ids)
        places = self._places(tokens, config)
        replacement = str(config.get("replacement") or "")
        if not replacement:
            raise ValueError("write the token to put there into replacement")
        changed = list(prompt.ids)
        for pos in places:
            changed[pos] = self._single(engine, (" " if tokens[pos].startswith(" ") else "") + replacement.lstrip(" "))
        return [{"text": engine.prompter.to_text(changed)}]

    def _single(self, engine: Engine, text: str) -> int:
        ids = engine.prompter.continuation(text)
        if len(ids) != 1:
            raise ValueError(
                f"{text!r} is {len(ids)} tokens, and a twin must stay as long as its prompt: give one that is a single token"
            )
        return ids[0]

    def _places(self, tokens: Sequence[str], config: Mapping[str, Any]) -> list[int]:
        if str(config.get("position") or "") != "":
            return [whole_number(config, "position", 0, 1, len(tokens) - 1)]
        wanted = str(config.get("token") or "")
        if not wanted:
            raise ValueError("write the token to replace into token, or its place into position")
        places = [pos for pos, token in enumerate(tokens) if token in (wanted, " " + wanted)]
        if not places:
            raise ValueError(f"{wanted!r} is no token of this prompt, whose tokens are {', '.join(map(repr, tokens))}")
        standing = len(re.findall(rf"(?<!\w){re.escape(wanted.strip())}(?!\w)", "".join(tokens)))
        if standing > len(places):
            raise ValueError(
                f"{wanted!r} stands {standing} times in this prompt, {len(places)} of them as a single token: give a position"
            )
        return places


class ShuffleTokens(TwinGenerator):
    """Puts the prompt's tokens into another order: what is left is what does not depend on it."""

    def description(self) -> str:
        """What happens."""
        return "Shuffles the tokens but the last few, in orders that read as the same tokens again."

    def config_spec(self) -> lit_types.Spec:
        """How many orders, and how much of the end stays."""
        return {
            "count": lit_types.Integer(default=1, min_val=1, max_val=20, required=False),
            "keep_last": lit_types.Integer(default=1, min_val=0, max_val=100, required=False),
            "seed": lit_types.Integer(default=0, min_val=0, max_val=10_000, required=False),
        }

    def twins(self, engine: Engine, example: Mapping[str, Any], config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Up to `count` twins."""
        rng = random.Random(whole_number(config, "seed", 0, 0, 10_000))
        count, keep = whole_number(config, "count", 1, 1, 20), whole_number(config, "keep_last", 1, 0, 100)
        ids = list(engine.prompt({"text": example["text"]}).ids)
        first, last = engine.prompter.beginning(ids), len(ids) - keep
        if len(set(ids[first:last])) < 2:
            raise ValueError("this prompt has too few tokens to shuffle: lower keep_last, or take a longer prompt")
        texts: dict[str, None] = {}
        for _ in range(_TRIES * count):
            middle = ids[first:last]
            rng.shuffle(middle)
            order = [*ids[:first], *middle, *ids[last:]]
            text = engine.prompter.to_text(order)
            if order != ids and list(engine.prompter.from_text(text).ids) == order:
                texts[text] = None
            if len(texts) == count:
                break
        if not texts:
            raise ValueError("no other order of these tokens reads as the same tokens again: raise keep_last or try another seed")
        return [{"text": text} for text in texts]
