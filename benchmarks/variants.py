"""What a variant costs beside its original: CPU time of predictions, and making one.

    python benchmarks/variants.py
    python benchmarks/variants.py --model FOLDER

GPT-2 small's shape with random weights, or a model of your own; 32 prompts. Each figure is a ratio
within this one run. Changes of scores and patterns are set against a pass in which attention is
written out, all others against the original's predictions.
"""

import resource
import statistics
import time
from typing import Callable, Sequence

import transformers
from absl import app, flags
from gpt2_small_shape import machine, make_folder, prompts

from lit_tl import HookedTransformerLIT, HookedTransformerLITConfig

_MODEL = flags.DEFINE_string("model", None, "A model of your own, by folder or name.")
_TOKENIZER = flags.DEFINE_string("tokenizer", None, "A folder with vocab.json and merges.txt.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Runs of each; the median counts.", lower_bound=1)
CHANGES = (
    "L1H3 = zero",
    "L1H3 = zero; L4H2 = zero; L7H1 = zero; L9H0 = zero",
    "mlp_out[2] = zero",
    "L2 = zero",
    "mlp_post[1].n3 = zero",
    'resid_post[5] += 0.5 * dir("love" - "hate")',
    'resid_post[5] without dir("love" - "hate")',
)
WRITTEN_OUT = "pattern[1].h3 = zero"


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(name: str, work: Callable[[], object], base: Callable[[], object], what: str) -> None:
    """Print how much longer one takes, runs of both by turns."""
    pairs = [(cpu_seconds(work), cpu_seconds(base)) for _ in range(_REPEATS.value)]
    own, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"{name:52s} {own:6.2f} s, {what} {other:6.2f} s: {own / other:5.2f}")


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    del argv
    folder = _MODEL.value or make_folder(_TOKENIZER.value)
    config = HookedTransformerLITConfig(max_new_tokens=0, compute_gradients=False)
    model = HookedTransformerLIT.from_pretrained(folder, config)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = prompts(tokenizer, [24 + (30 * i) // 31 for i in range(32)])
    inputs = [{"text": text, "answer": " the", "foil": " a"} for text in texts]
    cheap = [name for name in model.output_spec() if name not in model.heavy_fields()]

    def predict(one: HookedTransformerLIT) -> Callable[[], object]:
        return lambda: list(one.predict(inputs, fields=cheap))

    def written_out() -> None:
        list(model.predict(inputs, fields=[*cheap, "attention_layer_1"]))

    print(machine())
    predict(model)()
    for change in CHANGES:
        variant = model.with_interventions(change)
        predict(variant)()
        compare(change, predict(variant), predict(model), "original")
    variant = model.with_interventions(WRITTEN_OUT)
    predict(variant)()
    compare(WRITTEN_OUT, predict(variant), written_out, "attention written out")
    before = megabytes()
    seconds = []
    variants = []
    for head in range(9):
        started = time.perf_counter()
        variants.append(model.with_interventions(f"L2H{head} = zero"))
        seconds.append(time.perf_counter() - started)
    taken, count = megabytes() - before, len(variants)
    print(
        f"making a variant: {1000 * statistics.median(seconds):.2f} ms, {taken:.0f} MB for {count}"
    )


if __name__ == "__main__":
    app.run(main)
