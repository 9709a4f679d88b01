"""What training and evaluating lenses share. Loads no torch."""

import dataclasses
from typing import Any, Literal, Optional

from lit_tl.models.causal_lm import Precision
from lit_tl.settings import Settings, required, setting

BadLines = Literal["refuse", "skip"]
TxtDocuments = Literal["blank_lines", "file"]
_OF_A_MACHINE = ("model", "data", "output", "checkpoint_dir", "device", "wandb", "debug")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkOnText(Settings):
    """What training and evaluating share: a model, its text, and how the work is spread.

    Raises:
        ValueError: a value is out of its range, or two do not go together.
    """

    model: str = required(
        "Bundled model, TransformerLens alias, Hub id or local folder; [@revision]."
    )
    data: str = required(
        "Text: a file (.jsonl, .txt, each also .gz or .zst), or a data set: a folder, or a Hub "
        "id owner/name[/config]."
    )
    split: str = setting("train", "Split of a data set.")
    text_column: str = setting("text", "Key or column that holds the text.")
    txt_documents: TxtDocuments = setting(
        "blank_lines",
        "What separates the documents of a .txt or .md file: blank lines, or nothing, so that each "
        "file is one document.",
    )
    bad_lines: BadLines = setting(
        "refuse",
        "What to do with a line that holds no text: refuse the file, or skip and count the line.",
        result=False,
    )
    max_seq_len: Optional[int] = setting(
        None, "Tokens in a sequence. Default: the model's context, at most 2048.", low=2
    )
    per_gpu_batch_size: Optional[int] = setting(
        None,
        "Sequences in one pass on each process. Default: about 2,048 tokens.",
        low=1,
        result=False,
    )
    device: Optional[str] = setting(
        None, "cuda, mps, cpu; the best there is if not said.", result=False
    )
    precision: Precision = setting(
        "auto",
        "Number format of the model; auto is bfloat16 products where the device is fast at them.",
    )
    trust_remote_code: bool = setting(
        False, "Run model code that comes with a checkpoint. Read it first.", result=False
    )
    fsdp: bool = setting(
        False, "Shard the model over the processes (PyTorch's fully_shard).", result=False
    )
    cpu_offload: bool = setting(
        False, "With --fsdp: keep the model's shards in the CPU's memory.", result=False
    )
    debug: bool = setting(False, "Show tracebacks of errors.", result=False)

    def of_all(self) -> dict[str, Any]:
        """The settings that all processes of a run must share; where things lie may differ between
        machines."""
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in _OF_A_MACHINE
        }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cpu_offload and not self.fsdp:
            raise ValueError(
                "--cpu_offload keeps the shards of --fsdp in the CPU's memory: give --fsdp too"
            )
        if self.precision == "int8" and self.fsdp:
            raise ValueError(
                "--precision int8 can't be combined with --fsdp or --cpu_offload: quantized "
                "weights can't be sharded"
            )
