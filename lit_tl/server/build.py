"""From models and data sets, however they are named, to an application."""

import dataclasses
import difflib
import inspect
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, Union

from lit_nlp import app as lit_app
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model

from lit_tl.analyses.contract import Analysis
from lit_tl.data import paired
from lit_tl.data.prompt_files import DEFAULT_MAX_EXAMPLES
from lit_tl.data.prompt_source import PromptSource
from lit_tl.data.tasks import misfits
from lit_tl.lit import components, layouts
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.lit.datasets import PromptDataset, Prompts, loaders
from lit_tl.lit.model import HookedTransformerLIT, load_for_lit
from lit_tl.lit.sequence_salience import siblings
from lit_tl.models.errors import BUNDLED_MODELS
from lit_tl.models.loading import Dtype
from lit_tl.models.sources import ModelSource
from lit_tl.names import safe_label, unused_label
from lit_tl.server.app import DEFAULT_CACHE_BYTES, LitTlApp
from lit_tl.server.page_access import PageAccess
from lit_tl.settings import Settings, setting
from lit_tl.store import Store
from lit_tl.variants.text import parse_changes

Models = Union[str, Mapping[str, Any], Sequence[Any]]
Datasets = Union[str, Mapping[str, Any], Sequence[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig(Settings):
    """How models and data are loaded.

    Raises:
        SettingError: a value is not allowed.
    """

    device: Optional[str] = setting(
        None, "Where models run: cuda, cuda:1, mps, cpu. Default: the best there is."
    )
    dtype: Dtype = setting("float32", "Number format of the weights.")
    trust_remote_code: bool = setting(
        False, "Run model code that comes with a checkpoint. Read it first."
    )
    max_examples: int = setting(DEFAULT_MAX_EXAMPLES, "Most prompts to read from a file.", low=1)
    cache_bytes: int = setting(DEFAULT_CACHE_BYTES, "Bound on what is kept of predictions.", low=0)
    max_models: int = setting(8, "Most models to hold.", low=1, high=64)
    wrapper: HookedTransformerLITConfig = dataclasses.field(
        default_factory=HookedTransformerLITConfig, metadata={"help": "Of the model wrapper."}
    )


class StartLog:
    """Says on standard error what is being done, with the seconds since the start.

    Args:
        quiet: say nothing.
        started: of `time.monotonic`; None is now.
    """

    def __init__(self, quiet: bool = False, started: Optional[float] = None):
        self._started = time.monotonic() if started is None else started
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        if not self._quiet:
            print(
                f"[{time.monotonic() - self._started:5.1f} s] {text}", file=sys.stderr, flush=True
            )


def load_models(
    models: Optional[Models],
    config: BuildConfig,
    say: StartLog,
    datasets: Mapping[str, lit_dataset.Dataset] = {},
) -> dict[str, lit_model.Model]:
    """Models by label. An entry is a source as in `--models`, a TransformerLens model, or a LIT
    model; None is the bundled one. A source with changes behind it is a variant: it shares the
    weights of an entry before it that has this label, or comes from the same place.

    Args:
        models: the entries.
        config: how they are loaded.
        say: what is being done.
        datasets: that changes name.

    Raises:
        LoadingError: a model can't be loaded, or two have one label.
    """
    if models is None:
        models = tuple(BUNDLED_MODELS)
    if isinstance(models, str) or not isinstance(models, (Mapping, Sequence)):
        models = [models]
    entries = (
        list(models.items()) if isinstance(models, Mapping) else [(None, entry) for entry in models]
    )
    labels = [
        label or (ModelSource.parse(entry).label if isinstance(entry, str) else "")
        for label, entry in entries
    ]
    config.wrapper.check_labels([label for label in labels if label])
    loaded: dict[str, lit_model.Model] = {}
    by_place: dict[Any, HookedTransformerLIT] = {}
    for label, entry in entries:
        if isinstance(entry, lit_model.Model):
            model: lit_model.Model = entry
        elif isinstance(entry, str):
            source = ModelSource.parse(entry)
            label = label or source.label
            place = (source.name, *source.version.values(), config.wrapper.of_model(label))
            earlier = loaded.get(source.name) if source.changes else None
            of_label = earlier if isinstance(earlier, HookedTransformerLIT) else None
            original = of_label or by_place.get(place) or _load(source, label, config, say)
            if of_label is None:
                by_place[place] = original
            changes = parse_changes(source.changes)
            sets = {name: data.examples for name, data in datasets.items()}
            model = original
            if changes:
                say(f"making {label}: {source.changes}")
                model = original.with_interventions(*changes, data_sets=sets)
        else:
            model = HookedTransformerLIT(
                entry,
                config.wrapper.of_model(str(label)),
            )
        if label is None:
            ours = isinstance(model, HookedTransformerLIT)
            label = model.loaded.runner.shape.name if ours else type(model).__name__
        if isinstance(model, HookedTransformerLIT) and model.config.lens not in ("auto", "none"):
            say(model.loaded.lenses.note)  # what is named must be there
        loaded[unused_label(safe_label(str(label)), loaded, "model")] = model
    return loaded


def _load(
    source: ModelSource, label: str, config: BuildConfig, say: StartLog
) -> HookedTransformerLIT:
    say(f"loading model {label}" + (f" from {source.name}" if label != source.name else ""))
    return HookedTransformerLIT.from_pretrained(
        source.name,
        config.wrapper.of_model(label),
        device=config.device,
        dtype=config.dtype,
        trust_remote_code=config.trust_remote_code,
        **source.version,
    )


def load_datasets(
    datasets: Optional[Datasets], config: BuildConfig, say: StartLog
) -> dict[str, lit_dataset.Dataset]:
    """Data sets by label. An entry is a source as in `--datasets`, a LIT data set, or a list of
    prompts; None is all tasks.

    Raises:
        DataError: a data set can't be read.
        ValueError: two have one label.
    """
    if datasets is None:
        datasets = list(paired.TASKS)
    if isinstance(datasets, (str, lit_dataset.Dataset)):
        datasets = [datasets]
    entries = (
        list(datasets.items())
        if isinstance(datasets, Mapping)
        else [(None, entry) for entry in datasets]
    )
    loaded: dict[str, lit_dataset.Dataset] = {}
    for label, entry in entries:
        if isinstance(entry, lit_dataset.Dataset):
            data: lit_dataset.Dataset = entry
        elif isinstance(entry, str):
            source = PromptSource.parse(entry)
            label = label or source.label
            data = PromptDataset(source.load(config.max_examples))
        else:
            data = Prompts(entry)
        loaded[unused_label(str(label or "prompts"), loaded, "data set")] = data
    say(f"{sum(len(data) for data in loaded.values())} prompts in {len(loaded)} data sets")
    return loaded


def fit_report(
    models: Mapping[str, lit_model.Model], datasets: Mapping[str, lit_dataset.Dataset]
) -> list[str]:
    """A line for each data set and model: how many of its paired examples fit the model's
    tokenizer, and why others do not."""
    lines = []
    for model_name, model in models.items():
        if not isinstance(model, HookedTransformerLIT):
            continue
        for name, data in datasets.items():
            misfitting = misfits(data.examples, model.loaded.prompter)
            if misfitting:
                first = misfitting[0]
                lines.append(
                    f"{name}: {len(misfitting)} of {len(data)} examples do not fit {model_name}, "
                    f"{len(data) - len(misfitting)} are left; example {first.index + 1}, "
                    f"{first.text[:40]!r}: {first.reason}"
                )
    return lines


def with_siblings(models: Mapping[str, lit_model.Model]) -> dict[str, lit_model.Model]:
    """The models, and for each of ours the hidden ones that Sequence Salience needs."""
    hidden: dict[str, lit_model.Model] = {}
    for name, model in models.items():
        if isinstance(model, HookedTransformerLIT):
            hidden |= siblings(name, model)
    return {**models, **hidden}


def model_loader(access: PageAccess) -> Callable[..., lit_model.ModelMap]:
    """What LIT's dialog calls: a function from the form's fields to a model under its new name, and
    its hidden siblings."""

    def allowed(source: ModelSource, wrapper: HookedTransformerLITConfig) -> str:
        access.lens(wrapper.lens)
        access.template(wrapper.chat_template)
        return access.model(source.name, source.revision, source.checkpoint_value)

    def load(new_name: str, **form: Any) -> lit_model.ModelMap:
        return with_siblings({new_name: load_for_lit(allowed=allowed, **form)})

    return load


def check_lit_options(options: Mapping[str, Any]) -> None:
    """LIT swallows misspelt options; here they are errors.

    Raises:
        TypeError: LIT's application has no such option.
    """
    known = inspect.signature(lit_app.LitApp).parameters
    for name in options:
        if name not in known or name in ("models", "datasets"):
            near = difflib.get_close_matches(name, known, n=1)
            raise TypeError(
                f"{name!r} is not an option of lit_tl.serve or LIT"
                + (f": did you mean {near[0]!r}?" if near else "")
            )


def build_app(
    models: Mapping[str, lit_model.Model],
    datasets: Mapping[str, lit_dataset.Dataset],
    config: BuildConfig,
    *,
    analyses: Sequence[Analysis] = (),
    access: Optional[PageAccess] = None,
    stores: Mapping[str, Store] = {},
    **lit_options: Any,
) -> LitTlApp:
    """The application.

    Args:
        models: by label.
        datasets: by label.
        config: for the cache.
        analyses: a user's own.
        access: what the page may load; None for what is shipped alone.
        stores: that pages may look at, by label.
        **lit_options: of `lit_nlp.app.LitApp`.
    """
    access = access or PageAccess()
    options: dict[str, Any] = {
        "interpreters": components.interpreters(analyses),
        "generators": components.generators(),
        "metrics": components.lit_metrics(),
        "layouts": dict(layouts.LAYOUTS),
        "client_root": os.path.join(
            pathlib.Path(lit_app.__file__).parent, "client", "build", "default"
        ),
        "default_layout": "default",
        "page_title": "lit_tl",
        "model_loaders": {
            "TransformerLens": (model_loader(access), HookedTransformerLIT.init_spec())
        },
        "dataset_loaders": loaders(file=access.file, need_hub=access.need_hub),
    }
    options |= {name: value for name, value in lit_options.items() if value is not None}
    return LitTlApp(
        with_siblings(models),
        datasets,
        cache_bytes=config.cache_bytes,
        max_models=config.max_models,
        access=access,
        stores=stores,
        **options,
    )
