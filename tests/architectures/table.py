"""The table of `docs/architectures.md`: each architecture's numbers beside those of transformers.

python -m tests.architectures.table [--output docs/architectures.md] [model_type ...]
"""

import argparse
import pathlib
import tempfile
import warnings

import torch
import transformers

from tests.architectures.checks import CHECKS, TOLERANCE, check, open_case
from tests.architectures.tiny import ARCHITECTURES

_TORCH = torch.__version__.split("+")[0]
_HEAD = f"""# Architectures

Made by `python -m tests.architectures.table`: a tiny checkpoint of each architecture, with random
weights, in lit_tl and in transformers {transformers.__version__}, torch {_TORCH}.

A cell says how far off a number is: the largest difference, as a share of the largest number;
probabilities, patterns and scores as they are, generated texts by how many differ. At most
{TOLERANCE:g} is right. **-**: the model has no such number, as a state-space model has no
attention. **[n]**: refused in the sentence of that number, below the table.

"""


def rows(names: list[str]) -> dict[str, list[str]]:
    """By architecture, its cells."""
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            case, why = open_case(ARCHITECTURES[name].save(pathlib.Path(folder) / name))
            cells = [why or "-"] * len(CHECKS) if case is None else [check(case, c) for c in CHECKS]
            table[name] = [cell.replace(f"{folder}/", "") for cell in cells]
            print(name, *table[name], sep=" | ", flush=True)
    return table


def page(table: dict[str, list[str]]) -> str:
    """The table in Markdown, long sentences below it."""
    sentences: list[str] = []

    def cell(text: str) -> str:
        if not text.startswith("refused: "):
            return text
        if text not in sentences:
            sentences.append(text)
        return f"[{sentences.index(text) + 1}]"

    lines = [f"| architecture | {' | '.join(CHECKS)} |", "| --- |" + " --- |" * len(CHECKS)]
    lines += [f"| {name} | {' | '.join(map(cell, cells))} |" for name, cells in table.items()]
    notes = [f"{i}. {text}" for i, text in enumerate(sentences, start=1)]
    return _HEAD + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="docs/architectures.md")
    parser.add_argument("names", nargs="*", default=list(ARCHITECTURES))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    table = rows(given.names)
    pathlib.Path(given.output).write_text(page(table))
    wrong = sum("WRONG" in cell for cells in table.values() for cell in cells)
    print(f"{len(table)} architectures, {wrong} wrong cells: {given.output}")


if __name__ == "__main__":
    main()
