"""Figures: the page and a notebook draw the same from the same numbers."""

import base64
import csv
import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import lit_tl
from lit_tl import HookedTransformerLIT, HookedTransformerLITConfig
from lit_tl.analyses.catalog import catalog
from lit_tl.figures.grid import Grid
from lit_tl.lit.analysis_interpreter import AnalysisInterpreter
from lit_tl.lit.datasets import Prompts
from lit_tl.lit.predictions_panel import Predictions

FIGURES = {
    name: AnalysisInterpreter(analysis)
    for name, analysis in catalog().items()
    if name != "Fork"  # of conversations: tests/engine/test_chat_template.py
}
EXAMPLE = {
    "text": "The king and the queen saw the king and the",
    "answer": " queen",
    "foil": " dog",
}


PAIR = {
    "text": "The king saw the",
    "corrupted_text": "The queen saw the",
    "answer": " queen",
    "foil": " dog",
}
"""For what sets two prompts against each other, which are not cut."""
PAIRED = ("Causes", "Chat", "Interventions", "Details")
SETTINGS: dict[str, dict[str, Any]] = {
    "Head finder": {"length": 3},
    "Preview": {"changes": "L1H3 = zero"},
    "Dose curve": {"changes": 'resid_post[1] += 1 * dir("a" - "b")'},
    "Ablation curve": {"changes": "L1H3 = zero; L2H0 = zero"},
}


@pytest.fixture(scope="module")
def loaded() -> HookedTransformerLIT:
    config = HookedTransformerLITConfig(max_seq_length=7, prepend_bos=False)
    return HookedTransformerLIT.from_pretrained("lit-tl-tiny", config, dtype="float64")


@pytest.mark.parametrize("name", FIGURES)
def test_the_snippet_makes_the_figure_of_the_page(
    name: str, loaded: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = {"text": "The queen sat on the throne in"}
    example = PAIR if FIGURES[name].analysis.tab in PAIRED else EXAMPLE
    config = SETTINGS.get(name, {})
    reply = FIGURES[name].draw([example, pinned], loaded, Prompts([example]), config)
    shown: list[Any] = []
    for kind in (go.Figure, Grid):
        monkeypatch.setattr(kind, "show", lambda figure: shown.append(figure))
    exec(compile(reply["python"], "snippet", "exec"), {})
    if "grid" in reply:
        assert nearly(shown[0].to_json()) == nearly(reply["grid"])
        return
    expected, got = json.loads(go.Figure(reply["figure"]).to_json()), json.loads(shown[0].to_json())
    assert nearly(got) == nearly(expected)


def nearly(value: object) -> object:
    """The same with numbers rounded, and arrays as numbers."""
    if isinstance(value, dict) and "bdata" in value:
        return np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]).round(4).tolist()
    if isinstance(value, dict) and isinstance(value.get("values"), str):
        raw = np.frombuffer(base64.b64decode(value["values"]), "<f4").round(4)
        return [np.nan_to_num(raw, nan=-1.0).tolist(), nearly({**value, "values": None})]
    if isinstance(value, dict):
        return {key: nearly(part) for key, part in value.items()}
    if isinstance(value, list):
        return [nearly(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def test_the_snippet_of_a_model_object_says_what_to_fill_in(bundled: HookedTransformerLIT) -> None:
    (reply,) = FIGURES["Head scores"].run([EXAMPLE], bundled, Prompts([EXAMPLE]), config={})
    assert "lit_tl.HookedTransformerLIT(...)  # ...: your model object" in reply["python"]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_files_have_a_row_for_each_cell(kind: str, bundled: HookedTransformerLIT) -> None:
    reply = FIGURES["Head scores"].draw(
        [EXAMPLE], bundled, Prompts([EXAMPLE]), {"score": "entropy"}, file=kind
    )
    text = base64.b64decode(reply["data"]).decode()
    if kind == "csv":
        head, *lines = csv.reader(text.splitlines())
        rows = [[float(cell) for cell in line] for line in lines]
    else:
        known = json.loads(text)
        head, rows = known["columns"], known["rows"]
        assert known["prompt"] == EXAMPLE["text"]
        assert known["settings"] == "score entropy"
    assert head == ["layer", "head", "entropy"]
    drawn = lit_tl.draw("Head scores", bundled, EXAMPLE, score="entropy")
    assert isinstance(drawn, Grid)
    assert [row[2] for row in rows] == pytest.approx(drawn.parts[0].values.ravel().tolist())


def test_a_file_of_another_kind_is_refused(bundled: HookedTransformerLIT) -> None:
    prompts = Prompts([EXAMPLE])
    with pytest.raises(ValueError, match="there is no file 'gif': choose from svg, pdf"):
        FIGURES["Head scores"].draw([EXAMPLE], bundled, prompts, {}, file="gif")
    paper = {"paper": {"width_mm": "1"}}
    with pytest.raises(ValueError, match=r"width_mm is 1\.0: give 40 to 1000"):
        FIGURES["Lens"].draw([EXAMPLE], bundled, prompts, paper, file="svg")


def test_values_along_the_prompt_are_the_models(bundled: HookedTransformerLIT) -> None:
    (output,) = bundled.predict([EXAMPLE], fields=["token_loss", "token_rank", "tokens"])
    figure = lit_tl.draw("Loss along the prompt", bundled, EXAMPLE, quantity="rank")
    assert list(figure.data[0].y)[1:] == output["token_rank"][1:]
    assert figure.data[0].y[0] is None
    assert "·king" in figure.data[0].customdata


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Head scoers", {}, "there is no analysis 'Head scoers': did you mean 'Head scores'"),
        ("Head scores", {"scroe": "entropy"}, "scroe is not a setting: did you mean 'score'"),
        ("Head scores", {"score": "size"}, "score is 'size': choose one of induction"),
    ],
)
def test_wrong_names_are_said(
    bundled: HookedTransformerLIT, name: str, settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        lit_tl.draw(name, bundled, EXAMPLE, **settings)


def test_predictions_name_answer_and_foil(bundled: HookedTransformerLIT) -> None:
    (reply,) = Predictions().run([EXAMPLE], bundled, Prompts([EXAMPLE]))
    names = ["answer_prob", "answer_rank", "foil_rank", "next_tokens"]
    (output,) = bundled.predict([EXAMPLE], fields=names)
    assert reply["answer"] == {
        "token": " queen",
        "tokens": [" queen"],
        "probability": output["answer_prob"],
        "rank": output["answer_rank"],
    }
    assert reply["foil"]["rank"] == output["foil_rank"]
    assert (reply["loss"][0], reply["rank"][0]) == (None, None)
    assert reply["top"][-1] == output["next_tokens"]
    (bare,) = Predictions().run([{"text": ""}], bundled, Prompts(["x"]))
    assert (bare["answer"], bare["foil"], bare["logit_diff"], len(bare["tokens"])) == (
        None,
        None,
        None,
        1,
    )
