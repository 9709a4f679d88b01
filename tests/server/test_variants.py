"""Variants over HTTP."""

import pathlib
import random
import threading
from typing import Any

import numpy as np
import pytest
from werkzeug.test import Client

from lit_tl import HookedTransformerLIT
from lit_tl.server import build
from lit_tl.server.page_access import PageAccess
from tests.server.conftest import ask, ids_of

QUIET = build.StartLog(quiet=True)
STEER = 'resid_post[1] += 0.5 * dir("love" - "hate")'


@pytest.fixture
def client(bundled: HookedTransformerLIT, tmp_path: pathlib.Path) -> Client:
    settings = build.BuildConfig()
    data = build.load_datasets({"ioi": "ioi", "mine": ["a text", "another"]}, settings, QUIET)
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        np.save(folder / "v.npy", np.arange(128, dtype=np.float32))
    access = PageAccess.of([str(inside)], hub=False, loopback=True)
    return Client(build.build_app({"tiny": bundled}, data, settings, access=access))


def make(client: Client, *changes: str, original: str = "tiny", name: str = "cut") -> Any:
    config = {"original": original, "changes": list(changes), "name": name}
    return ask(client, "/make_variant", config=config)


def predictions(client: Client, model: str, ids: list[str], fields: str = "answer_prob") -> Any:
    query = {"model": model, "dataset_name": "ioi", "requested_fields": fields}
    return ask(client, "/get_preds", ids, **query)


def test_a_variant_is_served_like_any_other_model(
    client: Client, bundled: HookedTransformerLIT
) -> None:
    reply = make(client, "L1H3 = zero", STEER)
    assert reply["name"] == "cut"
    info = reply["info"]["models"]
    assert info["cut"]["variant"]["changes"] == ["L1H3 = zero", STEER]
    assert info["cut"]["variant"]["original"] == "tiny"
    assert info["tiny"]["variant"]["changes"] == []
    assert {"_cut_tokenizer", "_cut_salience"} < set(info)
    assert info["cut"]["description"].startswith("Changed: L1H3 = zero")
    ids = ids_of(client, "ioi")[:3]
    data = build.load_datasets("ioi", build.BuildConfig(), QUIET)["ioi"].examples[:3]
    variant = bundled.with_interventions("L1H3 = zero", STEER)
    for model, name in ((bundled, "tiny"), (variant, "cut")):
        shown = predictions(client, name, ids)
        expected = list(model.predict(data, fields=["answer_prob"]))
        for one, two in zip(shown, expected, strict=True):
            assert one["answer_prob"] == pytest.approx(two["answer_prob"], abs=1e-6)
    query = {"model": "cut", "dataset_name": "ioi"}
    assert ask(client, "/get_metrics", ids, **query) != ask(
        client, "/get_metrics", ids, **{**query, "model": "tiny"}
    )


def test_the_same_variant_is_made_once_and_another_gets_a_name(client: Client) -> None:
    assert make(client, "L1H3 = zero")["name"] == "cut"
    assert make(client, "L1H3=0")["name"] == "cut"
    assert make(client, "L2H0 = zero")["name"] == "cut-2"
    assert make(client, "L2H0 = zero", name="my <cut>, 1")["name"] == "my--cut---1"
    assert make(client, "L2H1 = zero", name="")["name"] == "tiny-changed"
    nested = make(client, "L3H1 = zero", original="cut", name="both")["info"]["models"]["both"]
    assert nested["variant"]["changes"] == ["L1H3 = zero", "L3H1 = zero"]
    assert nested["variant"]["original"] == "tiny"


def test_a_variant_belongs_to_the_page_that_it_was_made_for(client: Client) -> None:
    config = {"original": "tiny", "changes": ["L1H3 = zero"], "name": "cut"}
    labels = [
        ask(client, "/make_variant", config={**config, "page": page})["name"]
        for page in ("a", "b", "a", "b")
    ]
    assert labels == ["cut", "cut-2", "cut", "cut-2"]
    ask(client, "/unload_model", model="cut")
    assert predictions(client, "cut-2", ids_of(client, "ioi")[:1])


def test_a_variant_goes_and_its_original_stays(client: Client) -> None:
    make(client, "L1H3 = zero")
    info = ask(client, "/unload_model", model="cut")
    assert set(info["models"]) == {"tiny", "_tiny_tokenizer", "_tiny_salience"}
    make(client, "L1H3 = zero")
    assert "tiny" not in ask(client, "/unload_model", model="tiny")["models"]
    reply = make(client, "L2H0 = zero", original="cut", name="more")
    assert reply["info"]["models"]["more"]["variant"]["original"] == ""


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "a variant is asked for with original, changes and name"),
        ({"original": "nobody", "changes": ["L1H3 = zero"]}, "no model 'nobody' on this server"),
        ({"original": "_tiny_salience", "changes": ["L1H3 = zero"]}, "no model '_tiny_salience'"),
        ({"original": ["tiny"], "changes": ["L1H3 = zero"]}, "there is no model"),
        ({"original": "tiny", "changes": "L1H3 = zero"}, "a list of texts"),
        ({"original": "tiny", "changes": [3]}, "a list of texts"),
        ({"original": "tiny", "changes": []}, "no change is staged"),
        ({"original": "tiny", "changes": ["L1H9 = zero"]}, "head 9 is out of range"),
        ({"original": "tiny", "changes": ["L1H3 = mean(nowhere)"]}, "there are ioi, mine, "),
        ({"original": "tiny", "changes": ["L1H3 = mean(/etc/passwd)"]}, "is not what can become"),
        ({"original": "tiny", "changes": ['L1H3 = mean("/etc/passwd")']}, "no data set"),
        ({"original": "tiny", "changes": ["L1H3 = zero"] * 65}, "at most 64 are made"),
        (
            {"original": "tiny", "changes": ['resid_post[1] += dir(file("/etc/passwd"))']},
            "is not below a folder that this page may read",
        ),
    ],
)
def test_what_can_not_be_made_is_refused_in_a_sentence(
    client: Client, config: Any, sentence: str
) -> None:
    reply = client.post("/make_variant", json={"inputs": [], "config": config})
    assert reply.status_code == 400
    assert sentence in reply.json["error"]
    assert "\n" not in reply.json["error"]
    assert set(ask(client, "/get_info")["models"]) == {
        "tiny",
        "_tiny_tokenizer",
        "_tiny_salience",
    }


def test_vectors_are_read_below_the_folders_of_the_page_alone(
    client: Client, tmp_path: pathlib.Path
) -> None:
    inside = f'resid_post[1] += dir(file("{tmp_path / "inside" / "v.npy"}"))'
    assert make(client, inside)["name"] == "cut"
    query = {"model": "tiny", "dataset_name": "ioi", "analysis": "Preview"}
    (example,) = ask(client, "/get_dataset", dataset_name="ioi")[:1]
    outside = inside.replace("inside", "inside/..")
    for path, config in (
        ("/make_variant", {"original": "tiny", "changes": [outside]}),
        ("/get_analysis", {"changes": outside}),
    ):
        body = {"inputs": [example["id"]] if "analysis" in path else [], "config": config}
        reply = client.post(path, query_string=query, json=body)
        assert reply.status_code == 400
        assert "is not below a folder that this page may read" in reply.json["error"]


def test_no_more_variants_are_held_than_may_be(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_tl.server.variants.MAX_VARIANTS", 2)
    make(client, "L1H3 = zero")
    make(client, "L1H2 = zero")
    reply = client.post(
        "/make_variant", json={"config": {"original": "tiny", "changes": ["L1H1 = zero"]}}
    )
    assert reply.status_code == 400
    assert "holds 2 variants, as many as it may: delete one first" in reply.json["error"]
    assert make(client, "L1H3 = zero")["name"] == "cut"


def test_variants_do_not_count_as_loaded_models(bundled: HookedTransformerLIT) -> None:
    settings = build.BuildConfig(max_models=2)
    data = build.load_datasets({"mine": ["a"]}, settings, QUIET)
    client = Client(build.build_app({"tiny": bundled}, data, settings))
    for head in range(4):
        make(client, f"L1H{head} = zero", name=f"cut{head}")
    config = {"new_name": "more", "model_name": "lit-tl-tiny"}
    info, _ = ask(client, "/create_model", config=config, model_name="TransformerLens")
    assert {"tiny", "more", *(f"cut{head}" for head in range(4))} < set(info["models"])


def test_originals_and_variants_are_asked_for_at_once(client: Client) -> None:
    """8 threads, 400 requests: no cache and no hook of one shows in the other."""
    make(client, "L1H3 = zero")
    make(client, STEER, name="steered")
    ids = ids_of(client, "ioi")[:8]
    models = ("tiny", "cut", "steered")
    fields = "answer_prob,loss,attention_layer_2"

    def answer(model: str, example: str) -> str:
        return str(predictions(client, model, [example], fields))

    serial = {(model, example): answer(model, example) for model in models for example in ids}
    assert len(set(serial.values())) == len(serial)
    ask(client, "/unload_model", model="cut")  # so that nothing is kept of it
    ask(client, "/unload_model", model="steered")
    make(client, "L1H3 = zero")
    make(client, STEER, name="steered")
    wrong: list[Any] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(50):
            key = draw.choice(models), draw.choice(ids)
            if answer(*key) != serial[key]:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
