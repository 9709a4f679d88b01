"""One run from its settings to its folder."""

import dataclasses
import pathlib
from typing import Any, Mapping, Optional, Sequence

import torch

from lit_tl.engine.adapt import adapt
from lit_tl.lens.fused_readout import half_products
from lit_tl.lens.lenses import TunedLens
from lit_tl.lens.training import record
from lit_tl.lens.training.checkpoints import Checkpoints
from lit_tl.lens.training.chunks import Chunks, Encode
from lit_tl.lens.training.config import TrainConfig
from lit_tl.lens.training.plan import Plan
from lit_tl.lens.training.processes import ALONE, Processes, shard
from lit_tl.lens.training.progress import Progress, WandbRun
from lit_tl.lens.training.trainer import OutOfData, Trainer
from lit_tl.models.causal_lm import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelAndText:
    """What is trained on: a frozen Hugging Face model, its tokenizer, and documents."""

    model: Any
    tokenizer: Any
    documents: Any
    """See `lit_tl.data.documents`."""

    @property
    def context(self) -> int:
        """The longest text in tokens that the model's config allows; 2048 where it says nothing."""
        return adapt(self.model).shape.context or 2048


class Listeners:
    """Tells several of a run's steps."""

    def __init__(self, progress: Optional[Progress], wandb: Optional[WandbRun]):
        self._progress, self.wandb = progress, wandb
        self.wandb_run_id = None if wandb is None else wandb.run_id

    def read(self, tokens: int) -> None:
        """So many more tokens were worked through."""
        if self._progress is not None:
            self._progress.read(tokens)

    def step(self, step: int, losses: list[float], lr: float) -> None:
        """A step is done."""
        for listener in (self._progress, self.wandb):
            if listener is not None:
                listener.step(step, losses, lr)

    def close(self, failed: bool = False) -> None:
        """The run is over."""
        for listener in (self._progress, self.wandb):
            if listener is not None:
                listener.close(failed)


_NO_ONE = Listeners(None, None)


def train(
    config: TrainConfig,
    source: ModelAndText,
    *,
    device: torch.device,
    processes: Processes = ALONE,
    quiet: bool = False,
) -> TunedLens:
    """Train a lens and write its folder: the lens, `train.json` and `losses.html`; on the first
    process only.

    Goes on from the newest checkpoint where one is there; writes them where
    `config.checkpoint_freq` is set.

    Args:
        config: every setting of the run.
        source: the frozen model, its tokenizer and the documents.
        device: where the lens and its optimizer live.
        processes: this process among those that share the run.
        quiet: print no progress.

    Returns:
        The trained lens, on `device`.

    Raises:
        OutOfData: the text ended before the run did.
        CheckpointError: a checkpoint is damaged, of other settings, or can't be written.
        ValueError, OSError: the settings do not fit the model, or the output can't be written.
    """
    output = pathlib.Path(config.output).expanduser()
    lens = _new_lens(config, source.model)
    plan = Plan.of(
        config, context=source.context, d_model=lens.config.d_model, world_size=processes.world_size
    )
    _check_text_length(config, plan, source)
    identity = {
        "data": source.documents.identity(),
        "model": {
            "name": lens.config.base_model_name_or_path,
            "weights": record.weights_hash(source.model),
        },
    }
    settings = config.results() | {"max_seq_len": plan.length} | identity
    checkpoints = Checkpoints(
        _checkpoint_folder(config, output), settings, keep=config.checkpoint_keep
    )
    products = _name(product_dtype(config.precision, device))
    processes.agree(config.of_all() | settings | {"products": products})
    state = processes.from_first(checkpoints.newest)
    if state is not None:
        products = state["products"]  # also on a machine that would choose others
    if config.fsdp:
        shard(source.model, device, cpu_offload=config.cpu_offload)
    listeners = _listeners(config, plan, source, state, quiet) if processes.is_first else _NO_ONE
    trainer = Trainer(
        config=config,
        plan=plan,
        model=source.model,
        lens=lens.to(device),
        chunks=_chunks(config, plan, source, state),
        processes=processes,
        product_dtype=getattr(torch, products) if products else None,
        listener=listeners,
    )
    if state is not None:
        trainer.restore(state)
    failed = True
    try:
        trainer.run(checkpoints)
        failed = False
    finally:
        listeners.close(failed)
    if processes.is_first:
        lens.save(output)
        content = identity | _content(trainer, processes) | {"products": products}
        record.write(
            output, config=config, content=content, losses=trainer.losses, loss_name=config.loss
        )
    return lens


def _check_text_length(config: TrainConfig, plan: Plan, source: ModelAndText) -> None:
    """Refuse text that is certainly too short, before anything is computed."""
    asked, most = plan.tokens_asked(config.num_steps), source.documents.most_tokens()
    if most is not None and most < asked:
        raise OutOfData(
            f"{source.documents.where} holds {most:,} tokens at the very most, and the run "
            f"asks for {asked:,} ({plan.in_words(config)}): give more text, or a smaller "
            "--num_steps, --tokens_per_step, --start_tokens or --held_out_tokens"
        )


def _checkpoint_folder(config: TrainConfig, output: pathlib.Path) -> pathlib.Path:
    if config.checkpoint_dir:
        return pathlib.Path(config.checkpoint_dir).expanduser()
    return output / "checkpoints"


def _name(dtype: Optional[torch.dtype]) -> Optional[str]:
    return None if dtype is None else str(dtype).removeprefix("torch.")


def product_dtype(precision: Precision, device: torch.device) -> Optional[torch.dtype]:
    """What products with the unembedding are made in: bfloat16 where the device has units for it,
    unless a precision is said."""
    if precision in ("float32", "bfloat16", "float16"):
        return getattr(torch, precision)
    return half_products(device)


def encoder(tokenizer: Any, d_vocab: int) -> Encode:
    """Texts to ids: each begins with the token that begins a text (or ends one, where there is
    none), as TransformerLens has it.

    Raises:
        ValueError: when a text has an id that the model has no embedding for.
    """
    first = next(
        (i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None), None
    )
    prefix = [] if first is None else [int(first)]

    def encode(texts: Sequence[str]) -> list[list[int]]:
        encoded = tokenizer(
            list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False
        )["input_ids"]
        highest = max((max(ids, default=0) for ids in encoded), default=0)
        if highest >= d_vocab:
            raise ValueError(
                f"the tokenizer has token {highest}, but the model has {d_vocab} embeddings: "
                "they do not belong together"
            )
        return [prefix + ids for ids in encoded]

    return encode


def _new_lens(config: TrainConfig, model: Any) -> TunedLens:
    lens = TunedLens.from_model(model)
    if config.start_from not in ("ridge", "zero"):
        given = TunedLens.from_unembed_and_pretrained(lens.unembed, config.start_from)
        if not given.config.bias:
            raise ValueError(
                f"--start_from {config.start_from} is a lens without biases, which can't be "
                "trained on here: give ridge or zero"
            )
        lens.layer_translators.load_state_dict(given.layer_translators.state_dict())
    return lens


def _chunks(
    config: TrainConfig, plan: Plan, source: ModelAndText, state: Optional[Mapping[str, Any]]
) -> Chunks:
    return Chunks(
        source.documents,
        encoder(source.tokenizer, source.model.get_input_embeddings().weight.shape[0]),
        length=plan.length,
        shuffle_buffer=config.shuffle_buffer,
        seed=config.seed,
        state=None if state is None else state["chunks"],
    )


def _listeners(
    config: TrainConfig,
    plan: Plan,
    source: ModelAndText,
    state: Optional[Mapping[str, Any]],
    quiet: bool,
) -> Listeners:
    wandb = None
    if config.wandb:
        earlier = (state or {}).get("wandb_run_id")
        wandb = WandbRun(
            config.wandb,
            str(pathlib.Path(config.output).expanduser()),
            dataclasses.asdict(config),
            earlier,
        )
    if quiet:
        return Listeners(None, wandb)
    finished = 0 if state is None else len(state["losses"])
    progress = Progress(plan, config.num_steps, finished=finished, loss=config.loss)
    begins = (
        f"going on from the checkpoint of step {finished}"
        if finished
        else f"start: {config.start_from}"
    )
    progress.say(f"{config.model} on {source.model.device}, {plan.in_words(config)}; {begins}")
    return Listeners(progress, wandb)


def _content(trainer: Trainer, processes: Processes) -> dict[str, Any]:
    place = trainer.chunks.place
    held_out = None if trainer.held_out is None else trainer.held_out.describe()
    return {
        "held_out": held_out,
        "plan": dataclasses.asdict(trainer.plan),
        "tokens": trainer.chunks.given * trainer.plan.length,
        "documents": place.get("documents", 0),
        "skipped_lines": place.get("skipped", 0),
        "first_skipped": place.get("first_skipped", ""),
        "processes": processes.world_size,
        "device": record.device_name(next(trainer.lens.parameters()).device),
        "seconds": round(trainer.seconds, 1),
    }
