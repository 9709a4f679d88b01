"""Tokens as people read them."""

import tokenizers
import transformers
from tokenizers import decoders, models, pre_tokenizers

from lit_tl.engine.vocabulary import Vocabulary
from tests.conftest import BUNDLED


def test_byte_level_tokens_read_as_text_and_back() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(BUNDLED)
    vocabulary = Vocabulary(tokenizer, 2048)
    text = "When Mary\ncafé 日本語 🙂"
    ids = tokenizer.encode(text)
    strings = vocabulary.strings(ids)
    assert strings[:3] == ["When", " Mary", "\n"]
    assert not any("Ġ" in string or "Ċ" in string or "�" in string for string in strings)
    assert vocabulary.ids(strings) == ids
    assert "\\xf0" in strings[-4:], "a part of an emoji is shown as its bytes"


def test_every_string_of_the_bundled_vocabulary_is_unique() -> None:
    vocabulary = Vocabulary(transformers.AutoTokenizer.from_pretrained(BUNDLED), 2048)
    strings = vocabulary.all_strings()
    assert len(set(strings)) == 2048
    assert vocabulary.ids(strings) == list(range(2048))


def test_sentencepiece_marks_and_byte_fallback() -> None:
    pieces = {"<unk>": 0, "▁the": 1, "<0x0A>": 2, "<0xF0>": 3, "é": 4, "▁": 5, "<0x20>": 6}
    inner = tokenizers.Tokenizer(models.BPE(pieces, [], byte_fallback=True, unk_token="<unk>"))
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    vocabulary = Vocabulary(
        transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>"), 9
    )
    assert vocabulary.all_strings() == [
        "<unk>",
        " the",
        "\n",
        "\\xf0",
        "é",
        " ",
        " ",
        "[id 7]",
        "[id 8]",
    ]
    assert vocabulary.ids([" the", " ", "\n"]) == [1, 5, 2], (
        "a real token goes before a byte that reads the same"
    )
