"""Lenses: what a model would predict if it stopped at each layer. Knows no LIT; every name here works in a notebook."""

from lit_tl.lens.artifacts import LensError, available_lens_artifacts, load_lens_artifacts
from lit_tl.lens.jacobian import JacobianLens
from lit_tl.lens.labels import TokenFormatter, TrajectoryLabels
from lit_tl.lens.lenses import Lens, LogitLens, TunedLens, TunedLensConfig
from lit_tl.lens.statistic import TrajectoryStatistic
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.lens.unembed import InversionOutput, Unembed

__all__ = [
    "InversionOutput",
    "JacobianLens",
    "Lens",
    "LensError",
    "LogitLens",
    "PredictionTrajectory",
    "TokenFormatter",
    "TrajectoryLabels",
    "TrajectoryStatistic",
    "TunedLens",
    "TunedLensConfig",
    "Unembed",
    "available_lens_artifacts",
    "load_lens_artifacts",
]
