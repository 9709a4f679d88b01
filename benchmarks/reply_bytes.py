"""Bytes of a reply with every field of one 256-token prompt, against what LIT alone sends for the
same prediction.

    python benchmarks/reply_bytes.py [--tokenizer FOLDER] [--tokens 256]

A browser always takes gzip, so the reply is measured as it travels. LIT alone is its own server
with TransformerLens' own wrapper.
"""

import logging
from typing import Any

import transformers
from absl import app, flags
from gpt2_small_shape import machine, make_folder, prompts
from lit_nlp import app as lit_app
from lit_nlp.api import types
from lit_nlp.api.dataset import Dataset
from transformer_lens.lit.model import TransformerLensLIT
from werkzeug.test import Client

from lit_tl import HookedTransformerLIT
from lit_tl.server import build

_TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "Folder with vocab.json and merges.txt of a 50,257-token vocabulary."
)
_TOKENS = flags.DEFINE_integer("tokens", 256, "Length of the prompt.")


def stock_bytes(bridge: Any, text: str) -> int:
    """What LIT's own server answers when TransformerLens' own wrapper predicts one prompt."""
    data = Dataset({"text": types.TextSegment()}, [{"text": text}])
    peer = {"peer": TransformerLensLIT(bridge)}
    served = lit_app.LitApp(
        peer, {"one": data}, client_root="unused", interpreters={}, generators={}, metrics={}
    )
    client = Client(served)
    ids = [
        example["id"]
        for example in client.post("/get_dataset?dataset_name=one", json={"inputs": []}).json
    ]
    return len(client.post("/get_preds?model=peer&dataset_name=one", json={"inputs": ids}).data)


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    logging.disable(logging.WARNING)
    folder = make_folder(_TOKENIZER.value)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    (text,) = prompts(tokenizer, [_TOKENS.value])
    model = HookedTransformerLIT.from_pretrained(folder)
    stock = stock_bytes(model.model, text)
    settings = build.BuildConfig()
    data = build.load_datasets({"one": [text]}, settings, build.StartLog(quiet=True))
    client = Client(build.build_app({"gpt2": model}, data, settings))
    ids = [
        example["id"]
        for example in client.post("/get_dataset?dataset_name=one", json={"inputs": []}).json
    ]
    query = "/get_preds?model=gpt2&dataset_name=one"
    plain = len(client.post(query, json={"inputs": ids}).data)
    packed = len(client.post(query, json={"inputs": ids}, headers={"Accept-Encoding": "gzip"}).data)
    print(f"{machine()}; one prompt of {_TOKENS.value} tokens, every field")
    for name, size in (
        ("LIT alone", stock),
        ("here, uncompressed", plain),
        ("here, as it travels", packed),
    ):
        print(f"{name:22s} {size / 1e6:8.2f} MB   {size / stock:6.3f} x LIT alone")


if __name__ == "__main__":
    app.run(main)
