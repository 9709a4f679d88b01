"""What a store holds equals what is asked of the model directly."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.dataset
import pytest
import sklearn.linear_model
import sklearn.preprocessing
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.analyses.drawing import analyze
from lit_tl.causal.estimates import estimate
from lit_tl.causal.heads import find_heads
from lit_tl.causal.pairs import PromptPair
from lit_tl.data.tasks import read_task
from lit_tl.engine.requests import Observe
from lit_tl.engine.sites import Site
from lit_tl.precompute.catalog import parse
from lit_tl.precompute.run import Summary, run, start_here
from lit_tl.precompute.worker import ModelConfig
from lit_tl.settings import SettingError
from lit_tl.store import Store, StoreError
from tests.precompute.conftest import prompts, write

Make = Callable[..., tuple[Store, Summary]]


@pytest.fixture
def make(tmp_path: pathlib.Path, data: pathlib.Path) -> Make:
    """A store of the bundled model."""

    def make(analyses: str, **how: Any) -> tuple[Store, Summary]:
        options: dict[str, Any] = {
            "models": ["lit-tl-tiny"],
            "datasets": [str(data)],
            "output": tmp_path / "store",
            "shard_rows": 16,
            "start": start_here(ModelConfig(**how.pop("config", {}))),
        }
        options |= how
        summary = run(chosen=parse(analyses), **options)
        return Store(options["output"]), summary

    return make


def column(store: Store, part: str, name: str) -> list[Any]:
    """Of all rows, in their order."""
    values: list[Any] = store.dataset(part).to_table([name])[name].to_pylist()
    return values


def test_predictions_are_those_of_the_page(make: Make, bundled: HookedTransformerLIT) -> None:
    store, summary = make("predictions[top_k=3]")
    names = ["loss", "perplexity", "answer_rank", "answer_prob", "logit_diff", "token_loss"]
    own = list(bundled.predict(prompts(60), fields=[*names, "tokens", "next_tokens"]))
    for name in names[:-1]:
        found = column(store, "lit-tl-tiny.predictions", name)
        assert found == pytest.approx([each[name] for each in own], rel=1e-5), name
    for found, each in zip(column(store, "lit-tl-tiny.predictions", "token_loss"), own):
        assert found == pytest.approx(each["token_loss"], abs=1e-4)
    tokens = column(store, "lit-tl-tiny.predictions", "tokens")
    assert tokens == [each["tokens"] for each in own]
    following = column(store, "lit-tl-tiny.predictions", "next_tokens")
    assert following == [[token for token, _ in each["next_tokens"][:3]] for each in own]
    assert [part.failed for part in summary.parts] == [0]
    assert summary.rows == summary.parts[0].computed == 60


def test_a_lens_is_that_of_the_figure(make: Make, bundled: HookedTransformerLIT) -> None:
    store, _ = make("lens[statistic=entropy]")
    found = store.xarray("lit-tl-tiny.lens")
    figure = analyze(
        "Lens over the data set",
        bundled.loaded,
        examples=prompts(60),
        statistic="entropy",
        max_prompts=60,
    )
    assert list(found["layer"].values) == list(figure["layer"].values)
    lengths = [len(bundled.loaded.prompt(example)) for example in prompts(60)]
    mean = (found["mean"].values * np.array(lengths)[:, None]).sum(0) / sum(lengths)
    np.testing.assert_allclose(mean, figure["mean entropy"].values, rtol=1e-5)


def test_head_scores_are_those_of_the_finder(make: Make, bundled: HookedTransformerLIT) -> None:
    store, _ = make("heads")
    found = store.xarray("lit-tl-tiny.heads")
    reference = find_heads(bundled, [each["text"] for each in prompts(60)], sequences=1)
    for score in ("previous token", "copying"):
        own = found[score.replace(" ", "_")].mean("row").values
        np.testing.assert_allclose(
            own, reference["text_score"].sel(score_name=score).values, atol=1e-4
        )


def test_causes_are_those_of_each_pair(make: Make, bundled: HookedTransformerLIT) -> None:
    store, _ = make("causes", datasets=["ioi@count=12@seed=3"])
    found = store.xarray("lit-tl-tiny.causes")
    examples = read_task("ioi", 3, 12).examples
    reference = estimate(bundled, PromptPair.of(examples[5]), "z")
    np.testing.assert_allclose(found["effect"].values[5], reference["effect"].values, atol=1e-4)
    assert found["effect"].dims == ("row", "layer", "head")


@pytest.mark.parametrize("positions", ["last", "mean", "all"])
def test_activations_are_those_of_a_run(
    positions: str, make: Make, bundled: HookedTransformerLIT
) -> None:
    store, _ = make(f"activations[site=resid_post,positions={positions}]")
    part = store.manifest.part("lit-tl-tiny.activations")
    value = store.described(part).columns["value"]
    rows = column(store, part.name, "value")
    for place in (0, 17, 59):
        prompt = bundled.loaded.prompt(prompts(60)[place])
        (batch,) = bundled.loaded.runner.run(
            [prompt], observe={"x": Observe(Site("resid_post"), stack=True)}
        )
        own = batch.observed["x"][:, 0].float()  # layer pos d_model
        expected = {"last": own[:, -1], "mean": own.mean(1), "all": own.transpose(0, 1)}[positions]
        np.testing.assert_allclose(value.read(rows[place]), expected.numpy(), atol=2e-5)


def test_top_examples_are_the_largest_of_all(make: Make, bundled: HookedTransformerLIT) -> None:
    store, _ = make("top_examples[site=mlp_post[1],count=4]")
    part = store.manifest.part("lit-tl-tiny.top_examples")
    table = pyarrow.dataset.dataset(str(store.summary_path(part))).to_table().to_pandas()
    largest = []
    for example in prompts(60):
        (batch,) = bundled.loaded.runner.run(
            [bundled.loaded.prompt(example)], observe={"x": Observe(Site("mlp_post", 1))}
        )
        largest.append(batch.observed["x"][0].max(0))
    values = torch.stack([each.values for each in largest])
    for neuron in (0, 7, 100):
        found = table[table.unit == neuron]
        expected = values[:, neuron].sort(descending=True).values[:4]
        np.testing.assert_allclose(found.value, expected, atol=1e-5)
        assert list(found["rank"]) == [0, 1, 2, 3]
        for row, position, token, around, first in zip(
            found.row, found.position, found.token, found.around, found.around_from, strict=True
        ):
            assert position == int(largest[row].indices[neuron])
            assert around[position - first] == token


def test_a_direction_drives_what_lies_along_it(make: Make, bundled: HookedTransformerLIT) -> None:
    store, _ = make(
        'top_examples[site=resid_post[2],direction=dir(unembed(" Paris")),count=2]',
    )
    part = store.manifest.part("lit-tl-tiny.top_examples")
    table = pyarrow.dataset.dataset(str(store.summary_path(part))).to_table().to_pandas()
    ids = bundled.loaded.prompter.answer(" Paris")
    row = bundled.loaded.runner.readout.matrix()[ids[0]].float()
    unit = row / row.norm()
    best = []
    for example in prompts(60):
        (batch,) = bundled.loaded.runner.run(
            [bundled.loaded.prompt(example)], observe={"x": Observe(Site("resid_post", 2))}
        )
        best.append(float((batch.observed["x"][0].float() @ unit).max()))
    np.testing.assert_allclose(table.value, sorted(best)[::-1][:2], atol=1e-4)


def test_a_probe_is_a_logistic_regression(make: Make) -> None:
    store, _ = make("probe[label=topic,held_out=0.25,seed=1],activations[site=resid_post]")
    part = store.manifest.part("lit-tl-tiny.probe")
    table = pyarrow.dataset.dataset(str(store.summary_path(part))).to_table().to_pandas()
    values = store.xarray("lit-tl-tiny.activations")["value"].values
    labels = np.array([each["topic"] for each in prompts(60)])
    order = np.random.default_rng(1).permutation(60)
    tested, learned = order[:15], order[15:]
    for layer in range(values.shape[1]):
        scaler = sklearn.preprocessing.StandardScaler().fit(values[learned, layer])
        model = sklearn.linear_model.LogisticRegression(max_iter=1000)
        model.fit(scaler.transform(values[learned, layer]), labels[learned])
        accuracy = model.score(scaler.transform(values[tested, layer]), labels[tested])
        assert table.accuracy[layer] == pytest.approx(accuracy)
    assert table.accuracy.iloc[-1] > table.shuffled_accuracy.iloc[-1]
    assert set(table.tested_on) == {15}


def test_any_analysis_of_one_prompt(make: Make, bundled: HookedTransformerLIT) -> None:
    store, _ = make("Head scores[score=previous token]")
    part = store.manifest.parts[0]
    reference = analyze("Head scores", bundled.loaded, prompts(60)[9], score="previous token")
    name = reference.attrs["value"]
    found = store.dataset(part.name).to_table([name, f"{name}.shape"]).to_pylist()[9]
    own = np.array(found[name]).reshape(found[f"{name}.shape"])
    np.testing.assert_allclose(own, reference[name].values, atol=1e-5)


def test_what_can_not_be_computed_has_a_reason(make: Make, tmp_path: pathlib.Path) -> None:
    lines = [
        {"text": "one two", "topic": "a"},
        {"text": "", "topic": "a"},
        {"text": "one two", "topic": "b", "tokens": ["no such token"]},
        {"answer": " x"},
        {"text": "three four", "topic": "b"},
    ]
    path = write(tmp_path / "bad.jsonl", lines)
    path.write_bytes(path.read_bytes() + b"{broken\n\xff\xfe\n")
    store, summary = make("predictions,heads", datasets=[str(path)])
    failures = store.failures().to_pylist()
    by_part = {
        name: [f for f in failures if f["part"].endswith(name)] for name in ("predictions", "heads")
    }
    for found in by_part.values():
        assert {2, 3, 5, 6} <= {failure["row"] for failure in found}
        assert all(failure["error"] and "\n" not in failure["error"] for failure in found)
    assert "bad.jsonl:6: not JSON" in next(f["error"] for f in failures if f["row"] == 5)
    assert summary.parts[0].failed == len(by_part["predictions"])
    assert summary.rows == 7
    assert column(store, "lit-tl-tiny.predictions", "loss")[4] is not None


def test_a_second_run_computes_nothing_and_a_new_analysis_itself_alone(make: Make) -> None:
    make("predictions")
    _, again = make("predictions,heads")
    assert [part.computed for part in again.parts] == [0, 60]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"analyses": "predictions[top_k=2]"}, "was made with other settings"),
        ({"models": ["lit-tl-tiny=lit-tl-tiny{L1H3 = zero}"]}, "other changes of the model"),
        ({"config": {"prepend_bos": False}}, "other ways of reading prompts"),
        ({"datasets": ["ioi"]}, "was made of other data (prompts)"),
        ({"shard_rows": 8}, "has 16 rows in a file: give --shard_rows 16"),
    ],
)
def test_a_store_of_something_else_is_refused(
    change: dict[str, Any], said: str, make: Make
) -> None:
    make("predictions")
    with pytest.raises(StoreError) as caught:
        make(change.pop("analyses", "predictions"), **change)
    assert said in str(caught.value)


def test_a_store_of_other_weights_is_refused(
    make: Make, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    make("predictions", models=[f"m={checkpoint_folders['gpt2']}"])
    with pytest.raises(StoreError, match=r"m.predictions in the store was made with other weights"):
        make("predictions", models=[f"m={checkpoint_folders['llama']}"])


def test_data_that_changed_are_refused(make: Make, data: pathlib.Path) -> None:
    make("predictions")
    write(data, prompts(61))
    with pytest.raises(StoreError, match="was made of other data"):
        make("predictions")


def test_two_models_and_two_data_sets(make: Make, data: pathlib.Path) -> None:
    store, _ = make(
        "predictions",
        models=["lit-tl-tiny", "cut=lit-tl-tiny{L1H3 = zero}"],
        datasets=[str(data), "ioi@count=10@seed=1"],
    )
    assert {part.name for part in store.manifest.parts} == {
        "lit-tl-tiny.predictions",
        "cut.predictions",
    }
    assert column(store, "data", "dataset") == ["prompts"] * 60 + ["ioi"] * 10
    one, other = (column(store, f"{name}.predictions", "loss") for name in ("lit-tl-tiny", "cut"))
    assert one != other


@pytest.mark.parametrize(
    ("analyses", "said"),
    [
        ("prediction", "there is no 'prediction': did you mean 'predictions'?"),
        ("predictions[top=3]", "predictions: top is not a setting: did you mean 'top_k'?"),
        ("predictions[top_k]", "'top_k' in 'predictions[top_k]' is not setting=value"),
        ("predictions,predictions", "two are called predictions"),
        ("probe", "probe: 'label' is missing"),
        ("", "analyses is empty"),
        ("Lens over the data set", "what goes over many prompts looks at one"),
    ],
)
def test_analyses_that_there_are_not(analyses: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse(analyses)
    assert said in str(caught.value)


def test_the_store_is_read_by_others(make: Make) -> None:
    """As the docs show it: pandas and DuckDB, and xarray with named axes."""
    import duckdb
    import pandas

    store, _ = make("predictions,heads")
    pattern = str(store.folder / "parts/lit-tl-tiny.predictions/*.parquet")
    mean = duckdb.sql(f"SELECT avg(loss) FROM read_parquet('{pattern}')").fetchall()
    frame = pandas.concat(
        pandas.read_parquet(path)
        for path in sorted((store.folder / "parts/lit-tl-tiny.predictions").glob("*.parquet"))
    )
    losses = column(store, "lit-tl-tiny.predictions", "loss")
    assert mean[0][0] == pytest.approx(np.mean(losses))
    assert frame.loss.tolist() == losses
    assert store.xarray("lit-tl-tiny.heads", ["induction"])["induction"].dims == (
        "row",
        "layer",
        "head",
    )
    assert json.loads((store.folder / "summary.json").read_text())["rows"] == 60
