"""How a run's tokens fall into sequences, passes and processes."""

import dataclasses

from lit_tl.lens.training.config import TrainConfig

LONGEST = 2048
_PASS_TOKENS = 2048
_START_TOKENS, _START_FOR_A_DIMENSION = 65_536, 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Counts that follow from a config, the model's shape, and the number of processes."""

    length: int
    """Tokens in a sequence."""
    sequences: int
    """In an optimizer step, on all processes together."""
    batch: int
    """Sequences in a pass of one process."""
    passes: int
    """Of one process in a step (gradient accumulation)."""
    start_sequences: int
    """What a start in closed form reads; 0 for other starts."""
    held_out: int
    """Sequences that are not trained on; as many as some steps have."""

    @classmethod
    def of(cls, config: TrainConfig, *, context: int, d_model: int, world_size: int) -> "Plan":
        """Make one.

        Raises:
            ValueError: numbers do not divide, or exceed the model's context.
        """
        length = config.max_seq_len or min(context, LONGEST)
        if length > context:
            raise ValueError(
                f"--max_seq_len is {length}, but the model's context is {context} tokens"
            )
        if max(abs(config.shift), abs(config.start_shift)) >= length:
            raise ValueError(f"--token_shift is {config.shift}, but a sequence has {length} tokens")
        if config.tokens_per_step % (length * world_size):
            unit = length * world_size
            raise ValueError(
                f"--tokens_per_step is {config.tokens_per_step}, which is no multiple of {unit} "
                f"({length} tokens in a sequence x {world_size} processes): near it are "
                f"{_nearest(config.tokens_per_step, unit)}"
            )
        sequences = config.tokens_per_step // length
        of_one = sequences // world_size
        batch = config.per_gpu_batch_size or max(
            n
            for n in range(1, of_one + 1)
            if of_one % n == 0 and n <= max(1, _PASS_TOKENS // length)
        )
        if of_one % batch:
            raise ValueError(
                f"--per_gpu_batch_size is {batch}, but a step has {of_one} sequences for each "
                f"process (--tokens_per_step {config.tokens_per_step}, sequences of {length} "
                "tokens): give a divisor of that"
            )
        wanted = config.start_tokens or max(_START_TOKENS, _START_FOR_A_DIMENSION * d_model)
        start = -(-wanted // length) if config.start_from == "ridge" else 0
        return cls(
            length=length,
            sequences=sequences,
            batch=batch,
            passes=of_one // batch,
            start_sequences=start,
            held_out=-(-config.held_out_tokens // config.tokens_per_step) * sequences,
        )

    def in_words(self, config: TrainConfig) -> str:
        """In words."""
        steps = (
            f"{config.num_steps} steps of {config.tokens_per_step:,} tokens in sequences "
            f"of {self.length}"
        )
        begin = {"for the start": self.start_sequences, "held out": self.held_out}
        parts = [f"{n * self.length:,} tokens {what}" for what, n in begin.items() if n]
        return ", ".join([*parts, steps])

    def tokens_asked(self, num_steps: int) -> int:
        """Of the whole run."""
        return (self.start_sequences + self.held_out + num_steps * self.sequences) * self.length


def _nearest(value: int, unit: int) -> str:
    below = value // unit * unit
    return f"{below} and {below + unit}" if below else str(unit)
