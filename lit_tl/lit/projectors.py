"""Projections of embeddings for LIT's projector: scikit-learn's PCA and umap-learn's UMAP, for any
number of points."""

import contextlib
import io
from typing import Any, Iterable, Iterator, Mapping, Optional

import numpy as np
import torch
import tqdm
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types
from lit_nlp.components import projection

from lit_tl.engine import jobs

_MOST_PROJECTIONS = 8
_MOST_DIMENSIONS = 10


class _Projector(lit_model.ProjectorModel):
    """Fits once, and then places further points.

    Args:
        n_components: how many dimensions to project to.

    Raises:
        ValueError: there are none, or too many.
    """

    def __init__(self, n_components: int = 3):
        if type(n_components) is not int or not 1 <= n_components <= _MOST_DIMENSIONS:
            raise ValueError(f"n_components is {n_components}: give 1 to {_MOST_DIMENSIONS}")
        self._n_components = n_components
        self._fitted: Any = None

    def _make(self, n_points: int, d_embedding: int) -> Any:
        """An estimator for so many points, or None where there are too few for one."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside, nothing that runs beside has a part in the numbers."""
        yield

    def fit_transform(self, inputs: Iterable[Mapping[str, Any]]) -> list[lit_types.JsonDict]:
        """Fit to the points' `x` and give their `z`, each of `n_components`."""
        points = [np.asarray(example["x"], np.float32) for example in inputs]
        if not points:
            return []
        self._fitted = self._make(len(points), len(points[0]))
        if self._fitted is None:
            return [{"z": [0.0] * self._n_components} for _ in points]
        return self._rows(self._place(np.stack(points)))

    def place(self, points: np.ndarray) -> np.ndarray:
        """Fit to points `[point, d]` and give their places, `[point, n_components]`.

        Raises:
            ValueError: they are too few.
        """
        self._fitted = self._make(*points.shape)
        if self._fitted is None:
            raise ValueError(f"{len(points)} points are too few to be placed")
        return self._place(points)

    def _place(self, points: np.ndarray) -> np.ndarray:
        with self._alone():
            placed: np.ndarray = self._fitted.fit_transform(points)
        return placed

    def predict_minibatch(
        self, inputs: list[Mapping[str, Any]], **unused: Any
    ) -> list[lit_types.JsonDict]:
        """Place further points by what was fitted."""
        if self._fitted is None:
            return [{"z": [0.0] * self._n_components} for _ in inputs]
        points = np.stack([np.asarray(example["x"], np.float32) for example in inputs])
        with self._alone():
            return self._rows(self._fitted.transform(points))

    def _rows(self, projected: np.ndarray) -> list[lit_types.JsonDict]:
        missing = self._n_components - projected.shape[1]
        return [
            {"z": row.tolist()}
            for row in np.pad(projected.astype(np.float64), ((0, 0), (0, missing)))
        ]


class Projections(projection.ProjectionManager):
    """LIT's projections, of which the last few are kept, and none past the weights, hooks and
    settings that it was made with."""

    takes_long = True
    """Other requests go first."""

    def run(
        self,
        inputs: list[lit_types.JsonDict],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Optional[list[lit_types.JsonDict]] = None,
        config: Optional[lit_types.JsonDict] = None,
    ) -> Any:
        """Fit where nothing is fitted for this config and model state, and place the inputs."""
        state = getattr(model, "state", None)
        keyed = {**(config or {}), "model_state": state() if state else ""}
        with self._lock:
            placed = super().run(inputs, model, dataset, model_outputs, keyed)
            while len(self._instances) > _MOST_PROJECTIONS:
                del self._instances[next(iter(self._instances))]
        return placed


class Pca(_Projector):
    """Principal components, by a singular value decomposition of the points: the cost does not grow
    with d_model squared."""

    def _make(self, n_points: int, d_embedding: int) -> Any:
        from sklearn import decomposition

        if n_points < 2:
            return None
        return decomposition.PCA(min(self._n_components, n_points, d_embedding), svd_solver="full")


class _Epochs(io.StringIO):
    """What UMAP writes its progress bar to: the current job, which may stop it here.

    tqdm draws a bar under a lock of the whole process, and does not let go of it when drawing
    fails; but it does where it closes a bar, whose last drawing comes when all epochs are over.
    """

    _stopped = False

    def write(self, text: str) -> int:
        """Report epochs.

        Raises:
            Cancelled: the job was cancelled, or left. Once.
        """
        finished, _, total = text.strip().partition(" ")
        if finished.isdigit() and total.isdigit() and not self._stopped:
            try:
                jobs.current().advance(int(finished), int(total))
            except jobs.Cancelled:
                if int(finished) < int(total):
                    self._stopped = True
                    tqdm.tqdm.get_lock().release()
                    raise
        return len(text)


class Umap(_Projector):
    """UMAP (McInnes et al. 2018), with a seed, so that the same points give the same picture."""

    def _make(self, n_points: int, d_embedding: int) -> Any:
        import umap

        del d_embedding
        if n_points <= self._n_components + 1:
            return None
        neighbors = min(15, n_points - 1)
        return umap.UMAP(
            n_components=self._n_components,
            n_neighbors=neighbors,
            init="pca",
            random_state=0,
            n_jobs=1,
            tqdm_kwds={
                "file": _Epochs(),
                "bar_format": "{n_fmt} {total_fmt}",
                "disable": False,
                "mininterval": 0,  # a job hears of every epoch, however short
                "miniters": 1,
            },
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """With one thread: the order of parallel sums depends on what else runs.

        numba sets OpenMP's number of threads to its own, and PyTorch would go on with that.
        """
        import numba

        torch_threads = torch.get_num_threads()
        numba_threads = numba.get_num_threads()  # may start numba's threads
        numba.set_num_threads(1)
        try:
            yield
        finally:
            numba.set_num_threads(numba_threads)
            torch.set_num_threads(torch_threads)
