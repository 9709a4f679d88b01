"""Text and models for tests of lenses."""

import pathlib
from typing import Callable

import pytest
import torch
import transformers

from lit_tl.bundled.fit_lens import write_text
from lit_tl.data.documents import open_documents
from lit_tl.lens.training.chunks import Chunks
from lit_tl.lens.training.run import encoder
from lit_tl.models.causal_lm import load_causal_lm


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """3,000 documents of the bundled model's kind, some 130,000 tokens, as JSON lines."""
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    write_text(path, seed=99, count=3000)
    return path


@pytest.fixture(scope="session")
def causal_lm() -> tuple[transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase]:
    """The bundled model as training has it, and its tokenizer."""
    return load_causal_lm("lit-tl-tiny", device="cpu")


@pytest.fixture(scope="session")
def batches(text_file: pathlib.Path, causal_lm: tuple) -> Callable[[int], list[torch.Tensor]]:
    """Gives so many batches of 8 x 64 token ids."""
    documents = open_documents(
        str(text_file), text_column="text", split="train", bad_lines="refuse"
    )
    result = [
        sequence.long()
        for sequence, _ in zip(
            Chunks(documents, encoder(causal_lm[1], 2048), length=64), range(400)
        )
    ]
    return lambda count: list(torch.stack(result).split(8))[:count]
