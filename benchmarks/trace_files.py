"""Through how many files of lit_tl a request passes, and how often it goes from one to another.

    python benchmarks/trace_files.py

Counts Python files of the package in which a function is called from the request to the reply, and
how often the next call is in another file than the one before. On the bundled model, in the thread
of the request and that of its job, one of which waits for the other; each request once before it is
counted, on another prompt, so that nothing is loaded any more. Imports and tests are not counted.
"""

import itertools
import logging
import pathlib
import sys
import threading
from types import FrameType
from typing import Any, Callable

import torch
from werkzeug.test import Client

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.lens import TunedLens
from lit_tl.lens.training.config import TrainConfig
from lit_tl.lens.training.plan import Plan
from lit_tl.lens.training.processes import ALONE
from lit_tl.lens.training.run import Listeners
from lit_tl.lens.training.trainer import Trainer
from lit_tl.models.causal_lm import load_causal_lm
from lit_tl.server import build

_PACKAGE = str(pathlib.Path(lit_tl.__file__).parent) + "/"


def traced(work: Callable[[], object]) -> list[str]:
    """The files of the calls that some work makes, in their order."""
    files: list[str] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(_PACKAGE):
            files.append(name.removeprefix(_PACKAGE))

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return files


def report(name: str, files: list[str]) -> None:
    """Print one line, and the files."""
    switches = sum(first != second for first, second in itertools.pairwise(files))
    print(f"{name:22s} {len(set(files)):3d} files  {switches:5d} switches  {len(files):6d} calls")
    print("    " + ", ".join(dict.fromkeys(files)))
    if "-v" in sys.argv:
        print(" -> ".join(name for name, _ in itertools.groupby(files)))


def server() -> tuple[Client, list[str]]:
    """The application on the bundled model, and the ids of its prompts."""
    log = getattr(build, "StartLog", None) or build.Progress  # the name before step 6
    settings = build.BuildConfig()
    data = build.load_datasets({"ioi": "ioi"}, settings, log(quiet=True))
    model = HookedTransformerLIT.from_pretrained("lit-tl-tiny")
    client = Client(build.build_app({"tiny": model}, data, settings))
    examples = client.post("/get_dataset?dataset_name=ioi", json={}).json
    return client, [example["id"] for example in examples]


def training_step() -> Callable[[], object]:
    """One optimizer step of the lens trainer."""
    model, _ = load_causal_lm("lit-tl-tiny", device="cpu")
    config = TrainConfig(
        model="-",
        data="-",
        output="-",
        start_from="zero",
        max_seq_len=64,
        tokens_per_step=512,
        num_steps=1000,
    )
    trainer = Trainer(
        config=config,
        plan=Plan.of(config, context=512, d_model=128, world_size=1),
        model=model,
        lens=TunedLens.from_model(model),
        chunks=None,
        processes=ALONE,
        product_dtype=torch.float32,
        listener=Listeners(None, None),
    )
    module, ids = trainer.module(), torch.randint(0, 2048, (8, 64))
    return lambda: trainer.step(module, ids)


def main() -> None:
    """Trace and print."""
    logging.disable(logging.WARNING)
    client, ids = server()
    figure = "/get_analysis?analysis=Lens&"
    if (
        client.post(f"{figure}model=tiny&dataset_name=ioi", json={"inputs": ids[:1]}).status_code
        != 200
    ):
        figure = "/get_interpretations?interpreter=Lens&do_predict=0&"  # before step 6

    def ask(path: str, example: str) -> None:
        body = {"inputs": [example], "config": {}}
        reply = client.post(f"{path}model=tiny&dataset_name=ioi", json=body)
        assert reply.status_code == 200, reply.text

    for name, path in (
        ("get_preds", "/get_preds?requested_types=Scalar&"),
        ("lens figure", figure),
    ):
        ask(path, ids[0])
        report(name, traced(lambda path=path: ask(path, ids[1])))
    step = training_step()
    step()
    report("lens-training step", traced(step))


if __name__ == "__main__":
    main()
