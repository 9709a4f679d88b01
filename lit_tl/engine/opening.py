"""What comes in front of a text, as a model expects it: a beginning-of-text token or nothing."""

import dataclasses
from typing import Any, Optional

_CUSTOM = {"gpt2", "gpt_neo", "gptj"}
"""Families whose tokenizers put nothing in front, where notebooks follow TransformerLens and do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """What comes in front of every text.

    Args:
        ids: token ids; empty for nothing. GLM has two.
        why: whose choice it is, as the end of a sentence.
    """

    ids: tuple[int, ...]
    why: str


def opening_of(
    tokenizer: Any, *, family: Optional[str], custom: bool, prepend_bos: Optional[bool]
) -> Opening:
    """What comes in front of a model's texts.

    Args:
        tokenizer: Hugging Face's.
        family: Hugging Face's `model_type`, or None for a model that is not of Hugging Face.
        custom: what such a model does.
        prepend_bos: True and False force it; None is what the model expects.

    Returns:
        What the model's Hugging Face tokenizer puts in front. Where it puts nothing, and in GPT-2,
        GPT-Neo and GPT-J or when forced, the beginning-of-text token if there is one.
    """
    own = _prefix(_as_published(tokenizer))
    bos = (tokenizer.bos_token_id,) if tokenizer.bos_token_id is not None else ()
    if prepend_bos is not None:
        return Opening(ids=(own or bos) if prepend_bos else (), why="as asked")
    if family in _CUSTOM or (family is None and custom):
        return Opening(ids=own or bos, why="as is the custom in TransformerLens")
    return Opening(ids=own, why="as the model's tokenizer does")


def _prefix(tokenizer: Any) -> tuple[int, ...]:
    """What a tokenizer puts in front of a text by itself."""
    alone = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(tokenizer("a")["input_ids"])
    for length in range(len(whole) - len(alone) + 1):
        if whole[length : length + len(alone)] == alone:
            return tuple(int(token_id) for token_id in whole[:length])
    return ()


def _as_published(tokenizer: Any) -> Any:
    """A tokenizer as its files have it. TransformerLens loads tokenizers so that they put a
    beginning-of-text token in front, whether or not the model was trained with one."""
    import transformers

    if not tokenizer.init_kwargs.get("add_bos_token"):
        return tokenizer
    try:
        return transformers.AutoTokenizer.from_pretrained(
            tokenizer.name_or_path, local_files_only=True
        )
    except (OSError, ValueError):
        return tokenizer  # made in memory, or its files are gone: it is what there is to go by
