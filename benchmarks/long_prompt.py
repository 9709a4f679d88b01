"""Seconds and memory of one long prompt, over a bare pass of the same tokens.

    python benchmarks/long_prompt.py --model FOLDER [--length 2000]

What each panel asks for, in a process of its own whose peak is its memory, model and libraries
included. Predictions stand beside a pass of transformers with PyTorch's fused attention and all
logits, attention beside one with attention written out, the lens beside a fused pass and the
product of every row with the unembedding. The bare pass runs in another process.
"""

import json
import logging
import resource
import subprocess
import sys
import time
from typing import Callable

import torch
import transformers
from absl import app, flags
from gpt2_small_shape import machine
from lens_products import products

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.data.tasks import read_task
from lit_tl.engine.prompts import Prompter
from lit_tl.lit.attention_panel import AttentionHeads
from lit_tl.lit.predictions_panel import Predictions

_LENGTH = flags.DEFINE_integer("length", 2000, "Tokens of the prompt.")
_ONE = flags.DEFINE_string("one", None, "Measure one thing, and print it as JSON.")
_REPEATS = 2
_BARE = {"Predictions": "sdpa", "Attention heads": "eager", "Attention": "eager", "Lens": "sdpa"}
"""The attention of the bare pass that each panel is held against."""


def best(work: Callable[[], object]) -> float:
    """The shorter of two times, in seconds."""
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def prompt_of(prompter: Prompter) -> tuple[str, int]:
    """A text of about so many tokens, and how many it has."""
    texts = " ".join(example["text"] for example in read_task("ioi").examples)
    while len(prompter.from_text(texts)) < _LENGTH.value and len(texts) < 100 * _LENGTH.value:
        texts = f"{texts} {texts}"
    text = prompter.to_text(prompter.from_text(texts).ids[: _LENGTH.value])
    return text, len(prompter.from_text(text))


def bare(attention: str, text: str) -> Callable[[], object]:
    """A pass of transformers over the text."""
    folder = flags.FLAGS.model
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    )
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    return lambda: model(ids, use_cache=False)


def panel(name: str, model: HookedTransformerLIT, text: str) -> Callable[[], object]:
    """What a panel asks for, each time anew."""
    example = {"text": text}

    def ask() -> object:
        model.loaded.results.clear()
        if name == "Predictions":
            return Predictions().look(example, model, {})
        if name == "Attention heads":
            return AttentionHeads().look(example, model, {})
        settings = {"lens": "logit"} if name == "Lens" else {"layer": 3, "head": 2}
        return lit_tl.draw(name, model, example, **settings).to_json()

    return ask


def measure(what: str) -> dict[str, float]:
    """Seconds, and the peak in MB."""
    with torch.no_grad():
        if what in _BARE:
            model = HookedTransformerLIT.from_pretrained(flags.FLAGS.model)
            text, _ = prompt_of(model.loaded.prompter)
            seconds = best(panel(what, model, text))
        else:
            seconds = best(bare(what, sys.stdin.read()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak": peak}


def in_a_process(what: str, text: str) -> dict[str, float]:
    """The same, in a process of its own."""
    command = [sys.executable, __file__, "--model", flags.FLAGS.model, "--one", what]
    command += ["--length", str(_LENGTH.value)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    logging.disable(logging.WARNING)
    if _ONE.value:
        print(json.dumps(measure(_ONE.value)))
        return
    model = HookedTransformerLIT.from_pretrained(flags.FLAGS.model)
    text, tokens = prompt_of(model.loaded.prompter)
    rows = tokens * (model.loaded.runner.shape.n_layers + 1)
    weight = model.loaded.runner.readout.weight
    with torch.no_grad():
        lens = best(lambda: products(weight, rows))
    del model
    print(f"{machine()}; {tokens} tokens")
    passes = {attention: in_a_process(attention, text) for attention in ("sdpa", "eager")}
    for name, attention in _BARE.items():
        got, base = in_a_process(name, text), passes[attention]["seconds"]
        base += lens if name == "Lens" else 0.0
        print(
            f"{name:16} {got['seconds']:6.1f} s, bare ({attention}) {base:6.1f} s = "
            f"{got['seconds'] / base:.2f} x; peak {got['peak']:.0f} MB"
        )


if __name__ == "__main__":
    app.run(main)
