"""What becomes of an answer as changes are made one after the other."""

import dataclasses
from typing import Iterator

import numpy as np
import xarray as xr

from lit_tl.analyses.answer_under import AnswerUnder, Curve, answer_under, require_lines
from lit_tl.analyses.change_preview import CHANGES_HELP
from lit_tl.analyses.contract import Subject, analysis
from lit_tl.engine import jobs
from lit_tl.figures.changes import curve_with_texts
from lit_tl.settings import Settings, setting
from lit_tl.variants.text import parse_changes


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationCurveSettings(Settings):
    """The changes."""

    changes: str = setting("", CHANGES_HELP)
    curve: Curve = setting("probability", "What is measured of answer and foil.")
    new_tokens: int = setting(12, "How many tokens to generate at each.", low=0, high=200)


@analysis("Ablation curve", figure=curve_with_texts, tab="Interventions")
def ablation_curve(subject: Subject, settings: AblationCurveSettings) -> Iterator[xr.Dataset]:
    """Answer and foil as the changes are added one at a time, the one that does most alone
    first."""
    example, changes = subject.need_example(), parse_changes(settings.changes)
    if len(changes) < 2:
        raise ValueError("stage at least two changes: they are added one at a time")
    job, model = jobs.current(), subject.model

    def under(some: list[int], new_tokens: int) -> AnswerUnder:
        changed = model.with_interventions([changes[place] for place in some])
        return answer_under(changed, example, new_tokens=new_tokens)

    own = under([], settings.new_tokens)
    require_lines(own, settings.curve)
    with job.part(0.0, 0.4):
        alone = [
            _moved(under([place], 0), own, settings.curve)
            for place in jobs.each(range(len(changes)))
        ]
    order = np.argsort(-np.array(alone), kind="stable").tolist()
    runs = [own]
    with job.part(0.4, 1.0):
        for count in jobs.each(range(1, len(order) + 1)):
            runs.append(under(order[:count], settings.new_tokens))
    lines = [run.measured(settings.curve) for run in runs]
    names = list(lines[0])
    yield xr.Dataset(
        {"value": (("line", "added"), np.array([[line[n] for line in lines] for n in names]))},
        coords={
            "line": names,
            "added": ["nothing", *(f"+ {changes[place]}" for place in order)],
            "text": ("added", [run.text for run in runs]),
        },
        attrs={
            "value": "value",
            "unit": settings.curve,
            "title": f"{len(changes)} changes, the one that does most alone first",
            "axis": "added",
            "note": "",
            "tokens": [],
        },
    )


def _moved(changed: AnswerUnder, own: AnswerUnder, curve: Curve) -> float:
    """How far a change alone moves the first line."""
    (first, before), *_ = own.measured(curve).items()
    return abs(changed.measured(curve)[first] - before)
