"""What the engine asks of a model, with shapes. An adapter answers for each kind of model."""

import abc
import contextlib
import dataclasses
import functools
from typing import Any, Callable, Iterator, Literal, Mapping, Optional

import torch

from lit_tl.engine.freezing import frozen_parameters
from lit_tl.engine.quantized import require_unpacked
from lit_tl.engine.readout import Readout

Handler = Callable[[torch.Tensor], Optional[torch.Tensor]]
"""Sees the value of a point with its batch axis, and returns another one or None to keep it."""
WeightName = Literal["W_Q", "W_K", "W_V", "W_O", "W_out"]


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    """A component of one layer; the layer is -1 for the components of no layer."""

    layer: int
    component: str

    def __str__(self) -> str:
        return self.component if self.layer < 0 else f"{self.component}[{self.layer}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What is fixed when a model is loaded."""

    name: str
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    d_model: int
    d_vocab: int
    context: Optional[int]
    """The longest text in tokens; None where nothing bounds it."""
    parallel_blocks: bool
    """Whether attention and MLP read the same residual, so that there is no `resid_mid`."""
    experts_of_token: Optional[int] = None
    """How many experts a mixture sends each token to; None where its config does not say."""


class ModelAdapter(abc.ABC):
    """One module tree of a model: where its sites are, and how to run it.

    `point`s are looked at and changed through hooks, which are state of the tree: whoever calls
    `hooked`, `forward` or `step` holds the tree's lock.
    """

    module: Any
    shape: ModelShape
    tokenizer: Any
    """Hugging Face's, or None."""

    @property
    @abc.abstractmethod
    def device(self) -> torch.device:
        """Where token ids go."""

    @property
    @abc.abstractmethod
    def readout(self) -> Readout:
        """Final norm and unembedding."""

    @property
    def plain_model(self) -> Optional[Any]:
        """Hugging Face's model, or None where the weights are not of one."""
        return None

    @functools.cached_property
    @abc.abstractmethod
    def points(self) -> frozenset[Point]:
        """Every component of every layer that can be seen in this tree."""

    @abc.abstractmethod
    def hooked(self, handlers: Mapping[Point, Handler]) -> contextlib.AbstractContextManager[Any]:
        """Inside, each handler sees its point in every pass.

        Values have the shape `[batch, *axes]` with the axes of `lit_tl.engine.sites.AXES`.

        Raises:
            ValueError: the model has no such point, or two points exclude each other.
        """

    @contextlib.contextmanager
    def differentiated(self) -> Iterator[None]:
        """Inside, the graph of a pass reaches activations and leaves parameters out.

        Raises:
            ValueError: the model's gradients would be wrong.
        """
        require_unpacked(self.module, self.shape.name)
        with frozen_parameters(self.module):
            yield

    @abc.abstractmethod
    def forward(
        self, ids: torch.Tensor, *, keep_cache: bool, last: Optional[int], cache: Any = None
    ) -> tuple[torch.Tensor, Optional[Any]]:
        """Run token ids `[batch, pos]`.

        Args:
            ids: right-padded; on any device.
            keep_cache: whether to keep keys and values, where the model has a way to.
            last: how many positions the unembedding reads, from the end on; None for all.
            cache: an empty one, to be kept in place of the library's own.

        Returns:
            Logits `[batch, pos, d_vocab]`, and Hugging Face's cache or None.
        """

    @abc.abstractmethod
    def step(
        self,
        ids: torch.Tensor,
        cache: Any,
        mask: torch.Tensor,
        positions: torch.Tensor,
        *,
        last: int = 1,
    ) -> torch.Tensor:
        """Go on from a cache.

        Args:
            ids: `[batch, pos]`.
            cache: of `forward`; it grows in place.
            mask: 1 for each position of the cache and of the tokens that is not padding.
            positions: of the tokens, `[batch, pos]`.
            last: how many positions the unembedding reads, from the end on.

        Returns:
            Their logits, `[batch, last, d_vocab]`.
        """

    @abc.abstractmethod
    def generate(self, ids: torch.Tensor, max_new_tokens: int) -> torch.Tensor:
        """Greedy continuations of prompts of one length, prompt included, without the engine's
        cache."""

    @abc.abstractmethod
    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """The value of the site `embed` for token ids, `[batch, pos, d_model]`."""

    def weights(self, layer: int, name: WeightName) -> torch.Tensor:
        """A matrix of a block, as TransformerLens has them: `W_Q`, `W_K`, `W_V` `[head, d_model,
        d_head]` (keys and values by key-value head), `W_O` `[head, d_head, d_model]`, `W_out`
        `[neuron, d_model]`.

        Raises:
            ValueError: the model does not have it in that form.
        """
        raise ValueError(self.lacks(f"{name} of layer {layer}"))

    @property
    def family(self) -> Optional[str]:
        """Hugging Face's `model_type`, or None for a model that is not of Hugging Face."""
        return None

    @property
    def prepends_bos(self) -> bool:
        """Whether a model that is not of Hugging Face puts a beginning-of-text token in front of a
        text."""
        return False

    def is_read_only(self, point: Point) -> bool:
        """Whether what the model goes on with does not come from the value at the point."""
        return False

    def branches(self, point: Point) -> bool:
        """Whether a hook on the point reaches one reader alone, and not the stream beside it."""
        return False

    def masks_padding_by_position(self) -> bool:
        """Whether a padded cache can be gone on with: attention knows a token's place by its
        position embedding or rotation, and not by counting keys."""
        return False

    def lacks(self, what: str) -> str:
        """The sentence that says that the model has no such component."""
        why = ""
        if what.startswith("resid_mid") and self.shape.parallel_blocks:
            why = ": attention and MLP run side by side in it"
        return f"{self.shape.name} has no {what}{why}"
