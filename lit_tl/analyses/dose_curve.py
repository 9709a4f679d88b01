"""What becomes of an answer as a direction gets stronger."""

import dataclasses
from typing import Iterator

import numpy as np
import xarray as xr

from lit_tl.analyses.answer_under import Curve, answer_under, require_lines
from lit_tl.analyses.change_preview import CHANGES_HELP
from lit_tl.analyses.contract import Subject, analysis
from lit_tl.engine import jobs
from lit_tl.figures.changes import curve_with_texts
from lit_tl.settings import SettingError, Settings, setting
from lit_tl.variants.changes import Along
from lit_tl.variants.text import parse_changes


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoseSettings(Settings):
    """Which strengths.

    Raises:
        SettingError: the first strength is not below the last.
    """

    changes: str = setting("", CHANGES_HELP)
    start: float = setting(-1.0, "The first strength, as a share of the value's norm.")
    stop: float = setting(1.0, "The last strength.")
    steps: int = setting(9, "How many strengths.", low=2, high=101)
    curve: Curve = setting("probability", "What is measured of answer and foil.")
    new_tokens: int = setting(12, "How many tokens to generate at each.", low=0, high=200)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start >= self.stop:
            raise SettingError(f"start is {self.start}, and stop {self.stop}: give a larger stop")


@analysis("Dose curve", figure=curve_with_texts, tab="Interventions")
def dose_curve(subject: Subject, settings: DoseSettings) -> Iterator[xr.Dataset]:
    """Answer and foil over the strength of the directions that are added, with the text that is
    generated at each."""
    example, changes = subject.need_example(), parse_changes(settings.changes)
    if not any(isinstance(change.action, Along) for change in changes):
        middle = subject.model.runner.shape.n_layers // 2
        raise ValueError(
            f"no direction is added: stage one, as in resid_post[{middle}] += 0.5 * "
            'dir("love" - "hate")'
        )
    strengths = np.linspace(settings.start, settings.stop, settings.steps)
    lines: dict[str, list[float]] = {}
    texts: list[str] = []
    for strength in jobs.each(strengths.tolist()):
        at = [
            change.with_strength(strength) if isinstance(change.action, Along) else change
            for change in changes
        ]
        changed = subject.model.with_interventions(at)
        under = answer_under(changed, example, new_tokens=settings.new_tokens)
        require_lines(under, settings.curve)
        for name, value in under.measured(settings.curve).items():
            lines.setdefault(name, []).append(value)
        texts.append(under.text)
    yield xr.Dataset(
        {"value": (("line", "strength"), np.array(list(lines.values())))},
        coords={
            "line": list(lines),
            "strength": strengths,
            "text": ("strength", texts),
        },
        attrs={
            "value": "value",
            "unit": settings.curve,
            "title": "; ".join(map(str, changes)),
            "axis": "strength",
            "note": "",
            "tokens": [],
        },
    )
