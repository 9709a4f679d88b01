"""The command: `python -m lit_tl.precompute --models ... --datasets ... --output STORE`."""

import contextlib
import dataclasses
import pathlib
import sys
from typing import Any, Iterator, NoReturn, Optional, Sequence

from lit_tl import ctrl_c, flags, versions
from lit_tl.lit.config import LossOver
from lit_tl.names import split_entries
from lit_tl.settings import SettingError, Settings, Switch, required, setting

USAGE = """Compute numbers of models over many prompts, and keep them in a folder of Parquet files.

  python -m lit_tl.precompute --models gpt2-small --datasets prompts.parquet --output store
  python -m lit_tl.precompute --models a=pythia-70m@step=1000,b=pythia-70m --output store \\
      --datasets "data/*.jsonl" --analyses "predictions,lens[statistic=entropy]" --workers 8
  python -m lit_tl.launch --store store                      looks at it

A run that was stopped goes on with the same command. --analyses are predictions, lens, heads,
causes, activations, top_examples, probe and routing, and any analysis of one prompt by its name
(`python -m lit_tl.analyses list`), each with its settings in brackets; `--help_analyses` lists
them. --datasets are files, globs, s3:// or gs:// addresses (fsspec), hf:owner/name, and tasks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The flags of the command.

    Raises:
        SettingError: a value is not allowed.
    """

    models: str = setting("lit-tl-tiny", "Models: [label=]source[@revision][{changes}],...")
    datasets: str = required("Prompts: [label=]source,... Files, globs, addresses, hf:..., tasks.")
    analyses: str = setting("predictions", "What to compute: name[setting=value,...],...")
    output: str = required("The store: a folder, new or one that is gone on with.")
    own_analyses: Optional[str] = setting(
        None, "Your own analyses of one prompt: Python files or modules, with commas."
    )
    shard_rows: int = setting(512, "Prompts in a file.", low=1, high=1_000_000)
    workers: int = setting(
        0, "Workers of Ray, each with a model of its own; 0 computes in this process.", low=0
    )
    ray_address: Optional[str] = setting(
        None, "A Ray cluster, such as auto or 10.0.0.1:6379; without it Ray runs on this machine."
    )
    cpus_per_worker: int = setting(0, "Processors of each worker; 0 for an equal share.", low=0)
    gpus_per_worker: float = setting(0.0, "GPUs of each worker, or a share of one.", low=0)
    device: Optional[str] = setting(None, "cuda, cpu, ...; the best there is if not said.")
    dtype: str = setting("float32", "Number format of the weights.")
    lens: str = setting("auto", "The lenses to read with: auto, none, a folder, ...")
    prepend_bos: Switch = setting(
        "auto", "A beginning-of-text token in front: auto (as the model expects), true or false."
    )
    chat: bool = setting(False, "Make a plain prompt the user's turn of a conversation.")
    chat_template: str = setting(
        "auto", "How conversations are written: auto, or a file with a template in Jinja."
    )
    loss_over: LossOver = setting(
        "all", "Which tokens of a conversation losses are of: all, content, or assistant."
    )
    batch_size: int = setting(32, "Most prompts in one forward pass.", low=1, high=4096)
    token_budget: int = setting(
        2048, "Most tokens in one forward pass, padding included.", low=1, high=10_000_000
    )
    max_seq_length: int = setting(4096, "Longest prompt in tokens.", low=1, high=1_000_000)
    verify: bool = setting(False, "Read all files that are there, and make damaged ones anew.")
    trust_remote_code: bool = setting(
        False, "Run model code that comes with a checkpoint. Read it first."
    )
    debug: bool = setting(False, "Show tracebacks of errors.")


def fail(message: str, code: int) -> NoReturn:
    """End the command with a sentence on standard error."""
    print(f"lit_tl.precompute: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


class Bar:
    """Progress on standard error: rates, time left, failures."""

    def __init__(self) -> None:
        self._name = ""
        self._bar: Any = None

    def __call__(self, name: str, finished: int, total: int, failed: int) -> None:
        import tqdm

        if name != self._name or self._bar is None:
            self.close()
            self._name = name
            self._bar = tqdm.tqdm(
                desc=name,
                total=total or None,
                initial=finished,
                unit=" files" if name == "the index" else " prompts",
                mininterval=0.2 if sys.stderr.isatty() else 10.0,
            )
        self._bar.update(finished - self._bar.n)
        if failed:
            self._bar.set_postfix_str(f"{failed:,} failed", refresh=False)
        if total and finished >= total:
            self.close()

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()
            self._name, self._bar = "", None


def run(config: Config) -> Any:
    """Do what the command line says.

    Returns:
        The summary.

    Raises:
        ValueError, OSError, RuntimeError: with a message for the user.
    """
    from lit_tl.analyses.catalog import analyses_in
    from lit_tl.precompute import on_ray
    from lit_tl.precompute import run as run_
    from lit_tl.precompute.catalog import parse
    from lit_tl.precompute.worker import ModelConfig

    own = [
        analysis
        for source in split_entries(config.own_analyses or "")
        if source
        for analysis in analyses_in(source)
    ]
    chosen = parse(config.analyses, own)
    shared = {field.name for field in dataclasses.fields(ModelConfig)}
    how = ModelConfig(**{name: getattr(config, name) for name in shared})
    cluster = None
    if config.workers or config.ray_address:
        cluster = on_ray.Cluster(
            workers=max(1, config.workers),
            address=config.ray_address,
            cpus=config.cpus_per_worker or None,
            gpus=config.gpus_per_worker,
        )
    bar = Bar()
    with contextlib.ExitStack() as stack:
        stack.callback(bar.close)
        if cluster is not None:
            stack.enter_context(on_ray.connected(cluster))
        start = run_.start_here(how) if cluster is None else on_ray.start_on(cluster, how)
        return run_.run(
            models=_entries(config.models),
            datasets=_entries(config.datasets),
            chosen=chosen,
            output=pathlib.Path(config.output),
            shard_rows=config.shard_rows,
            start=start,
            report=bar,
            verify=config.verify,
        )


def _entries(text: str) -> list[str]:
    return [entry for entry in split_entries(text) if entry]


def _described() -> Iterator[str]:
    from lit_tl.precompute.catalog import BUILT_IN

    for name, each in BUILT_IN.items():
        yield f"{name}: {each.description}"
        yield flags.help_text(each.settings)


def main(argv: Sequence[str]) -> None:
    """The command: exit code 1 for what can't be done, 2 for a command line that can't be
    understood."""
    if any(argument.lstrip("-") == "help_analyses" for argument in argv[1:]):
        print("\n".join(_described()))
        return
    if len(argv) == 1 or flags.wants_help(argv[1:]):
        print(USAGE, "\n\nFlags:\n", flags.help_text(Config), sep="")
        return
    try:
        config, _ = flags.read(Config, argv)
    except flags.UsageError as error:
        fail(f"{error} (--help lists the flags)", 2)
    if warning := versions.untested():
        print(f"lit_tl.precompute: warning: {warning}", file=sys.stderr)
    try:
        summary = run(config)
    except (ValueError, OSError, RuntimeError) as error:
        if config.debug:
            raise
        fail(" ".join(str(error).split()), 2 if isinstance(error, SettingError) else 1)
    print(summary.as_text())
    print(f"{summary.rows:,} prompts in {summary.store}, {summary.seconds:.1f} s")
    if summary.parts and all(part.failed == part.rows for part in summary.parts):
        fail("no prompt could be computed: the reasons are above", 1)


if __name__ == "__main__":
    ctrl_c.ends_the_command()
    main(sys.argv)
