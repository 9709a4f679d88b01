"""Fit the bundled model's tuned lens and write it to a folder.

    python -m lit_tl.bundled.fit_lens --output lit_tl/bundled/tiny_lens

A ridge regression over some text, then gradient steps on the KL divergence. The text comes from `lit_tl.bundled.corpus`; the
seeds of fitting and of the check at the end differ.
"""

import itertools
import json
import pathlib
import time
from typing import Any, Iterator, Sequence

import torch
from absl import app, flags

from lit_tl.bundled import corpus
from lit_tl.lens import fitting
from lit_tl.lens.lenses import LogitLens, TunedLens
from lit_tl.models.loading import load_model

MODEL = "lit-tl-tiny"
_BATCH, _LENGTH, _RIDGE_BATCHES, _STEPS = 16, 128, 32, 600
_FIT_SEED, _CHECK_SEED = 11, 12


def text_batches(model: Any, count: int, seed: int) -> list[torch.Tensor]:
    """`count` batches of token ids, `[batch, pos]`: documents one after another, each with its beginning-of-text token."""
    stream = _ids(model, seed)
    rows = [torch.tensor(list(itertools.islice(stream, _LENGTH))) for _ in range(count * _BATCH)]
    return list(torch.stack(rows).split(_BATCH))


def _ids(model: Any, seed: int) -> Iterator[int]:
    for document in corpus.documents(seed):
        yield from model.to_tokens(document.text, prepend_bos=True, truncate=False)[0].tolist()


def fit(output: pathlib.Path) -> dict[str, Any]:
    """Fit, check, write; what was found."""
    torch.manual_seed(0)
    started = time.monotonic()
    model = load_model(MODEL)
    lens = TunedLens.from_model(model)
    fitting.ridge(lens, model, text_batches(model, _RIDGE_BATCHES, _FIT_SEED))
    check = text_batches(model, 8, _CHECK_SEED)
    found = {"logit_lens": fitting.kl_to_model(LogitLens.from_model(model), model, check)}
    found["ridge"] = fitting.kl_to_model(lens, model, check)
    fitting.refine(lens, model, text_batches(model, _STEPS, _FIT_SEED))
    found["tuned_lens"] = fitting.kl_to_model(lens, model, check)
    lens.save(output)
    record = {
        "kl_to_model_nats": {name: [round(value, 4) for value in values] for name, values in found.items()},
        "tokens": (_RIDGE_BATCHES + _STEPS) * _BATCH * _LENGTH,
        "seconds": round(time.monotonic() - started),
    }
    (output / "fit.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def main(argv: Sequence[str]) -> None:
    """The command."""
    del argv
    print(json.dumps(fit(pathlib.Path(_OUTPUT.value)), indent=2))


if __name__ == "__main__":
    _OUTPUT = flags.DEFINE_string("output", None, "Folder for the lens.", required=True)
    app.run(main)
