"""The plain Hugging Face model over a bridge's parameters gives the bridge's numbers, and runs only
where nobody could tell the difference."""

import dataclasses
import pathlib
from typing import Any

import pytest
import torch

from lit_tl.engine.hugging_face_models import HuggingFaceAdapter
from lit_tl.engine.interventions import Add, Array, Zero
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Gradients, Observe, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.models.loading import load_model

PROMPTS = [Prompt(ids=(0, 5, 9, 13, 21, 8)), Prompt(ids=(0, 7, 3)), Prompt(ids=(0,))]


def tree_of(runner: Runner, *sites: Site) -> object:
    return runner.tree_for({}, sites)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_its_logits_and_residuals_are_the_bridges(
    family: str, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    model = load_model(str(checkpoint_folders[family]))
    runner = Runner(model)
    site = Site("resid_post")
    assert isinstance(tree_of(runner, site), HuggingFaceAdapter)
    for batch in runner.run(PROMPTS, observe={"residual": Observe(site, stack=True)}):
        for row, prompt in enumerate(batch.prompts):
            logits, cache = model.run_with_cache(torch.tensor([prompt.ids]))
            own = batch.need_logits()[row, : len(prompt.ids)]
            assert torch.allclose(own, logits[0], atol=1e-4)
            residual = batch.observed["residual"][-1][row]
            expected = cache["blocks.1.hook_resid_post"][0]
            assert torch.allclose(residual[: len(prompt.ids)], expected, atol=1e-4)


def test_it_holds_the_bridges_own_parameters(checkpoint_folders: dict[str, pathlib.Path]) -> None:
    model = load_model(str(checkpoint_folders["llama"]))
    runner = Runner(model)
    twin = tree_of(runner)
    assert isinstance(twin, HuggingFaceAdapter)
    pointers = {parameter.data_ptr() for parameter in model.parameters()}
    assert {parameter.data_ptr() for parameter in twin.module.parameters()} <= pointers
    (before,) = runner.run(PROMPTS[:1])
    with torch.no_grad():
        model.unembed.W_U.mul_(2.0)
    (after,) = runner.run(PROMPTS[:1])
    assert torch.allclose(after.need_logits(), 2 * before.need_logits(), atol=1e-4)


@pytest.mark.parametrize("component", ["pattern", "attn_scores", "q", "result", "resid_mid"])
def test_what_it_does_not_show_is_run_by_the_bridge(
    component: str, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    runner = Runner(load_model(str(checkpoint_folders["gpt2"])))
    assert not isinstance(tree_of(runner, Site(component)), HuggingFaceAdapter)


@pytest.mark.parametrize("component", ["z", "attn_out", "mlp_post", "mlp_out"])
@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_parts_inside_its_blocks_are_the_bridges(
    family: str, component: str, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    """Seen, changed and differentiated."""
    model = load_model(str(checkpoint_folders[family]))
    runner, site = Runner(model), Site(component, 1)  # type: ignore[arg-type]
    assert isinstance(tree_of(runner, site), HuggingFaceAdapter)
    targets = Targets(example=[0, 1], pos=[3, 2], token=[7, 8], weight=[1.0, -1.0])
    ask: dict[str, Any] = {
        "observe": {"value": Observe(site)},
        "interventions": [Add(Site(component, 0), Array(0.5)), Zero(replaced(site))],  # type: ignore[arg-type]
        "gradients": Gradients(lambda batch: targets, at=[site]),
    }
    (own,) = runner.run(PROMPTS[:2], **ask)
    (seen,) = runner.run(
        PROMPTS[:2], **{**ask, "observe": {**ask["observe"], "q": Observe(Site("q"))}}
    )
    assert isinstance(own.tree, HuggingFaceAdapter)
    assert not isinstance(seen.tree, HuggingFaceAdapter)
    for row, length in enumerate(own.lengths):
        for one, two in (
            (own.need_logits(), seen.need_logits()),
            (own.observed["value"], seen.observed["value"]),
            (own.gradients[site], seen.gradients[site]),
        ):
            assert torch.allclose(one[row, :length], two[row, :length], atol=1e-4)


def replaced(site: Site) -> Site:
    """One head or neuron of it, where it has some."""
    head, neuron = (0 if axis in site.axes else None for axis in ("head", "neuron"))
    return dataclasses.replace(site, head=head, neuron=neuron, positions=(1, None))


def test_a_soft_cap_inside_attention_is_run_by_the_bridge(
    checkpoint_folders: dict[str, pathlib.Path],
) -> None:
    runner = Runner(load_model(str(checkpoint_folders["gemma2"])))
    assert not isinstance(tree_of(runner), HuggingFaceAdapter)


def test_a_hook_that_a_user_added_is_obeyed(checkpoint_folders: dict[str, pathlib.Path]) -> None:
    model = load_model(str(checkpoint_folders["gpt2"]))
    runner = Runner(model)
    (before,) = runner.run(PROMPTS[:1])
    assert isinstance(tree_of(runner), HuggingFaceAdapter)
    model.add_hook("blocks.0.hook_resid_post", lambda value, hook: value * 0.5)
    try:
        (hooked,) = runner.run(PROMPTS[:1])
        with torch.no_grad():
            expected = model(torch.tensor([PROMPTS[0].ids]))
    finally:
        model.reset_hooks()
    assert torch.allclose(hooked.need_logits(), expected, atol=1e-4)
    assert not torch.allclose(hooked.need_logits(), before.need_logits(), atol=1e-2)
    (again,) = runner.run(PROMPTS[:1])
    assert torch.equal(again.need_logits(), before.need_logits())
