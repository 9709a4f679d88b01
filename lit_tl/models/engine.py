"""What works inside the model wrapper: a model with its lock, its prompts and its fields."""

import functools
import itertools
import threading
import weakref
from typing import Any, Collection, Iterable, Iterator, Mapping, Optional, Sequence

import numpy as np
import torch

from lit_tl.models.config import HookedTransformerLITConfig
from lit_tl.models.fields import ExampleView, Field, output_fields
from lit_tl.models.lens_choice import LensChoice, choose_lenses
from lit_tl.models.targets import choose_targets
from lit_tl.passes import activations, generation
from lit_tl.passes.batches import plan_batches
from lit_tl.passes.fair_lock import FairLock
from lit_tl.passes.prompts import Prompt, Prompter

_LOCKS: "weakref.WeakKeyDictionary[Any, FairLock]" = weakref.WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


def model_lock(model: Any) -> FairLock:
    """The lock of a model object. Hooks are the model's state, so whatever installs some holds it."""
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(model, FairLock())


class Engine:
    """Runs prompts through one model and makes fields of what comes back.

    Args:
        model: a TransformerLens model with its tokenizer.
        config: what to compute.

    Raises:
        ValueError: the model has no tokenizer, or the config asks for layers that it does not have.
    """

    def __init__(self, model: Any, config: HookedTransformerLITConfig):
        self.model = model
        self.config = config
        self.lock = model_lock(model)
        self.prompter = Prompter(model, max_length=config.max_seq_length, prepend_bos=config.prepend_bos)
        self.fields: Mapping[str, Field] = output_fields(config, int(model.cfg.n_layers))

    @functools.cached_property
    def lenses(self) -> LensChoice:
        """The lenses that the config asks for; a published one is looked for when somebody first looks through it.

        Raises:
            LensError: a lens that is named can't be loaded.
        """
        return choose_lenses(self.model, self.config.lens)

    def heavy_fields(self) -> set[str]:
        """Outputs that should be made for a selection only: they grow with the text's length or cost another pass."""
        return {name for name, field in self.fields.items() if field.heavy}

    def predict(self, inputs: Iterable[Mapping[str, Any]], fields: Optional[Collection[str]]) -> Iterator[dict[str, Any]]:
        """See `HookedTransformerLIT.predict`."""
        wanted = list(self.fields) if fields is None else list(fields)
        if unknown := [name for name in wanted if name not in self.fields]:
            raise ValueError(f"{unknown[0]!r} is not an output of this model; it has {', '.join(self.fields)}")
        remaining = iter(inputs)
        while window := list(itertools.islice(remaining, 8 * self.config.batch_size)):
            yield from self._predict_window(window, wanted)

    def _predict_window(self, examples: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> list[dict[str, Any]]:
        prompts = [self.prompt(example) for example in examples]
        needs = [self.fields[name].needs for name in wanted]
        outputs: list[dict[str, Any]] = [{} for _ in examples]
        batches = plan_batches(
            [len(prompt) for prompt in prompts], batch_size=self.config.batch_size, token_budget=self.config.token_budget
        )
        for batch in batches:
            part, part_prompts = [examples[i] for i in batch], [prompts[i] for i in batch]
            done, texts = None, [""] * len(batch)
            with self.lock:
                if any(need.forward or need.generation for need in needs):
                    done = activations.run(self.model, part_prompts, self._wanted(wanted, part, part_prompts))
                if done is not None and any(need.generation for need in needs):
                    texts = generation.continue_greedily(
                        self.model,
                        part_prompts,
                        done,
                        max_new_tokens=self.config.max_new_tokens,
                        batch_size=self.config.batch_size,
                    )
            for row, i in enumerate(batch):
                view = ExampleView(self.prompter, part[row], part_prompts[row], done, row, self.config.top_k)
                view.generated = texts[row]
                outputs[i] = {name: self.fields[name].make(view) for name in wanted}
        return outputs

    def embedding_table(self) -> torch.Tensor:
        """The embeddings that the model reads for its tokens, `[d_vocab, d_model]` float32, on the CPU."""
        ids = torch.arange(int(self.model.cfg.d_vocab), device=activations.model_device(self.model))[None]
        with self.lock, torch.no_grad():
            table: torch.Tensor = self.model.embed(ids)[0].float().cpu()
        return table

    def _wanted(self, names: Sequence[str], examples: Sequence[Mapping[str, Any]], prompts: Sequence[Prompt]) -> activations.Wanted:
        needs = [self.fields[name].needs for name in names]
        gradients = any(need.gradients for need in needs)
        return activations.Wanted(
            token_embeddings=any(need.token_embeddings for need in needs),
            attention_layers=frozenset(need.attention_layer for need in needs if need.attention_layer is not None),
            residual_layers=frozenset(need.residual_layer for need in needs if need.residual_layer is not None),
            cache=any(need.generation for need in needs),
            targets=(lambda done: choose_targets(self.prompter, examples, prompts, done)) if gradients else None,
        )

    def prompt(self, example: Mapping[str, Any]) -> Prompt:
        """What the model reads of an example: its tokens if it has some, or else its text; and its embeddings if it has some.

        Raises:
            ValueError: a token is unknown, or the embeddings have another shape than the prompt needs.
        """
        tokens = example.get("tokens")
        if tokens is not None and len(tokens):
            prompt = self.prompter.from_tokens(tokens)
        else:
            text = example.get("text")
            if not isinstance(text, str):
                raise ValueError("an example must have a text, a string" + ("" if text is None else f", and not {text!r}"))
            prompt = self.prompter.from_text(text)
        embeddings = example.get("token_embeddings")
        if embeddings is None or len(embeddings) == 0:
            return prompt
        embeddings = np.asarray(embeddings, dtype=np.float32)
        expected = (len(prompt), int(self.model.cfg.d_model))
        if embeddings.shape != expected:
            raise ValueError(f"token_embeddings has shape {embeddings.shape}, but this prompt needs {expected}")
        return Prompt(ids=prompt.ids, truncated=prompt.truncated, token_embeddings=embeddings)
