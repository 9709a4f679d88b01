"""What users of the tuned-lens package call, and what they get."""

import http.server
import json
import pathlib
import subprocess
import sys
import threading
from typing import Any, Iterator

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.figures.lens import readable
from lit_tl.lens import LogitLens, PredictionTrajectory, TokenFormatter, TunedLens
from lit_tl.lens.choice import BUNDLED_LENSES
from lit_tl.lens.labels import TrajectoryLabels
from lit_tl.lens.lenses import published_name
from lit_tl.lens.trajectory_statistic import TrajectoryStatistic

BUNDLED = BUNDLED_LENSES["lit-tl-tiny"]
TEXTS = (
    "When Mary and John went to the store, John gave a book to",
    "When Mary and Anna went to the store, Mary gave a book to",
)


@pytest.fixture
def pair(bundled: HookedTransformerLIT) -> PredictionTrajectory:
    """Two prompts of one length as a batch, with the tokens that come next as targets."""
    ids = np.stack([bundled.model.to_tokens(text)[0].numpy() for text in TEXTS])
    return PredictionTrajectory.from_lens_and_model(
        LogitLens.from_model(bundled.model), bundled.model, ids, targets=np.roll(ids, -1, axis=1)
    )


def test_a_batch_is_drawn_as_its_mean(pair: PredictionTrajectory) -> None:
    for statistic in (pair.entropy(), pair.forward_kl(), pair.cross_entropy(), pair.rank()):
        single = [
            getattr(pair[i], statistic.name.lower().replace(" ", "_"))().stats for i in (0, 1)
        ]
        assert np.allclose(statistic.stats, single, atol=1e-4)
        figure = statistic.figure()
        assert np.allclose(figure.data[0].z, np.mean(single, axis=0), atol=1e-4)
    labels = pair.entropy().sequence_labels
    assert labels is not None
    assert labels[1] == "When"
    differ = pair.input_ids[0] != pair.input_ids[1]
    assert differ.any()
    assert [label == "*" for label in labels] == differ.tolist()


def test_a_batch_of_one_and_of_two_axes_are_drawn(pair: PredictionTrajectory) -> None:
    alone = pair[:1]
    assert alone.batch_shape == (1,)
    assert np.allclose(alone.entropy().heatmap().z, pair[0].entropy().heatmap().z, atol=1e-5)
    square = PredictionTrajectory(
        np.stack([pair.log_probs, pair.log_probs]),
        np.stack([pair.input_ids, pair.input_ids]),
        tokenizer=pair.tokenizer,
    )
    heat = square.entropy().heatmap()
    assert np.allclose(heat.z, pair.entropy().heatmap().z, atol=1e-4)
    assert np.allclose(square[1, 0].entropy().stats, pair[0].entropy().stats, atol=1e-4)
    with pytest.raises(IndexError, match="slice_sequence takes some of the positions"):
        pair[0][0]
    with pytest.raises(IndexError, match="out of bounds"):
        pair[2]


def test_rows_of_the_pointers_table_have_a_place_for_each_sequence(
    pair: PredictionTrajectory,
) -> None:
    labels = pair.entropy(topk=4).trajectory_labels
    assert labels is not None
    assert labels.hover_over_entries is not None
    assert labels.hover_over_entries.shape == (5, pair.num_tokens, 4, 4)
    cell = labels.hover_over_entries[-1, 3]
    one, two = (pair[i].entropy(topk=4).trajectory_labels for i in (0, 1))
    assert one is not None
    assert one.hover_over_entries is not None
    assert two is not None
    assert two.hover_over_entries is not None
    assert (cell[:, :2] == one.hover_over_entries[-1, 3]).all()
    assert (cell[:, 2:] == two.hover_over_entries[-1, 3]).all()
    fewer = pair.entropy(topk=4, max_entries_to_show=1).trajectory_labels
    assert fewer is not None
    assert fewer.hover_over_entries is not None
    assert fewer.hover_over_entries.shape == (5, pair.num_tokens, 4, 2)


def test_labels_below_a_probability_are_left_out(pair: PredictionTrajectory) -> None:
    one = pair[0]
    likeliest = one.max_probability().stats
    labels = one.entropy(min_prob=0.5).trajectory_labels
    assert labels is not None
    assert ((labels.label_strings == "") == (likeliest <= 0.5)).all()
    assert 0 < (labels.label_strings == "").sum() < likeliest.size
    labels = pair.entropy(min_prob=0.5).trajectory_labels
    assert labels is not None
    both = (pair.max_probability().stats > 0.5).all(axis=0)
    assert ((labels.label_strings == "") == ~both).all()


def test_changes_say_what_the_other_adds(pair: PredictionTrajectory) -> None:
    one, two = pair[0], pair[1]
    change = two.probs - one.probs
    labels = one.kl_divergence(two, topk=2, min_prob_delta=0.2).trajectory_labels
    assert labels is not None
    assert labels.hover_over_entries is not None
    largest = np.abs(change).max(axis=-1)
    assert ((labels.label_strings == "") == (largest <= 0.2)).all()
    layer, pos = np.unravel_index(largest.argmax(), largest.shape)
    token = int(np.abs(change[layer, pos]).argmax())
    name, written = labels.hover_over_entries[layer, pos, 0]
    assert name == TokenFormatter().format(one.tokenizer.convert_ids_to_tokens(token))
    assert written == f"Δ{100 * change[layer, pos, token]:.2f}%"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"min_prob_delta": 0.1}, "labels have no setting 'min_prob_delta'"),
        ({"top_k": 3}, "they have formatter, topk, min_prob, max_entries_to_show"),
    ],
)
def test_an_unknown_setting_is_refused(
    pair: PredictionTrajectory, setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        pair.entropy(**setting)
    with pytest.raises(ValueError, match="topk is 0: give 1 or more"):
        pair.entropy(topk=0)


def test_a_heat_map_alone_has_tokens_on_its_axis() -> None:
    statistic = TrajectoryStatistic(
        "Entropy",
        np.arange(6.0).reshape(2, 3),
        sequence_labels=np.array(["<s>", "a", "a"]),
        trajectory_labels=TrajectoryLabels(
            np.array([["<s>", "b&c", '"'], ["", "x", "y"]]),
            np.full((2, 3, 1, 1), "<s>"),
        ),
    )
    heat = statistic.heatmap()
    assert [name.replace("\u200c", "") for name in heat.x] == ["&lt;s&gt;", "a", "a"]
    assert len(set(heat.x)) == 3, "like tokens are columns of their own"
    assert heat.text[0].tolist() == ["&lt;s&gt;", "b&amp;c", '"']
    assert heat.customdata[0, 0, 0].strip() == "&lt;s&gt;"
    figure = statistic.figure()
    assert list(figure.layout.xaxis.ticktext) == ["&lt;s&gt;", "a", "a"]
    assert list(figure.data[0].x) == [0, 1, 2], "a click on the page says a position"


def test_the_panel_shows_quotes_as_they_are() -> None:
    assert readable('say "a" <b> & c') == 'say·"a"·&lt;b&gt;·&amp;·c'


def test_translators_are_found_by_their_usual_names(bundled: HookedTransformerLIT) -> None:
    lens = TunedLens.from_model_and_pretrained(bundled.model, BUNDLED)  # a pathlib.Path
    assert list(lens) == [lens[layer] for layer in range(4)] == list(lens.layer_translators)
    h = torch.randn(2, 3, 128, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(lens(h, 1), lens.unembed(h + lens[1](h)), atol=1e-5)
    unembed = lens.unembed
    by_hand = unembed.unembedding(unembed.final_norm(h)).detach()
    assert torch.allclose(unembed(h), by_hand, atol=1e-4)
    names = [name for name, _ in lens.named_parameters()]
    assert names == [f"layer_translators.{i}.{k}" for i in range(4) for k in ("weight", "bias")]


def test_a_cache_brings_its_models_tokenizer(bundled: HookedTransformerLIT) -> None:
    ids = bundled.model.to_tokens(TEXTS[0])
    with torch.no_grad():
        logits, cache = bundled.model.run_with_cache(ids)
    lens = LogitLens.from_model(bundled.model)
    trajectory = PredictionTrajectory.from_lens_and_cache(lens, ids, cache, logits)
    assert trajectory.tokenizer is bundled.model.tokenizer
    labels = trajectory.entropy().sequence_labels
    assert labels is not None
    assert labels[1] == "When"
    assert trajectory.entropy().figure().data[0].z.shape == (5, ids.shape[1])
    with pytest.raises(ValueError, match=r"the cache is of tokens \[1, 15\], but input_ids"):
        PredictionTrajectory.from_lens_and_cache(lens, ids[:, :5], cache, logits)
    plain = dict(cache.items())
    assert PredictionTrajectory.from_lens_and_cache(lens, ids, plain, logits).tokenizer is None


@pytest.fixture
def ends_at_full_stops(bundled: HookedTransformerLIT) -> Iterator[Any]:
    """The bundled model, whose own end of text a greedy continuation never comes to."""
    tokenizer = bundled.model.tokenizer
    before = tokenizer.eos_token
    tokenizer.eos_token = "."
    yield bundled.model
    tokenizer.eos_token = before


def test_text_from_a_lens_ends(ends_at_full_stops: Any) -> None:
    model = ends_at_full_stops
    lens = TunedLens.from_model_and_pretrained(model, BUNDLED)
    prompt = model.to_tokens("The capital of France is")
    given = {"layer": 4, "do_sample": False, "max_new_tokens": 40}
    batched = lens.generate(model, input_ids=prompt, **given)
    assert torch.equal(lens.generate(model, input_ids=prompt[0], **given), batched)
    end = model.tokenizer.eos_token_id
    written = batched[0, prompt.shape[1] :].tolist()
    assert written.index(end) == len(written) - 1 < 39, written
    other = model.to_tokens("The capital of France is Paris. The capital of")[:, : prompt.shape[1]]
    two = torch.cat([prompt, torch.flip(prompt, dims=[1]), other])
    together = lens.generate(model, input_ids=two, **given)
    for row, alone in zip(together, two, strict=True):
        single = lens.generate(model, input_ids=alone, **given)[0]
        assert torch.equal(row[: len(single)], single)
        assert (row[len(single) :] == end).all()


def test_an_alias_has_the_name_of_its_published_lens() -> None:
    assert published_name("gpt2-small") == "gpt2"
    assert published_name("openai-community/gpt2") == "gpt2"
    assert published_name("pythia-70m-deduped") == "EleutherAI/pythia-70m-deduped"
    assert published_name("someone/model") == "someone/model"


class Hub(http.server.BaseHTTPRequestHandler):
    """Has the published lens of gpt2 in its main revision, which is the bundled one here."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        start = "/spaces/AlignmentResearch/tuned-lens/resolve/main/lens/gpt2/"
        content = b""
        if "/resolve/main/" not in self.path and self.path != "/":
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound")
        elif self.path.startswith(start) and (BUNDLED / self.path.removeprefix(start)).is_file():
            content = (BUNDLED / self.path.removeprefix(start)).read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{len(content)}"')
            self.send_header("X-Repo-Commit", "0" * 40)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


ASK = """
import json, torch
from lit_tl.lens import LensError, TunedLens, available_lens_artifacts, load_lens_artifacts
from lit_tl.models.loading import load_model

model = load_model("lit-tl-tiny", device="cpu", dtype="float32")
model.cfg.model_name = "gpt2-small"
lens = TunedLens.from_model_and_pretrained(model)
said = {"bias": lens[0].bias.sum().item()}
for name, ask in {
    "revision": lambda: load_lens_artifacts("gpt2", revision="nowhere"),
    "list": lambda: available_lens_artifacts(revision="nowhere"),
    "name": lambda: load_lens_artifacts("gpt3"),
}.items():
    try:
        ask()
    except LensError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


def test_a_published_lens_is_found_and_a_missing_revision_named(
    hub: str, tmp_path: pathlib.Path
) -> None:
    """In a process of its own, whose Hub is a server on this machine."""
    environment = {"PATH": "/usr/bin:/bin", "HF_ENDPOINT": hub, "HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout.splitlines()[-1])
    shipped = torch.load(BUNDLED / "params.pt", weights_only=True)
    assert said.pop("bias") == pytest.approx(float(shipped["0.bias"].sum()), abs=1e-5)
    missing = "the space AlignmentResearch/tuned-lens has no revision 'nowhere'"
    assert said == {
        "revision": missing,
        "list": missing,
        "name": "there is no lens gpt3 in space AlignmentResearch/tuned-lens, and no folder of "
        "that name",
    }
