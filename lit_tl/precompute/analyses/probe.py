"""A linear probe of a label at each layer, with held-out accuracy and a shuffled control."""

import dataclasses
import hashlib
from typing import Any, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sklearn.linear_model
import sklearn.pipeline
import sklearn.preprocessing

from lit_tl.analyses.loaded_model import Example
from lit_tl.engine import jobs
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.analyses.activations import ActivationSettings, activations
from lit_tl.precompute.contract import over_rows
from lit_tl.settings import Settings, required, setting
from lit_tl.store import Column, Described, Part, Store
from lit_tl.store.columns import Record

_LEAST = 20
_STEPS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeSettings(Settings):
    """What is probed, and where."""

    label: str = required("The column of the data that the probe learns.")
    site: str = setting("resid_post", "Where: a site without heads, of all layers or one.")
    positions: str = setting("last", "The last token's value (last), or the mean over tokens.")
    held_out: float = setting(0.2, "Share of prompts that are tested on.", low=0.05, high=0.9)
    most: int = setting(20_000, "Most prompts to learn from and test on.", low=20, high=10_000_000)
    seed: int = setting(0, "Of the split and of the shuffled labels.", low=0, high=2**31 - 1)


def _activations(settings: ProbeSettings) -> ActivationSettings:
    if settings.positions not in ("last", "mean"):
        raise ValueError(f"positions is {settings.positions!r}: give last or mean")
    return ActivationSettings(site=settings.site, positions=settings.positions)  # type: ignore[arg-type]  # checked


def _columns(model: HookedTransformerLIT, settings: ProbeSettings) -> Described:
    found = activations.columns(model, _activations(settings))
    value = found.columns["value"]
    if len(value.axes) != 2:
        raise ValueError(f"{settings.site} has axes {value.axes}: give a site without heads")
    return Described(
        columns={"value": value, "label": Column(kind="text")},
        coords=found.coords,
        note=f"{settings.label} at {settings.site}, {settings.positions}",
    )


@over_rows(
    "probe", columns=_columns, finish=lambda store, part, settings: fit(store, part, settings)
)
def probe(
    model: HookedTransformerLIT, examples: Sequence[Example], settings: ProbeSettings
) -> Sequence[Record]:
    """A logistic regression of a label at each layer: held-out accuracy, and that of shuffled
    labels."""
    for example in examples:
        if example.get(settings.label) in (None, ""):
            raise ValueError(f"no label: the column {settings.label} is empty or missing")
    found = activations.compute(model, examples, _activations(settings))
    return [
        {"value": record["value"], "label": str(example[settings.label])}
        for record, example in zip(found, examples, strict=True)
    ]


def fit(store: Store, part: Part, settings: ProbeSettings) -> pa.Table:
    """Probes of all layers, from what the store holds.

    Raises:
        ValueError: there are too few prompts, or one label alone.
    """
    rows, labels = _chosen(store, part, settings)
    classes = sorted(set(labels.tolist()))
    if len(rows) < _LEAST or len(classes) < 2:
        raise ValueError(
            f"{len(rows)} prompts with {len(classes)} labels are too few for a probe: give at "
            f"least {_LEAST}, and two labels"
        )
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(len(rows))
    count = max(1, round(settings.held_out * len(rows)))
    tested, learned = order[:count], order[count:]
    shuffled = rng.permutation(labels)
    layers = list(store.described(part).coords["layer"])
    found: dict[str, list[Any]] = {name: [] for name in _NAMES}
    for place in jobs.each(range(len(layers))):
        values = _values(store, part, rows, place)
        accuracy, train = _accuracy(values, labels, learned, tested)
        control, _ = _accuracy(values, shuffled, learned, tested)
        usual = float(np.mean(labels[tested] == _most_frequent(labels[learned])))
        low, high = _interval(accuracy, len(tested))
        line = (
            layers[place],
            accuracy,
            low,
            high,
            train,
            control,
            usual,
            len(learned),
            len(tested),
        )
        for name, value in zip(_NAMES, line, strict=True):
            found[name].append(value)
    return pa.table(found)


_NAMES = (
    "layer",
    "accuracy",
    "low",
    "high",
    "train_accuracy",
    "shuffled_accuracy",
    "most_frequent",
    "learned_from",
    "tested_on",
)


def _chosen(
    store: Store, part: Part, settings: ProbeSettings
) -> tuple["npt.NDArray[np.int64]", "npt.NDArray[Any]"]:
    """Rows that are used, and their labels: those whose numbers have the smallest hashes, so that
    they do not depend on the order of the data."""
    rows: list[int] = []
    labels: list[str] = []
    for _, table in store.tables(part, ["row", "error", "label"]):
        there = table.filter(pa.compute.is_null(table["error"]))
        rows += there["row"].to_pylist()
        labels += there["label"].to_pylist()
    if len(rows) > settings.most:
        hashes = [hashlib.blake2b(f"{settings.seed} {row}".encode()).digest()[:8] for row in rows]
        kept = sorted(sorted(range(len(rows)), key=hashes.__getitem__)[: settings.most])
        rows, labels = [rows[i] for i in kept], [labels[i] for i in kept]
    return np.array(rows, np.int64), np.array(labels, object)


def _values(
    store: Store, part: Part, rows: "npt.NDArray[np.int64]", place: int
) -> "npt.NDArray[np.float32]":
    """Of one layer, `[row, d]`."""
    column = store.described(part).columns["value"]
    wanted = set(rows.tolist())
    found = []
    for _, table in store.tables(part, ["row", "value"]):
        chosen = [row in wanted for row in table["row"].to_pylist()]
        for value in table.filter(pa.array(chosen))["value"]:
            found.append(column.read(value.values.to_numpy())[place])
    return np.stack(found).astype(np.float32)


def _accuracy(values: Any, labels: Any, learned: Any, tested: Any) -> tuple[float, float]:
    """On held-out rows, and on those that were learned from."""
    model = sklearn.pipeline.make_pipeline(
        sklearn.preprocessing.StandardScaler(),
        sklearn.linear_model.LogisticRegression(max_iter=_STEPS),
    )
    if len(set(labels[learned].tolist())) < 2:
        raise ValueError("the prompts that are learned from have one label alone")
    model.fit(values[learned], labels[learned])
    return float(model.score(values[tested], labels[tested])), float(
        model.score(values[learned], labels[learned])
    )


def _most_frequent(labels: Any) -> str:
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return str(names[counts.argmax()])


def _interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return float(centre - half), float(centre + half)
