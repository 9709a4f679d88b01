"""Texts to sequences of one length, in an order that a seed decides, from any place on."""

import dataclasses
import queue
import threading
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, Union

import torch

from lit_tl.data.documents.stream import Documents

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Texts to token ids, each text with what separates it from the one before."""
_AHEAD = 4


@dataclasses.dataclass(frozen=True)
class _Encoded:
    ids: torch.Tensor
    place: Mapping[str, Any]
    text_bytes: int


class Chunks:
    """Sequences of `length` token ids: documents one after another, cut without regard to where
    they end.

    The next sequence is drawn from a buffer of `shuffle_buffer` of them, which a new one then fills
    up. Encoding runs ahead in a thread. `state()` between two sequences, given to another `Chunks`
    of the same data and settings, goes on with the next. Each of many processes reads and encodes
    all of the text, and takes its share of the sequences: the order is the same for any number.

    Args:
        documents: the texts.
        encode: texts to ids.
        length: tokens in a sequence.
        shuffle_buffer: how many sequences wait; 0 keeps the order.
        seed: of the order.
        state: where to go on.
    """

    def __init__(
        self,
        documents: Documents,
        encode: Encode,
        *,
        length: int,
        shuffle_buffer: int = 0,
        seed: int = 0,
        state: Optional[Mapping[str, Any]] = None,
    ):
        self._documents, self._encode, self._length, self._size = (
            documents,
            encode,
            length,
            shuffle_buffer,
        )
        self._generator = torch.Generator().manual_seed(seed)
        self._left = torch.empty(0, dtype=torch.int32)
        self._buffer: list[torch.Tensor] = []
        self._place: Optional[Mapping[str, Any]] = None
        self.given = self.tokens = self.text_bytes = 0
        if state is not None:
            self._generator.set_state(state["generator"])
            self._left, self._buffer, self._place = (
                state["left"],
                list(state["buffer"]),
                state["place"],
            )
            self.given, self.tokens, self.text_bytes = (
                state["given"],
                state["tokens"],
                state["text_bytes"],
            )

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "generator": self._generator.get_state(),
            "left": self._left.clone(),
            "buffer": torch.stack(self._buffer)
            if self._buffer
            else torch.empty(0, self._length, dtype=torch.int32),
            "place": dict(self._place) if self._place is not None else None,
            "given": self.given,
            "tokens": self.tokens,
            "text_bytes": self.text_bytes,
        }

    @property
    def place(self) -> Mapping[str, Any]:
        """How far the documents have been read; see `lit_tl.data.documents`."""
        return self._place or {}

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Sequences, int32 `[length]`, to the end of the data."""
        for sequence in self._in_order():
            self._buffer.append(sequence)
            if len(self._buffer) > self._size:
                yield self._draw()
        while self._buffer:
            yield self._draw()

    def _draw(self) -> torch.Tensor:
        index = (
            int(torch.randint(len(self._buffer), (), generator=self._generator))
            if self._size
            else 0
        )
        self._buffer[index], self._buffer[-1] = self._buffer[-1], self._buffer[index]
        self.given += 1
        return self._buffer.pop()

    def _in_order(self) -> Iterator[torch.Tensor]:
        while len(self._left) >= self._length:
            yield self._cut()
        for encoded in _ahead(self._encoded()):
            self._left = torch.cat([self._left, encoded.ids])
            self._place = encoded.place
            self.tokens += len(encoded.ids)
            self.text_bytes += encoded.text_bytes
            while len(self._left) >= self._length:
                yield self._cut()

    def _cut(self) -> torch.Tensor:
        sequence, self._left = self._left[: self._length], self._left[self._length :]
        return sequence

    def _encoded(self) -> Iterator[_Encoded]:
        groups = (
            self._documents.groups() if self._place is None else self._documents.groups(self._place)
        )
        for group in groups:
            ids = [
                i
                for document in (self._encode(group.texts) if group.texts else [])
                for i in document
            ]
            size = sum(len(text.encode()) for text in group.texts)
            yield _Encoded(torch.tensor(ids, dtype=torch.int32), group.place, size)


def _ahead(items: Iterator[_Encoded]) -> Iterator[_Encoded]:
    """The same, made in a thread before they are asked for.

    Where this generator is left before its end, Python closes it at any time and in any thread. So
    nothing here takes a lock or waits for a thread to end: a `SimpleQueue` needs neither.
    """
    wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
    made: queue.SimpleQueue[Union[_Encoded, BaseException, None]] = queue.SimpleQueue()
    needed = True

    def make() -> None:
        while wanted.get() and needed:
            try:
                made.put(next(items, None))
            except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
                made.put(error)

    threading.Thread(target=make, name="encoding", daemon=True).start()
    try:
        for _ in range(_AHEAD):
            wanted.put(True)
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            wanted.put(True)
            yield item
    finally:
        needed = False
        wanted.put(False)
