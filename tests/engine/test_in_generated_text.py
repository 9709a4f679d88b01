"""Changes in generated tokens, and in answers behind the prompt."""

from typing import Any

import pytest
import torch

from lit_tl.engine.answers import Answer
from lit_tl.engine.interventions import Array, Draw, Intervention, Steer
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from tests.engine.test_interventions import PROMPTS, logits_of, runner

__all__ = ["runner"]


def steered(value: torch.Tensor, start: int, stop: int) -> None:
    part = value[:, start:stop]
    part += 2.0 * part.norm(dim=-1, keepdim=True) * (DIRECTION / DIRECTION.norm())


def drawn(value: torch.Tensor) -> None:
    order = torch.randperm(3, generator=torch.Generator().manual_seed(5))
    for pos in range(value.shape[1]):
        value[:, pos, 2] = CHOICES[order[pos % 3]]


DIRECTION = torch.linspace(-1.0, 1.5, 32)
CHOICES = torch.linspace(-2.0, 3.0, 24).reshape(3, 8)
IN_TOKENS: list[tuple[Intervention, str, Any]] = [
    (
        Steer(Site("resid_post", 0), Array(DIRECTION), 2.0),
        "hook_resid_post",
        lambda value, n: steered(value, 0, 99),
    ),
    (
        Steer(Site("resid_post", 0, positions=(2, None)), Array(DIRECTION), 2.0),
        "hook_resid_post",
        lambda value, n: steered(value, 2, 99),
    ),
    (
        Steer(Site("resid_post", 0, positions=(-2, None)), Array(DIRECTION), 2.0),
        "hook_resid_post",
        lambda value, n: steered(value, n - 2, 99),
    ),
    (
        Steer(Site("resid_post", 0), Array(DIRECTION), 2.0, prompt_only=True),
        "hook_resid_post",
        lambda value, n: steered(value, 0, n),
    ),
    (
        Steer(Site("resid_post", 0, positions=(1, 3)), Array(DIRECTION), 2.0),
        "hook_resid_post",
        lambda value, n: steered(value, 1, 3),
    ),
    (
        Draw(Site("z", 1, 2), Array(CHOICES), 5),
        "attn.hook_z",
        lambda value, n: drawn(value.reshape(*value.shape[:2], -1, 8)),
    ),
]


@pytest.mark.parametrize(
    ("change", "hook", "made"), IN_TOKENS, ids=[str(change)[:50] for change, _, _ in IN_TOKENS]
)
def test_generated_text_is_that_of_a_plain_loop_with_hooks(
    runner: Runner, change: Intervention, hook: str, made: Any
) -> None:
    changed = Runner(runner.model, interventions=[change])
    for batch in changed.run(PROMPTS, keep_cache=True):
        texts = changed.continue_greedily(batch, max_new_tokens=5)
        for prompt, text in zip(batch.prompts, texts, strict=True):
            ids, n = list(prompt.ids), len(prompt)

            def act(value: torch.Tensor, hook: Any, n: int = n) -> torch.Tensor:
                value = value.clone()
                made(value, n)
                return value

            name = f"blocks.{change.site.layer}.{hook}"
            for _ in range(5):
                logits = runner.model.run_with_hooks(torch.tensor([ids]), fwd_hooks=[(name, act)])
                ids.append(int(logits[0, -1].argmax()))
            new = ids[n:]
            new = new[: new.index(0)] if 0 in new else new
            assert text == runner.tokenizer.decode(new, clean_up_tokenization_spaces=False)


def test_an_answer_behind_the_prompt_is_read_under_what_goes_on(runner: Runner) -> None:
    """As if prompt and answer were one prompt, for changes that hold in every token."""
    change = Steer(Site("resid_post", 0, positions=(2, None)), Array(DIRECTION), 2.0)
    changed = Runner(runner.model, interventions=[change])
    prompt, ids = PROMPTS[0], (9, 12, 3)
    (batch,) = changed.run([prompt], keep_cache=True)
    (reading,) = changed.read_answers(batch, [Answer(0, ids)])
    (whole,) = changed.run([Prompt(ids=(*prompt.ids, *ids))])
    log_probs = whole.need_logits()[0].log_softmax(-1)
    expected = [float(log_probs[len(prompt) - 1 + i, token]) for i, token in enumerate(ids)]
    assert reading.log_probs == pytest.approx(expected, abs=1e-4)


def test_steering_by_nothing_changes_nothing_bit_for_bit(runner: Runner) -> None:
    plain = logits_of(runner)
    change = Steer(Site("z", 1, 2), Array(torch.ones(8)), 0.0)
    assert torch.equal(logits_of(runner, change), plain)
