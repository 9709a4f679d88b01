"""Lenses from the command line: `python -m lit_tl.lens train|eval|show|push`."""

import importlib
import os
import sys
import time
from typing import NoReturn, Sequence

from lit_tl import ctrl_c, flags, versions

_COMMANDS = {
    "train": "fit a tuned lens to a model",
    "eval": "measure a lens, layer by layer, against the model",
    "show": "draw one prompt through a lens",
    "push": "upload a lens to the Hugging Face Hub",
}
_FIRST_SPEAKS = 3.0


def usage() -> str:
    """What --help says without a command."""
    listed = "\n".join(f"  {name:8s}{what}" for name, what in _COMMANDS.items())
    return f"python -m lit_tl.lens COMMAND [flags]; COMMAND --help lists its flags\n\n{listed}"


def fail(message: str, code: int) -> NoReturn:
    """End the command with a sentence on standard error."""
    if rank := int(os.environ.get("RANK", "0")):
        time.sleep(
            _FIRST_SPEAKS
        )  # where all fail alike, the first says it, and torchrun ends the others meanwhile
        message = f"process {rank}: {message}"
    print(f"lit_tl.lens: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def sentence(error: Exception) -> str:
    """What went wrong, and what to do. torch's own errors are RuntimeErrors, of which the first
    line says what they mean."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if not isinstance(error, RuntimeError):
        return str(error)
    if "out of memory" in first or "allocate memory" in first:
        advice = (
            "try a smaller --per_gpu_batch_size or --max_seq_len, --precision int8, or "
            "--fsdp on several GPUs"
        )
        return f"out of memory: {advice} ({first})"
    return f"{first} (--debug shows where)"


def main(argv: Sequence[str]) -> None:
    """The command: exit code 1 for what can't be done, 2 for a command line that can't be
    understood."""
    name = argv[1] if len(argv) > 1 else ""
    if flags.wants_help([name]):
        print(usage())
        return
    if name not in _COMMANDS:
        fail(
            f"{name or 'nothing'!r} is no command: {', '.join(_COMMANDS)} are (--help says "
            "what they do)",
            2,
        )
    command = importlib.import_module(f"lit_tl.lens.commands.{name}")
    if flags.wants_help(argv[2:]):
        print(command.USAGE, "\n\nFlags:\n", flags.help_text(command.Config), sep="")
        return
    try:
        config, _ = flags.read(command.Config, [f"{argv[0]} {name}", *argv[2:]])
    except flags.UsageError as error:
        fail(f"{error} ({name} --help lists the flags)", 2)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not int(os.environ.get("RANK", "0")) and (warning := versions.untested()):
        print(f"lit_tl.lens: warning: {warning}", file=sys.stderr)
    try:
        if summary := command.run(config):
            print(summary)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, RuntimeError) as error:
        if config.debug:
            raise
        fail(sentence(error), 1)


if __name__ == "__main__":
    ctrl_c.ends_the_command()
    main(sys.argv)
