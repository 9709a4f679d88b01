"""HotFlip for language models: the fewest tokens to change so that the model says something else."""

import dataclasses
from typing import Any, Mapping, Optional, Sequence

import torch
from lit_nlp.api import types as lit_types

from lit_tl.generators.twins import TwinGenerator, whole_number
from lit_tl.models.engine import Engine
from lit_tl.models.targets import target_token
from lit_tl.passes.activations import Targets, Wanted, run, target_values
from lit_tl.passes.batches import plan_batches
from lit_tl.passes.prompts import Prompt


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goal:
    """What is to be overturned: that `answer` is likelier than `foil`, or than any other token where there is no foil."""

    answer: int
    foil: Optional[int]

    def targets(self, pos: int) -> Targets:
        """`log p(answer) - log p(foil)`, or `log p(answer)`, after the token at `pos`."""
        tokens = [self.answer] if self.foil is None else [self.answer, self.foil]
        return Targets(example=[0] * len(tokens), pos=[pos] * len(tokens), token=tokens, weight=[1.0, -1.0][: len(tokens)])

    def reached(self, logits: torch.Tensor) -> bool:
        """Whether these logits, `[d_vocab]`, no longer hold it."""
        rival = logits.argmax() if self.foil is None else self.foil
        return bool(logits[rival] > logits[self.answer])


class HotFlip(TwinGenerator):
    """Gradient-guided token swaps (Ebrahimi et al. 2018, section 3).

    For each flip, one backward pass ranks all swaps by their first-order effect `(e[new] - e[old]) . gradient` on the answer, and
    one batch of forward passes finds the best of the `candidates` first. Swaps keep a leading space and the number of tokens, and
    leave pieces of longer words and the last `keep_last` tokens alone.
    """

    def description(self) -> str:
        """What happens."""
        return "Changes as few tokens as it can until the foil beats the answer, or the model's own next token changes."

    def config_spec(self) -> lit_types.Spec:
        """How far to go, and what to leave alone."""
        return {
            "max_flips": lit_types.Integer(default=3, min_val=1, max_val=10, required=False),
            "candidates": lit_types.Integer(default=32, min_val=1, max_val=256, required=False),
            "keep_last": lit_types.Integer(default=1, min_val=0, max_val=100, required=False),
            "tokens_to_ignore": lit_types.Tokens(default=[], required=False),
        }

    def twins(self, engine: Engine, example: Mapping[str, Any], config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """One twin."""
        flips = whole_number(config, "max_flips", 3, 1, 10)
        candidates = whole_number(config, "candidates", 32, 1, 256)
        prompt = engine.prompt({"text": example["text"]})
        with engine.lock:
            done = run(engine.model, [prompt], Wanted())
        last = done.logits[0, len(prompt) - 1]
        answer = target_token(engine.prompter, example.get("answer") or "")
        goal = Goal(
            answer=int(last.argmax()) if answer is None else answer, foil=target_token(engine.prompter, example.get("foil") or "")
        )
        if goal.reached(last):
            raise ValueError("the model does not give this prompt's answer as it is: there is nothing to overturn")
        keep = whole_number(config, "keep_last", 1, 0, 100)
        swaps = _Swaps(engine, goal, keep, [str(token).strip() for token in config.get("tokens_to_ignore") or []], candidates)
        for _ in range(flips):
            prompt, reached = swaps.best(prompt)
            if reached:
                return [{"text": engine.prompter.to_text(prompt.ids)}]
        raise ValueError(f"{flips} flips did not overturn the answer: raise max_flips or candidates")


class _Swaps:
    def __init__(self, engine: Engine, goal: Goal, keep_last: int, ignored: Sequence[str], candidates: int):
        self._keep_last = keep_last
        self._engine, self._goal, self._ignored, self._candidates = engine, goal, set(ignored), candidates
        strings = engine.prompter.vocabulary.all_strings()
        self._spaced = torch.tensor([string.startswith(" ") for string in strings])
        self._words = torch.tensor([string.strip().isalpha() for string in strings])
        named = {goal.answer} if goal.foil is None else {goal.answer, goal.foil}
        self._words[list(named)] = False  # writing the answer into the prompt would be too easy
        self._table = engine.embedding_table()

    def best(self, prompt: Prompt) -> tuple[Prompt, bool]:
        """The prompt after the swap that lowers the answer most, and whether that overturns it."""
        options = self._options(prompt)
        if not options:
            raise ValueError("no token of this prompt can be swapped for another of its kind")
        values: list[tuple[float, int, bool]] = []
        lengths = [len(option) for option in options]
        for batch in plan_batches(lengths, batch_size=32, token_budget=self._engine.config.token_budget):
            targets = self._goal.targets(len(prompt) - 1).repeated(len(batch))
            with self._engine.lock:
                done = run(self._engine.model, [options[i] for i in batch], Wanted())
            for row, (i, value) in enumerate(zip(batch, target_values(done, targets).tolist(), strict=True)):
                values.append((value, i, self._goal.reached(done.logits[row, len(prompt) - 1])))
        _, chosen, reached = min(values)
        return options[chosen], reached

    def _options(self, prompt: Prompt) -> list[Prompt]:
        prompter = self._engine.prompter
        targets = self._goal.targets(len(prompt) - 1)
        with self._engine.lock:
            done = run(self._engine.model, [prompt], Wanted(token_embeddings=True, targets=lambda _: targets))
        assert done.gradients is not None
        gradient = done.gradients[0].float().cpu()
        ids = torch.tensor(prompt.ids)
        effect = gradient @ self._table.T  # pos d_vocab
        effect = effect - effect.gather(1, ids[:, None])
        allowed = self._words & (self._spaced == self._spaced[ids][:, None])
        allowed[: prompter.beginning(prompt.ids)] = False
        allowed[len(prompt) - self._keep_last :] = False
        tokens = [*prompter.vocabulary.strings(prompt.ids), " "]
        for pos, token in enumerate(tokens[:-1]):
            piece = tokens[pos + 1][:1].isalpha() or (pos > 0 and token[:1].isalpha() and tokens[pos - 1][-1:].isalpha())
            if token.strip() in self._ignored or not self._words[prompt.ids[pos]] or piece:
                allowed[pos] = False
        effect[~allowed] = float("inf")
        options: list[Prompt] = []
        for place in effect.flatten().argsort()[: 4 * self._candidates].tolist():
            pos, new = divmod(place, effect.shape[1])
            if not allowed[pos, new] or len(options) == self._candidates:
                break
            changed = (*prompt.ids[:pos], new, *prompt.ids[pos + 1 :])
            if prompter.from_text(prompter.to_text(changed)).ids == changed:
                options.append(Prompt(ids=changed))
        return options
