"""What transformers computes, by its own means: no code of lit_tl."""

import contextlib
import pathlib
import sys
from typing import Any, Iterator, Optional

import torch
import transformers

Values = dict[int, torch.Tensor]


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
        """By layer, `[head, query_pos, key_pos]`, of the layers that give out any."""
        attentions = self.run(ids).attentions or ()
        layers = self._attention_layers()
        given = [each for each in attentions if each is not None and each.ndim == 4]
        if len(given) != len(layers):
            layers = [i for i, each in enumerate(attentions) if each is not None and each.ndim == 4]
        return {layer: each[0] for layer, each in zip(layers, given, strict=True)}

    def _attention_layers(self) -> list[int]:
        """The layers whose module has an attention in it."""
        names = [name for name, _ in self.model.named_modules()]
        marks = ("attn", "attention")
        layers = {
            int(part)
            for name in names
            for part in name.split(".")
            if part.isdigit() and any(m in name.rpartition(".")[2].lower() for m in marks)
        }
        return sorted(layers)

    def values(self, ids: list[int]) -> Values:
        """By layer, the vectors that attention reads, `[pos, key_value_head, d_head]`: what the
        library hands to its own attention function."""
        found: Values = {}

        def wrap(function: Any) -> Any:
            def eager(
                module: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any
            ) -> Any:
                found[int(module.layer_idx)] = value[0].transpose(0, 1).detach()
                return function(module, query, key, value, *args, **kwargs)

            return eager

        with contextlib.ExitStack() as stack:
            for home in {type(module).__module__ for module in self.model.modules()}:
                stack.enter_context(_replaced(sys.modules[home], "eager_attention_forward", wrap))
            self.run(ids)
        return found or self._projected_values(ids)

    def _projected_values(self, ids: list[int]) -> Values:
        """Of older code, which has a module `v_proj` and nothing between it and attention."""
        found: Values = {}
        handles = []
        for name, module in self.model.named_modules():
            if name.endswith("v_proj"):
                layer = next(int(part) for part in name.split(".") if part.isdigit())
                heads = self.model.config.num_attention_heads

                def hook(_: Any, __: Any, out: Any, layer: int = layer, heads: int = heads) -> None:
                    found[layer] = out[0].unflatten(-1, (heads, -1)).detach()

                handles.append(module.register_forward_hook(hook))
        self.run(ids)
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
