"""What transformers computes, by its own means: no code of lit_tl."""

import contextlib
import pathlib
import sys
from typing import Any, Iterator, Optional

import torch
import transformers

Values = dict[int, torch.Tensor]


def _alone(out: torch.Tensor, n_heads: int) -> torch.Tensor:
    return out.unflatten(-1, (n_heads, -1))


def _last_third(out: torch.Tensor, n_heads: int) -> torch.Tensor:
    return _alone(out.chunk(3, dim=-1)[2], n_heads)


def _third_of_each_head(out: torch.Tensor, n_heads: int) -> torch.Tensor:
    """BLOOM: query, key and value of one head beside one another."""
    return out.unflatten(-1, (n_heads, 3, -1))[:, :, 2]


def _third_of_four_parts(out: torch.Tensor, n_heads: int) -> torch.Tensor:
    """CodeGen: four parts, in each query, value and key of its heads."""
    parts = out.unflatten(-1, (4, 3, -1))[:, :, 1]
    return parts.flatten(1).unflatten(-1, (n_heads, -1))


_VALUES_OF: Any = {
    "v_proj": _alone,
    "Wqkv": _last_third,
    "c_attn": _last_third,
    "query_key_value": _third_of_each_head,
    "qkv_proj": _third_of_four_parts,
}
"""By the name of a projection, from its output to the values, `[pos, head, d_head]`."""


class Reference:
    """A checkpoint in transformers, with attention written out.

    Args:
        folder: of the checkpoint.
    """

    def __init__(self, folder: pathlib.Path):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        ).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def run(self, ids: list[int]) -> Any:
        """One prompt: logits, hidden states and attentions."""
        with torch.no_grad():
            return self.model(
                torch.tensor([ids]),
                output_hidden_states=True,
                output_attentions=True,
                use_cache=False,
            )

    def logits(self, ids: list[int]) -> torch.Tensor:
        """`[pos, d_vocab]` of one prompt."""
        with torch.no_grad():
            logits: torch.Tensor = self.model(torch.tensor([ids]), use_cache=False).logits[0]
        return logits

    def greedy(self, ids: list[int], steps: int) -> list[int]:
        """The tokens that come next, a plain pass for each."""
        ids = list(ids)
        for _ in range(steps):
            ids.append(int(self.logits(ids)[-1].argmax()))
        return ids[-steps:]

    def patterns(self, ids: list[int]) -> Values:
        """By layer, `[head, query_pos, key_pos]`: what the library's attention function returns, or
        what the model gives out where it has no such function."""
        found = self._attention(ids)
        if found:
            return {layer: pattern for layer, (_, pattern) in found.items()}
        attentions = getattr(self.run(ids), "attentions", None) or ()
        return {
            layer: each[0]
            for layer, each in enumerate(attentions)
            if each is not None and each.ndim == 4
        }

    def residuals(self, ids: list[int]) -> list[torch.Tensor]:
        """What goes into the first block, and what comes out of each, `[pos, d_model]`."""
        kept: list[torch.Tensor] = []
        blocks = next(
            module
            for module in self.model.modules()
            if isinstance(module, torch.nn.ModuleList)
            and len(module) == self.model.config.get_text_config().num_hidden_layers
        )

        def before(_: Any, args: Any, kwargs: Any) -> None:
            kept.append((args[0] if args else kwargs["hidden_states"]).detach()[0])

        def after(_: Any, __: Any, out: Any) -> None:
            kept.append((out[0] if isinstance(out, tuple) else out).detach().reshape(len(ids), -1))

        handles = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
        handles += [block.register_forward_hook(after) for block in blocks]
        self.logits(ids)
        for handle in handles:
            handle.remove()
        return kept

    def values(self, ids: list[int]) -> Values:
        """By layer, the vectors that attention reads, `[pos, key_value_head, d_head]`."""
        found = {layer: value for layer, (value, _) in self._attention(ids).items()}
        return found or self._projected_values(ids)

    def _attention(self, ids: list[int]) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """By layer, what the library hands to its own attention function as values, and the pattern
        that comes back."""
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def wrap(function: Any) -> Any:
            def eager(
                module: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any
            ) -> Any:
                out, pattern = function(module, query, key, value, *args, **kwargs)
                read = value[0].transpose(0, 1).detach()
                found[int(module.layer_idx)] = (read, pattern[0].detach())
                return out, pattern

            return eager

        with contextlib.ExitStack() as stack:
            for home in {type(module).__module__ for module in self.model.modules()}:
                stack.enter_context(_replaced(sys.modules[home], "eager_attention_forward", wrap))
            self.logits(ids)
        return found

    def _projected_values(self, ids: list[int]) -> Values:
        """Of older code, which has a projection and nothing between it and attention."""
        found: Values = {}
        handles = []
        config = self.model.config
        n_heads = getattr(config, "num_attention_heads", None) or getattr(config, "n_heads", 1)
        shared = getattr(config, "multi_query", False)  # Falcon's heads read one value
        for name, module in self.model.named_modules():
            last = name.rpartition(".")[2]
            if last not in _VALUES_OF:
                continue
            layer = next(int(part) for part in name.split(".") if part.isdigit())

            def hook(
                _: Any, __: Any, out: torch.Tensor, layer: int = layer, last: str = last
            ) -> None:
                values = out[0].detach()
                of_one = values.unflatten(-1, (n_heads + 2, -1))[:, -1:] if shared else None
                found[layer] = _VALUES_OF[last](values, n_heads) if of_one is None else of_one

            handles.append(module.register_forward_hook(hook))
        self.logits(ids)
        for handle in handles:
            handle.remove()
        return found

    def embeddings(
        self, ids: list[int], pos: int, token: int
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What the input can be called, each `[pos, d_model]` with the gradient of the
        log-probability of a token after a position: the output of the embedding, and the first
        hidden state."""
        kept: list[torch.Tensor] = []

        def keep(_: Any, __: Any, out: torch.Tensor) -> Optional[torch.Tensor]:
            out = out.detach().requires_grad_(True)
            kept.append(out)
            return out

        handle = self.model.get_input_embeddings().register_forward_hook(keep)
        try:
            output = self.model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
        finally:
            handle.remove()
        first = output.hidden_states[0]
        target = output.logits[0, pos].log_softmax(-1)[token]
        gradients = torch.autograd.grad(target, [kept[0], first], allow_unused=True)
        pairs = zip((kept[0], first), gradients, strict=True)
        return [
            (value.detach().reshape(len(ids), -1), gradient.reshape(len(ids), -1))
            for value, gradient in pairs
            if gradient is not None and value.numel() == gradient.numel()
        ]


@contextlib.contextmanager
def _replaced(module: Any, name: str, wrap: Any) -> Iterator[None]:
    if not hasattr(module, name):
        yield
        return
    before = getattr(module, name)
    setattr(module, name, wrap(before))
    try:
        yield
    finally:
        setattr(module, name, before)
