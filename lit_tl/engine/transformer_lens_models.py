"""Adapter for TransformerLens: its bridge, and `HookedTransformer` of versions 2 and 3."""

import contextlib
import functools
import inspect
from typing import Any, Callable, Iterator, Mapping, Optional

import torch

from lit_tl.engine.hugging_face_models import (
    experts_of_token,
    input_hook,
    place_is_position,
    reading_last,
)
from lit_tl.engine.protocol import Handler, ModelAdapter, ModelShape, Point, WeightName
from lit_tl.engine.readout import Readout, capped
from lit_tl.engine.sites import AXES, WITHOUT_LAYER
from lit_tl.engine.tree_state import tree_state

_NAMES = {
    "embed": "hook_embed",
    "pos_embed": "hook_pos_embed",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "attn_scores": "attn.hook_attn_scores",
    "pattern": "attn.hook_pattern",
    "z": "attn.hook_z",
    "result": "attn.hook_result",
    "mlp_pre": "mlp.hook_pre",
    "mlp_post": "mlp.hook_post",
}
_SWITCHES = {
    "result": "use_attn_result",
    "q_input": "use_split_qkv_input",
    "k_input": "use_split_qkv_input",
    "v_input": "use_split_qkv_input",
    "attn_in": "use_attn_in",
    "mlp_in": "use_hook_mlp_in",
}
"""Points that TransformerLens computes only while a flag of its config is set."""
_FAMILIES = {
    "GPT2LMHeadModel": "gpt2",
    "GPTNeoForCausalLM": "gpt_neo",
    "GPTJForCausalLM": "gptj",
}
"""Families of a `HookedTransformer`, which knows the name of Hugging Face's class."""
_LATENT_ORDER = ("q", "k", "v")
_ROUTER_MARK = "hook_expert_weights"
_MEMBERS = ("cfg", "hooks", "run_with_cache", "run_with_hooks", "to_tokens", "tokenizer", "unembed")


def is_transformer_lens(model: Any) -> bool:
    """Whether a model has what TransformerLens' models have."""
    return all(hasattr(model, member) for member in _MEMBERS)


def is_causal(model: Any) -> bool:
    """Whether a TransformerLens model predicts the next token from those before it."""
    directed = getattr(model.cfg, "attention_dir", "causal") == "causal"
    return directed and not getattr(model.cfg, "is_encoder_decoder", False)


def name_of(model: Any) -> str:
    """What TransformerLens calls a model."""
    return str(model.cfg.model_name)


def rename(model: Any, name: str) -> None:
    """Let a TransformerLens model be called what the user called it."""
    model.cfg.model_name = name


class TransformerLensAdapter(ModelAdapter):
    """A TransformerLens model, every site of which can be seen."""

    def __init__(self, model: Any):
        cfg = model.cfg
        self.module = model
        self.tokenizer = model.tokenizer
        self._hook_points = model.hook_dict
        self._ids_shape: tuple[int, ...] = ()
        self.shape = ModelShape(
            name=str(cfg.model_name),
            n_layers=int(cfg.n_layers),
            n_heads=int(cfg.n_heads),
            n_key_value_heads=int(getattr(cfg, "n_key_value_heads", None) or cfg.n_heads),
            d_model=int(cfg.d_model),
            d_vocab=int(cfg.d_vocab),
            context=int(cfg.n_ctx) if cfg.n_ctx else None,
            parallel_blocks="blocks.0.hook_resid_mid" not in self._hook_points,
            experts_of_token=experts_of_token(cfg)
            or experts_of_token(getattr(getattr(model, "original_model", None), "config", None)),
        )

    @property
    def device(self) -> torch.device:
        """See `ModelAdapter`."""
        device = self.module.cfg.device
        return torch.device("cpu" if device is None else device)

    @functools.cached_property
    def readout(self) -> Readout:
        """See `ModelAdapter`."""
        cap = getattr(self.module.cfg, "output_logits_soft_cap", None)
        finish = functools.partial(
            capped, cap=float(cap) if cap is not None and cap > 0 else None, scale=1.0
        )
        transform = getattr(
            getattr(self.module, "adapter", None), "apply_output_logits_transform", None
        )
        return Readout(
            norm=self.module.ln_final,
            unembedding=self.module.unembed,
            project=torch.nn.Identity(),
            finish=transform or finish,
            d_model=self.shape.d_model,
            n_layers=self.shape.n_layers,
            name=self.shape.name,
            lock=tree_state(self.module).lock,
        )

    @property
    def plain_model(self) -> Optional[Any]:
        """See `ModelAdapter`."""
        model = getattr(self.module, "original_model", None)
        return model if hasattr(model, "get_output_embeddings") else None

    @functools.cached_property
    def points(self) -> frozenset[Point]:
        """See `ModelAdapter`."""
        layers = range(self.shape.n_layers)
        names = [name for name in AXES if name not in WITHOUT_LAYER]
        inside = [Point(layer, name) for layer in layers for name in names]
        outside = [Point(-1, name) for name in (*WITHOUT_LAYER, "pos_embed")]
        named = [point for point in (*inside, *outside) if point.component != "unembed_in"]
        present = {point for point in named if self._name(point) in self._hook_points}
        # A mixture's MLP hooks show its input and output: the experts' neurons have none.
        mixtures = {point.layer for point in present if point.component == "router"}
        neurons = {Point(layer, name) for layer in mixtures for name in ("mlp_pre", "mlp_post")}
        return frozenset(present - neurons) | {Point(-1, "unembed_in")}

    def is_read_only(self, point: Point) -> bool:
        """See `ModelAdapter`. A router that is more than a linear map gives out its logits beside
        the experts that it has chosen by them."""
        if point.component != "router":
            return False
        router = self.module.get_submodule(self._name(point).rpartition(".")[0])
        return not isinstance(getattr(router, "original_component", router), torch.nn.Linear)

    def branches(self, point: Point) -> bool:
        """Whether a hook on the point reaches the MLP alone, and not the stream that goes on beside
        it: the bridge's `resid_mid` is the input of the MLP's norm."""
        if point.component != "resid_mid":
            return False
        own = self._hook_points[self._name(point)]
        prefix = f"blocks.{point.layer}."
        readers = ("ln2.hook_in", "mlp.hook_in")
        return any(self._hook_points.get(prefix + reader) is own for reader in readers)

    def _is_latent(self, layer: int) -> bool:
        """Whether a layer has multi-head latent attention, whose values stand by head first."""
        return f"blocks.{layer}.attn.hook_kv_latent" in self._hook_points

    @property
    def _clip(self) -> Optional[float]:
        """What OLMo bounds queries, keys and values by, behind their hooks."""
        config = getattr(self.plain_model, "config", None)
        return getattr(config, "clip_qkv", None)

    def _name(self, point: Point) -> str:
        normed = f"blocks.{point.layer}.attn.v_norm.hook_out"
        if point.component == "v" and normed in self._hook_points:
            return normed
        if point.component == "router":
            return self._router_name(point.layer)
        name = _NAMES.get(point.component, f"hook_{point.component}")
        return name if point.layer < 0 else f"blocks.{point.layer}.{name}"

    def _router_name(self, layer: int) -> str:
        prefix = f"blocks.{layer}.mlp."
        for name in self._hook_points:
            if name.startswith(prefix) and name.endswith(_ROUTER_MARK):
                return name.removesuffix(_ROUTER_MARK) + "hook_out"
        return f"{prefix}hook_router"

    @contextlib.contextmanager
    def hooked(self, handlers: Mapping[Point, Handler]) -> Iterator[None]:
        """See `ModelAdapter`."""
        hooks: list[tuple[str, Callable[..., Any]]] = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(tree_state(self.module).hooking(self.module))
            for flag in sorted(
                {_SWITCHES[p.component] for p in handlers if p.component in _SWITCHES}
            ):
                stack.enter_context(self._switched_on(flag))
            for point, handler in self._stream_first(handlers).items():
                if point.component == "unembed_in":
                    stack.enter_context(input_hook(self.module.unembed, handler))
                    continue
                if point.component == "router":
                    wrapped = self._routed(handler)
                elif point.component in _LATENT_ORDER and self._is_latent(point.layer):
                    wrapped = _named(_heads_second(handler))
                elif point.component == "v" and self._clip is not None:
                    wrapped = _named(_clipped(handler, self._clip))
                else:
                    wrapped = _named(handler)
                hooks.append((self._name(point), wrapped))
            stack.enter_context(self.module.hooks(fwd_hooks=hooks))
            yield

    def _stream_first(self, handlers: Mapping[Point, Handler]) -> dict[Point, Handler]:
        """Where `resid_mid` is the MLP's branch, it comes behind `mlp_in`: let its handler see the
        stream, before anything changes what the MLP alone reads."""
        ordered = dict(handlers)
        for point in handlers:
            mlp_in = Point(point.layer, "mlp_in")
            if mlp_in in handlers and self.branches(point):
                ordered[mlp_in] = _one_after_another(ordered.pop(point), handlers[mlp_in])
        return ordered

    def _routed(self, handler: Handler) -> Callable[..., Any]:
        """A router works on `[batch * pos, expert]`; its handler sees `[batch, pos, expert]`."""

        def hook(value: torch.Tensor, hook: Any) -> Optional[torch.Tensor]:
            del hook
            changed = handler(value.reshape(*self._ids_shape, value.shape[-1]))
            return None if changed is None else changed.reshape(value.shape)

        return hook

    @contextlib.contextmanager
    def _switched_on(self, flag: str) -> Iterator[None]:
        if getattr(self.module.cfg, flag, False):
            yield
            return
        switch = getattr(self.module, f"set_{flag}")
        try:
            switch(True)
        except (ValueError, NotImplementedError, AttributeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise ValueError(
                f"{self.shape.name} can't compute what {flag} gives: {reason}"
            ) from error
        try:
            yield
        finally:
            switch(False)

    def forward(
        self, ids: torch.Tensor, *, keep_cache: bool, last: Optional[int], cache: Any = None
    ) -> tuple[torch.Tensor, Optional[Any]]:
        """See `ModelAdapter`."""
        self._ids_shape, ids = tuple(ids.shape), ids.to(self.device)
        with reading_last(self.module.unembed, last):
            if (
                keep_cache
                and "past_key_values" in inspect.signature(self.module.forward).parameters
            ):
                given = {} if cache is None else {"past_key_values": cache}
                logits, cache = self.module(
                    ids,
                    return_type="logits_and_cache",
                    padding_side="right",
                    use_cache=True,
                    **given,
                )
                return logits, cache
            return self.module(ids, return_type="logits", padding_side="right"), None

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
        self._ids_shape = tuple(ids.shape)
        with reading_last(self.module.unembed, last):
            logits: torch.Tensor
            logits, _ = self.module(
                ids,
                return_type="logits_and_cache",
                past_key_values=cache,
                attention_mask=mask,
                position_ids=positions,
            )
        return logits

    def generate(self, ids: torch.Tensor, max_new_tokens: int) -> torch.Tensor:
        """See `ModelAdapter`."""
        generated: torch.Tensor = self.module.generate(
            ids,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            stop_at_eos=True,
            return_type="tokens",
            verbose=False,
        )
        return generated

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """See `ModelAdapter`."""
        embeddings: torch.Tensor = self.module.embed(ids)
        return embeddings

    def weights(self, layer: int, name: WeightName) -> torch.Tensor:
        """See `ModelAdapter`."""
        block = self.module.blocks[layer]
        try:
            value = getattr(block.mlp if name == "W_out" else block.attn, name)
        except (AttributeError, RuntimeError, NotImplementedError) as error:
            raise ValueError(self.lacks(f"{name} of layer {layer}")) from error
        wanted = 2 if name == "W_out" else 3
        if not isinstance(value, torch.Tensor) or value.ndim != wanted:
            raise ValueError(self.lacks(f"{name} of layer {layer}"))
        return value.detach()

    @property
    def family(self) -> Optional[str]:
        """See `ModelAdapter`."""
        config = getattr(getattr(self.module, "original_model", None), "config", None)
        named = getattr(config, "model_type", None)
        return named or _FAMILIES.get(str(getattr(self.module.cfg, "original_architecture", "")))

    @property
    def prepends_bos(self) -> bool:
        """See `ModelAdapter`."""
        return bool(getattr(self.module.cfg, "default_prepend_bos", True))

    def masks_padding_by_position(self) -> bool:
        """See `ModelAdapter`."""
        config = getattr(getattr(self.module, "original_model", None), "config", None)
        return config is not None and place_is_position(config)


def _one_after_another(first: Handler, second: Handler) -> Handler:
    def handle(value: torch.Tensor) -> Optional[torch.Tensor]:
        between = first(value)
        after = second(value if between is None else between)
        return between if after is None else after

    return handle


def _named(handler: Handler) -> Callable[..., Optional[torch.Tensor]]:
    def hook(value: torch.Tensor, hook: Any) -> Optional[torch.Tensor]:
        del hook
        return handler(value)

    return hook


def _heads_second(handler: Handler) -> Handler:
    """A handler of `[batch, pos, head, d_head]` for a value of `[batch, head, pos, d_head]`."""

    def handle(value: torch.Tensor) -> Optional[torch.Tensor]:
        changed = handler(value.transpose(1, 2))
        return None if changed is None else changed.transpose(1, 2)

    return handle


def _clipped(handler: Handler, bound: float) -> Handler:
    """A handler that sees a value as the model clips it."""
    return lambda value: handler(value.clamp(-bound, bound))
