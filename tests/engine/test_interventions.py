"""Truths about changed runs, on a GPT-2, a GPT-NeoX with parallel blocks, and a Llama with grouped
queries."""

import threading
from typing import Any

import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.engine.intervention_text import parse_intervention
from lit_tl.engine.interventions import (
    Add,
    Array,
    FromRun,
    Intervention,
    ProjectOut,
    Replace,
    Zero,
)
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Batch, Gradients, Observe, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import AXES, WITHOUT_LAYER, Component, Site

KINDS = ("gpt2", "gpt_neox", "llama")
PROMPTS = [Prompt(ids=(0, 5, 6, 7, 8, 5)), Prompt(ids=(0, 9, 10))]
OTHER = Prompt(ids=(0, 30, 31, 32, 33, 34))
COMPONENTS: list[Component] = [name for name in AXES if name != "router"]


@pytest.fixture(params=KINDS)
def runner(request: pytest.FixtureRequest, models: dict[str, HookedTransformerLIT]) -> Runner:
    return Runner(models[request.param].model)


def sites_of(runner: Runner) -> list[Site]:
    """Every component in layer 1, where the model has it."""
    sites = []
    for name in COMPONENTS:
        if name in WITHOUT_LAYER:
            sites.append(Site(name))
        elif runner.layers(name):
            sites.append(Site(name, layer=1))
    return sites


def batch_of(runner: Runner, *interventions: Intervention, **request: Any) -> Batch:
    (batch,) = runner.run(PROMPTS, interventions=interventions, **request)
    return batch


def logits_of(runner: Runner, *interventions: Intervention, **request: Any) -> torch.Tensor:
    batch = batch_of(runner, *interventions, **request)
    ends = zip(batch.need_logits(), batch.lengths, strict=True)
    return torch.cat([row[:length] for row, length in ends])


def test_a_model_has_every_component_but_those_of_its_architecture(runner: Runner) -> None:
    lacking = {name for name in COMPONENTS if name not in WITHOUT_LAYER and not runner.layers(name)}
    assert lacking == ({"resid_mid"} if runner.shape.parallel_blocks else set())


def test_replacing_a_site_by_its_own_value_changes_nothing_bit_for_bit(runner: Runner) -> None:
    for site in sites_of(runner):
        for prompt in PROMPTS:
            observe = {"value": Observe(site)}
            (plain,) = runner.run([prompt], observe=observe)
            value = Array(plain.observed["value"][0].numpy())
            change = Replace(site, value)
            (same,) = runner.run([prompt], interventions=[change], observe=observe)
            assert torch.equal(plain.need_logits(), same.need_logits()), str(site)


def test_replacing_by_the_value_of_the_own_run_changes_nothing_bit_for_bit(runner: Runner) -> None:
    for site in sites_of(runner):
        (plain,) = runner.run([PROMPTS[0]], observe={"value": Observe(site)})
        change = Replace(site, FromRun(PROMPTS[0].ids))
        (same,) = runner.run([PROMPTS[0]], interventions=[change], observe={"value": Observe(site)})
        assert torch.equal(plain.need_logits(), same.need_logits()), str(site)


def test_adding_zero_changes_nothing(runner: Runner) -> None:
    for site in sites_of(runner):
        observe = {"value": Observe(site)}
        plain = logits_of(runner, observe=observe)
        assert torch.equal(plain, logits_of(runner, Add(site, Array(0.0)), observe=observe)), str(
            site
        )
        assert torch.equal(plain, logits_of(runner, Add(site, Array(3.0), 0.0), observe=observe))


def test_zeroing_every_head_is_zeroing_attention_up_to_the_output_bias(runner: Runner) -> None:
    for layer in range(runner.shape.n_layers):
        heads = [Zero(Site("z", layer, head)) for head in range(runner.shape.n_heads)]
        site = Site("attn_out", layer)
        bias = batch_of(runner, *heads, observe={"bias": Observe(site)}).observed["bias"][0, 0]
        assert torch.allclose(
            bias,
            batch_of(runner, Zero(Site("result", layer)), observe={"bias": Observe(site)}).observed[
                "bias"
            ][0, 0],
            atol=1e-6,
        )
        without = logits_of(runner, *heads)
        expected = logits_of(runner, Replace(site, Array(bias.numpy())))
        assert torch.allclose(without, expected, atol=1e-5)
        assert not torch.allclose(without, logits_of(runner), atol=1e-3)


def test_all_heads_at_once_are_each_of_them(runner: Runner) -> None:
    each = [Zero(Site("z", 1, head)) for head in range(runner.shape.n_heads)]
    assert torch.equal(logits_of(runner, Zero(Site("z", 1))), logits_of(runner, *each))
    layers = [Zero(Site("z", layer)) for layer in range(runner.shape.n_layers)]
    assert torch.equal(logits_of(runner, Zero(Site("z"))), logits_of(runner, *layers))


def test_the_whole_residual_of_another_run_gives_that_runs_prediction(runner: Runner) -> None:
    (other,) = runner.run([OTHER])
    for component in ("resid_pre", "resid_mid", "resid_post"):
        if not runner.layers(component):
            continue
        for layer in range(runner.shape.n_layers):
            change = Replace(Site(component, layer), FromRun(OTHER.ids))
            (swapped,) = runner.run([PROMPTS[0]], interventions=[change])
            assert torch.allclose(swapped.need_logits(), other.need_logits(), atol=1e-4), component


def test_a_change_of_the_residual_reaches_the_stream_and_not_the_mlp_alone(runner: Runner) -> None:
    """`resid_mid` of a bridge is a hook on the MLP's branch; the stream beside it must change
    too."""
    if not runner.layers("resid_mid"):
        return
    vector = Array(torch.linspace(-1, 1, runner.shape.d_model).numpy())
    before = batch_of(runner, observe={"post": Observe(Site("resid_post", 0))})
    changed = batch_of(
        runner,
        Add(Site("resid_mid", 0), vector),
        Replace(Site("mlp_out", 0), Array(0.0)),
        observe={"post": Observe(Site("resid_post", 0)), "mid": Observe(Site("resid_mid", 0))},
    )
    assert torch.allclose(changed.observed["post"], changed.observed["mid"], atol=1e-5)
    assert not torch.allclose(changed.observed["post"], before.observed["post"], atol=1e-2)


def test_positions_are_of_each_prompt_and_not_of_the_padding(runner: Runner) -> None:
    change = Zero(Site("resid_post", 0, positions=-1))
    together = batch_of(runner, change)
    for prompt, row in zip(together.prompts, together.need_logits(), strict=True):
        (alone,) = runner.run([prompt], interventions=[change])
        (plain,) = runner.run([prompt])
        assert torch.allclose(row[: len(prompt)], alone.need_logits()[0], atol=1e-5)
        assert torch.equal(alone.need_logits()[0, :-1], plain.need_logits()[0, :-1])
        assert not torch.allclose(alone.need_logits()[0, -1], plain.need_logits()[0, -1], atol=1e-3)


def test_what_is_projected_out_has_no_part_along_the_direction(runner: Runner) -> None:
    direction = torch.randn(runner.shape.d_model, generator=torch.Generator().manual_seed(0))
    site = Site("resid_post", 0)
    change = ProjectOut(site, Array(direction.numpy()))
    seen = batch_of(runner, change, observe={"x": Observe(site)}).observed["x"]
    assert float((seen @ direction).abs().max()) < 1e-4
    once = logits_of(runner, change)
    assert torch.allclose(once, logits_of(runner, change, change), atol=1e-5)


def test_an_edge_is_seen_by_its_reader_alone(runner: Runner) -> None:
    """All edges from a component, together, are the component itself."""
    last = runner.shape.n_layers - 1
    plain = logits_of(runner)
    whole = logits_of(runner, Zero(Site("attn_out", 0)))
    readers = [Site(name, 1) for name in ("q_input", "k_input", "v_input", "mlp_in")]
    if not runner.shape.parallel_blocks:
        readers.append(Site("mlp_in", 0))
    readers.append(Site("resid_post", last))
    edges = [Zero(Site("attn_out", 0), reader=reader) for reader in readers]
    assert torch.allclose(logits_of(runner, *edges), whole, atol=1e-4)
    effects = [float((logits_of(runner, edge) - plain).abs().max()) for edge in edges]
    assert all(effect > 0 for effect in effects)
    only = batch_of(runner, edges[0], observe={"v": Observe(Site("v", 1))}).observed["v"]
    untouched = batch_of(
        runner, observe={"v": Observe(Site("v", 1)), "q": Observe(Site("q_input", 1))}
    ).observed["v"]
    assert torch.allclose(only, untouched, atol=1e-5), "values do not read what queries read"


def test_edges_of_heads_sum_to_the_edge_of_their_attention(runner: Runner) -> None:
    reader = Site("resid_post", runner.shape.n_layers - 1)
    heads = [Zero(Site("result", 0, head), reader=reader) for head in range(runner.shape.n_heads)]
    bias = batch_of(
        runner, Zero(Site("z", 0)), observe={"bias": Observe(Site("attn_out", 0))}
    ).observed["bias"][0, 0]
    attention = Replace(Site("attn_out", 0), Array(bias.numpy()), reader=reader)
    assert torch.allclose(logits_of(runner, *heads), logits_of(runner, attention), atol=1e-4)


def target(batch: Batch) -> Targets:
    rows = range(len(batch.prompts))
    ends = [length - 1 for length in batch.lengths]
    return Targets(example=rows, pos=ends, token=[12] * len(ends), weight=[1.0] * len(ends))


def value_of(runner: Runner, prompt: Prompt, change: Intervention) -> float:
    (batch,) = runner.run([prompt], interventions=[change])
    return float(batch.target_values(target(batch)).double().sum())


def test_gradients_equal_finite_differences_at_every_component(
    models: dict[str, HookedTransformerLIT], checkpoint_folders: dict[str, Any]
) -> None:
    for kind in KINDS:
        wide = HookedTransformerLIT.from_pretrained(str(checkpoint_folders[kind]), dtype="float64")
        runner = Runner(wide.model)
        sites = sites_of(runner)
        exclusive = [site for site in sites if site.component == "attn_in"]
        rest = [site for site in sites if site.component != "attn_in"]
        gradients = {}
        for together in (exclusive, rest):
            (batch,) = runner.run(PROMPTS, gradients=Gradients(target, at=together))
            gradients.update(batch.gradients)
        for site in sites:
            slope = gradients[site]
            if "query_pos" in site.axes or "pos" in site.axes:
                check_slope(runner, site, slope)


def check_slope(runner: Runner, site: Site, gradient: torch.Tensor) -> None:
    """Along one vector that is added at the first position of each prompt. The gradient is that of
    both in one batch."""
    first = Site(site.component, site.layer, positions=0)
    at_first = gradient[:, 0] if site.axes[0] == "pos" else gradient[:, :, 0]
    direction = torch.randn(at_first.shape[1:], generator=torch.Generator().manual_seed(1)).double()
    for prompt, own in zip(PROMPTS, at_first, strict=True):
        seen = slice(len(prompt.ids)) if "key_pos" in site.axes else slice(None)
        vector = direction[..., seen]
        expected = float((own[..., seen] * vector).sum())
        # Attention is rounded to float32 inside, so that steps are wide and the formula of fourth
        # order.
        step = 2.0**-6

        def moved(steps: float, prompt: Prompt = prompt, vector: torch.Tensor = vector) -> float:
            return value_of(runner, prompt, Add(first, Array(vector.numpy()), steps * 2.0**-6))

        slope = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)
        assert slope == pytest.approx(expected, rel=1e-3, abs=2e-5), str(site)


def test_the_gradient_of_an_earlier_site_goes_through_a_later_one(runner: Runner) -> None:
    alone = batch_of(runner, gradients=Gradients(target)).gradients[Site("embed")]
    sites = [Site("embed"), Site("pattern"), Site("z"), Site("resid_post"), Site("unembed_in")]
    many = batch_of(runner, gradients=Gradients(target, at=sites)).gradients
    assert torch.allclose(alone, many[Site("embed")], atol=1e-4)
    assert set(many) > {Site("pattern", 0), Site("pattern", 1), Site("z", 1), Site("unembed_in")}


def test_eight_threads_with_different_changes_get_the_serial_answers(runner: Runner) -> None:
    changes: list[list[Intervention]] = [
        [],
        [Zero(Site("z", 0, 1))],
        [Zero(Site("attn_out", 1))],
        [Replace(Site("resid_post", 0), FromRun(OTHER.ids[:3]))],
        [Zero(Site("result", 0, 2), reader=Site("q_input", 1))],
        [Zero(Site("mlp_out", 0))],
        [Add(Site("resid_pre", 1), Array(0.5))],
        [Zero(Site("pattern", 1, 0))],
    ]

    def answer(i: int) -> torch.Tensor:
        (batch,) = runner.run([PROMPTS[1]], interventions=changes[i])
        return batch.need_logits()

    alone = [answer(i) for i in range(8)]
    assert len({tuple(logits.flatten().tolist()) for logits in alone}) == 8
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(12):
            if not torch.equal(answer(i), alone[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_declared_change_holds_in_every_run_and_in_generated_text(runner: Runner) -> None:
    change = Zero(Site("mlp_out", 1))
    changed = Runner(runner.model, interventions=[change])
    assert torch.equal(logits_of(changed), logits_of(runner, change))
    assert changed.state() != runner.state()
    assert Runner(runner.model, interventions=[change]).state() == changed.state()
    for prompt in PROMPTS:
        (batch,) = changed.run([prompt], keep_cache=True)
        (text,) = changed.continue_greedily(batch, max_new_tokens=4)
        ids = list(prompt.ids)
        for _ in range(4):
            (whole,) = changed.run([Prompt(ids=tuple(ids))])
            ids.append(int(whole.last_logits()[0].argmax()))
        new = ids[len(prompt) :]
        new = new[: new.index(0)] if 0 in new else new
        assert text == runner.tokenizer.decode(new, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L9H0 = 0", "layer 9 is out of range: .* has layers 0 to 1"),
        ("L0H9 = 0", "head 9 is out of range: .* has heads 0 to 3"),
        ("router[0] = 0", r"has no router\[0\]"),
        ("resid_post[0]@7 = 0", "position 7 is out of range, the prompt has"),
        ("attn_out[0] -> resid_post[0] = 0", r"resid_post\[1\] is what the final norm"),
        ("resid_post[0] = run(0, 1)", "do not fit a value of shape"),
    ],
)
def test_what_a_model_does_not_have_is_refused_in_a_sentence(
    runner: Runner, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        batch_of(runner, parse_intervention(text))


def test_hooks_and_switches_are_left_as_they_were(runner: Runner) -> None:
    batch_of(runner, *(Zero(site) for site in sites_of(runner) if site.component != "attn_in"))
    with pytest.raises(ValueError, match="the prompt has"):
        batch_of(runner, Zero(Site("result", 0, positions=99)))
    model = runner.model
    assert not any(point.fwd_hooks or point.bwd_hooks for point in model.hook_dict.values())
    for flag in ("use_attn_result", "use_split_qkv_input", "use_attn_in", "use_hook_mlp_in"):
        assert not getattr(model.cfg, flag), flag


def test_numbers_are_those_of_one_prompt(runner: Runner) -> None:
    d_model = runner.shape.d_model
    site, last = Site("resid_post", 0), Site("resid_post", 1, positions=-1)
    stacked = Replace(site, Array(torch.zeros(2, 1, d_model).numpy()))
    with pytest.raises(ValueError, match="the value of one prompt has the axes pos, d_model"):
        batch_of(runner, stacked)
    with pytest.raises(ValueError, match="the value of one prompt has the axes d_model"):
        batch_of(runner, Replace(last, Array(torch.zeros(2, d_model).numpy())))
    for prompt in (PROMPTS[0], PROMPTS[1]):
        with pytest.raises(ValueError, match="do not fit a value of shape"):
            list(runner.run([prompt, OTHER], interventions=[Replace(site, FromRun((5,)))]))
    # A longer run is refused in a batch as it is alone.
    longer = Replace(site, FromRun(PROMPTS[0].ids))
    for prompts in ([PROMPTS[1]], PROMPTS):
        with pytest.raises(ValueError, match="do not fit a value of shape"):
            list(runner.run(prompts, interventions=[longer]))


def test_a_batch_under_an_array_by_position_equals_its_single_runs(runner: Runner) -> None:
    prompts = [PROMPTS[0], Prompt(ids=(0, 9, 10, 3, 4, 5)), OTHER]
    array = Array(torch.randn(6, runner.shape.d_model, generator=torch.manual_seed(3)).numpy())
    for component in ("resid_post", "attn_out"):
        change = Add(Site(component, 0), array)
        (batch,) = runner.run(prompts, interventions=[change])
        for row, i in enumerate(batch.index):
            (alone,) = runner.run([prompts[i]], interventions=[change])
            assert torch.allclose(batch.need_logits()[row], alone.need_logits()[0], atol=1e-4)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_stream_is_seen_before_what_the_mlp_alone_reads_is_changed(
    kind: str, models: dict[str, HookedTransformerLIT]
) -> None:
    runner = Runner(models[kind].model)
    stream = {name: Observe(Site(name, 1)) for name in ("resid_pre", "attn_out", "resid_mid")}
    edge = parse_intervention("attn_out[0] -> mlp_in[1] = 0")
    for change in (Zero(Site("mlp_in", 1)), edge):
        seen = batch_of(runner, change, observe=stream).observed
        total = seen["resid_pre"] + seen["attn_out"]
        assert torch.allclose(seen["resid_mid"], total, atol=1e-5)
    added = Add(Site("resid_mid", 1), Array(5.0))
    observe = {name: Observe(Site(name, 1)) for name in ("resid_mid", "mlp_in")}
    seen = batch_of(runner, added, observe=observe).observed
    assert torch.equal(seen["resid_mid"], seen["mlp_in"])
    # Both changes together: the MLP reads 0, and the stream has the 5 beside it.
    both = [added, Zero(Site("mlp_in", 1))]
    plain = batch_of(runner, both[1], observe={"post": Observe(Site("resid_post", 1))})
    moved = batch_of(runner, *both, observe={"post": Observe(Site("resid_post", 1))})
    assert torch.allclose(moved.observed["post"], plain.observed["post"] + 5, atol=1e-4)
