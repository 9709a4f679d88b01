"""Fields of configs that are also flags. Loads no torch."""

import dataclasses
import math
from typing import Any, Literal, Optional, Union

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
BadLines = Literal["refuse", "skip"]
_OF_A_MACHINE = ("model", "data", "output", "checkpoint_dir", "device", "wandb", "debug")


def setting(default: Any, text: str, *, result: bool = True) -> Any:
    """A field with its help text. `result` marks what the trained lens depends on: a run that goes on may not change it."""
    return dataclasses.field(default=default, metadata={"help": text, "result": result})


def required(text: str, *, result: bool = True) -> Any:
    """A field that has to be given."""
    return dataclasses.field(metadata={"help": text, "result": result, "required": True})


def at_least(name: str, value: Union[int, float, None], least: int) -> None:
    """Refuse a number that is too small, or none.

    Raises:
        ValueError: it is.
    """
    if value is not None and not least <= value < math.inf:
        raise ValueError(f"--{name} is {value}: give {least} or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkOnText:
    """What training and evaluating share: a model, its text, and how the work is spread.

    Raises:
        ValueError: a value is out of its range, or two do not go together.
    """

    model: str = required("Bundled model, TransformerLens alias, Hub id or local folder; [@revision].")
    data: str = required(
        "Text: a file (.jsonl, .txt, each also .gz or .zst), or a data set: a folder, or a Hub id owner/name[/config]."
    )
    split: str = setting("train", "Split of a data set.")
    text_column: str = setting("text", "Key or column that holds the text.")
    bad_lines: BadLines = setting(
        "refuse", "What to do with a line that holds no text: refuse the file, or skip and count the line.", result=False
    )
    max_seq_len: Optional[int] = setting(None, "Tokens in a sequence. Default: the model's context, at most 2048.")
    per_gpu_batch_size: Optional[int] = setting(
        None, "Sequences in one pass on each process. Default: about 2,048 tokens.", result=False
    )
    device: Optional[str] = setting(None, "cuda, mps, cpu; the best there is if not said.", result=False)
    precision: Precision = setting(
        "auto", "Number format of the model; auto is bfloat16 products where the device is fast at them."
    )
    fsdp: bool = setting(False, "Shard the model over the processes (PyTorch's fully_shard).", result=False)
    cpu_offload: bool = setting(False, "With --fsdp: keep the model's shards in the CPU's memory.", result=False)
    debug: bool = setting(False, "Show tracebacks of errors.", result=False)

    def of_all(self) -> dict[str, Any]:
        """The settings that all processes of a run must share; where things lie may differ between machines."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _OF_A_MACHINE}

    def __post_init__(self) -> None:
        at_least("max_seq_len", self.max_seq_len, 2)
        at_least("per_gpu_batch_size", self.per_gpu_batch_size, 1)
        if self.cpu_offload and not self.fsdp:
            raise ValueError("--cpu_offload keeps the shards of --fsdp in the CPU's memory: give --fsdp too")
        if self.precision == "int8" and self.fsdp:
            raise ValueError("--precision int8 can't be combined with --fsdp or --cpu_offload: quantized weights can't be sharded")
