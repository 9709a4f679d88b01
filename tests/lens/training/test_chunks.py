"""Texts to sequences, in an order that a seed decides, from any place on."""

import io
import pathlib
import threading
from typing import Optional

import torch

from lit_tl.data.documents import open_documents
from lit_tl.lens.training.chunks import Chunks
from lit_tl.lens.training.run import encoder


def chunks(
    path: pathlib.Path, tokenizer: object, state: Optional[dict] = None, **options: int
) -> Chunks:
    documents = open_documents(str(path), text_column="text", split="train", bad_lines="refuse")
    return Chunks(
        documents,
        encoder(tokenizer, 2048),
        **{"length": 50, "shuffle_buffer": 100, "seed": 1, **options},
        state=state,
    )


def test_the_order_is_the_texts_without_shuffling_and_the_same_sequences_with_it(
    text_file: pathlib.Path, causal_lm: tuple
) -> None:
    tokenizer = causal_lm[1]
    plain = torch.stack(list(chunks(text_file, tokenizer, shuffle_buffer=0)))
    texts = [
        text for group in chunks(text_file, tokenizer)._documents.groups() for text in group.texts
    ]
    ids = [
        i
        for text in texts
        for i in [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    ]
    assert plain.flatten().tolist() == ids[: len(ids) // 50 * 50]
    shuffled = torch.stack(list(chunks(text_file, tokenizer)))
    assert not torch.equal(shuffled, plain)
    assert sorted(map(tuple, shuffled.tolist())) == sorted(map(tuple, plain.tolist()))
    assert torch.equal(shuffled, torch.stack(list(chunks(text_file, tokenizer))))
    assert not torch.equal(shuffled, torch.stack(list(chunks(text_file, tokenizer, seed=2))))


def test_a_state_goes_on_with_the_next_sequence(text_file: pathlib.Path, causal_lm: tuple) -> None:
    whole = list(chunks(text_file, causal_lm[1]))
    for stop in (0, 1, 500, len(whole) - 40, len(whole) - 1, len(whole)):
        first = chunks(text_file, causal_lm[1])
        taken = [sequence for sequence, _ in zip(first, range(stop))] if stop else []
        saved = io.BytesIO()
        torch.save(first.state(), saved)
        saved.seek(0)
        state = torch.load(saved, weights_only=True)
        # zip took one more than it gave where the data did not end first
        rest = list(chunks(text_file, causal_lm[1], state))
        assert state["given"] == (min(stop + 1, len(whole)) if stop else 0)
        assert all(map(torch.equal, [*taken, *rest], whole[:stop] + whole[state["given"] :]))
        assert len(rest) == len(whole) - state["given"]


def test_an_iterator_that_is_left_in_the_middle_may_be_collected_anywhere(
    text_file: pathlib.Path, causal_lm: tuple
) -> None:
    """Also while Python holds its own lock on threads, as it does when one of them starts."""
    left = iter(chunks(text_file, causal_lm[1]))
    next(left)
    collected = threading.Event()

    def collect() -> None:
        with threading._shutdown_locks_lock:
            left.close()
        collected.set()

    threading.Thread(target=collect, daemon=True).start()
    assert collected.wait(timeout=20)
