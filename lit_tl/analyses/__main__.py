"""Analyses from the command line: `python -m lit_tl.analyses "Head scores" --text ...`."""

import dataclasses
import itertools
import pathlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Sequence

from lit_tl import ctrl_c, flags, versions
from lit_tl.figures.paper_settings import Paper
from lit_tl.settings import SettingError, Settings, Switch, known, required, setting

if TYPE_CHECKING:
    pass

USAGE = """Run an analysis on a prompt and write its figure or its numbers.

  python -m lit_tl.analyses list
  python -m lit_tl.analyses "Head scores" --text "one two three one two" --output heads.html
  python -m lit_tl.analyses "Head scores" --help             its settings, which are flags too
  python -m lit_tl.analyses "My analysis" --analyses mine.py --text ...

--output ends in .html, .svg, .pdf or .png for the figure, and in .csv or .json for the numbers."""

_SUFFIXES = (".html", ".svg", ".pdf", ".png", ".csv", ".json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The flags of every analysis.

    Raises:
        SettingError: a value is not allowed.
    """

    model: str = setting(
        "lit-tl-tiny",
        "Bundled model, TransformerLens alias, Hub id, local folder or GGUF file, with @revision.",
    )
    other_model: Optional[str] = setting(None, "A second model, to compare with.")
    text: Optional[str] = setting(None, "The prompt, in quotes.")
    answer: str = setting("", "What should come next, with its leading space.")
    foil: str = setting("", "What should not come next.")
    counterpart: Optional[str] = setting(None, "A second prompt, to compare with.")
    data: Optional[str] = setting(
        None, "Prompts for analyses of a data set: a task or a file, as in --datasets."
    )
    output: str = required("The file to write: .html, .svg, .pdf, .png, .csv or .json.")
    lens_files: str = setting("auto", "The lenses to read with: auto, none, a folder, ...")
    device: Optional[str] = setting(None, "cuda, cpu, ...; the best there is if not said.")
    prepend_bos: Switch = setting(
        "auto", "A beginning-of-text token in front: auto (as the model expects), true or false."
    )
    chat: bool = setting(False, "Make a plain prompt the user's turn of a conversation.")
    chat_template: str = setting(
        "auto", "How conversations are written: auto, or a file with a template in Jinja."
    )
    trust_remote_code: bool = setting(
        False, "Run model code that comes with a checkpoint. Read it first."
    )
    analyses: Optional[str] = setting(None, "Your own analyses: Python files or modules.")
    width_mm: float = setting(177.8, "Width on paper in millimetres.", low=40, high=1000)
    font: str = setting("sans-serif", "Font on paper: a family that is installed.")
    font_size: float = setting(7.0, "Size of letters on paper, in points.", low=3, high=30)
    debug: bool = setting(False, "Show tracebacks of errors.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if pathlib.Path(self.output).suffix not in _SUFFIXES:
            raise SettingError(
                f"output is {self.output!r}: give a name that ends in {', '.join(_SUFFIXES)}"
            )

    def paper(self) -> Paper:
        """Sizes of a figure on paper."""
        return Paper(width_mm=self.width_mm, font=self.font, font_size=self.font_size)


def fail(message: str, code: int) -> NoReturn:
    """End the command with a sentence on standard error."""
    print(f"lit_tl.analyses: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def run(name: str, config: Config, settings: dict[str, Any]) -> str:
    """Write the figure or the numbers; what to say to the user.

    Raises:
        ValueError, OSError: with a message for the user.
    """
    from lit_tl.analyses.catalog import catalog, find
    from lit_tl.analyses.contract import Subject
    from lit_tl.analyses.drawing import progress_bar, to_file

    analysis = find(name, catalog(_own(config)))
    output = pathlib.Path(config.output).expanduser()
    subject = Subject(
        model=_load(config.model, config),
        other_model=None if config.other_model is None else _load(config.other_model, config),
        example=_example(config.text, config),
        counterpart=_example(config.counterpart, config),
        examples=_examples(config.data),
    )
    read = analysis.settings.read(settings)
    with progress_bar():
        result = analysis.answer(subject, read)
    kind = output.suffix.removeprefix(".")
    content = to_file(analysis, result, subject, read, kind, config.paper())
    try:
        output.write_bytes(content)
    except OSError as error:
        raise ValueError(f"--output {output} can't be written: {error.strerror}") from error
    return f"{output}: {analysis.name}. {result.attrs.get('note', '')}".strip()


def _own(config: Config) -> list[Any]:
    from lit_tl.analyses.catalog import analyses_in
    from lit_tl.names import split_entries

    sources = split_entries(config.analyses) if config.analyses else ()
    return [analysis for source in sources for analysis in analyses_in(source)]


def _load(name: str, config: Config) -> Any:
    from lit_tl.analyses.loaded_model import LoadedModel
    from lit_tl.data.templates import read_template
    from lit_tl.engine.runner import Runner
    from lit_tl.models.loading import load_model
    from lit_tl.models.sources import ModelSource
    from lit_tl.variants.text import parse_changes

    source = ModelSource.parse(name)
    trust = {"trust_remote_code": config.trust_remote_code}
    model = load_model(source.name, device=config.device, **source.version, **trust)
    loaded = LoadedModel(
        Runner(model),
        lens=config.lens_files,
        prepend_bos=known(config.prepend_bos),
        chat=config.chat,
        chat_template=read_template(config.chat_template),
    )
    changes = parse_changes(source.changes)
    return loaded.with_interventions(changes) if changes else loaded


def _example(text: Optional[str], config: Config) -> Optional[dict[str, str]]:
    if text is None:
        return None
    return {"text": text, "answer": config.answer, "foil": config.foil}


def _examples(data: Optional[str]) -> list[dict[str, Any]]:
    from lit_tl.data.prompt_source import PromptSource

    return [] if data is None else PromptSource.parse(data).load().examples


def _describe_all(config: Sequence[Any]) -> str:
    from lit_tl.analyses.catalog import catalog

    return "\n".join(f"{name}: {each.description}" for name, each in catalog(config).items())


def main(argv: Sequence[str]) -> None:
    """The command: exit code 1 for what can't be done, 2 for a command line that can't be
    understood."""
    name = argv[1] if len(argv) > 1 else ""
    if name == "" or flags.wants_help([name]):
        print(USAGE)
        return
    try:
        _run_line(name, argv)
    except flags.UsageError as error:
        fail(f"{error} (--help lists the flags)", 2)


def _run_line(name: str, argv: Sequence[str]) -> None:
    from lit_tl.analyses.catalog import CatalogError, analyses_in, catalog, find
    from lit_tl.names import split_entries

    own = [a.split("=", 1)[1] for a in argv[2:] if a.lstrip("-").startswith("analyses=")]
    own += [b for a, b in itertools.pairwise(argv[2:]) if a.lstrip("-") == "analyses"]
    try:
        more = [
            each for text in own for source in split_entries(text) for each in analyses_in(source)
        ]
        if name == "list":
            print(_describe_all(more))
            return
        settings = find(name, catalog(more)).settings
    except CatalogError as error:
        fail(str(error), 2)
    others = flags.as_list(settings)
    if flags.wants_help(argv[2:]):
        print(USAGE, "\n\nFlags:\n", flags.help_text(Config, others), sep="")
        return
    config, given = flags.read(Config, [f"{argv[0]} {name}", *argv[2:]], others)
    if warning := versions.untested():
        print(f"lit_tl.analyses: warning: {warning}", file=sys.stderr)
    try:
        print(run(name, config, {key: value for key, value in given.items() if value is not None}))
    except (ValueError, OSError) as error:
        if config.debug:
            raise
        fail(str(error), 2 if isinstance(error, SettingError) else 1)


if __name__ == "__main__":
    ctrl_c.ends_the_command()
    main(sys.argv)
