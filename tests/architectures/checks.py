"""Numbers of lit_tl beside those of transformers, for one checkpoint: how far off each is."""

import pathlib
from typing import Any, Callable, Optional

import numpy as np
import torch

from lit_tl.causal.attention_patterns import head_scores
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Gradients, Observe, Targets
from lit_tl.engine.sites import Site
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.salience.methods import Explained, attention_value
from tests.architectures.reference import Reference

IDS = [17, 301, 45, 902, 17, 301, 45, 1200, 33, 17, 301, 64]
OTHERS = [[5, 6, 7, 8, 9], [100, 200, 300, 400, 500, 600, 700, 800, 900]]
TOKEN = 77
TOLERANCE = 1e-3
"""Of the largest number beside it; rows of probabilities and scores are compared as they are."""

NOT_THERE = "-"
"""What a model has no number of, such as attention in a state-space model."""


class Case:
    """One checkpoint, in lit_tl and in transformers."""

    def __init__(self, folder: pathlib.Path):
        self.reference = Reference(folder)
        config = HookedTransformerLITConfig(max_new_tokens=4)
        self.model = HookedTransformerLIT.from_pretrained(str(folder), config)
        self.runner = self.model.loaded.runner

    def logits(self) -> float:
        """Of one prompt."""
        (batch,) = self.runner.run([Prompt(ids=tuple(IDS))])
        return _apart(batch.need_logits()[0], self.reference.logits(IDS))

    def padded_batch(self) -> float:
        """Logits of prompts of several lengths in one batch, each beside its single run."""
        prompts = [IDS, *OTHERS]
        worst = 0.0
        for batch in self.runner.run([Prompt(ids=tuple(ids)) for ids in prompts]):
            for row, i in enumerate(batch.index):
                own = batch.need_logits()[row, : len(prompts[i])]
                worst = max(worst, _apart(own, self.reference.logits(prompts[i])))
        return worst

    def attention(self) -> float | str:
        """Patterns of every layer that has attention."""
        expected = self.reference.patterns(IDS)
        layers = self.runner.layers("pattern")
        if not expected and not layers:
            return NOT_THERE
        if not layers:
            raise ValueError("TransformerLens gives no pattern")
        if set(expected) != set(layers):
            return f"WRONG: layers {list(layers)} and not {sorted(expected)}"
        (batch,) = self.runner.run(
            [Prompt(ids=tuple(IDS))], observe={"pattern": Observe(Site("pattern"))}
        )
        return max(
            float((batch.observed["pattern"][layer][0] - expected[layer]).abs().max())
            for layer in layers
        )

    def gradients(self) -> float:
        """Of a token's log-probability at the embeddings."""
        pos = len(IDS) - 1
        site = Site("embed")
        targets = Targets(example=[0], pos=[pos], token=[TOKEN], weight=[1.0])
        (batch,) = self.runner.run(
            [Prompt(ids=tuple(IDS))],
            observe={"embed": Observe(site)},
            gradients=Gradients(lambda _: targets, at=[site]),
        )
        own, gradient = batch.observed["embed"][0], batch.gradients[site][0]
        candidates = self.reference.embeddings(IDS, pos, TOKEN)
        same = [
            g
            for value, g in candidates
            if value.shape == own.shape and _apart(own, value) < TOLERANCE
        ]
        if not same:
            return float("inf")
        return min(_apart(gradient, g) for g in same)

    def residuals(self) -> float:
        """Before the first block and after each."""
        expected = self.reference.residuals(IDS)
        observe = {"pre": Observe(Site("resid_pre", layer=0)), "post": Observe(Site("resid_post"))}
        (batch,) = self.runner.run([Prompt(ids=tuple(IDS))], observe=observe)
        post = batch.observed["post"]
        own = [batch.observed["pre"][0], *(post[layer][0] for layer in sorted(post))]
        return max(_apart(each, other) for each, other in zip(own, expected, strict=True))

    def generation(self) -> float:
        """How many of the next tokens differ from a loop of plain passes."""
        different = 0
        prompts = [IDS, *OTHERS]
        runs = self.runner.run([Prompt(ids=tuple(ids)) for ids in prompts], keep_cache=True)
        for batch in runs:
            texts = self.runner.continue_greedily(batch, max_new_tokens=4)
            for i, text in zip(batch.index, texts, strict=True):
                expected = self.reference.greedy(prompts[i], 4)
                end = self.reference.tokenizer.eos_token_id
                expected = expected[: expected.index(end)] if end in expected else expected
                decoded = self.reference.tokenizer.decode(
                    expected, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
                different += text != decoded
        return float(different)

    def last_lens_row(self) -> float:
        """The readout of what the last block gives, beside the model's logits."""
        last = self.runner.shape.n_layers - 1
        (batch,) = self.runner.run(
            [Prompt(ids=tuple(IDS))], observe={"post": Observe(Site("resid_post", layer=last))}
        )
        with torch.no_grad():
            row = self.runner.readout.logits(batch.observed["post"][0])
        return _apart(row, self.reference.logits(IDS))

    def embedding_table(self) -> float:
        """Its rows beside the value that gradients are taken at."""
        (batch,) = self.runner.run(
            [Prompt(ids=tuple(IDS))], observe={"embed": Observe(Site("embed"))}
        )
        return _apart(self.runner.embedding_table()[IDS], batch.observed["embed"][0])

    def head_scores(self) -> float | str:
        """The attention to the previous token, by head."""
        expected = self.reference.patterns(IDS)
        if not expected:
            return NOT_THERE
        if not self.runner.layers("pattern"):
            raise ValueError("TransformerLens gives no pattern")
        (batch,) = self.runner.run(
            [Prompt(ids=tuple(IDS))], observe={"pattern": Observe(Site("pattern"))}
        )
        worst = 0.0
        for layer, pattern in expected.items():
            mean = pattern.diagonal(-1, 1, 2).mean(-1)
            own = head_scores(batch.observed["pattern"][layer][0], IDS)["previous token"]
            worst = max(worst, float(np.abs(np.array(own) - mean.numpy()).max()))
        return worst

    def attention_value(self) -> float | str:
        """Attention from the last position times the norms of the values there."""
        patterns, values = self.reference.patterns(IDS), self.reference.values(IDS)
        if not patterns:
            return NOT_THERE
        if set(values) != set(patterns):
            return "no reference: the library does not show what its attention reads"
        total = torch.zeros(len(IDS))
        for layer, pattern in patterns.items():
            norms = values[layer].norm(dim=-1).T  # key_value_head pos
            norms = norms.repeat_interleave(pattern.shape[0] // norms.shape[0], dim=0)
            total += (pattern[:, -1] * norms).sum(0)
        targets = Targets(example=[0], pos=[len(IDS) - 1], token=[TOKEN], weight=[1.0])
        explained = Explained(
            runner=self.runner, prompt=Prompt(ids=tuple(IDS)), targets=targets, filler_id=0
        )
        return float(np.abs(attention_value(explained) - (total / total.sum()).numpy()).max())

    def answer_probability(self) -> float:
        """Of an answer of one token, through LIT's predictions."""
        tokens = self.model.loaded.prompter.vocabulary.strings([*IDS, TOKEN])
        (prediction,) = self.model.predict(
            [{"tokens": tokens[:-1], "text": "", "answer": tokens[-1]}]
        )
        ids = self.model.loaded.prompter.vocabulary.ids(tokens)
        expected = float(self.reference.logits(ids[:-1])[-1].softmax(-1)[ids[-1]])
        return abs(float(prediction["answer_prob"]) - expected) / expected


CHECKS: dict[str, Callable[[Case], Any]] = {
    "logits": Case.logits,
    "padded batch": Case.padded_batch,
    "attention": Case.attention,
    "gradients": Case.gradients,
    "residuals": Case.residuals,
    "generation": Case.generation,
    "last lens row": Case.last_lens_row,
    "embedding table": Case.embedding_table,
    "head scores": Case.head_scores,
    "attention-value": Case.attention_value,
    "answer probability": Case.answer_probability,
}


def check(case: Case, name: str) -> str:
    """One cell: how far off, or why there is no number."""
    try:
        result = CHECKS[name](case)
    except ValueError as error:
        return f"refused: {error}"
    if isinstance(result, str):
        return result
    return f"{result:.0e}" if result <= TOLERANCE else f"WRONG: {result:.2g}"


def _apart(own: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    own, expected = own.float().cpu(), expected.float().cpu()
    scale = max(float(expected.abs().max()), 1e-6)
    return float((own - expected).abs().max()) / scale


def open_case(folder: pathlib.Path) -> tuple[Optional[Case], str]:
    """A case, or the sentence with which lit_tl refuses the checkpoint."""
    try:
        return Case(folder), ""
    except (ValueError, TypeError) as error:
        return None, f"refused: {error}"
