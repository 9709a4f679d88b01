"""An analysis of a user's own, as ARCHITECTURE.md's recipe makes it."""

ANALYSIS = '''
import dataclasses
from typing import Iterator

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import analysis
from lit_tl.analyses.contract import Subject
from lit_tl.engine.reductions import norms
from lit_tl.engine.requests import Observe
from lit_tl.engine.sites import Site
from lit_tl.figures.grids import layer_by_head
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueNormSettings(Settings):
    position: int = setting(-1, "After which token; -1 is the last.", low=-1, high=2000)


@analysis("Head output norms", figure=layer_by_head)
def head_output_norms(subject: Subject, settings: ValueNormSettings) -> Iterator[xr.Dataset]:
    """The length of what each head writes, after its output projection."""
    prompt = subject.model.prompt(subject.need_example())
    observe = {"norms": Observe(Site("result", positions=settings.position), norms)}
    (batch,) = subject.model.runner.run([prompt], observe=observe, logits="none")
    by_layer = batch.observed["norms"]
    values = np.array([by_layer[layer][0].tolist() for layer in sorted(by_layer)])
    yield xr.Dataset(
        {"norm": (("layer", "head"), values)},
        coords={"layer": sorted(by_layer), "head": np.arange(values.shape[1])},
        attrs={"value": "norm", "unit": "length"},
    )
'''
