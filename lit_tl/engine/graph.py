"""A model as a graph of what writes to the residual and what reads it."""

import dataclasses
import functools
from typing import Literal, Sequence

import numpy as np
import numpy.typing as npt

from lit_tl.engine.protocol import Point

WriterKind = Literal["embed", "head", "mlp"]
ReaderKind = Literal["q", "k", "v", "mlp", "logits"]
_INPUTS = {"q": "q_input", "k": "k_input", "v": "v_input", "mlp": "mlp_in", "logits": "resid_post"}


@dataclasses.dataclass(frozen=True)
class Writer:
    """What adds to the residual: the embedding, a head, an MLP.

    Args:
        kind: of the part.
        layer: that it is in; -1 for the embedding.
        head: of a layer; -1 for other parts.
    """

    kind: WriterKind
    layer: int = -1
    head: int = -1

    def __str__(self) -> str:
        if self.kind == "head":
            return f"L{self.layer}H{self.head}"
        return "embed" if self.kind == "embed" else f"mlp {self.layer}"


@dataclasses.dataclass(frozen=True)
class Reader:
    """What reads the residual: queries, keys and values of a head, an MLP, the final norm.

    Args:
        kind: of the part.
        layer: that it is in; the number of layers for the final norm.
        head: of a layer, for keys and values a key-value head; -1 for other parts.
    """

    kind: ReaderKind
    layer: int
    head: int = -1

    def __str__(self) -> str:
        if self.kind in ("q", "k", "v"):
            return f"L{self.layer}H{self.head}.{self.kind}"
        return "logits" if self.kind == "logits" else f"mlp {self.layer}"

    @property
    def point(self) -> Point:
        """Where a pass shows what it reads."""
        layer = self.layer - 1 if self.kind == "logits" else self.layer
        return Point(layer, _INPUTS[self.kind])


@dataclasses.dataclass(frozen=True)
class Graph:
    """Writers and readers in the order in which a pass reaches them, and which reads which.

    Args:
        n_layers: blocks.
        n_heads: query heads of a block.
        n_key_value_heads: of a block.
        parallel_blocks: whether an MLP reads what its attention reads.
    """

    n_layers: int
    n_heads: int
    n_key_value_heads: int
    parallel_blocks: bool

    @functools.cached_property
    def writers(self) -> tuple[Writer, ...]:
        """The embedding, and of each layer its heads and its MLP."""
        writers = [Writer("embed")]
        for layer in range(self.n_layers):
            writers += [Writer("head", layer, head) for head in range(self.n_heads)]
            writers.append(Writer("mlp", layer))
        return tuple(writers)

    @functools.cached_property
    def readers(self) -> tuple[Reader, ...]:
        """Of each layer its heads and its MLP, and the final norm."""
        readers: list[Reader] = []
        for layer in range(self.n_layers):
            readers += [Reader("q", layer, head) for head in range(self.n_heads)]
            for kind in ("k", "v"):
                own = range(self.n_key_value_heads)
                readers += [Reader(kind, layer, head) for head in own]
            readers.append(Reader("mlp", layer))
        return (*readers, Reader("logits", self.n_layers))

    @functools.cached_property
    def edges(self) -> "npt.NDArray[np.bool_]":
        """`[reader, writer]`: whether the reader comes behind the writer."""
        there = np.zeros((len(self.readers), len(self.writers)), bool)
        for row, reader in enumerate(self.readers):
            there[row, : self.written_before(reader)] = True
        return there

    def written_before(self, reader: Reader) -> int:
        """How many writers a reader comes behind: they are the first ones."""
        before = 1 + reader.layer * (self.n_heads + 1)
        in_layer = self.n_heads if reader.kind == "mlp" and not self.parallel_blocks else 0
        return before + in_layer

    def owner(self, reader: Reader) -> tuple[int, ...]:
        """The writers that a reader is the input of: query heads that share a key-value head, or
        an MLP; none for the final norm."""
        first = 1 + reader.layer * (self.n_heads + 1)
        if reader.kind == "logits":
            return ()
        if reader.kind == "mlp":
            return (first + self.n_heads,)
        if reader.kind == "q":
            return (first + reader.head,)
        shared = self.n_heads // self.n_key_value_heads
        return tuple(first + reader.head * shared + i for i in range(shared))

    @functools.cached_property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """For each writer, its readers."""
        inputs: list[list[int]] = [[] for _ in self.writers]
        for row, reader in enumerate(self.readers):
            for writer in self.owner(reader):
                inputs[writer].append(row)
        return tuple(map(tuple, inputs))

    def rows_at(self, point: Point) -> Sequence[int]:
        """The readers that a pass shows at a point, in the order of their heads."""
        return [row for row, reader in enumerate(self.readers) if reader.point == point]
