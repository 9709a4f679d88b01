"""From models and data sets, however they are named, to an application."""

import dataclasses
import difflib
import inspect
import os
import pathlib
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

from lit_nlp import app as lit_app
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model

from lit_tl.data import paired, sources, tasks
from lit_tl.data.files import DEFAULT_MAX_EXAMPLES, Prompts
from lit_tl.models.config import HookedTransformerLITConfig
from lit_tl.models.loading import BUNDLED_MODELS, ModelSource
from lit_tl.models.siblings import siblings
from lit_tl.models.wrapper import HookedTransformerLIT, engine_of, load_for_lit
from lit_tl.server import components, layouts
from lit_tl.server.app import DEFAULT_CACHE_BYTES, LitTlApp

Models = Union[str, Mapping[str, Any], Sequence[Any]]
Datasets = Union[str, Mapping[str, Any], Sequence[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """How models and data are loaded.

    Args:
        device: as TransformerLens takes it ("cuda", "cpu", ...); None for the best there is.
        dtype: number format of the weights.
        max_examples: longest data set read from a file.
        cache_bytes: bound on what the server keeps of predictions.
        wrapper: settings of the model wrapper.
    """

    device: Optional[str] = None
    dtype: str = "float32"
    max_examples: int = DEFAULT_MAX_EXAMPLES
    cache_bytes: int = DEFAULT_CACHE_BYTES
    wrapper: HookedTransformerLITConfig = dataclasses.field(default_factory=HookedTransformerLITConfig)

    def __post_init__(self) -> None:
        if self.max_examples < 1:
            raise ValueError(f"max_examples is {self.max_examples}, but must be at least 1")


class Progress:
    """Says on standard error what is being done, with the seconds since `started` (of `time.monotonic`; None is now)."""

    def __init__(self, quiet: bool = False, started: Optional[float] = None):
        self._started = time.monotonic() if started is None else started
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        if not self._quiet:
            print(f"[{time.monotonic() - self._started:5.1f} s] {text}", file=sys.stderr, flush=True)


def load_models(models: Optional[Models], config: BuildConfig, say: Progress) -> dict[str, lit_model.Model]:
    """Models by label. An entry is a source as in `--models`, a TransformerLens model, or a LIT model; None is the bundled one.

    Raises:
        LoadingError: a model can't be loaded, or two have one label.
    """
    if models is None:
        models = tuple(BUNDLED_MODELS)
    if isinstance(models, str) or not isinstance(models, (Mapping, Sequence)):
        models = [models]
    entries = list(models.items()) if isinstance(models, Mapping) else [(None, entry) for entry in models]
    loaded: dict[str, lit_model.Model] = {}
    for label, entry in entries:
        if isinstance(entry, lit_model.Model):
            model: lit_model.Model = entry
        elif isinstance(entry, str):
            source = ModelSource.parse(entry)
            label = label or source.label
            say(f"loading model {label}" + (f" from {source.name}" if label != source.name else ""))
            model = HookedTransformerLIT.from_pretrained(
                source.name,
                dataclasses.replace(config.wrapper, lens=_lens_of(label, config.wrapper.lens)),
                device=config.device,
                dtype=config.dtype,
                revision=source.revision,
                checkpoint_value=source.checkpoint_value,
            )
        else:
            model = HookedTransformerLIT(entry, dataclasses.replace(config.wrapper, lens=_lens_of(str(label), config.wrapper.lens)))
        if label is None:
            label = engine_of(model).model.cfg.model_name if isinstance(model, HookedTransformerLIT) else type(model).__name__
        if isinstance(model, HookedTransformerLIT) and model.config.lens not in ("auto", "none"):
            say(engine_of(model).lenses.note)  # what is named must be there
        loaded[_unused(re.sub(r"[^\w.-]", "-", str(label)), loaded, "model")] = model
    return loaded


def _lens_of(label: str, lens: str) -> str:
    """A model's entry in `label=lens,...`, or what all have."""
    entries = dict(entry.split("=", 1) for entry in lens.split(",") if "=" in entry)
    return entries.get(label, "auto") if entries else lens


def load_datasets(datasets: Optional[Datasets], config: BuildConfig, say: Progress) -> dict[str, lit_dataset.Dataset]:
    """Data sets by label. An entry is a source as in `--datasets`, a LIT data set, or a list of prompts; None is all tasks.

    Raises:
        DataError: a data set can't be read.
        ValueError: two have one label.
    """
    if datasets is None:
        datasets = list(paired.TASKS)
    if isinstance(datasets, (str, lit_dataset.Dataset)):
        datasets = [datasets]
    entries = list(datasets.items()) if isinstance(datasets, Mapping) else [(None, entry) for entry in datasets]
    loaded: dict[str, lit_dataset.Dataset] = {}
    for label, entry in entries:
        if isinstance(entry, lit_dataset.Dataset):
            data: lit_dataset.Dataset = entry
        elif isinstance(entry, str):
            source = sources.DatasetSource.parse(entry)
            label = label or source.label
            data = source.load(config.max_examples)
        else:
            data = Prompts(entry)
        loaded[_unused(str(label or "prompts"), loaded, "data set")] = data
    say(f"{sum(len(data) for data in loaded.values())} prompts in {len(loaded)} data sets")
    return loaded


def _unused(label: str, taken: Mapping[str, Any], kind: str) -> str:
    if label in taken:
        raise ValueError(f"two {kind}s are called {label!r}: name one of them with label=...")
    return label


def fit_report(models: Mapping[str, lit_model.Model], datasets: Mapping[str, lit_dataset.Dataset]) -> list[str]:
    """A line for each data set and model: how many of its paired examples fit the model's tokenizer, and why others do not."""
    lines = []
    for model_name, model in models.items():
        if not isinstance(model, HookedTransformerLIT):
            continue
        for name, data in datasets.items():
            found = tasks.misfits(data.examples, engine_of(model).prompter)
            if found:
                first = found[0]
                lines.append(
                    f"{name}: {len(found)} of {len(data)} examples do not fit {model_name}; "
                    f"example {first.index + 1}, {first.text[:40]!r}: {first.reason}"
                )
    return lines


def with_siblings(models: Mapping[str, lit_model.Model]) -> dict[str, lit_model.Model]:
    """The models, and for each of ours the hidden ones that Sequence Salience needs."""
    hidden: dict[str, lit_model.Model] = {}
    for name, model in models.items():
        if isinstance(model, HookedTransformerLIT):
            hidden |= siblings(name, model)
    return {**models, **hidden}


def load_group_for_lit(new_name: str, **form: Any) -> lit_model.ModelMap:
    """What LIT's dialog calls: a model under its new name, and its hidden siblings.

    Raises:
        LoadingError: the model can't be loaded.
        ValueError: a setting is out of its range.
    """
    return with_siblings({new_name: load_for_lit(**form)})


def check_lit_options(options: Mapping[str, Any]) -> None:
    """LIT swallows misspelt options; here they are errors.

    Raises:
        TypeError: LIT's application has no such option.
    """
    known = inspect.signature(lit_app.LitApp).parameters
    for name in options:
        if name not in known or name in ("models", "datasets"):
            near = difflib.get_close_matches(name, known, n=1)
            raise TypeError(f"{name!r} is not an option of lit_tl.serve or LIT" + (f": did you mean {near[0]!r}?" if near else ""))


def build_app(
    models: Mapping[str, lit_model.Model], datasets: Mapping[str, lit_dataset.Dataset], config: BuildConfig, **lit_options: Any
) -> LitTlApp:
    """The application. `lit_options` go to `lit_nlp.app.LitApp`."""
    options: dict[str, Any] = {
        "interpreters": components.interpreters(),
        "generators": components.generators(),
        "metrics": components.lit_metrics(),
        "layouts": dict(layouts.LAYOUTS),
        "client_root": os.path.join(pathlib.Path(lit_app.__file__).parent, "client", "build", "default"),
        "default_layout": "default",
        "page_title": "lit_tl",
        "model_loaders": {"TransformerLens": (load_group_for_lit, HookedTransformerLIT.init_spec())},
        "dataset_loaders": {name: (kind, kind.init_spec()) for name, kind in sources.LOADERS.items()},
    }
    options |= {name: value for name, value in lit_options.items() if value is not None}
    return LitTlApp(with_siblings(models), datasets, cache_bytes=config.cache_bytes, **options)
