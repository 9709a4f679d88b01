"""Write the data files of the paired tasks, and their manifest: `python -m
lit_tl.data.write_shipped datasets`."""

import hashlib
import json
import pathlib
from typing import Sequence

from absl import app

from lit_tl.data import paired, tasks


def write(folder: pathlib.Path) -> None:
    """Write a JSON lines file a task, and `manifest.json` with counts, seed and hashes."""
    manifest = {}
    for name, task in paired.TASKS.items():
        distinct = {
            example.text: example
            for example in task(4 * tasks.SHIPPED_COUNT, tasks.SHIPPED_SEED, True)
        }
        examples = tasks.records(list(distinct.values())[: tasks.SHIPPED_COUNT])
        text = "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
        manifest[name] = {
            "file": f"{name}.jsonl",
            "card": f"{name}.md",
            "examples": len(examples),
            "seed": tasks.SHIPPED_SEED,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def main(argv: Sequence[str]) -> None:
    """Write to the folder that is named."""
    if len(argv) != 2:
        raise app.UsageError("usage: python -m lit_tl.data.write_shipped FOLDER")
    write(pathlib.Path(argv[1]))


if __name__ == "__main__":
    app.run(main)
