"""One prompt gone on with, token by token: the likeliest, or drawn at a temperature from a seed."""

import dataclasses
from typing import Any, Collection, Iterator, Optional

import torch

from lit_tl.engine import generation, jobs
from lit_tl.engine.adapt import adapt
from lit_tl.engine.answers import NOT_NUMBERS
from lit_tl.engine.one_pass import LastLogits
from lit_tl.engine.passes import Pass
from lit_tl.engine.placing import with_tokens_behind
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Batch, at_least_float32
from lit_tl.engine.runner import Runner
from lit_tl.engine.tree_state import tree_state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """One token that was written.

    Args:
        id: of the token.
        log_prob: of it, in nats, at temperature 1.
        top: the likeliest ids in its place with their log-probabilities, likeliest first.
    """

    id: int
    log_prob: float
    top: tuple[tuple[int, float], ...]


def write(
    runner: Runner,
    prompt: Prompt,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    stops: Collection[int] = (),
    top: int = 5,
) -> Iterator[Written]:
    """The tokens that a model writes behind a prompt, each as soon as it is there. Whoever stops
    iterating stops the model.

    A cache is gone on from where it can be relied on (see `generation`); elsewhere each token takes
    a plain pass. Other requests may run between two tokens. The runner's interventions hold as in
    generated text.

    Args:
        runner: of the model.
        prompt: without embeddings of its own.
        max_new_tokens: at most so many, within the model's context.
        temperature: 0 takes the likeliest token; else tokens are drawn with probabilities
            proportional to p^(1/temperature).
        seed: of the draws: the same gives the same text on the same machine.
        stops: ids that end the text, and are not part of it.
        top: how many of the likeliest tokens to give in each place.

    Raises:
        ValueError: the logits are not numbers, or the temperature is negative.
    """
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}: give 0 or more")
    context = runner.shape.context
    room = max_new_tokens if context is None else min(max_new_tokens, context - len(prompt))
    if room < 1:
        return
    draws = torch.Generator().manual_seed(seed)
    (batch,) = runner.run([prompt], logits=LastLogits(1), keep_cache=True)
    logits, ids = batch.last_logits()[0], list[int]()
    steps = _Steps(runner, prompt, batch, room)
    while True:
        written = _choose(logits, temperature, draws, top)
        if written.id in stops:
            return
        yield written
        ids.append(written.id)
        if len(ids) == room:
            return
        jobs.current().check()
        logits = steps.after(ids)


def stop_ids(runner: Runner) -> set[int]:
    """The ids that end a text of a model: those of its tokenizer and of its generation config."""
    plain: Any = adapt(runner.model, tokenizer=runner.tokenizer).plain_model
    ends = getattr(getattr(plain, "generation_config", None), "eos_token_id", None)
    listed = ends if isinstance(ends, (list, tuple)) else [ends]
    tokenizer = runner.tokenizer
    own = None if tokenizer is None else tokenizer.eos_token_id
    return {int(each) for each in (*listed, own) if each is not None}


class _Steps:
    """Logits behind a prompt and what was written so far."""

    def __init__(self, runner: Runner, prompt: Prompt, batch: Batch, room: int):
        self._runner, self._prompt, self._batch = runner, prompt, batch
        self._placed = runner.place(runner.interventions)
        self._tree = batch.tree or runner.tree_for(self._placed, ())
        with tree_state(self._tree.module).lock, torch.no_grad():
            self._resumes = generation.can_resume(self._tree, batch, room, self._placed)

    def after(self, ids: list[int]) -> torch.Tensor:
        """Logits `[d_vocab]` behind all of them; each call has one more."""
        with tree_state(self._tree.module).lock, torch.no_grad():
            return self._resumed(ids) if self._resumes else self._plain(ids)

    def _resumed(self, ids: list[int]) -> torch.Tensor:
        device, length = self._tree.device, len(self._prompt) + len(ids)
        mask = torch.ones((1, length), dtype=torch.long, device=device)
        token = torch.tensor([[ids[-1]]], device=device)
        place = torch.tensor([[length - 1]], device=device)
        with generation.changes_in_steps(self._tree, 1, self._placed):
            return self._tree.step(token, self._batch.cache, mask, place)[0, -1]

    def _plain(self, ids: list[int]) -> torch.Tensor:
        placed = with_tokens_behind(self._placed, self._prompt, ids)
        run = Pass(self._tree, [self._prompt], observe={}, placed=placed)
        whole = torch.tensor([[*self._prompt.ids, *ids]], device=self._tree.device)
        with self._tree.hooked(run.handlers()):
            logits, _ = self._tree.forward(whole, keep_cache=False, last=1)
        return logits[0, -1]


def _choose(
    logits: torch.Tensor, temperature: float, draws: Optional[torch.Generator], top: int
) -> Written:
    log_probs = at_least_float32(logits.cpu()).log_softmax(-1)
    if bool(log_probs.isnan().any()):
        raise ValueError(NOT_NUMBERS)
    chosen = int(log_probs.argmax())
    if temperature > 0:
        probabilities = (log_probs.double() / temperature).softmax(-1)
        chosen = int(torch.multinomial(probabilities, 1, generator=draws))
    values, ids = log_probs.topk(min(top, len(log_probs)))
    return Written(
        id=chosen,
        log_prob=float(log_probs[chosen]),
        top=tuple(zip(ids.tolist(), values.tolist(), strict=True)),
    )
