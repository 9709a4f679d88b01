"""What a run can't do is refused in a sentence, and never computed in another way."""

import pytest

from lit_tl import HookedTransformerLIT
from lit_tl.engine.interventions import Zero
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Gradients, Observe, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from tests.engine.test_interventions import KINDS, PROMPTS, batch_of


@pytest.fixture(params=KINDS)
def runner(request: pytest.FixtureRequest, models: dict[str, HookedTransformerLIT]) -> Runner:
    return Runner(models[request.param].model)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (Prompt(ids=()), "a prompt has no tokens"),
        (Prompt(ids=(0,) * 200), "a prompt has 200 tokens, but .* reads 128"),
        (Prompt(ids=(0, 5000)), "outside of the 2048 tokens"),
        (Prompt(ids=(0, -1)), "outside of the 2048 tokens"),
    ],
)
def test_prompts_that_can_not_be_run_are_refused(
    runner: Runner, prompt: Prompt, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        list(runner.run([prompt]))


@pytest.mark.parametrize("pos", [-1, 3, 5])
def test_a_target_in_the_padding_is_refused(runner: Runner, pos: int) -> None:
    wrong = Targets(example=[1], pos=[pos], token=[3], weight=[1.0])
    with pytest.raises(ValueError, match=f"position {pos} is out of range: its prompt has 3"):
        list(runner.run(PROMPTS, gradients=Gradients(lambda batch: wrong)))
    none = Targets(example=[], pos=[], token=[], weight=[])
    with pytest.raises(ValueError, match="no target is given"):
        list(runner.run(PROMPTS, gradients=Gradients(lambda batch: none)))


def test_a_neuron_that_is_not_there_is_refused(runner: Runner) -> None:
    site = Site("mlp_post", 0, neuron=10**6)
    with pytest.raises(ValueError, match=r"mlp_post\[0\].n1000000 is out of range"):
        batch_of(runner, observe={"neuron": Observe(site)})
    with pytest.raises(ValueError, match=r"mlp_post\[0\].n1000000 is out of range"):
        batch_of(runner, Zero(site))
