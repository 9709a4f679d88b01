"""What computes one file of a part: on this machine, or in an actor elsewhere."""

import dataclasses
import pathlib
import time
from typing import Any, Mapping, Optional, Sequence

from lit_tl import __version__
from lit_tl.analyses.loaded_model import Example
from lit_tl.engine.memory import OutOfMemory
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.models.sources import ModelSource
from lit_tl.precompute.analyses.predictions import MOST_TOKENS
from lit_tl.precompute.catalog import Chosen
from lit_tl.precompute.contract import OverRows
from lit_tl.session.digests import digest_of_weights
from lit_tl.settings import Settings
from lit_tl.store import Described, Part, Store
from lit_tl.store.columns import Record
from lit_tl.variants.text import parse_changes

_TOGETHER = 64
"""Examples that an analysis is given at a time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """How models are loaded, and read prompts.

    Args:
        device: None for the best there is.
        dtype: of the weights; None for the checkpoint's usual.
        lens: as in `HookedTransformerLITConfig.lens`.
        prepend_bos: as there.
        chat: as there.
        chat_template: as there.
        loss_over: as there.
        batch_size: most prompts in a pass.
        token_budget: most tokens in a pass.
        max_seq_length: longest prompt in tokens.
        trust_remote_code: run code that comes with a checkpoint.
    """

    device: Optional[str] = None
    dtype: Optional[str] = None
    lens: str = "auto"
    prepend_bos: Any = "auto"
    chat: bool = False
    chat_template: str = "auto"
    loss_over: Any = "all"
    batch_size: int = 32
    token_budget: int = 2048
    max_seq_length: int = 4096
    trust_remote_code: bool = False

    def load(self, name: str) -> HookedTransformerLIT:
        """A model by its entry in `--models`, without the label.

        Raises:
            LoadingError, ValueError: it can't be loaded; the message says why.
        """
        source = ModelSource.parse(name)
        config = HookedTransformerLITConfig(
            device=self.device,
            lens=self.lens,
            prepend_bos=self.prepend_bos,
            chat=self.chat,
            chat_template=self.chat_template,
            loss_over=self.loss_over,
            batch_size=self.batch_size,
            token_budget=self.token_budget,
            max_seq_length=self.max_seq_length,
            top_k=MOST_TOKENS,
            compute_gradients=False,
        )
        more = {"trust_remote_code": True} if self.trust_remote_code else {}
        if self.dtype is not None:
            more["dtype"] = self.dtype  # type: ignore[assignment]
        model = HookedTransformerLIT.from_pretrained(
            source.name, config, device=self.device, **source.version, **more
        )
        changes = parse_changes(source.changes)
        return model.with_interventions(*changes) if changes else model

    def reading(self) -> dict[str, Any]:
        """What numbers depend on, beside the weights."""
        return {
            "prepend_bos": self.prepend_bos,
            "chat": self.chat,
            "chat_template": self.chat_template,
            "max_seq_length": self.max_seq_length,
            "loss_over": self.loss_over,
            "dtype": self.dtype,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A part that is to be made.

    Args:
        part: as the store knows it.
        chosen: the analysis and its settings.
    """

    part: Part
    chosen: Chosen


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """What became of one file.

    Args:
        part: its name.
        shard: its number.
        rows: how many prompts.
        tokens: how many tokens were read; 0 where that is not known.
        failed: rows without numbers.
        seconds: that it took.
        peak_bytes: most memory of the process so far.
    """

    part: str
    shard: int
    rows: int
    failed: int
    seconds: float
    peak_bytes: int


class Worker:
    """A model, and what computes with it.

    Args:
        store: its folder.
        source: the model, as in `--models`.
        config: how it is loaded.
    """

    def __init__(self, store: pathlib.Path, source: str, config: ModelConfig):
        self.store, self.model = Store(store), config.load(source)
        self._source, self._config = source, config
        self._described: dict[str, Described] = {}

    def identity(self, chosen: Chosen) -> dict[str, Any]:
        """What an analysis' numbers depend on.

        Raises:
            ValueError: the analysis does not suit the model.
        """
        settings = chosen.settings
        identity = {
            "weights": digest_of_weights(self.model.model),
            "changes": [str(change) for change in self.model.loaded.changes],
            "reading": self._config.reading(),
            "settings": {chosen.analysis.name: dataclasses.asdict(settings)},
            "code": __version__,
        }
        if chosen.analysis.reads_lens:
            identity["lens"] = self._config.lens
        self._columns("", chosen)
        return identity

    def compute(self, task: Task, shard: int) -> Finished:
        """Make a file, unless it is there.

        Raises:
            StoreError: it can't be written, or the data can't be read.
        """
        start = time.monotonic()
        chosen = task.chosen
        rows = self.store.examples(shard)
        described = self._columns(task.part.name, chosen)
        records = over_examples(self.model, chosen.analysis, chosen.settings, rows)
        self.store.write(task.part, shard, described, records)
        return Finished(
            part=task.part.name,
            shard=shard,
            rows=len(rows),
            failed=len({row for row, error, _ in records if error is not None}),
            seconds=time.monotonic() - start,
            peak_bytes=peak_bytes(),
        )

    def _columns(self, name: str, chosen: Chosen) -> Described:
        key = name or chosen.label
        if key not in self._described:
            self._described[key] = chosen.analysis.columns(self.model, chosen.settings)
        return self._described[key]


def over_examples(
    model: HookedTransformerLIT,
    analysis: OverRows,
    settings: Settings,
    rows: Sequence[tuple[int, Example, Optional[str]]],
) -> list[tuple[int, Optional[str], Record]]:
    """An analysis of some rows.

    Returns:
        Records in the order of the rows, or what a fold keeps of them; and of each row that can't
        be computed its number and the reason, without a record.
    """
    kept: list[tuple[int, Record]] = []
    failed: list[tuple[int, Optional[str], Record]] = []
    readable: list[tuple[int, Example]] = []
    for row, example, error in rows:
        if error is not None:
            failed.append((row, error, {}))
        else:
            readable.append((row, example))
    for first in range(0, len(readable), _TOGETHER):
        found, errors = _guarded(model, analysis, settings, readable[first : first + _TOGETHER])
        failed += [(row, error, {}) for row, error in errors.items()]
        kept = (
            [*kept, *found] if analysis.fold is None else list(analysis.fold(kept, found, settings))
        )
    records: list[tuple[int, Optional[str], Record]] = [(row, None, record) for row, record in kept]
    if analysis.fold is not None:
        return [*records, *sorted(failed, key=lambda entry: entry[0])]
    return sorted([*records, *failed], key=lambda entry: entry[0])


def _guarded(
    model: HookedTransformerLIT,
    analysis: OverRows,
    settings: Settings,
    examples: Sequence[tuple[int, Example]],
) -> tuple[list[tuple[int, Record]], Mapping[int, str]]:
    """Records, and why an example has none: those that are refused are found by halving."""
    try:
        found = analysis.compute(model, [example for _, example in examples], settings)
        return [(row, record) for (row, _), record in zip(examples, found, strict=True)], {}
    except (ValueError, OutOfMemory, IndexError, KeyError, TypeError, RuntimeError) as error:
        if len(examples) == 1:
            said = " ".join(str(error).split()) or type(error).__name__
            kind = (
                "" if isinstance(error, (ValueError, OutOfMemory)) else f"{type(error).__name__}: "
            )
            return [], {examples[0][0]: f"{kind}{said}"[:500]}
    middle = len(examples) // 2
    records, errors = _guarded(model, analysis, settings, examples[:middle])
    more, further = _guarded(model, analysis, settings, examples[middle:])
    return [*records, *more], {**errors, **further}


def peak_bytes() -> int:
    """Most memory that this process has had at once."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
