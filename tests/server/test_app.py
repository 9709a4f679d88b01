"""The application over WSGI, as LIT's client talks to it."""

import gzip
import json
import threading
from typing import Any

import numpy as np
import pytest
from werkzeug.test import Client

from lit_tl import HookedTransformerLIT
from lit_tl.server import build
from tests.server.conftest import ask, ids_of


def make_client(bundled: HookedTransformerLIT) -> Client:
    settings = build.BuildConfig()
    data = build.load_datasets(
        {"ioi": "ioi", "mine": ["a text", "日本 🙂"]}, settings, build.StartLog(quiet=True)
    )
    return Client(build.build_app({"tiny": bundled}, data, settings))


@pytest.fixture(scope="module")
def client(bundled: HookedTransformerLIT) -> Client:
    """For tests that only ask."""
    return make_client(bundled)


@pytest.fixture
def own_client(bundled: HookedTransformerLIT) -> Client:
    """For a test that adds a model or data."""
    return make_client(bundled)


def test_info_names_what_is_there(client: Client) -> None:
    info = ask(client, "/get_info")
    assert list(info["models"]) == ["tiny", "_tiny_tokenizer", "_tiny_salience"]
    assert {"ioi", "mine"} < set(info["datasets"])
    assert info["models"]["tiny"]["datasets"][:2] == ["ioi", "mine"]
    assert {"pca", "umap", "Grad L2 Norm", "Integrated Gradients"} < set(
        info["models"]["tiny"]["interpreters"]
    )
    assert info["defaultLayout"] in info["layouts"]


def test_predictions_have_the_requested_fields_and_no_other(
    client: Client, bundled: HookedTransformerLIT
) -> None:
    ids = ids_of(client, "ioi")[:3]
    query = {"model": "tiny", "dataset_name": "ioi"}
    got = ask(
        client, "/get_preds", ids, requested_types="Scalar", requested_fields="tokens", **query
    )
    assert [set(row) for row in got] == [
        {
            "tokens",
            "loss",
            "perplexity",
            "logit_diff",
            "answer_rank",
            "answer_prob",
            "foil_rank",
            "foil_prob",
        }
    ] * 3
    examples = {
        example["id"]: example["data"]
        for example in ask(client, "/get_dataset", dataset_name="ioi")
    }
    for row, expected in zip(got, bundled.predict([examples[i] for i in ids]), strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], abs=1e-5)
        assert row["tokens"] == expected["tokens"]
    everything = ask(client, "/get_preds", ids[:1], **query)
    assert set(everything[0]) == set(bundled.output_spec())


def test_attention_travels_with_three_digits_and_is_whole_inside(
    client: Client, bundled: HookedTransformerLIT
) -> None:
    ids = ids_of(client, "ioi")[:1]
    (row,) = ask(
        client,
        "/get_preds",
        ids,
        model="tiny",
        dataset_name="ioi",
        requested_fields="attention_layer_2",
    )
    (example,) = [
        example["data"]
        for example in ask(client, "/get_dataset", dataset_name="ioi")
        if example["id"] == ids[0]
    ]
    (whole,) = bundled.predict([example], fields=["attention_layer_2"])
    sent = np.array(row["attention_layer_2"])
    assert np.allclose(sent, whole["attention_layer_2"], rtol=5.1e-3, atol=0)
    assert max(len(repr(weight)) for weight in sent.ravel().tolist() if weight > 1e-3) <= len(
        "0.00123"
    )


def test_salience_of_a_span_runs_only_the_method_asked_for(client: Client) -> None:
    data = ask(client, "/get_dataset", dataset_name="mine")[0]["data"] | {
        "target": " end",
        "_id": "",
    }
    (tokens,) = ask(
        client,
        "/get_preds",
        [{"id": "", "data": data}],
        model="_tiny_tokenizer",
        dataset_name="mine",
        requested_types="Tokens",
    )
    mask = [0] * (len(tokens["tokens"]) - 1) + [1]
    marked = [{"id": "", "data": data | {"target_mask": mask}}]
    query = {"model": "_tiny_salience", "dataset_name": "mine"}
    (one,) = ask(client, "/get_preds", marked, requested_fields="occlusion", **query)
    (all_methods,) = ask(client, "/get_preds", marked, requested_types="TokenScores", **query)
    assert list(one) == ["occlusion"]
    assert one["occlusion"] == pytest.approx(all_methods["occlusion"], abs=1e-6)
    assert len(all_methods) == 7


def test_salience_and_projections_answer(client: Client) -> None:
    ids = ids_of(client, "ioi")
    query = {"model": "tiny", "dataset_name": "ioi"}
    for name in ("Grad L2 Norm", "Grad ⋅ Input", "Integrated Gradients"):
        (result,) = ask(client, "/get_interpretations", ids[:1], interpreter=name, **query)
        salience = result["token_gradients"]
        assert len(salience["tokens"]) == len(salience["salience"]) > 5
    config = {
        "dataset_name": "ioi",
        "model_name": "tiny",
        "field_name": "embedding_layer_3_last",
        "proj_kw": {"n_components": 3},
    }
    points = ask(client, "/get_interpretations", ids, config, interpreter="pca", **query)
    assert np.array([point["z"] for point in points]).shape == (100, 3)


def test_a_model_and_data_are_loaded_through_lits_dialogs(own_client: Client) -> None:
    spec = ask(own_client, "/get_info")["initSpecs"]["models"]["TransformerLens"]
    config = {name: field["default"] for name, field in spec.items()} | {"new_name": "second"}
    info, names = ask(own_client, "/create_model", config=config, model_name="TransformerLens")
    assert names == ["second", "_second_tokenizer", "_second_salience"]
    assert "second" in info["models"]
    (row,) = ask(
        own_client,
        "/get_preds",
        ids_of(own_client, "ioi")[:1],
        model="second",
        dataset_name="ioi",
        requested_fields="loss",
    )
    assert row["loss"] > 0
    config = {"task": "capital", "seed": 3, "count": 10, "new_name": "capitals"}
    info, name = ask(own_client, "/create_dataset", config=config, dataset_name="paired task")
    assert info["datasets"][name]["size"] <= 10


def test_failures_are_a_sentence_with_an_id(client: Client) -> None:
    cases = [
        (
            "/get_preds",
            {"model": "nobody", "dataset_name": "ioi"},
            "there is no 'nobody' on this server: reload the page",
        ),
        ("/get_preds", {"dataset_name": "ioi"}, "must name a model"),
        (
            "/get_preds",
            {"model": "tiny", "dataset_name": "ioi", "requested_types": "os"},
            "'os' is not a LIT type",
        ),
        ("/get_dataset", {}, "Must provide"),
    ]
    for path, query, sentence in cases:
        response = client.post(path, query_string=query, json={"inputs": []})
        assert response.status_code == 400
        body = response.json
        assert sentence in body["error"]
        assert len(body["id"]) == 8
        assert "Traceback" not in response.text
    assert client.post("/get_preds", data=b"{not json").status_code == 400


def test_numbers_that_json_lacks_become_null(client: Client) -> None:
    app = client.application
    handler = app.make_handler(
        lambda data, **kw: {"a": np.array([1.5, np.nan, np.inf], np.float32), "b": float("nan")}
    )
    from werkzeug.test import create_environ
    from werkzeug.wrappers import Request

    response = handler(None, Request(create_environ("/x", method="POST", data="{}")), {})
    assert response.json == {"a": [1.5, None, None], "b": None}


def test_long_replies_are_compressed_when_the_browser_takes_it(client: Client) -> None:
    plain = client.post("/get_info", json={})
    packed = client.post("/get_info", json={}, headers={"Accept-Encoding": "gzip, deflate, br"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.data)) == plain.json
    assert len(packed.data) < len(plain.data) / 3


def test_bodies_that_are_no_requests_are_answered_in_a_sentence(client: Client) -> None:
    for body in ("null", "[]", "5", '{"inputs": 3}'):
        response = client.post(
            "/get_preds?model=tiny&dataset_name=mine&requested_fields=loss", data=body
        )
        assert (response.status_code, "must be a JSON object" in response.json["error"]) == (
            400,
            True,
        ), body
    query = "model=tiny&dataset_name=mine&analysis=Head scores"
    for body, sentence in (
        ('{"inputs": [5]}', "an input must be an id, or an object"),
        ('{"inputs": [{}]}', "an input must be an id, or an object"),
        ('{"inputs": [{"id": "", "data": 5}]}', "an input must be an id, or an object"),
        ('{"inputs": [], "config": [1]}', 'the "config" of a request must be a JSON object'),
        ("{not json", "the body of a request must be JSON"),
    ):
        response = client.post(f"/get_analysis?{query}", data=body)
        assert (response.status_code, sentence in response.json["error"]) == (400, True), body
    response = client.post("/get_analysis?model=tiny&analysis=Head scores", data="{}")
    assert response.json["error"].startswith("there is no data set '' on this server")
    for text in (5, None):
        data = {"_id": "", **({} if text is None else {"text": text})}
        response = client.post(
            "/get_preds?model=tiny&dataset_name=mine&requested_fields=loss",
            json={"inputs": [{"id": "", "data": data}]},
        )
        assert (response.status_code, response.json["error"][:25]) == (
            400,
            "an example must have a te",
        )


def test_names_given_on_the_page_are_made_fit_for_addresses(own_client: Client) -> None:
    config = {"task": "capital", "seed": 4, "count": 5, "new_name": "a:b & c"}
    info, name = ask(own_client, "/create_dataset", config=config, dataset_name="paired task")
    assert name == "a-b---c"
    assert name in info["datasets"]
    again = own_client.post(
        "/create_dataset?dataset_name=paired task", json={"config": {**config, "new_name": name}}
    )
    assert "is taken: choose another" in again.json["error"]


def test_a_response_that_does_not_fit_beside_its_prompt_says_so(client: Client) -> None:
    long = {"text": "the king and " * 400, "target": " queen", "_id": ""}
    query = "/get_preds?model=_tiny_tokenizer&dataset_name=mine&requested_types=Tokens"
    response = client.post(query, json={"inputs": [{"id": "", "data": long}]})
    assert "prompt and response are longer than the 512 tokens" in response.json["error"]


def test_threads_get_the_answers_of_one_thread(client: Client) -> None:
    ids = ids_of(client, "ioi")
    query = {"model": "tiny", "dataset_name": "ioi"}
    jobs = []
    for i in range(200):
        chosen = ids[i % 20 : i % 20 + 3]
        jobs.append(
            (
                ("/get_preds", chosen, {"requested_types": "Scalar"}),
                ("/get_preds", chosen[:1], {"requested_fields": "attention_layer_1,tokens"}),
                ("/get_interpretations", chosen[:1], {"interpreter": "Grad ⋅ Input"}),
                ("/get_preds", chosen, {"requested_types": "Embeddings"}),
            )[i % 4]
        )
    alone = [ask(client, path, inputs, **query, **extra) for path, inputs, extra in jobs]
    client.application._predictions.clear()
    together: dict[int, Any] = {}

    def work(start: int) -> None:
        for i in range(start, len(jobs), 8):
            path, inputs, extra = jobs[i]
            together[i] = ask(client, path, inputs, **query, **extra)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == 200
    for i, expected in enumerate(alone):
        assert _close(together[i], expected), jobs[i]


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_close, a, b))
    return a == b or (isinstance(a, float) and abs(a - b) <= 1e-4 * max(1, abs(a)))


def test_a_slow_request_does_not_block_a_quick_one(bundled: HookedTransformerLIT) -> None:
    settings = build.BuildConfig()
    many = [f"The capital of France is Paris, and the number is {i}." for i in range(800)]
    data = build.load_datasets(
        {"many": many, "one": ["The king"]}, settings, build.StartLog(quiet=True)
    )
    app = build.build_app({"tiny": bundled}, data, settings)
    slow, quick = Client(app), Client(app)
    everything, (one,) = ids_of(slow, "many"), ids_of(quick, "one")
    finished: list[str] = []

    def ask_for_all() -> None:
        ask(
            slow,
            "/get_preds",
            everything,
            model="tiny",
            dataset_name="many",
            requested_types="Scalar,Embeddings",
        )
        finished.append("slow")

    thread = threading.Thread(target=ask_for_all)
    thread.start()
    while app._predictions.bytes == 0:
        pass
    ask(quick, "/get_preds", [one], model="tiny", dataset_name="one", requested_types="Scalar")
    finished.append("quick")
    thread.join()
    assert finished == ["quick", "slow"]


def test_foreign_requests_get_no_answer(client: Client) -> None:
    response = client.post("/get_info", json={}, headers={"Origin": "http://evil.example"})
    assert response.status_code == 403
    assert response.json == {"error": "requests from other pages are not answered"}


def test_warm_start_makes_cheap_fields_before_the_page_opens(bundled: HookedTransformerLIT) -> None:
    settings = build.BuildConfig()
    data = build.load_datasets({"two": ["a text", "another"]}, settings, build.StartLog(quiet=True))
    app = build.build_app(
        {"tiny": bundled}, data, settings, warm_start=1.0, warm_start_progress_indicator=None
    )
    assert app._predictions.bytes > 0
