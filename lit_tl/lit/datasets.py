"""Prompts as LIT data sets, and those that LIT's dialog can load."""

import dataclasses
from typing import Any, Callable, Iterable, Mapping, Optional, Union

from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types

from lit_tl.data import hub_prompts, paired, prompt_files, tasks
from lit_tl.data.columns import Column, PromptData, prompts_in_memory
from lit_tl.data.prompt_files import DEFAULT_MAX_EXAMPLES
from lit_tl.lit.forms import form_of
from lit_tl.names import without_markup
from lit_tl.settings import Settings, required, setting


class PromptDataset(lit_dataset.Dataset):
    """Prompts for LIT. Names of columns, and labels, are shown by its client as markdown; they go
    there without markup.

    Args:
        data: what to show.
    """

    def __init__(self, data: PromptData):
        columns = {without_markup(name): column for name, column in data.columns.items()}
        labels = {name for name, column in data.columns.items() if column.kind == "label"}
        examples = data.examples
        if list(columns) != list(data.columns) or any(map(_has_markup, columns.values())):
            examples = [
                {
                    without_markup(name): without_markup(value)
                    if name in labels and isinstance(value, str)
                    else value
                    for name, value in example.items()
                }
                for example in examples
            ]
        spec = {name: _lit_type(column) for name, column in columns.items()}
        description = without_markup(data.description)
        super().__init__(spec=spec, examples=examples, description=description)


def _has_markup(column: Column) -> bool:
    return any(without_markup(label) != label for label in column.labels)


def _lit_type(column: Column) -> lit_types.LitType:
    if column.kind == "label":
        return lit_types.CategoryLabel(
            vocab=[without_markup(label) for label in column.labels], required=False
        )
    if column.kind == "scalar":
        return lit_types.Scalar(min_val=column.low, max_val=column.high, required=False)
    if column.kind == "boolean":
        return lit_types.BooleanLitType(required=False)
    if column.kind == "tokens":
        return lit_types.Tokens(parent="text", required=False)
    if column.kind == "token scores":
        return lit_types.TokenScores(align="tokens", required=False)
    return lit_types.TextSegment(required=column.required)


class Prompts(PromptDataset):
    """Prompts that are in memory: texts, or records with a text.

    Raises:
        DataError: there is none, a record has no text, or a field has values of different kinds.
    """

    def __init__(self, prompts: Union[str, Iterable[Union[str, Mapping[str, Any]]]]):
        super().__init__(prompts_in_memory(prompts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileForm(Settings):
    """A file of prompts."""

    path: str = required("The file.")
    max_examples: int = setting(DEFAULT_MAX_EXAMPLES, "Most prompts to read.", low=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableForm(FileForm):
    """A file of prompts with named columns."""

    text_column: str = setting("", "The column with the prompts; empty for text, prompt, ...")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubForm(Settings):
    """A data set of the Hub."""

    source: str = required("owner/name[split,column,:count]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskForm(Settings):
    """A paired task."""

    task: paired.TaskName = setting("ioi", "Which task.")
    seed: Optional[int] = setting(None, "Makes new examples; empty for the shipped ones.", low=0)
    count: int = setting(tasks.SHIPPED_COUNT, "How many examples.", low=1, high=10_000)


def _text_lines(form: FileForm) -> PromptData:
    return prompt_files.read_text_lines(form.path, form.max_examples)


def _json_lines(form: FileForm) -> PromptData:
    return prompt_files.read_json_lines(form.path, form.max_examples)


def _table(form: TableForm) -> PromptData:
    return prompt_files.read_table(form.path, form.text_column, form.max_examples)


def _json_list(form: TableForm) -> PromptData:
    return prompt_files.read_json_list(form.path, form.text_column, form.max_examples)


def _hub(form: HubForm) -> PromptData:
    return hub_prompts.read_hub(form.source)


def _task(form: TaskForm) -> PromptData:
    return tasks.read_task(form.task, form.seed, form.count)


_FORMS: Mapping[str, tuple[type[Settings], Any]] = {
    "text lines": (FileForm, _text_lines),
    "JSON lines": (FileForm, _json_lines),
    "CSV or TSV": (TableForm, _table),
    "JSON": (TableForm, _json_list),
    "Hub": (HubForm, _hub),
    "paired task": (TaskForm, _task),
}


def loaders(
    *, file: Callable[[str], str], need_hub: Callable[[str], None]
) -> dict[str, tuple[Any, lit_types.Spec]]:
    """What LIT's dialog can load, by the name it shows: a function of the form's fields, and the
    form.

    Args:
        file: from a path to one that may be read; refuses any other.
        need_hub: refuses a name on the Hub where that is not allowed.
    """

    def loader(form: type[Settings], read: Any) -> Any:
        def load(**fields: Any) -> lit_dataset.Dataset:
            given = form.read(fields)
            if isinstance(given, FileForm):
                given = dataclasses.replace(given, path=file(given.path))
            elif isinstance(given, HubForm):
                need_hub(given.source)
            return PromptDataset(read(given))

        return load

    return {name: (loader(form, read), form_of(form)) for name, (form, read) in _FORMS.items()}
