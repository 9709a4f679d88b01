"""Whether a server with little memory answers or refuses, and lives.

    python benchmarks/little_memory.py --model ./smollm2 [--limit_gb 4]

The server runs under `ulimit -v` with as much address space as its libraries map and the limit on
top, and with `--memory_limit`. Prompts of 100 to 8,192 tokens go to what each panel asks for. An
answer that has not come after `--patience` seconds is cancelled: it counts as under way, if the
server still answers.
"""

import collections
import json
import resource
import subprocess
import sys
import time
from typing import Any

import urllib3
from absl import app, flags

_MODEL = flags.DEFINE_string("model", "lit-tl-tiny", "As in --models.")
_LIMIT = flags.DEFINE_float("limit_gb", 4.0, "Of memory.")
_PATIENCE = flags.DEFINE_float("patience", 60.0, "Seconds for one answer.")
_LENGTHS = flags.DEFINE_list("lengths", ["100", "500", "1000", "2000", "4000", "8192"], "Tokens.")
_ONLY = flags.DEFINE_list("panels", None, "Which of the panels; all if not said.")
_MAPPED_GB = 3.5
_PANELS = {
    "Predictions": ("get_interpretations", "interpreter=Predictions", {}),
    "Attention, all heads": ("get_interpretations", "interpreter=Attention heads", {}),
    "Attention, one head": ("get_analysis", "analysis=Attention", {"layer": 0, "head": 0}),
    "Salience, gradients": ("get_preds", "requested_fields=token_gradients,token_embeddings", {}),
    "Integrated gradients": (
        "get_interpretations",
        "interpreter=Integrated Gradients",
        {"budget": 17},
    ),
    "Occlusion": ("get_interpretations", "interpreter=Occlusion", {}),
    "Lens": ("get_analysis", "analysis=Lens", {"stride": 8}),
    "Lens trajectory": ("get_analysis", "analysis=Lens trajectory", {}),
    "Head scores": ("get_analysis", "analysis=Head scores", {}),
    "Loss along the prompt": ("get_analysis", "analysis=Loss along the prompt", {}),
    "Embeddings": ("get_preds", "requested_types=Embeddings", {}),
    "Attention of LIT": ("get_preds", "requested_types=AttentionHeads", {}),
    "Generated text": ("get_preds", "requested_fields=generated_text", {}),
    "Metrics": ("get_metrics", "metrics=LM", {}),
    "HotFlip": ("get_generated", "generator=HotFlip", {"max_flips": 1, "candidates": 8}),
}


def limit_memory() -> None:
    """In the child."""
    size = int((_LIMIT.value + _MAPPED_GB) * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


class Asking:
    """Requests with tickets."""

    def __init__(self, port: int):
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, retries=False)

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and reply."""
        reply = self._pool.request("POST", f"/{path}", json=body, headers=headers, timeout=120)
        return reply.status, json.loads(reply.data)

    def answer(self, path: str, body: Any) -> str:
        """What came of it: answered, a sentence, or under way."""
        end = time.monotonic() + _PATIENCE.value
        status, reply = self.post(path, body, Prefer="respond-async, wait=1")
        while status == 202:
            ticket = reply["job"]["ticket"]
            if time.monotonic() > end:
                self.post(f"cancel_job?ticket={ticket}", {})
                return "under way"
            status, reply = self.post(f"get_job?ticket={ticket}&wait=1", {})
        if status == 200:
            return "answered"
        return f"{status}: {reply['error']}"


def main(argv: list[str]) -> None:
    """Ask, and print."""
    del argv
    command = [sys.executable, "-m", "lit_tl.launch", "--port", "0", "--datasets", "ioi"]
    command += ["--models", f"m={_MODEL.value}", "--max_seq_length", "8192"]
    command += ["--memory_limit", f"{_LIMIT.value}GB"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=limit_memory)
    assert process.stdout is not None
    asking = Asking(int(process.stdout.readline().split()[3].rsplit(":", 1)[1].strip("/")))
    counts: collections.Counter[str] = collections.Counter()
    peak = 0.0
    try:
        for length in map(int, _LENGTHS.value):
            text = " ".join(["seven"] * (length + 50))[: 6 * length]
            example = {"_id": "x", "text": text, "answer": " eight", "foil": " nine"}
            inputs = [{"id": "x", "data": example, "meta": {}}]
            for name in _ONLY.value or _PANELS:
                path, query, config = _PANELS[name]
                target = f"{path}?model=m&dataset_name=ioi&{query}".replace(" ", "%20")
                came = asking.answer(target, {"inputs": inputs, "config": config})
                assert process.poll() is None, f"the server ended with {process.returncode}"
                counts[came.split(":")[0]] += 1
                print(f"{length:6d} tokens  {name:24s} {came[:160]}", flush=True)
            with open(f"/proc/{process.pid}/status") as file:
                high = next(line for line in file if line.startswith("VmHWM"))
            peak = int(high.split()[1]) / 1e6
            print(f"        at most {peak:.2f} GB were held so far", flush=True)
        assert asking.post("get_info", {})[0] == 200
        print(f"the server lives; {dict(counts)}; at most {peak:.2f} GB")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    app.run(main)
