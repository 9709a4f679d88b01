"""The text form of a change, and back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_tl.engine.sites import AXES, WITHOUT_LAYER, Site
from lit_tl.variants.changes import (
    Action,
    Along,
    Change,
    Direction,
    Layer,
    Term,
    ToMean,
    ToOthers,
    ToRun,
    ToZero,
    Without,
)
from lit_tl.variants.text import parse_change, parse_changes

TEXTS = st.text(max_size=20)
NUMBERS = st.integers(0, 40)
BOUNDS = st.none() | st.integers(-9, 9)
POSITIONS = st.none() | st.integers(-9, 9) | st.tuples(BOUNDS, BOUNDS)
TERMS = st.builds(Term, st.sampled_from(["prompt", "mean", "unembed", "lens"]), TEXTS) | st.builds(
    Term, st.just("file"), TEXTS, TEXTS
)
DIRECTIONS = st.builds(Direction, TERMS, st.none() | TERMS)
TO: st.SearchStrategy[Action] = (
    st.builds(ToZero)
    | st.builds(ToMean, TEXTS)
    | st.builds(ToOthers, TEXTS, NUMBERS)
    | st.builds(ToRun, TEXTS)
)
ALONG: st.SearchStrategy[Action] = st.builds(
    Along, st.floats(allow_nan=False, allow_infinity=False), DIRECTIONS
) | st.builds(Without, DIRECTIONS)


@st.composite
def sites(draw: st.DrawFn) -> Site:
    component = draw(st.sampled_from(sorted(AXES)))
    axes = AXES[component]
    return Site(
        component,  # type: ignore[arg-type]  # a key of AXES
        layer=None if component in WITHOUT_LAYER else draw(st.none() | NUMBERS),
        head=draw(st.none() | NUMBERS) if "head" in axes else None,
        neuron=draw(st.none() | NUMBERS) if "neuron" in axes else None,
        positions=draw(POSITIONS),
    )


CHANGES = st.builds(Change, sites(), TO | ALONG, st.booleans()) | st.builds(
    Change, st.builds(Layer, NUMBERS, POSITIONS), TO, st.booleans()
)


@given(CHANGES)
@settings(max_examples=500, deadline=None)
def test_every_change_parses_back_from_its_text(change: Change) -> None:
    assert parse_change(str(change)) == change
    assert hash(parse_change(str(change))) == hash(change)


@given(st.lists(CHANGES, max_size=4), st.sampled_from(["; ", "\n", " ;\n"]))
@settings(max_examples=200, deadline=None)
def test_several_changes_parse_back_from_one_text(changes: list[Change], between: str) -> None:
    assert parse_changes(between.join(map(str, changes))) == tuple(changes)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("L9H6=0", "L9H6 = zero"),
        ("L9 = zero", "L9 = zero"),
        ("attn[3] = mean(ioi)", "attn_out[3] = mean(ioi)"),
        ("mlp[3]@-1 = mean('my data')", 'mlp_out[3]@-1 = mean("my data")'),
        ("L3N17 = resample(ioi, 2)", "mlp_post[3].n17 = resample(ioi, 2)"),
        (
            "resid_post[12] += 0.5 * dir('love' - 'hate')",
            'resid_post[12] += 0.5 * dir("love" - "hate")',
        ),
        ('resid_post[1]@2: -= 2*dir("a")', 'resid_post[1]@2: += -2.0 * dir("a")'),
        ('resid_post[1] += dir("a")', 'resid_post[1] += 1.0 * dir("a")'),
        (
            'resid_post[4] without dir(mean(ioi) - mean("x.jsonl")) in prompt',
            "resid_post[4] without dir(mean(ioi) - mean(x.jsonl)) in prompt",
        ),
        ('resid_post[1] += +0.5 * dir("a")', 'resid_post[1] += 0.5 * dir("a")'),
        ("L1H1 = zero  in  prompt", "L1H1 = zero in prompt"),
        ('L1H1 = run("it\'s; = so")', 'L1H1 = run("it\'s; = so")'),
        ("L1H1 = run('a \\'b\\'')", "L1H1 = run(\"a 'b'\")"),
    ],
)
def test_people_write_it_in_several_ways(text: str, written: str) -> None:
    assert str(parse_change(text)) == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L9H6", "is not a change: write a site and what becomes of it, as in L9H6 = zero"),
        ("L9H6 = 3", "'= 3' is not what can become of a site: write = zero, = mean"),
        ("L9H6 += 0.5 * love", "is not what can become of a site"),
        ('L9 += 0.5 * dir("a")', r"a direction is one of a site: write resid_post\[9\]"),
        ("nothing[3] = zero", "component 'nothing' does not exist"),
        ('resid_post[1] += 1e999 * dir("a")', "a strength is inf: give a finite number"),
        ("L9H6 = mean(ioi", "is not what can become of a site"),
        ("router[2].h1 = zero", "router has no heads"),
        ('resid_post[1] += dir(mean(ioi, "x"))', "is not what can become of a site"),
        ("L1H1 = mean(a/b.jsonl)", "stand in quotation marks"),
    ],
)
def test_what_is_no_change_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        parse_changes(text)
    assert "\n" not in str(refused.value)


def test_a_quotation_mark_that_is_not_closed_is_said() -> None:
    with pytest.raises(ValueError, match="a quotation mark is not closed"):
        parse_changes('L1H1 = run("x')


def test_a_strength_can_be_set() -> None:
    change = parse_change('resid_post[1] += 0.5 * dir("a")')
    assert str(change.with_strength(2)) == 'resid_post[1] += 2 * dir("a")'
    with pytest.raises(ValueError, match="has no strength"):
        parse_change("L1H1 = zero").with_strength(1.0)
