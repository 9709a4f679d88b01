"""A result is computed once, belongs to whoever asked, and never outlives what it was made of."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses.contract import Analysis, Subject, analysis
from lit_tl.analyses.drawing import analyze
from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.engine.runner import Runner
from lit_tl.figures.along_prompt import token_bars
from lit_tl.models.loading import load_model
from lit_tl.settings import Settings

EXAMPLE = {"text": "The capital of France is", "subject_position": 1}


@pytest.fixture
def loaded() -> LoadedModel:
    return LoadedModel(Runner(load_model("lit-tl-tiny")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoSettings(Settings):
    pass


def constant(number: float) -> Analysis:
    @analysis("Constant", figure=token_bars)
    def run(subject: Subject, settings: NoSettings) -> Iterator[xr.Dataset]:
        """One number."""
        yield xr.Dataset({"value": number}, attrs={"value": "value"})

    return run


def test_a_hook_that_was_exchanged_for_another_is_obeyed(loaded: LoadedModel) -> None:
    model = loaded.runner.model
    for factor in np.linspace(0, 1, 12):
        model.reset_hooks()
        model.add_hook("blocks.1.hook_attn_out", lambda value, hook, by=float(factor): value * by)
        got = analyze("Loss along the prompt", loaded, EXAMPLE)
        fresh = LoadedModel(Runner(model))
        expected = analyze("Loss along the prompt", fresh, EXAMPLE)
        assert np.array_equal(got["loss"].values, expected["loss"].values, equal_nan=True)
    model.reset_hooks()


def test_a_function_that_was_written_anew_runs(loaded: LoadedModel) -> None:
    assert [float(analyze(constant(n), loaded, EXAMPLE)["value"]) for n in (1.0, 2.0)] == [1, 2]


def test_every_field_of_an_example_counts(loaded: LoadedModel) -> None:
    @analysis("Own field", figure=token_bars)
    def run(subject: Subject, settings: NoSettings) -> Iterator[xr.Dataset]:
        """A field of the user's."""
        value = float(subject.need_example()["subject_position"])
        yield xr.Dataset({"value": value}, attrs={"value": "value"})

    values = [
        float(analyze(run, loaded, {**EXAMPLE, "subject_position": n})["value"]) for n in (1, 2)
    ]
    assert values == [1, 2]


def test_a_result_can_be_changed_without_changing_the_next(loaded: LoadedModel) -> None:
    first = analyze("Loss along the prompt", loaded, EXAMPLE)
    expected = first["loss"].values.copy()
    for _ in range(2):
        own = analyze("Loss along the prompt", loaded, EXAMPLE)
        assert np.array_equal(own["loss"].values, expected, equal_nan=True)
        assert own.attrs["unit"] == "nats"
        own["loss"].values[:] = 0
        own.attrs["unit"] = "broken"


def test_a_figure_drawn_twice_costs_one_pass_with_a_bare_model_too(passes: list[int]) -> None:
    for model in (load_model("lit-tl-tiny"), HookedTransformerLIT.from_pretrained("lit-tl-tiny")):
        before = len(passes)
        first, second = (lit_tl.draw("Head scores", model, EXAMPLE) for _ in range(2))
        assert first.to_json() == second.to_json()
        assert len(passes) == before + 1


@pytest.mark.parametrize("example", ["one two", 5, [1]])
def test_what_is_no_example_is_refused(loaded: LoadedModel, example: object) -> None:
    with pytest.raises(ValueError, match="an example is a mapping such as"):
        analyze("Head scores", loaded, example)
    with pytest.raises(ValueError, match="an example is a mapping such as"):
        analyze("Lens over the data set", loaded, examples=[example])


def test_a_lens_does_not_pass_over_embeddings_of_ones_own(loaded: LoadedModel) -> None:
    embeddings = np.zeros((6, loaded.runner.shape.d_model), np.float32)
    tokens = loaded.tokens(EXAMPLE)
    assert len(tokens) == 6
    with pytest.raises(ValueError, match="leave token_embeddings out"):
        analyze("Lens", loaded, {"tokens": tokens, "token_embeddings": embeddings})


def test_nothing_is_said_to_be_compared_that_is_not(loaded: LoadedModel) -> None:
    other = {"text": "The capital of Spain is"}
    with pytest.raises(ValueError, match="against is 'pinned prompt', which does nothing with"):
        analyze("Lens", loaded, EXAMPLE, counterpart=other, against="pinned prompt")
    settings = {"statistic": "JS divergence", "against": "pinned prompt"}
    result = analyze("Lens", loaded, EXAMPLE, counterpart=other, **settings)
    assert "Against the pinned prompt" in result.attrs["note"]


def test_commas_alone_name_no_token(loaded: LoadedModel) -> None:
    with pytest.raises(ValueError, match="tokens is ',': name tokens"):
        analyze("Lens trajectory", loaded, EXAMPLE, tokens=",")
