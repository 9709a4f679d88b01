"""Open LIT on TransformerLens models: `python -m lit_tl.launch --models gpt2-small`."""

import dataclasses
import os
import re
import sys
import time
from typing import Any, NoReturn, Optional, Sequence

from absl import flags
from lit_nlp import server_flags

from lit_tl import ctrl_c

USAGE = """Open LIT, Google's Learning Interpretability Tool, on TransformerLens models.

  python -m lit_tl.launch                              the bundled model and tasks; needs no network
  python -m lit_tl.launch --models gpt2-small,pythia-70m@step=1000
  python -m lit_tl.launch --models mine=./checkpoint --datasets ioi,prompts.txt

--models    [label=]source[@revision], separated by commas. A source is a bundled model (lit-tl-tiny), a TransformerLens
            alias, a Hub id (owner/name) or a local folder; @step=N takes a training checkpoint.
--datasets  [label=]source, separated by commas. A source is a paired task (ioi, induction, greater_than, agreement, pronoun,
            capital, docstring; task@seed=7@count=50 makes new examples), a file (.txt with a prompt a line, .jsonl, .json, .csv,
            .tsv), or hf:owner/name[split,column,:200] for the first 200 rows of a data set on the Hub."""

_MODELS = flags.DEFINE_string("models", None, "Models to open: [label=]source[@revision],... Default: the bundled model.")
_DATASETS = flags.DEFINE_string("datasets", None, "Prompts to open: [label=]source,... Default: all paired tasks.")
_DEVICE = flags.DEFINE_string("device", None, "Where models run: cuda, cuda:1, mps, cpu. Default: the best there is.")
_DTYPE = flags.DEFINE_string("dtype", "float32", "Number format of the weights: float32, bfloat16, float16, float64.")
_MAX_SEQ_LENGTH = flags.DEFINE_integer("max_seq_length", 512, "Longest prompt in tokens; longer ones are cut.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Most prompts in one forward pass.", lower_bound=1)
_TOP_K = flags.DEFINE_integer("top_k", 10, "How many next tokens to show.", lower_bound=1)
_MAX_NEW_TOKENS = flags.DEFINE_integer("max_new_tokens", 10, "Longest generated text in tokens; 0 for none.", lower_bound=0)
_LENS = flags.DEFINE_string(
    "lens", "auto", "Lens of the models: auto, none, a folder or Hub id; for each model label=lens, separated by commas."
)
_MAX_EXAMPLES = flags.DEFINE_integer("max_examples", 2000, "Most prompts to read from a file.", lower_bound=1)
_CACHE_MB = flags.DEFINE_integer("cache_mb", 256, "Bound on what is kept of predictions, in MB.", lower_bound=0)
_CHECK = flags.DEFINE_bool("check", False, "Load everything, say what would be served, and exit.")
_DEBUG = flags.DEFINE_bool("debug", False, "Show the server's log, and tracebacks of errors.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """What the command's flags say. Fields are named as their flags; see `--help`."""

    models: Optional[tuple[str, ...]] = None
    datasets: Optional[tuple[str, ...]] = None
    device: Optional[str] = None
    dtype: str = "float32"
    max_seq_length: int = 512
    batch_size: int = 8
    top_k: int = 10
    max_new_tokens: int = 10
    lens: str = "auto"
    max_examples: int = 2000
    cache_mb: int = 256
    check: bool = False
    debug: bool = False
    host: str = "127.0.0.1"
    port: int = 5432
    lit: dict[str, Any] = dataclasses.field(default_factory=dict)
    """LIT's own options for its application."""


class UsageError(ValueError):
    """The command line can't be understood."""


def read_flags(argv: Sequence[str]) -> LaunchConfig:
    """The command line as a config.

    Raises:
        UsageError: a flag is unknown, a value not allowed, or something is not a flag.
    """
    flags.declare_key_flag("models")
    flags.adopt_module_key_flags(server_flags)
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        raise UsageError(str(error).split("\n")[0]) from error
    if len(rest) > 1:
        raise UsageError(f"{rest[1]!r} is not a flag: models are given with --models, prompts with --datasets")
    lit = server_flags.get_flags()
    host, port, server_type = lit.pop("host"), lit.pop("port"), lit.pop("server_type")
    if server_type != "default":
        raise UsageError(f"--server_type={server_type} is not supported: the server here is always lit_tl's own")
    if lit.pop("data_dir"):
        raise UsageError("--data_dir is not supported: LIT's caches on disk are pickles, which can run code when they are read")
    return LaunchConfig(
        models=_entries(_MODELS),
        datasets=_entries(_DATASETS),
        device=_DEVICE.value,
        dtype=_DTYPE.value,
        max_seq_length=_MAX_SEQ_LENGTH.value,
        batch_size=_BATCH_SIZE.value,
        top_k=_TOP_K.value,
        max_new_tokens=_MAX_NEW_TOKENS.value,
        lens=_LENS.value,
        max_examples=_MAX_EXAMPLES.value,
        cache_mb=_CACHE_MB.value,
        check=_CHECK.value,
        debug=_DEBUG.value,
        host=host,
        port=port,
        lit=lit,
    )


def _entries(flag: "flags.FlagHolder[Optional[str]]") -> Optional[tuple[str, ...]]:
    """A flag's entries: separated by commas, but not by those in brackets."""
    if flag.value is None:
        return None
    entries = tuple(entry.strip() for entry in re.split(r",(?![^\[]*\])", flag.value))
    if not all(entries):
        raise UsageError(f"--{flag.name} has an empty entry: separate entries by one comma")
    return entries


def run(config: LaunchConfig) -> None:
    """Load, and serve until Ctrl-C; with `config.check`, say what would be served and return.

    Raises:
        LoadingError, DataError, ServingError, ValueError: with a message for the user.
    """
    started = time.monotonic()
    _quiet_libraries(config.debug)
    from lit_tl.server.serving import Server, bind

    listener = None if config.check else bind(config.host, config.port)
    from lit_tl.models.config import HookedTransformerLITConfig
    from lit_tl.server import build

    say = build.Progress(started=started)
    say("libraries are loaded")
    settings = build.BuildConfig(
        device=config.device,
        dtype=config.dtype,
        max_examples=config.max_examples,
        cache_bytes=config.cache_mb * 2**20,
        wrapper=HookedTransformerLITConfig(
            max_seq_length=config.max_seq_length,
            batch_size=config.batch_size,
            top_k=config.top_k,
            max_new_tokens=config.max_new_tokens,
            lens=config.lens,
        ),
    )
    datasets = build.load_datasets(config.datasets, settings, say)
    models = build.load_models(config.models, settings, say)
    for line in build.fit_report(models, datasets):
        say(line)
    app = build.build_app(models, datasets, settings, **config.lit)
    if listener is None:
        print("\n".join([f"model {name}: {model.description()}" for name, model in models.items()]))
        print("\n".join([f"data set {name}: {len(data)} prompts; {data.description()}" for name, data in datasets.items()]))
        return
    server = Server(app, listener)
    server.end_at_ctrl_c()
    print(f"LIT is at {server.url}  (Ctrl-C ends it)", flush=True)
    server.run()
    # A request may still be computing in a thread, inside a library that does not survive the interpreter's end.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _quiet_libraries(debug: bool) -> None:
    """Of what the libraries log, keep warnings and worse, and of their progress bars those of downloads."""
    from absl import logging

    logging.set_verbosity(logging.INFO if debug else logging.ERROR)
    logging.set_stderrthreshold("info" if debug else "error")
    if not debug:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def fail(message: str, code: int) -> NoReturn:
    """End the command with a sentence on standard error."""
    print(f"lit_tl: {message}", file=sys.stderr)
    sys.exit(code)


def main(argv: Sequence[str]) -> None:
    """The command: exit code 1 for what can't be loaded or served, 2 for flags that can't be understood."""
    if any(argument in ("-h", "--help", "-help", "--helpfull", "--helpshort") for argument in argv[1:]):
        flags.adopt_module_key_flags(server_flags)
        print(USAGE, "\n\nFlags:\n", flags.FLAGS.main_module_help() or flags.FLAGS.get_help(), sep="")
        return
    try:
        config = read_flags(argv)
    except UsageError as error:
        fail(f"{error} (--help lists the flags)", 2)
    try:
        run(config)
    except (ValueError, OSError) as error:
        if config.debug:
            raise
        fail(str(error), 1)


def console() -> None:
    """The command's entry point when it is installed."""
    ctrl_c.ends_the_command()
    main(sys.argv)


if __name__ == "__main__":
    console()
