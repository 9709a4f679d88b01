"""Which lenses a model is read with."""

import dataclasses
import pathlib
from typing import Any, Mapping

from lit_tl.engine.adapt import adapt
from lit_tl.lens.artifacts import LensError
from lit_tl.lens.jacobian import JacobianLens
from lit_tl.lens.lenses import Lens, LogitLens, TunedLens, published_name
from lit_tl.models.errors import LoadingError
from lit_tl.models.sources import resolve

JACOBIAN = "jacobian:"
"""What stands before the name of a published Jacobian lens."""
BUNDLED_LENSES: Mapping[str, pathlib.Path] = {
    "lit-tl-tiny": pathlib.Path(__file__).parent.parent / "bundled" / "tiny_lens"
}
"""Tuned lenses that are shipped with the package, by their model's name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensChoice:
    """Lenses by kind (`logit`, and `tuned` and `jacobian` where there are any), and a sentence on
    where they are from."""

    lenses: Mapping[str, Lens]
    note: str
    best: str = dataclasses.field(init=False)
    """The kind to read with when nothing is said: tuned, or else Jacobian, or else logit."""

    def __post_init__(self) -> None:
        best = next(kind for kind in ("tuned", "jacobian", "logit") if kind in self.lenses)
        object.__setattr__(self, "best", best)


def choose_lenses(model: Any, wanted: str) -> LensChoice:
    """The lenses that `HookedTransformerLITConfig.lens` asks for.

    Raises:
        LensError: a lens that is named can't be loaded.
    """
    lenses: dict[str, Lens] = {"logit": LogitLens.from_model(model)}
    if wanted == "none":
        return LensChoice(lenses=lenses, note="")
    if wanted == "auto":
        return _automatic(model, lenses)
    for source in [wanted] if pathlib.Path(wanted).expanduser().exists() else wanted.split("+"):
        if source.endswith(".pt") or source.startswith(JACOBIAN):
            lenses["jacobian"] = JacobianLens.from_model_and_pretrained(
                model, source.removeprefix(JACOBIAN) or None
            )
        else:
            lenses["tuned"] = TunedLens.from_model_and_pretrained(model, source)
    return LensChoice(lenses=lenses, note=f"Lens: {wanted}.")


def _automatic(model: Any, lenses: dict[str, Lens]) -> LensChoice:
    name = adapt(model).shape.name
    if name in BUNDLED_LENSES:
        try:
            lenses["tuned"] = TunedLens.from_model_and_pretrained(model, str(BUNDLED_LENSES[name]))
        except LensError as error:
            return LensChoice(lenses=lenses, note=f"No tuned lens, so the logit lens: {error}.")
        return LensChoice(lenses=lenses, note="Tuned lens: the bundled one.")
    if pathlib.Path(name).expanduser().is_dir():
        return LensChoice(
            lenses=lenses, note="No tuned lens: the model is a local folder; give one with --lens."
        )
    try:
        lenses["tuned"] = TunedLens.from_model_and_pretrained(model, published_name(resolve(name)))
    except (LensError, LoadingError) as error:
        return LensChoice(lenses=lenses, note=f"No tuned lens, so the logit lens: {error}.")
    return LensChoice(lenses=lenses, note=f"Tuned lens: the published one of {name}.")
