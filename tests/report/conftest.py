"""A session with figures of each kind, as the page would keep them."""

from typing import Any

import pytest

from lit_tl import HookedTransformerLIT, Session
from lit_tl.analyses.catalog import catalog
from lit_tl.data.tasks import read_task
from lit_tl.lit.analysis_interpreter import AnalysisInterpreter
from lit_tl.lit.datasets import Prompts
from lit_tl.session.digests import digest_of_data, digest_of_weights

NASTY = "</script><script>window.ran=1</script><img src=x onerror='window.ran=2'> &amp; \"quotes\""
PAIR = dict(read_task("ioi").examples[0])
FIGURES: dict[str, dict[str, Any]] = {
    "Lens": {"statistic": "rank"},
    "Attention": {"layer": 1, "head": 3},
    "Loss along the prompt": {},
    "Activation patching": {"method": "estimate"},
    "Dose curve": {"changes": 'resid_post[1] += 1 * dir("love" - "hate")'},
}


def kept(model: HookedTransformerLIT, name: str, example: dict[str, Any], **config: Any) -> Any:
    """What a session keeps of a figure."""
    interpreter = AnalysisInterpreter(catalog()[name])
    record = interpreter.draw([example], model, Prompts([example]), config, file="kept")
    return {**record, "model": "lit-tl-tiny", "data": "mine", "other_model": ""}


@pytest.fixture(scope="session")
def tiny() -> HookedTransformerLIT:
    return HookedTransformerLIT.from_pretrained("lit-tl-tiny")


@pytest.fixture(scope="session")
def session(tiny: HookedTransformerLIT) -> Session:
    """Five figures of a pair, and one of a prompt that tries to be run."""
    figures = [kept(tiny, name, PAIR, **config) for name, config in FIGURES.items()]
    figures.append(kept(tiny, "Lens", {"text": NASTY[:60]}))
    for figure in figures:
        figure["text"] = f"A note. {NASTY}"
    examples = [{"id": "a", "data": PAIR}, {"id": "b", "data": {"text": NASTY}}]
    model = {
        "label": "lit-tl-tiny",
        "source": {"model_name": "lit-tl-tiny"},
        "settings": {},
        "changes": [],
        "original": "",
        "weights": digest_of_weights(tiny.model),
    }
    data = {
        "label": "mine",
        "digest": digest_of_data([each["data"] for each in examples]),
        "count": 2,
        "examples": examples,
    }
    return Session.of(
        models=[model], data=[data], figures=figures, notes={"b": NASTY}, title=f"Names {NASTY}"
    )
