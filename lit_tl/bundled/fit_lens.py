"""Fit the bundled model's tuned lens and write it to a folder.

    python -m lit_tl.bundled.fit_lens --output lit_tl/bundled/tiny_lens

A run of `python -m lit_tl.lens train` on text of `lit_tl.bundled.corpus`, then one of `eval` on
text of another seed, into `fit.json`. The same command gives the same numbers to the bit on the
same machine and libraries.
"""

import itertools
import json
import pathlib
import shutil
import tempfile
import time
from typing import Any, Sequence

from absl import app, flags

MODEL = "lit-tl-tiny"
LENGTH, STEPS, STEP_TOKENS, CHECK_TOKENS = 128, 600, 2048, 65_536
_FIT_SEED, _CHECK_SEED = 11, 12
_FIT_DOCUMENTS, _CHECK_DOCUMENTS = 90_000, 6_000


def write_text(path: pathlib.Path, seed: int, count: int) -> None:
    """Documents as JSON lines."""
    from lit_tl.bundled import corpus

    with path.open("w", encoding="utf-8") as file:
        for document in itertools.islice(corpus.documents(seed), count):
            file.write(json.dumps({"text": document.text}) + "\n")


def fit(output: pathlib.Path) -> dict[str, Any]:
    """Fit, check, write; what was found."""
    from lit_tl.lens import artifacts
    from lit_tl.lens.commands import eval as evaluation
    from lit_tl.lens.commands import train as training

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lit_tl-fit-") as name:
        folder = pathlib.Path(name)
        write_text(folder / "fit.jsonl", _FIT_SEED, _FIT_DOCUMENTS)
        write_text(folder / "check.jsonl", _CHECK_SEED, _CHECK_DOCUMENTS)
        training.run(
            training.Config(
                model=MODEL,
                data=str(folder / "fit.jsonl"),
                output=str(folder / "lens"),
                max_seq_len=LENGTH,
                num_steps=STEPS,
                tokens_per_step=STEP_TOKENS,
                precision="float32",  # the same lens on any processor
            )
        )
        evaluation.run(
            evaluation.Config(
                model=MODEL,
                data=str(folder / "check.jsonl"),
                lens=str(folder / "lens"),
                output=str(folder / "check"),
                max_seq_len=LENGTH,
                tokens=CHECK_TOKENS,
            )
        )
        trained = json.loads((folder / "lens" / "train.json").read_text("utf-8"))
        measured = json.loads((folder / "check" / "eval.json").read_text("utf-8"))["measured"]
        output.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "params.pt"):
            shutil.copyfile(folder / "lens" / file, output / file)
    record = {
        "kl_to_model_nats": {
            lens: [
                round(row["kl_nats"], 4) for row in measured if row["lens"] == lens.split("_")[0]
            ]
            for lens in ("logit_lens", "tuned_lens")
        },
        "tokens": trained["tokens"],
        "seconds": round(time.monotonic() - started),
        "versions": trained["versions"],
    }
    artifacts.write_json(output / "fit.json", record)
    return record


def main(argv: Sequence[str]) -> None:
    """The command."""
    del argv
    print(json.dumps(fit(pathlib.Path(_OUTPUT.value)), indent=2))


if __name__ == "__main__":
    _OUTPUT = flags.DEFINE_string("output", None, "Folder for the lens.", required=True)
    app.run(main)
