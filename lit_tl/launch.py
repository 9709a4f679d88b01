"""Open LIT on TransformerLens models: `python -m lit_tl.launch --models gpt2-small`."""

import contextlib
import dataclasses
import os
import sys
import time
from typing import Any, NoReturn, Optional, Sequence

from absl import flags as absl_flags
from lit_nlp import server_flags

from lit_tl import ctrl_c, flags, versions
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.models.loading import Dtype
from lit_tl.names import split_entries
from lit_tl.settings import SettingError, setting

USAGE = """Open LIT, Google's Learning Interpretability Tool, on TransformerLens models.

  python -m lit_tl.launch                              the bundled model and tasks; needs no network
  python -m lit_tl.launch --models gpt2-small,pythia-70m@step=1000
  python -m lit_tl.launch --models mine=./checkpoint --datasets ioi,prompts.txt

--models    [label=]source[@revision], separated by commas. A source is a bundled model
            (lit-tl-tiny), a TransformerLens alias, a Hub id (owner/name) or a local folder;
            @step=N takes a training checkpoint. Changes in braces make a variant, which shares
            the weights: "base=gpt2-small,cut=gpt2-small{L9H6 = zero; L9H9 = mean(ioi)}".
--datasets  [label=]source, separated by commas. A source is a paired task (ioi, induction,
            greater_than, agreement, pronoun, capital, docstring; task@seed=7@count=50 makes new
            examples), a file (.txt with a prompt a line, .jsonl, .json, .csv, .tsv), or
            hf:owner/name[split,column,:200] for the first 200 rows of a data set on the Hub."""

_NOT_OFFERED = ("server_type", "data_dir")
"""LIT's flags that would change what is not LIT's here."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaunchConfig(HookedTransformerLITConfig):
    """The flags of the command: those of the model wrapper, and these.

    Raises:
        SettingError: a value is not allowed.
    """

    models: Optional[str] = setting(
        None, "Models to open: [label=]source[@revision][{changes}],... Default: the bundled one."
    )
    datasets: Optional[str] = setting(
        None, "Prompts to open: [label=]source,... Default: all paired tasks."
    )
    dtype: Dtype = setting("float32", "Number format of the weights.")
    trust_remote_code: bool = setting(
        False, "Run model code that comes with a checkpoint. Read it first."
    )
    max_examples: int = setting(2000, "Most prompts to read from a file.", low=1)
    cache_mb: int = setting(256, "Bound on what is kept of predictions, in MB.", low=0)
    memory_limit: str = setting(
        "80%", "Most memory to use, models included: as 8GB, or as a share of what is free now."
    )
    max_models: int = setting(8, "Most models to hold, those of the page included.", low=1, high=64)
    analyses: Optional[str] = setting(
        None, "Your own analyses for the Figures panel: Python files or modules, with commas."
    )
    host: str = setting(
        "127.0.0.1", "Address to listen on: 0.0.0.0 lets other machines open the page."
    )
    token: Optional[str] = setting(
        None,
        "What a browser must bring, at least 16 characters; LIT_TL_TOKEN in the environment does "
        "the same. Default: one is made where --host or --allow_host lets others in.",
    )
    allow_host: Optional[str] = setting(
        None, "Further host names that the page is opened by, such as a proxy's, with commas."
    )
    allow_path: Optional[str] = setting(
        None,
        "Folders below which the page may load models and data, with commas. Default: the one the "
        "server is started in, and none where --host or --allow_host lets others in.",
    )
    session: Optional[str] = setting(
        None, "A session that was saved: its models are loaded, and the page shows what it showed."
    )
    store: Optional[str] = setting(
        None,
        "Stores of lit_tl.precompute to look at, or data sets that are too large for a page: "
        "[label=]source,... Models of stores are loaded where --models names none.",
    )
    allow_hub: bool = setting(False, "Let the page load models and data from the Hugging Face Hub.")
    port: int = setting(5432, "Port to listen on; 0 takes a free one.", low=0, high=65535)
    check: bool = setting(False, "Load everything, say what would be served, and exit.")
    access_log: Optional[str] = setting(
        None,
        "File for a line on each request, or - for standard error. Default: - where --host lets "
        "other machines in.",
    )
    log_json: bool = setting(False, "Write the access log as JSON, an object a line.")
    debug: bool = setting(False, "Show the server's log, and tracebacks of errors.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("models", "datasets", "analyses", "allow_host", "allow_path", "store"):
            if not all(self.entries(name) or ["none"]):
                raise SettingError(f"{name} has an empty entry: separate entries by one comma")

    def entries(self, name: str) -> Optional[tuple[str, ...]]:
        """The entries of a setting that lists some, or None where it is not given."""
        text = getattr(self, name)
        return None if text is None else split_entries(text)

    def wrapper(self) -> HookedTransformerLITConfig:
        """The settings of the model wrapper among these."""
        names = [field.name for field in dataclasses.fields(HookedTransformerLITConfig)]
        return HookedTransformerLITConfig(**{name: getattr(self, name) for name in names})


def _flags_of_lit() -> list[Any]:
    """LIT's own flags for its application."""
    every = absl_flags.FLAGS.get_key_flags_for_module(server_flags)
    return [flag for flag in every if flag.name not in _NOT_OFFERED]


def read_flags(argv: Sequence[str]) -> tuple[LaunchConfig, dict[str, Any]]:
    """The command line as settings, and LIT's own options for its application.

    Raises:
        UsageError: a flag is unknown, a value not allowed, or something is not a flag.
    """
    names = {argument.split("=")[0].lstrip("-") for argument in argv[1:]}
    if "data_dir" in names:
        raise flags.UsageError(
            "--data_dir is not supported: LIT's caches on disk are pickles, which can run code "
            "when they are read"
        )
    if "server_type" in names:
        raise flags.UsageError(
            "--server_type is not supported: the server here is always lit_tl's own"
        )
    try:
        return flags.read(LaunchConfig, argv, _flags_of_lit())
    except flags.UsageError as error:
        if str(error).endswith("is not a flag"):
            hint = "models are given with --models, prompts with --datasets"
            raise flags.UsageError(f"{error}: {hint}") from error
        raise


def run(config: LaunchConfig, lit_options: Optional[dict[str, Any]] = None) -> None:
    """Load, and serve until Ctrl-C; with `config.check`, say what would be served and return.

    Args:
        config: what to serve, and where.
        lit_options: of LIT's application.

    Raises:
        LoadingError, DataError, ServingError, ValueError: with a message for the user.
    """
    started = time.monotonic()
    _quiet_libraries(config.debug)
    from lit_tl.engine import memory
    from lit_tl.server.gate import Gate
    from lit_tl.server.link import announce, is_loopback, token_for
    from lit_tl.server.monitor import AccessLog
    from lit_tl.server.page_access import PageAccess
    from lit_tl.server.serving import Server, bind

    memory.set_limit(memory.limit_of(config.memory_limit))
    names = config.entries("allow_host") or ()
    token = token_for(config.host, config.token, proxied=bool(names))
    alone = is_loopback(config.host) and not names
    access = PageAccess.of(config.entries("allow_path"), hub=config.allow_hub, loopback=alone)
    listener = None if config.check else bind(config.host, config.port)
    with contextlib.ExitStack() as unless_served:
        if listener is not None:
            unless_served.callback(listener.close)
        port = 0 if listener is None else listener.getsockname()[1]
        log = config.access_log or (None if is_loopback(config.host) else "-")
        lit_options = {
            **(lit_options or {}),
            "access": access,
            "access_log": AccessLog.at(log, as_json=config.log_json) if log else None,
        }
        gate = Gate(names=names, token=token, port=port)
        app = _load(config, {**lit_options, "gate": gate}, started)
        unless_served.pop_all()
    if listener is None:
        return
    server = Server(app, listener, at_end=app.stop, proxied=bool(names))
    server.end_at_ctrl_c()
    opened = "start" if config.session is not None else ""
    print(f"{announce(server.url, token, server.port, opened)}  (Ctrl-C ends it)", flush=True)
    server.run()
    # A request may still be computing in a thread, inside a library that does not survive the
    # interpreter's end.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _load(config: LaunchConfig, lit_options: dict[str, Any], started: float) -> Any:
    """The application; with `config.check`, what it would serve is printed."""
    from lit_tl.analyses.catalog import analyses_in
    from lit_tl.server import build
    from lit_tl.server.browsing import models_of, open_stores

    say = build.StartLog(started=started)
    say("libraries are loaded")
    warning = versions.untested()
    if warning:
        say(f"warning: {warning}")
    session, entries = None, config.entries("models")
    if config.session is not None:
        from lit_tl.server.session_start import model_entries, with_settings
        from lit_tl.session.session import Session

        session = Session.load(config.session)
        entries = model_entries(session, say) if entries is None else entries
        config = with_settings(config, session)
    settings = build.BuildConfig(
        device=config.device,
        dtype=config.dtype,
        trust_remote_code=config.trust_remote_code,
        max_examples=config.max_examples,
        cache_bytes=config.cache_mb * 2**20,
        max_models=config.max_models,
        wrapper=config.wrapper(),
    )
    stores = open_stores(config.entries("store") or (), say)
    if stores and entries is None:
        entries = models_of(stores)
    own = [each for source in config.entries("analyses") or () for each in analyses_in(source)]
    sets = config.entries("datasets")
    datasets = build.load_datasets(() if stores and sets is None else sets, settings, say)
    models = build.load_models(entries, settings, say, datasets)
    for line in build.fit_report(models, datasets):
        say(line)
    if config.check:
        for name, model in models.items():
            print(f"model {name}: {model.description()}")
        for name, data in datasets.items():
            print(f"data set {name}: {len(data)} prompts; {data.description()}")
    for label, store in stores.items():
        say(f"store {label}: {store.manifest.rows:,} prompts, {len(store.manifest.parts)} parts")
    return build.build_app(
        models, datasets, settings, analyses=own, session=session, stores=stores, **lit_options
    )


def _quiet_libraries(debug: bool) -> None:
    """Of what the libraries log, keep warnings and worse, and of their progress bars those of
    downloads."""
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
    """The command: exit code 1 for what can't be loaded or served, 2 for flags that can't be
    understood."""
    if flags.wants_help(argv[1:]):
        print(USAGE, "\n\nFlags:\n", flags.help_text(LaunchConfig, _flags_of_lit()), sep="")
        return
    try:
        config, lit_options = read_flags(argv)
    except flags.UsageError as error:
        fail(f"{error} (--help lists the flags)", 2)
    try:
        run(config, lit_options)
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
