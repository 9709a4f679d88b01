"""Bytes and seconds to open the Attention panel, against the JSON that stock LIT would send for the
same attention.

    python benchmarks/attention_panel.py [--tokenizer FOLDER]

GPT-2 small's shape: 12 layers of 12 heads. The panel asks for the scores of all heads, the small
maps of as many as are on screen (here all of them, which is more than a screen holds), and one head
in full.
"""

import json
import logging
import time
from typing import Any

import transformers
from absl import app, flags
from gpt2_small_shape import machine, make_folder, prompts
from lit_nlp.lib import serialize
from werkzeug.test import Client

from lit_tl import HookedTransformerLIT
from lit_tl.server import build

_TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "Folder with vocab.json and merges.txt of a 50,257-token vocabulary."
)
_LENGTHS = (64, 256, 512)


class Panel:
    """Sends what the browser panel sends, and counts."""

    def __init__(self, client: Client, example_id: str):
        self._client, self._id = client, example_id
        self.bytes = 0

    def ask(self, path: str, config: dict[str, Any]) -> Any:
        """One request, as it travels."""
        reply = self._client.post(
            f"{path}&model=gpt2&dataset_name=data",
            json={"inputs": [self._id], "config": config},
            headers={"Accept-Encoding": "gzip"},
        )
        assert reply.status_code == 200, reply.text
        self.bytes += len(reply.data)

    def open(self) -> float:
        """Seconds until everything is there: all heads small with their scores, one large."""
        started = time.perf_counter()
        self.ask("/get_interpretations?interpreter=Attention heads&do_predict=0", {})
        self.ask("/get_analysis?analysis=Attention", {"layer": 0, "head": 0})
        return time.perf_counter() - started


def stock_bytes(model: HookedTransformerLIT, text: str) -> int:
    """JSON of the attention of one prompt, as LIT's server writes it."""
    names = [f"attention_layer_{layer}" for layer in range(12)]
    (output,) = model.predict([{"text": text}], fields=names)
    return sum(len(serialize.to_json({name: output[name]}, simple=True)) for name in names)


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    logging.disable(logging.WARNING)
    folder = make_folder(_TOKENIZER.value)
    texts = prompts(transformers.AutoTokenizer.from_pretrained(folder), list(_LENGTHS))
    model = HookedTransformerLIT.from_pretrained(folder)
    settings = build.BuildConfig()
    data = build.load_datasets({"data": texts}, settings, build.StartLog(quiet=True))
    client = Client(build.build_app({"gpt2": model}, data, settings))
    examples = client.post("/get_dataset?dataset_name=data", data=json.dumps({"inputs": []})).json
    print(machine())
    for text, length in zip(texts, _LENGTHS, strict=True):
        (example_id,) = [example["id"] for example in examples if example["data"]["text"] == text]
        first, again = Panel(client, example_id), Panel(client, example_id)
        cold, warm = first.open(), again.open()
        stock = stock_bytes(model, text)
        print(
            f"{length} tokens: {again.bytes / 1e6:.2f} MB, stock JSON {stock / 1e6:.0f} MB, "
            f"{stock / again.bytes:.0f} x less; {cold:.2f} s with the model's run, {warm:.2f} s "
            "after it"
        )


if __name__ == "__main__":
    app.run(main)
