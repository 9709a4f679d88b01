"""HotFlip for language models: the fewest tokens to change so that the model says something
else."""

import dataclasses
from typing import Any, Mapping, Optional, Sequence

import torch

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.engine import jobs
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Gradients, Targets
from lit_tl.engine.sites import Site
from lit_tl.engine.targets import answer_against_foil
from lit_tl.lit.generators.twins import TwinGenerator, movable
from lit_tl.settings import Settings, setting

_EMBED = Site("embed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goal:
    """What is to be overturned: that `answer` is likelier than `foil`, or than any other token
    where there is no foil."""

    answer: int
    foil: Optional[int]

    def targets(self, pos: int) -> Targets:
        """`log p(answer) - log p(foil)`, or `log p(answer)`, after the token at `pos`."""
        tokens = [self.answer] if self.foil is None else [self.answer, self.foil]
        return Targets(
            example=[0] * len(tokens),
            pos=[pos] * len(tokens),
            token=tokens,
            weight=[1.0, -1.0][: len(tokens)],
        )

    def reached(self, logits: torch.Tensor) -> bool:
        """Whether these logits, `[d_vocab]`, no longer hold it."""
        rival = logits.argmax() if self.foil is None else self.foil
        return bool(logits[rival] > logits[self.answer])


@dataclasses.dataclass(frozen=True, kw_only=True)
class HotFlipSettings(Settings):
    """How far to go, and what to leave alone."""

    max_flips: int = setting(3, "Most tokens to change.", low=1, high=10)
    candidates: int = setting(32, "Swaps to try for each of them.", low=1, high=256)
    keep_last: int = setting(1, "How many tokens at the end stay.", low=0, high=100)
    tokens_to_ignore: tuple[str, ...] = setting((), "Tokens that stay.")


class HotFlip(TwinGenerator[HotFlipSettings]):
    """Gradient-guided token swaps (Ebrahimi et al. 2018, section 3).

    For each flip, one backward pass ranks all swaps by their first-order effect `(e[new] - e[old])
    . gradient` on the answer, and one batch of forward passes finds the best of the `candidates`
    first. Swaps keep a leading space and the number of tokens, and leave pieces of longer words and
    the last `keep_last` tokens alone.
    """

    settings = HotFlipSettings
    takes_long = True
    """Other requests go first."""

    def description(self) -> str:
        """What happens."""
        return (
            "Changes as few tokens as it can until the foil beats the answer, or the "
            "model's own next token changes. Of an answer and a foil of several tokens, the first "
            "that differ count; without a foil, the answer's first."
        )

    def twins(
        self, model: LoadedModel, example: Mapping[str, Any], settings: HotFlipSettings
    ) -> Sequence[Mapping[str, Any]]:
        """One twin."""
        prompt, shared = model.prompt({"text": example["text"]}), 0
        answer, foil = (
            model.prompter.first_token(example.get(name)) for name in ("answer", "foil")
        )
        if answer is not None and foil is not None:
            contrast = answer_against_foil(model.prompter, example, prompt)
            prompt, shared = contrast.prompt, contrast.shared
            answer, foil = contrast.answer, contrast.foil
        (batch,) = model.runner.run([prompt])
        last = batch.last_logits()[0]
        goal = Goal(answer=int(last.argmax()) if answer is None else answer, foil=foil)
        if goal.answer == goal.foil or goal.reached(last):
            raise ValueError(
                "the model does not give this prompt's answer as it is: there is nothing to "
                "overturn"
            )
        swaps = _Swaps(model, goal, settings, shared, str(example["text"]))
        for _ in jobs.each(range(settings.max_flips)):
            prompt, reached = swaps.best(prompt)
            if reached:
                ids = swaps.without_shared(prompt.ids)
                return [{"text": model.prompter.retold(example["text"], ids)}]
        raise ValueError(
            f"{settings.max_flips} flips did not overturn the answer: raise max_flips or candidates"
        )


class _Swaps:
    """Swaps in the prompt of a text that ends with `shared` tokens of the answer, which stay."""

    def __init__(
        self, model: LoadedModel, goal: Goal, settings: HotFlipSettings, shared: int, text: str
    ):
        self._model, self._goal, self._settings = model, goal, settings
        self._shared, self._text = shared, text
        self._movable = movable(model, model.prompter.from_text(text))
        self._ignored = {token.strip() for token in settings.tokens_to_ignore}
        strings = model.prompter.vocabulary.all_strings()
        self._spaced = torch.tensor([string.startswith(" ") for string in strings])
        self._words = torch.tensor([string.strip().isalpha() for string in strings])
        named = {goal.answer} if goal.foil is None else {goal.answer, goal.foil}
        self._words[list(named)] = False  # writing the answer into the prompt would be too easy
        self._table = model.runner.embedding_table()

    def without_shared(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The prompt's own ids."""
        return tuple(ids[: len(ids) - self._shared])

    def best(self, prompt: Prompt) -> tuple[Prompt, bool]:
        """The prompt after the swap that lowers the answer most, and whether that overturns it."""
        options = self._options(prompt)
        if not options:
            raise ValueError("no token of this prompt can be swapped for another of its kind")
        values: list[tuple[float, int, bool]] = []
        end = len(prompt) - 1
        for batch in self._model.runner.run(options, batch_size=32):
            targets = self._goal.targets(end).repeated(len(batch.prompts))
            for row, value in enumerate(batch.target_values(targets).tolist()):
                reached = self._goal.reached(batch.need_logits()[row, end])
                values.append((value, batch.index[row], reached))
        _, chosen, reached = min(values)
        return options[chosen], reached

    def _options(self, prompt: Prompt) -> list[Prompt]:
        prompter = self._model.prompter
        targets = self._goal.targets(len(prompt) - 1)
        (batch,) = self._model.runner.run([prompt], gradients=Gradients(lambda _: targets))
        gradient = batch.gradients[_EMBED][0].float().cpu()
        ids = torch.tensor(prompt.ids)
        effect = gradient @ self._table.T  # pos d_vocab
        effect = effect - effect.gather(1, ids[:, None])
        allowed = self._words & (self._spaced == self._spaced[ids][:, None])
        keep = self._settings.keep_last
        places = self._movable[: -keep or None]
        allowed[[pos for pos in range(len(prompt)) if pos not in set(places)]] = False
        tokens = [*prompter.vocabulary.strings(prompt.ids), " "]
        for pos, token in enumerate(tokens[:-1]):
            piece = tokens[pos + 1][:1].isalpha() or (
                pos > 0 and token[:1].isalpha() and tokens[pos - 1][-1:].isalpha()
            )
            if token.strip() in self._ignored or not self._words[prompt.ids[pos]] or piece:
                allowed[pos] = False
        effect[~allowed] = float("inf")
        options: list[Prompt] = []
        for place in effect.flatten().argsort()[: 4 * self._settings.candidates].tolist():
            pos, new = divmod(place, effect.shape[1])
            if not allowed[pos, new] or len(options) == self._settings.candidates:
                break
            changed = (*prompt.ids[:pos], new, *prompt.ids[pos + 1 :])
            own = self.without_shared(changed)
            if prompter.from_text(prompter.retold(self._text, own)).ids == own:
                options.append(Prompt(ids=changed))
        return options
