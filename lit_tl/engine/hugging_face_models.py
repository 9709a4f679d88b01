"""Adapter for plain Hugging Face causal language models, which run PyTorch's fused attention."""

import contextlib
import dataclasses
import functools
import inspect
from typing import Any, Callable, Collection, Iterator, Literal, Mapping, Optional

import torch

from lit_tl.engine.protocol import Handler, ModelAdapter, ModelShape, Point
from lit_tl.engine.readout import Readout, readout_of_hugging_face
from lit_tl.engine.tree_state import tree_state

_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")
_PLACE_IS_POSITION = frozenset(
    """gpt2 gptj gpt_neox codegen opt xglm llama mistral mixtral qwen2 qwen3 gemma gemma2
    gemma3_text phi phi3 stablelm olmo olmo2""".split()
)


def place_is_position(config: Any) -> bool:
    """Whether attention of a Hugging Face architecture knows where a key stands by its position
    embedding or rotation, so that padding between keys can be masked."""
    return getattr(config, "model_type", "") in _PLACE_IS_POSITION


def is_hugging_face(model: Any) -> bool:
    """Whether a model is a Hugging Face model with an unembedding."""
    return hasattr(model, "get_output_embeddings") and model.get_output_embeddings() is not None


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Where a value inside a block is.

    Args:
        module: of the block.
        side: whether it is what the module is called with, or what it gives.
        heads: how many heads stand one behind the other in its last axis; None for none.
    """

    module: torch.nn.Module
    side: Literal["input", "output"]
    heads: Optional[int] = None


class HuggingFaceAdapter(ModelAdapter):
    """A Hugging Face causal language model: its embeddings, the residual at the ends of blocks, and
    the input of the unembedding.

    Args:
        model: the model.
        name: what errors call it; None for its own name.
        tokenizer: Hugging Face's, or None.
        parts: inside the blocks, where it is known which they are.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: Optional[str] = None,
        tokenizer: Any = None,
        parts: Mapping[Point, Part] = {},
    ):
        self._parts = parts
        config = model.config.get_text_config()
        self.module = model
        self.tokenizer = tokenizer
        n_heads = int(getattr(config, "num_attention_heads", None) or 1)
        bounds = (getattr(config, key, None) for key in _CONTEXT_NAMES)
        self.shape = ModelShape(
            name=str(name or getattr(model, "name_or_path", "") or config.model_type),
            n_layers=int(config.num_hidden_layers),
            n_heads=n_heads,
            n_key_value_heads=int(getattr(config, "num_key_value_heads", None) or n_heads),
            d_model=int(config.hidden_size),
            d_vocab=int(model.get_output_embeddings().weight.shape[0]),
            context=next((int(bound) for bound in bounds if bound), None),
            parallel_blocks=False,
            experts_of_token=experts_of_token(config),
        )

    @property
    def device(self) -> torch.device:
        """See `ModelAdapter`."""
        embedding: torch.Tensor = self.module.get_input_embeddings().weight
        return embedding.device

    @functools.cached_property
    def readout(self) -> Readout:
        """See `ModelAdapter`."""
        return readout_of_hugging_face(self.module, self.shape.name, tree_state(self.module).lock)

    @property
    def plain_model(self) -> Optional[Any]:
        """See `ModelAdapter`."""
        return self.module

    @functools.cached_property
    def blocks(self) -> torch.nn.ModuleList:
        """The blocks.

        Raises:
            ValueError: the model has no list of as many modules as layers.
        """
        for module in self.module.base_model.modules():
            if isinstance(module, torch.nn.ModuleList) and len(module) == self.shape.n_layers:
                return module
        raise ValueError(
            f"the {self.shape.n_layers} blocks of {type(self.module).__qualname__} can't be found: "
            "load the model with TransformerLens"
        )

    @functools.cached_property
    def points(self) -> frozenset[Point]:
        """See `ModelAdapter`."""
        layers = range(self.shape.n_layers)
        blocks = [Point(layer, name) for layer in layers for name in ("resid_pre", "resid_post")]
        return frozenset([*blocks, *self._parts, Point(-1, "embed"), Point(-1, "unembed_in")])

    def has_all(self, points: Collection[Point]) -> bool:
        """Whether all of these are here."""
        return self.points.issuperset(points)

    def lacks(self, what: str) -> str:
        return (
            f"{what} can't be read on a plain Hugging Face model: load the model with "
            "TransformerLens"
        )

    @contextlib.contextmanager
    def hooked(self, handlers: Mapping[Point, Handler]) -> Iterator[None]:
        """See `ModelAdapter`. Hooks come after those that a user put on the same module."""
        with contextlib.ExitStack() as stack:
            for point, handler in handlers.items():
                if point.component == "unembed_in":
                    stack.enter_context(input_hook(self.module.get_output_embeddings(), handler))
                    continue
                stack.callback(self._install(point, handler).remove)
            yield

    def _install(self, point: Point, handler: Handler) -> Any:
        if point.component == "embed":
            embedding = self.module.get_input_embeddings()
            return embedding.register_forward_hook(functools.partial(_output, handler))
        if point not in self.points:
            raise ValueError(self.lacks(str(point)))
        if point in self._parts:
            return _install_inside(self._parts[point], handler)
        block = self.blocks[point.layer]
        if point.component == "resid_pre":
            hook = functools.partial(_input, handler)
            return block.register_forward_pre_hook(hook, with_kwargs=True)
        return block.register_forward_hook(functools.partial(_output, handler))

    def forward(
        self, ids: torch.Tensor, *, keep_cache: bool, last: Optional[int], cache: Any = None
    ) -> tuple[torch.Tensor, Optional[Any]]:
        """See `ModelAdapter`."""
        given = {} if cache is None else {"past_key_values": cache}
        with reading_last(self.module.get_output_embeddings(), last):
            output = self.module(ids.to(self.device), use_cache=keep_cache, **given)
        return output.logits, getattr(output, "past_key_values", None) if keep_cache else None

    def step(
        self,
        ids: torch.Tensor,
        cache: Any,
        mask: torch.Tensor,
        positions: torch.Tensor,
        *,
        last: int = 1,
    ) -> torch.Tensor:
        """See `ModelAdapter`."""
        given: dict[str, Any] = {
            "past_key_values": cache,
            "attention_mask": mask,
            "use_cache": True,
        }
        if "position_ids" in self._forward_parameters:
            given["position_ids"] = positions
        with reading_last(self.module.get_output_embeddings(), last):
            logits: torch.Tensor = self.module(ids, **given).logits
        return logits

    @functools.cached_property
    def _forward_parameters(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.module.forward).parameters)

    def masks_padding_by_position(self) -> bool:
        """See `ModelAdapter`."""
        return place_is_position(self.module.config)

    def generate(self, ids: torch.Tensor, max_new_tokens: int) -> torch.Tensor:
        """See `ModelAdapter`."""
        generated: torch.Tensor = self.module.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None if self.tokenizer is None else self.tokenizer.eos_token_id,
            return_dict_in_generate=False,
        )
        return generated

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """See `ModelAdapter`."""
        embeddings: torch.Tensor = self.module.get_input_embeddings()(ids)
        return embeddings

    @property
    def family(self) -> Optional[str]:
        """See `ModelAdapter`."""
        return str(self.module.config.model_type)


def _install_inside(part: Part, handler: Handler) -> Any:
    def by_head(value: torch.Tensor) -> Optional[torch.Tensor]:
        assert part.heads is not None
        changed = handler(value.unflatten(-1, (part.heads, -1)))
        return None if changed is None else changed.flatten(-2)

    hook = handler if part.heads is None else by_head
    if part.side == "output":
        return part.module.register_forward_hook(functools.partial(_output, hook))
    return part.module.register_forward_pre_hook(functools.partial(_input, hook), with_kwargs=True)


def _input(handler: Handler, module: Any, args: Any, kwargs: Any) -> Optional[tuple[Any, Any]]:
    del module
    changed = handler(args[0] if args else kwargs["hidden_states"])
    if changed is None:
        return None
    return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})


def _output(handler: Callable[..., Any], module: Any, args: Any, output: Any) -> Any:
    del module, args
    changed = handler(output[0] if isinstance(output, tuple) else output)
    if changed is None:
        return None
    return (changed, *output[1:]) if isinstance(output, tuple) else changed


@contextlib.contextmanager
def input_hook(module: torch.nn.Module, handler: Handler) -> Iterator[None]:
    """Inside, a handler sees and may change what a module is called with."""

    def hook(module: Any, args: tuple[Any, ...]) -> Optional[tuple[Any, ...]]:
        del module
        changed = handler(args[0]) if args else None
        return None if changed is None else (changed, *args[1:])

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def reading_last(
    unembedding: torch.nn.Module, count: Optional[int]
) -> contextlib.AbstractContextManager[Any]:
    """Inside, an unembedding reads only so many positions, from the end on; None for all."""
    if count is None:
        return contextlib.nullcontext()
    return input_hook(unembedding, lambda value: value[:, value.shape[1] - count :])


def experts_of_token(config: Any) -> Optional[int]:
    """See `ModelShape`; from a config of Hugging Face, or of TransformerLens."""
    names = ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k")
    counts = (getattr(config, name, None) for name in names)
    return next((int(count) for count in counts if count), None)
