"""Text forms parse back to the same value, and what makes no site is refused."""

import itertools
from typing import Any

import numpy as np
import pytest

from lit_tl.engine import sites
from lit_tl.engine.intervention_text import parse_intervention
from lit_tl.engine.interventions import (
    Add,
    Array,
    Draw,
    FromRun,
    Intervention,
    ProjectOut,
    Replace,
    Steer,
    Zero,
)
from lit_tl.engine.sites import AXES, WITHOUT_LAYER, Site

POSITIONS = (None, 0, -1, 7, (2, 5), (None, 3), (1, None), (-2, None), (None, None))


def every_site() -> list[Site]:
    sites = []
    for component, positions in itertools.product(AXES, POSITIONS):
        layers = (None,) if component in WITHOUT_LAYER else (None, 0, 12)
        heads = (None, 6) if "head" in AXES[component] else (None,)
        neurons = (None, 17) if "neuron" in AXES[component] else (None,)
        for layer, head, neuron in itertools.product(layers, heads, neurons):
            sites.append(Site(component, layer, head, neuron, positions))
    return sites


def test_every_site_parses_back_from_its_text() -> None:
    sites = every_site()
    assert len(sites) > 500
    for site in sites:
        assert Site.parse(str(site)) == site, str(site)
    assert len({str(site) for site in sites}) == len(sites), "no two sites share a text"


def test_short_forms_read_as_people_write_them() -> None:
    assert str(Site("z", layer=9, head=6)) == "L9H6"
    assert str(Site("resid_post", layer=12, positions=-1)) == "resid_post[12]@-1"
    assert Site.parse(" L9H6@2:5 ") == Site("z", 9, 6, positions=(2, 5))
    assert Site.parse("q[3].h2") == Site("q", 3, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L9", "is not a site: write resid_post"),
        ("resid_end[3]", "component 'resid_end' does not exist: choose from embed"),
        ("embed[2]", "embed belongs to no layer"),
        ("resid_post[3].h2", "resid_post has no heads: leave head=2 out"),
        ("z[3].n2", "z has no neurons"),
        ("z[3]@x", "positions are written @3, @-1 or @2:5"),
        ("", "is not a site"),
    ],
)
def test_what_is_no_site_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Site.parse(text)


ARRAY = Array([[0.5, -1.0], [2.0, 1e-9]])
CHANGES: list[Intervention] = [
    Zero(Site("z", 9, 6)),
    Zero(Site("z")),
    Replace(Site("embed", positions=2), ARRAY),
    Replace(Site("resid_mid", 3), FromRun((0, 17, 4))),
    Replace(Site("resid_mid", 3), FromRun(())),
    Add(Site("resid_post", 12), ARRAY, -0.5),
    Add(Site("resid_post", 12), ARRAY, 1e-30),
    Add(Site("mlp_post", 0, neuron=3, positions=(1, None)), FromRun((5,)), 3.0),
    ProjectOut(Site("resid_post", 12, positions=-1), ARRAY),
    Zero(Site("attn_out", 3), reader=Site("mlp_in", 5)),
    Replace(Site("result", 3, 1), ARRAY, reader=Site("q_input", 7, 2)),
    Zero(Site("embed"), reader=Site("resid_post", 11)),
    Steer(Site("resid_post", 12, positions=(1, None)), ARRAY, 0.25),
    Steer(Site("resid_post", 12), ARRAY, -3.0, prompt_only=True),
    Draw(Site("z", 9, 6), ARRAY, 17),
    Zero(Site("z", 9, 6), prompt_only=True),
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_intervention_parses_back_from_its_text(change: Intervention) -> None:
    assert parse_intervention(str(change), {ARRAY.digest: ARRAY}) == change
    assert hash(parse_intervention(str(change), {ARRAY.digest: ARRAY})) == hash(change)


def test_arrays_are_known_by_their_content() -> None:
    assert Array([1.0, 2.0]) == Array((1, 2))
    assert Array([1.0, 2.0]) != Array([[1.0, 2.0]])
    with pytest.raises(ValueError, match="not finite"):
        Array([float("nan")])
    with pytest.raises(ValueError, match="read-only"):
        ARRAY.values[0] = 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L9H6", "is not an intervention: write L9H6 = 0"),
        ("L9H6 = 1", "'= 1' is not a change"),
        ("L9H6 = array(abc)", r"array\(abc\) is not among the 0 arrays given"),
        ("mlp_out[5] -> mlp_in[3] = 0", "the reader comes before the site"),
        ("attn_out[3] -> q_input[3] = 0", "the reader comes before the site"),
        (
            "pattern[3] -> mlp_in[5] = 0",
            "is no edge: it goes from attn_out, embed, mlp_out, result",
        ),
        ("result[3] -> mlp_in[5] = 0", "name one head"),
        ("attn_out -> mlp_in[5] = 0", "an edge names the layers of both ends"),
    ],
)
def test_what_is_no_intervention_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_intervention(text)


def test_a_direction_of_zeros_is_refused() -> None:
    with pytest.raises(ValueError, match="a vector of zeros is no direction"):
        ProjectOut(Site("resid_post", 0), Array([0.0, 0.0]))


@pytest.mark.parametrize("value", ["3", 1.0, True, 1.5, [1, 2]])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    # Not through Site, whose types these tests check in a way that a user's program does not.
    with pytest.raises(ValueError, match=r"layer is .*: give a whole number"):
        sites._whole("layer", value)
    with pytest.raises(ValueError, match=r"positions is .*: give a whole number"):
        sites._positions(value)


def test_numpys_whole_numbers_are_pythons() -> None:
    assert (sites._whole("layer", np.int64(1)), sites._whole("head", None)) == (1, None)
    assert sites._positions((np.int64(0), None)) == (0, None)
    with pytest.raises(ValueError, match="a span is"):
        sites._positions((1, 2, 3))
