"""What a page that opens on 1,000 prompts of 64 tokens makes the server do, and how much memory it
keeps.

    python benchmarks/page_open.py [--tokenizer FOLDER] [--prompts 1000]

Sends what LIT's client sends when its page opens, and prints the growth of resident memory and
which fields were computed.
"""

import gc
import time
from typing import Any

import transformers
from absl import app, flags, logging
from gpt2_small_shape import machine, make_folder, prompts
from werkzeug.test import Client

from lit_tl import HookedTransformerLIT
from lit_tl.server import build

_TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "Folder with vocab.json and merges.txt of a 50,257-token vocabulary."
)
_PROMPTS = flags.DEFINE_integer("prompts", 1000, "How many prompts.")


def resident_mb() -> float:
    """Resident memory of this process."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    logging.set_verbosity(logging.WARNING)
    folder = make_folder(_TOKENIZER.value)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = prompts(tokenizer, [64] * _PROMPTS.value)
    model = HookedTransformerLIT.from_pretrained(folder)
    settings = build.BuildConfig()
    data = build.load_datasets({"prompts": texts}, settings, build.StartLog(quiet=True))
    client = Client(build.build_app({"gpt2": model}, data, settings))
    asked: set[str] = set()
    original = model.predict

    def watch(inputs: Any, *, fields: Any = None) -> Any:
        asked.update(fields)
        return original(inputs, fields=fields)

    model.predict = watch  # type: ignore[method-assign]  # only to see what is asked for
    ids = [
        example["id"]
        for example in client.post("/get_dataset?dataset_name=prompts", json={"inputs": []}).json
    ]
    client.post(
        "/get_preds?model=gpt2&dataset_name=prompts&requested_fields=loss", json={"inputs": ids[:8]}
    )
    before, started = resident_mb(), time.monotonic()
    query = "model=gpt2&dataset_name=prompts"
    for wanted in (
        "requested_types=Scalar,MulticlassPreds",
        "requested_types=Embeddings",
        "requested_types=RegressionScore,GeneratedURL",
    ):
        client.post(f"/get_preds?{query}&{wanted}", json={"inputs": ids})
    client.post(f"/get_metrics?{query}&metrics=", json={"inputs": ids})
    config = {
        "dataset_name": "prompts",
        "model_name": "gpt2",
        "field_name": "embedding_layer_11_last",
        "proj_kw": {"n_components": 3},
    }
    client.post(
        f"/get_interpretations?{query}&interpreter=pca", json={"inputs": ids, "config": config}
    )
    print(f"{machine()}; {len(ids)} prompts of 64 tokens, {time.monotonic() - started:.0f} s")
    print(f"resident memory grew by {resident_mb() - before:.0f} MB, from {before:.0f} MB")
    heavy = asked & model.heavy_fields()
    print(
        f"heavy fields computed: {', '.join(sorted(heavy)) or 'none'}; cheap ones: "
        f"{', '.join(sorted(asked - heavy))}"
    )


if __name__ == "__main__":
    app.run(main)
