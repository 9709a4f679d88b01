"""Lenses: what a model would predict if it stopped at each layer. Knows no LIT; every name here
works in a notebook."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_tl.lens.artifacts import LensError, available_lens_artifacts, load_lens_artifacts
    from lit_tl.lens.jacobian import JacobianLens
    from lit_tl.lens.labels import TokenFormatter, TrajectoryLabels
    from lit_tl.lens.lenses import Lens, LogitLens, TunedLens, TunedLensConfig
    from lit_tl.lens.trajectory import PredictionTrajectory
    from lit_tl.lens.trajectory_statistic import TrajectoryStatistic
    from lit_tl.lens.unembed import InversionOutput, Unembed

_HOMES = {
    "artifacts": ("LensError", "available_lens_artifacts", "load_lens_artifacts"),
    "jacobian": ("JacobianLens",),
    "labels": ("TokenFormatter", "TrajectoryLabels"),
    "lenses": ("Lens", "LogitLens", "TunedLens", "TunedLensConfig"),
    "trajectory_statistic": ("TrajectoryStatistic",),
    "trajectory": ("PredictionTrajectory",),
    "unembed": ("InversionOutput", "Unembed"),
}
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


def __getattr__(name: str) -> Any:
    """Public names load their modules when they are first used, so that the command's `--help` does
    not wait for torch."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"lit_tl.lens.{home}"), name)
    raise AttributeError(f"module 'lit_tl.lens' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
