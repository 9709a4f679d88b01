"""CPU time of predictions against a bare Hugging Face forward of the same batches, and against
TransformerLens' own LIT wrapper.

    python benchmarks/predict.py [--tokenizer FOLDER]

32 prompts of 24 to 54 tokens, GPT-2 small's shape, random weights. Each figure is a ratio within
this one run. Every output needs a backward pass; what that alone costs in transformers, to the
embeddings of a target at each prompt's end, stands beside it.
"""

import dataclasses
import logging
import statistics
import time
from typing import Callable

import torch
import transformers
from absl import app, flags
from gpt2_small_shape import machine, make_folder, prompts
from transformer_lens.lit.model import TransformerLensLIT

from lit_tl import HookedTransformerLIT, HookedTransformerLITConfig
from lit_tl.engine.batches import pad, plan_batches

_TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "Folder with vocab.json and merges.txt of a 50,257-token vocabulary."
)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Runs of each but the slow peer; the median counts.")
_PEER = flags.DEFINE_bool(
    "peer", True, "Whether to time transformer_lens.lit too, which takes minutes."
)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


def share_of_matrix_products(work: Callable[[], object]) -> float:
    """Which part of the time goes to matrix products: what no code around them can save."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    return sum(times.get(f"aten::{name}", 0) for name in ("addmm", "mm", "bmm", "baddbmm")) / sum(
        times.values()
    )


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    logging.disable(logging.WARNING)
    folder = make_folder(_TOKENIZER.value)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = prompts(tokenizer, [24 + (30 * i) // 31 for i in range(32)])
    inputs = [{"text": text} for text in texts]
    model = HookedTransformerLIT.from_pretrained(
        folder, HookedTransformerLITConfig(max_new_tokens=0)
    )
    with_text = HookedTransformerLIT(
        model.model, dataclasses.replace(model.config, max_new_tokens=10)
    )
    bare = transformers.AutoModelForCausalLM.from_pretrained(folder)

    whole = [model.loaded.prompt(example) for example in inputs]
    plan = plan_batches(
        [len(prompt) for prompt in whole], batch_size=8, token_budget=model.config.token_budget
    )
    batches = [pad([whole[i] for i in batch]) for batch in plan]

    def forward() -> None:
        with torch.no_grad():
            for ids in batches:
                bare(ids)

    bare.requires_grad_(False)
    embed = bare.get_input_embeddings()

    def forward_and_backward() -> None:
        for ids in batches:
            embedded = embed(ids).requires_grad_(True)
            likeliest = bare(inputs_embeds=embedded).logits[:, -1].log_softmax(-1).amax(-1)
            torch.autograd.grad(likeliest.sum(), embedded)

    cheap = [name for name in model.output_spec() if name not in model.heavy_fields()]
    runs: dict[str, Callable[[], object]] = {
        "bare forward": forward,
        "bare forward and backward": forward_and_backward,
        "cheap fields": lambda: list(model.predict(inputs, fields=cheap)),
        "every output": lambda: list(model.predict(inputs)),
        "every output and generated text": lambda: list(with_text.predict(inputs)),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    forward()
    for _ in range(_REPEATS.value):
        for name, work in runs.items():
            times[name].append(cpu_seconds(work))
    medians = {name: statistics.median(values) for name, values in times.items()}
    if _PEER.value:
        peer = TransformerLensLIT(model.model)
        medians["transformer_lens.lit"] = cpu_seconds(lambda: list(peer.predict(inputs)))
    share = share_of_matrix_products(runs["every output"])
    print(f"{machine()}; {sum(len(prompt) for prompt in whole)} tokens in 32 prompts")
    for name, seconds in medians.items():
        print(
            f"{name:34s} {seconds:8.2f} CPU s   {seconds / medians['bare forward']:6.2f} x "
            "bare forward"
        )
    if _PEER.value:
        limit = medians["transformer_lens.lit"] / (share * medians["every output"])
        print(
            f"matrix products take {share:.0%} of every output: with nothing but them "
            f"{limit:.1f} x faster than the peer"
        )
        print(
            f"every output is {medians['transformer_lens.lit'] / medians['every output']:.1f} "
            "x faster than transformer_lens.lit"
        )


if __name__ == "__main__":
    app.run(main)
