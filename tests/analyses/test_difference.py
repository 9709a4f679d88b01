"""Two prompts or two models: one figure less another."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from lit_nlp.api import dataset as lit_dataset

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses import drawing
from lit_tl.analyses.catalog import catalog, find
from lit_tl.data.tasks import read_task
from lit_tl.figures.grid import Grid
from lit_tl.lit.analysis_interpreter import AnalysisInterpreter

FIRST, SECOND = read_task("ioi").examples[:2]
NO_DATA = lit_dataset.Dataset(spec={}, examples=[])


def reply(name: str, model: HookedTransformerLIT, other: Any = None, **config: Any) -> Any:
    file = config.pop("file", "")
    interpreter = AnalysisInterpreter(find(name, catalog()))
    return interpreter.draw([FIRST, SECOND], model, NO_DATA, config, other, file)


def test_grids_of_one_prompt_have_a_difference() -> None:
    having = [each.name for each in catalog().values() if drawing.has_difference(each)]
    assert {"Lens", "Attention", "Salience", "Head scores"} <= set(having)
    assert "Lens over the data set" not in having
    for each in catalog().values():
        spec = AnalysisInterpreter(each).config_spec()
        assert ("minus" in spec) == (each.name in having)


@pytest.fixture(scope="module")
def loaded() -> HookedTransformerLIT:
    """A model that the Python of a page can load again."""
    return HookedTransformerLIT.from_pretrained("lit-tl-tiny")


@pytest.mark.parametrize(
    ("name", "settings"), [("Lens", {"lens": "logit"}), ("Attention", {"layer": 1, "head": 2})]
)
def test_the_pinned_prompt_is_taken_away(
    name: str, settings: dict[str, Any], loaded: HookedTransformerLIT
) -> None:
    one, other = (lit_tl.draw(name, loaded, each, **settings) for each in (FIRST, SECOND))
    assert isinstance(one, Grid)
    assert isinstance(other, Grid)
    expected = one.minus(other)
    got = reply(name, loaded, minus="pinned prompt", **settings)
    assert got["grid"] == expected.to_json()
    assert got["note"].startswith(f"Less {SECOND['text']}.")
    namespace: dict[str, Any] = {}
    exec(got["python"].replace(".show()", ".to_json()"), namespace)
    assert np.array_equal(
        namespace["figure"].minus(namespace["other"]).parts[0].values,
        expected.parts[0].values,
        equal_nan=True,
    )
    saved = reply(name, loaded, minus="pinned prompt", file="json", **settings)
    known = json.loads(base64.b64decode(saved["data"]))
    assert known["minus prompt"] == SECOND["text"]
    assert len(known["rows"]) == np.isfinite(expected.parts[0].values).sum()


def test_a_model_less_itself_is_nothing(bundled: HookedTransformerLIT) -> None:
    got = reply("Lens", bundled, bundled, minus="other model", lens="logit")
    values = np.frombuffer(base64.b64decode(got["grid"]["parts"][0]["values"]), "<f4")
    assert (values == 0).all()
    assert got["note"].startswith(f"Less {bundled.loaded.runner.shape.name}.")


def test_what_is_not_there_is_said(bundled: HookedTransformerLIT) -> None:
    with pytest.raises(ValueError, match="there is no other model to see the difference from"):
        reply("Lens", bundled, minus="other model")
    interpreter = AnalysisInterpreter(find("Lens", catalog()))
    with pytest.raises(ValueError, match="no prompt is pinned"):
        interpreter.draw([FIRST], bundled, NO_DATA, {"minus": "pinned prompt"})
    with pytest.raises(ValueError, match="minus is 'everything'"):
        reply("Lens", bundled, minus="everything")
    with pytest.raises(ValueError, match="minus is 'pinned prompt'"):
        reply("Lens trajectory", bundled, minus="pinned prompt")
