"""Projections of any number of points."""

import concurrent.futures
import io
import threading
from typing import Callable

import numpy as np
import pytest
import torch
import tqdm
from werkzeug.test import Client

from lit_tl import HookedTransformerLIT
from lit_tl.engine import jobs
from lit_tl.lit.projectors import Pca, Umap
from lit_tl.server import build
from tests.server.conftest import ask, ids_of


def points(count: int, d: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [{"x": row} for row in rng.normal(size=(count, d)) * np.linspace(3, 0.1, d)]


def z(rows: list[dict]) -> np.ndarray:
    return np.array([row["z"] for row in rows])


def test_pca_keeps_the_directions_of_largest_variance() -> None:
    given = points(100, 40)
    projected = z(Pca(n_components=3).fit_transform(given))
    x = np.stack([point["x"] for point in given])
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)[:3]
    assert np.allclose(np.sqrt((projected**2).sum(0)), singular, rtol=1e-4)


def test_a_fitted_projection_places_the_same_points_where_they_were() -> None:
    given = points(60, 30)
    pca = Pca(n_components=3)
    assert np.allclose(z(pca.fit_transform(given)), z(pca.predict_minibatch(given)), atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 20])
@pytest.mark.parametrize("kind", [Pca, Umap])
def test_few_points_are_no_trouble(kind: type, count: int) -> None:
    projector = kind(n_components=3)
    projected = z(projector.fit_transform(points(count, 16)))
    assert projected.shape == (count, 3)
    assert np.isfinite(projected).all()
    assert z(projector.predict_minibatch(points(2, 16, seed=1))).shape == (2, 3)


def test_nothing_to_project_is_nothing() -> None:
    assert Pca().fit_transform([]) == []
    assert Pca().predict_minibatch(points(2, 4)) == [{"z": [0.0, 0.0, 0.0]}] * 2


def test_umap_gives_the_same_picture_twice() -> None:
    assert np.allclose(
        z(Umap().fit_transform(points(30, 16))), z(Umap().fit_transform(points(30, 16)))
    )


def in_a_thread(work: Callable[[], None]) -> None:
    """Do some work, and fail where it does not come to its end."""
    finished = list[bool]()
    thread = threading.Thread(target=lambda: (work(), finished.append(True)), daemon=True)
    thread.start()
    thread.join(120)
    assert finished, "it failed, or waits for a lock that nobody lets go of"


def test_a_cancelled_umap_leaves_progress_bars_as_they_were() -> None:
    reported = list[float]()

    def report(share: float) -> None:
        reported.append(share)
        if share > 0.1:
            job.cancel()

    def cancelled() -> None:
        with jobs.working_on(job), pytest.raises(jobs.Cancelled):
            Umap().fit_transform(points(150, 16))

    def another() -> None:
        with tqdm.tqdm(total=1, file=io.StringIO()) as bar:
            bar.update()
        assert z(Umap().fit_transform(points(30, 16))).shape == (30, 3)

    job = jobs.Job(report=report)
    in_a_thread(cancelled)
    assert 0.1 < reported[-1] < 1
    in_a_thread(another)  # the lock would let the thread that holds it in again


def test_umap_gives_the_same_picture_beside_others() -> None:
    given = points(120, 16)
    alone = z(Umap().fit_transform(given))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for beside in pool.map(lambda _: z(Umap().fit_transform(given)), range(8)):
            assert np.array_equal(beside, alone)


def test_the_server_gives_the_same_umap_alone_and_beside_other_requests(
    bundled: HookedTransformerLIT,
) -> None:
    settings = build.BuildConfig()
    data = build.load_datasets(["ioi"], settings, build.StartLog(quiet=True))

    def projected(client: Client) -> np.ndarray:
        config = {
            "dataset_name": "ioi",
            "model_name": "tiny",
            "field_name": "embedding_layer_3_last",
            "proj_kw": {"n_components": 3},
        }
        query = {"model": "tiny", "dataset_name": "ioi", "interpreter": "umap"}
        return z(ask(client, "/get_interpretations", ids_of(client, "ioi"), config, **query))

    clients = [Client(build.build_app({"tiny": bundled}, data, settings)) for _ in range(4)]
    alone = projected(clients[0])
    assert alone.shape == (100, 3)
    assert len(np.unique(alone.round(6), axis=0)) > 50
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for beside in pool.map(projected, clients[1:]):
            assert np.array_equal(beside, alone)


def test_umap_leaves_pytorch_its_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        Umap().fit_transform(points(30, 16))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
