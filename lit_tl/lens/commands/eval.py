"""`python -m lit_tl.lens eval`: measure a lens."""

import dataclasses
import itertools
import math
import pathlib
from typing import Any, Iterator, Optional

from lit_tl.lens.commands.train import check_writable, load_frozen, open_text, skipped
from lit_tl.lens.settings import WorkOnText
from lit_tl.models.causal_lm import Precision
from lit_tl.settings import required, setting

USAGE = """Measure a tuned lens, and the logit lens beside it, against the model.

  python -m lit_tl.lens eval --model gpt2-small --data test.jsonl --lens lenses/gpt2-small \\
      --tokens 1000000 --output evaluation

Prints a table and writes eval.json, eval.csv and eval.html: for each layer and lens the KL
divergence to the model and the cross-entropy with the text, in nats and in bits per byte."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(WorkOnText):
    """The flags of `eval`.

    Raises:
        ValueError: a value is out of its range, or two do not go together.
    """

    lens: str = required(
        "A tuned lens's folder or Hub id, auto for the model's own, or none for the logit lens "
        "alone."
    )
    output: str = required("Folder for what was measured.")
    tokens: Optional[int] = setting(
        None, "How many tokens to read, in whole sequences. Default: all there are.", low=2
    )
    token_shift: int = setting(
        1, "How many tokens ahead of the input the label of the cross-entropy lies."
    )
    precision: Precision = setting(
        "auto",
        "Number format of the model; products with the unembedding are float32 unless one is said.",
    )


def run(config: Config) -> Optional[str]:
    """Measure and write; what to tell the user, None on processes other than the first.

    Raises:
        ValueError, OSError: with a message for the user.
    """
    output = pathlib.Path(config.output).expanduser()
    documents = open_text(config)
    check_writable(output, "output")
    from lit_tl.lens.training.processes import pick_device, processes

    device = pick_device(config.device)
    with processes(device) as this_process:
        model, tokenizer = load_frozen(config, device)
        return _Measuring(config, output, documents, device, this_process, model, tokenizer).run()


def _product_dtype(precision: Precision) -> Any:
    import torch

    return torch.float32 if precision in ("auto", "int8") else getattr(torch, precision)


def _shifted(source: str) -> list[str]:
    from lit_tl.lens.card import read_run

    settings = read_run(pathlib.Path(source).expanduser()).get("settings", {})
    shift = settings.get("token_shift") or 0
    if settings.get("loss") != "kl" or not shift:
        return []
    return [
        f"this lens was trained towards the prediction {shift} tokens on; the KL here compares "
        "at the same token"
    ]


@dataclasses.dataclass
class _Measuring:
    config: Config
    output: pathlib.Path
    documents: Any
    device: Any
    processes: Any
    model: Any
    tokenizer: Any

    def run(self) -> Optional[str]:
        import tqdm

        from lit_tl.lens.evaluation import evaluate
        from lit_tl.lens.training import processes, record
        from lit_tl.lens.training.chunks import Chunks
        from lit_tl.lens.training.loss import row_loss
        from lit_tl.lens.training.run import encoder

        content = {"data": self.documents.identity(), "model": record.weights_hash(self.model)}
        self.processes.agree(self.config.of_all() | content)
        source = self._source()
        lenses = self._lenses(source)
        if self.config.fsdp:
            processes.shard(self.model, self.device, cpu_offload=self.config.cpu_offload)
        length, shifted = self._length(), _shifted(source)
        chunks = Chunks(
            self.documents,
            encoder(self.tokenizer, self.model.get_input_embeddings().weight.shape[0]),
            length=length,
        )
        wanted = None if self.config.tokens is None else math.ceil(self.config.tokens / length)
        total = None if wanted is None else wanted * length
        with tqdm.tqdm(
            total=total, unit=" tokens", unit_scale=True, disable=not self.processes.is_first
        ) as bar:
            result = evaluate(
                self.model,
                lenses,
                row_loss(lenses["logit"].unembed, dtype=_product_dtype(self.config.precision)),
                self._batches(itertools.islice(chunks, wanted), length),
                token_shift=self.config.token_shift,
                bits_per_byte=lambda: chunks.tokens / max(chunks.text_bytes, 1) / math.log(2),
                processes=self.processes,
                report=lambda tokens: bar.update(tokens * self.processes.world_size),
            )
        if not self.processes.is_first:
            return None
        self._write(result, chunks)
        short = (
            ""
            if wanted is None or chunks.given == wanted
            else f" (the text ended before the {self.config.tokens:,} of --tokens)"
        )
        summary = (
            f"{self.output}: eval.json, eval.csv and eval.html, over {result.tokens:,} "
            f"predicted tokens{short}"
        )
        return "\n".join([result.table(), *shifted, *skipped(self.output / "eval.json"), summary])

    def _source(self) -> str:
        if self.config.lens != "auto":
            return self.config.lens
        from lit_tl.lens.choice import BUNDLED_LENSES

        name = self.model.name_or_path
        if name not in BUNDLED_LENSES and pathlib.Path(name).expanduser().is_dir():
            raise ValueError(
                f"--lens auto: {name} is a local folder, of which no lens is published; give a "
                "lens's folder, or none"
            )
        return str(BUNDLED_LENSES.get(name, name))

    def _lenses(self, source: str) -> Any:
        from lit_tl.lens.lenses import LogitLens, TunedLens

        logit = LogitLens.from_model(self.model)
        if source == "none":
            return {"logit": logit}
        tuned = TunedLens.from_unembed_and_pretrained(
            logit.unembed, source, map_location=self.device
        )
        return {"logit": logit, "tuned": tuned}

    def _length(self) -> int:
        from lit_tl.engine.adapt import adapt
        from lit_tl.lens.training.plan import LONGEST

        context = adapt(self.model).shape.context or LONGEST
        length = self.config.max_seq_len or min(context, LONGEST)
        if length > context:
            raise ValueError(
                f"--max_seq_len is {length}, but the model's context is {context} tokens"
            )
        if abs(self.config.token_shift) >= length:
            raise ValueError(
                f"--token_shift is {self.config.token_shift}, but a sequence has {length} tokens"
            )
        return length

    def _batches(self, sequences: Iterator[Any], length: int) -> Iterator[Any]:
        """This process's share of each round; all processes see as many rounds."""
        import torch

        batch = self.config.per_gpu_batch_size or max(1, 2048 // length)
        while taken := list(itertools.islice(sequences, batch * self.processes.world_size)):
            this_process = taken[self.processes.rank :: self.processes.world_size]
            rows = (
                torch.stack(this_process)
                if this_process
                else torch.empty(0, length, dtype=torch.int32)
            )
            yield rows.long().to(self.device)

    def _write(self, result: Any, chunks: Any) -> None:
        from lit_tl.lens import artifacts
        from lit_tl.lens.training import record

        content = {
            "settings": dataclasses.asdict(self.config),
            "versions": record.versions(),
            "data": self.documents.identity(),
            "tokens": result.tokens,
            "skipped_lines": chunks.place.get("skipped", 0),
            "first_skipped": chunks.place.get("first_skipped", ""),
            "measured": result.rows(),
        }
        artifacts.write_json(self.output / "eval.json", content)
        artifacts.replace(self.output / "eval.csv", lambda file: file.write(result.csv().encode()))
        figure = result.figure(
            f"Lenses of {self.config.model} on {result.tokens:,} tokens of "
            f"{pathlib.Path(self.documents.where).name}"
        )
        page = figure.to_html(include_plotlyjs=True)
        artifacts.replace(self.output / "eval.html", lambda file: file.write(page.encode()))
