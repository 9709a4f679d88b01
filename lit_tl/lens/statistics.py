"""The statistics of predictions: each one's names, unit, range and what it needs. Loads no
torch."""

import dataclasses
import math
from typing import Any, Literal, Mapping, Optional, get_args

Units = Literal["nats", "bits"]
NATS_PER: Mapping[Units, float] = {"nats": 1.0, "bits": math.log(2.0)}
Statistic = Literal[
    "entropy",
    "forward KL",
    "max probability",
    "cross entropy",
    "rank",
    "log prob. difference",
    "KL divergence",
    "JS divergence",
    "total variation",
]
"""What the page calls those that it draws."""
Single = Literal["entropy", "forward KL", "max probability", "cross entropy", "rank"]
"""Those of one trajectory, that every prompt has."""
SingleFunction = Literal["entropy", "forward_kl", "max_probability", "cross_entropy", "rank"]
"""The same by their functions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declared:
    """One statistic.

    Args:
        function: its name in `lit_tl.lens.measures` and its method of `PredictionTrajectory`.
        title: what figures of the library call it.
        unit: "nats" (or bits, where asked for), "probability", or "" for a count.
        low: least value that there can be.
        high: greatest value, None where there is none or where it depends on the model.
        needs: `targets`, `anti_targets`, `other` (a second trajectory).
        scale: how a grid colours it, see `lit_tl.figures.grid.Kind`.
    """

    function: str
    title: str
    unit: str = "nats"
    low: Optional[float] = None
    high: Optional[float] = None
    needs: tuple[str, ...] = ()
    scale: Literal["linear", "log", "diverging"] = "linear"


_LN2 = math.log(2.0)
_SHARE: Mapping[str, Any] = {"unit": "probability", "low": 0.0, "high": 1.0}
_OTHER = ("other",)
DECLARED: Mapping[str, Declared] = {
    declared.function: declared
    for declared in (
        Declared(function="entropy", title="Entropy", low=0.0),
        Declared(function="forward_kl", title="Forward KL", low=0.0),
        Declared(function="max_probability", title="Max Probability", **_SHARE),
        Declared(function="cross_entropy", title="Cross Entropy", low=0.0, needs=("targets",)),
        Declared(function="rank", title="Rank", unit="", low=1.0, needs=("targets",), scale="log"),
        Declared(
            function="log_prob_diff",
            title="Log Prob. Difference",
            needs=("targets", "anti_targets"),
            scale="diverging",
        ),
        Declared(function="kl_divergence", title="KL divergence", low=0.0, needs=_OTHER),
        Declared(function="js_divergence", title="JS divergence", low=0.0, high=_LN2, needs=_OTHER),
        Declared(function="symmetric_kl", title="Symmetric KL", low=0.0, needs=_OTHER),
        Declared(function="total_variation", title="Total variation", needs=_OTHER, **_SHARE),
        Declared(function="max_abs_difference", title="Max |p - q|", needs=_OTHER, **_SHARE),
    )
}
"""By function."""
_FUNCTIONS: Mapping[str, str] = {
    "log prob. difference": "log_prob_diff",
    "KL divergence": "kl_divergence",
    "JS divergence": "js_divergence",
}


OF_PAGE: Mapping[str, Declared] = {
    name: DECLARED[_FUNCTIONS.get(name, name.lower().replace(" ", "_"))]
    for name in get_args(Statistic)
}
"""By what the page calls them."""
COMPARING = tuple(name for name, declared in OF_PAGE.items() if "other" in declared.needs)
"""Those of the page that set two predictions against each other."""
