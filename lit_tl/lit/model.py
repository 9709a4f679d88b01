"""A TransformerLens model as a LIT model."""

import copy
import dataclasses
import itertools
from typing import Any, Callable, Collection, Iterable, Iterator, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt
import torch
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.data.templates import read_template
from lit_tl.engine.answers import Answer, Reading
from lit_tl.engine.interventions import Intervention
from lit_tl.engine.requests import Batch, Gradients, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.selfchecks import require_streams, why_no_gradients
from lit_tl.engine.targets import choose_targets
from lit_tl.engine.token_readings import ReadTokens
from lit_tl.engine.transformer_lens_models import is_causal, is_transformer_lens, name_of
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.lit.fields import EMBED, ExampleView, Field, Needs, observed_for, output_fields
from lit_tl.lit.forms import form_of
from lit_tl.models.errors import BUNDLED_MODELS, LoadingError
from lit_tl.models.loading import DTYPES, load_model
from lit_tl.models.sources import ModelSource
from lit_tl.names import without_markup
from lit_tl.settings import known
from lit_tl.variants.ground import Prompts
from lit_tl.variants.making import Given, read_changes

_WINDOW_BATCHES = 8
"""Prompts of so many batches are sorted by length together."""


class HookedTransformerLIT(lit_model.Model):
    """A TransformerLens model in LIT: a `TransformerBridge`, or a `HookedTransformer` of 2 or 3.

    Outputs are described by `output_spec()`. All but generated text come from one forward pass and,
    where gradients are wanted, one backward pass to the input embeddings. Losses are in nats.
    Attention is `[head, query_pos, key_pos]`, rows summing to 1.

    Args:
        model: the model, with its tokenizer. Its weights are used as they are.
        config: what to compute.
        interventions: changes that hold in every run of this model.

    Raises:
        TypeError: `model` is not a TransformerLens model.
        ValueError: the model is not a causal one, its residual stream can't be seen, it has no
            tokenizer, lacks a layer that the config or an intervention names, or should chat and
            has no chat template; or that file can't be read.
    """

    def __init__(
        self,
        model: Any,
        config: Optional[HookedTransformerLITConfig] = None,
        interventions: Sequence[Intervention] = (),
    ):
        if not is_transformer_lens(model):
            hint = ": for a model's name use HookedTransformerLIT.from_pretrained"
            raise TypeError(
                "HookedTransformerLIT takes a TransformerLens model, not "
                f"{type(model).__qualname__}" + (hint if isinstance(model, str) else "")
            )
        if not is_causal(model):
            raise ValueError(
                f"{name_of(model)} is not a causal language model: lit_tl reads models that "
                "predict the next token"
            )
        self.config = config or HookedTransformerLITConfig()
        runner = Runner(
            model,
            batch_size=self.config.batch_size,
            token_budget=self.config.token_budget,
            interventions=interventions,
        )
        require_streams(runner)
        device = self.config.device
        if device is not None and torch.device(device) != runner.device:
            model.to(device)
        self.model = model
        self.loaded = LoadedModel(
            runner,
            max_seq_length=self.config.max_seq_length,
            prepend_bos=known(self.config.prepend_bos),
            lens=self.config.lens,
            chat=self.config.chat,
            chat_template=read_template(self.config.chat_template),
        )
        """Runner, prompter and lenses, for analyses."""
        self.loaded_with: Optional[dict[str, Any]] = None
        """The arguments of `from_pretrained`; None for a model that was made elsewhere."""
        self.no_gradients = why_no_gradients(runner) if self.config.compute_gradients else ""
        """Why this model gives no gradients, though they were asked for."""
        computed = self.config
        if self.no_gradients:
            computed = dataclasses.replace(computed, compute_gradients=False)
        self._fields: Mapping[str, Field] = output_fields(
            computed, runner, chats=self.loaded.prompter.template.exists
        )
        self.original: HookedTransformerLIT = self
        """The model that a variant was made from; the model itself where it is none."""

    def with_interventions(
        self, *changes: Given, data_sets: Mapping[str, Prompts] = {}
    ) -> "HookedTransformerLIT":
        """A variant: the same weights under changes that hold in everything that is asked of it.
        The model itself stays as it is.

        Args:
            *changes: texts such as `L9H6 = zero` (see `lit_tl.variants.changes`), or changes, or
                interventions of the engine. They come behind the model's own.
            data_sets: prompts by the names that changes use, beside the tasks and files of
                `--datasets`.

        Returns:
            The variant, which takes no memory for weights.

        Raises:
            ValueError: a text is no change, the model has no such site, a vector does not fit it,
                or there is no such data set; the message says what there is.
        """
        changed = copy.copy(self)
        changed.loaded = self.loaded.with_interventions(read_changes(changes), data_sets)
        changed.original = self.original
        return changed

    @classmethod
    def from_pretrained(
        cls,
        model_name: str,
        config: Optional[HookedTransformerLITConfig] = None,
        **model_kwargs: Any,
    ) -> "HookedTransformerLIT":
        """Load a model and wrap it.

        Args:
            model_name: a bundled model, a TransformerLens alias, a Hub id or a local folder.
            config: what to compute.
            **model_kwargs: passed to TransformerLens: device, dtype, revision, checkpoint_value,
                n_devices, device_map, hf_model, ...; and fold_ln, center_writing_weights,
                center_unembed, none of which is done unless asked for.

        Raises:
            lit_tl.models.errors.LoadingError: the model can't be loaded; the message says why.
        """
        wrapper = cls(load_model(model_name, **model_kwargs), config)
        given = {key: value for key, value in model_kwargs.items() if value is not None}
        wrapper.loaded_with = {"model_name": model_name, **given}
        return wrapper

    def description(self) -> str:
        """The model's name and shape."""
        shape = self.loaded.runner.shape
        changed = "; ".join(map(str, self.loaded.changes))
        return without_markup(
            (f"Changed: {changed}. " if changed else "")
            + f"{shape.name} in TransformerLens: {shape.n_layers} layers, {shape.n_heads} heads, "
            f"d_model {shape.d_model}, d_vocab {shape.d_vocab}, context {shape.context}, on "
            f"{self.loaded.runner.device}. {self.loaded.prompter.describe_opening()}"
        )

    @classmethod
    def init_spec(cls) -> lit_types.Spec:
        """What LIT's dialog asks for to load another model, what most people set first;
        `load_for_lit` takes it as keywords."""
        form = form_of(HookedTransformerLITConfig)
        first = {
            "model_name": lit_types.String(default=next(iter(BUNDLED_MODELS))),
            "device": form.pop("device"),
            "dtype": lit_types.CategoryLabel(default="float32", vocab=list(DTYPES), required=False),
        }
        return first | form

    def input_spec(self) -> lit_types.Spec:
        """`text`, and optionally what to read in its place (`tokens`, `token_embeddings`), what a
        gradient explains (`target_mask`, `target`, `answer`, in this order), and the answer's
        `foil`."""
        spec: dict[str, lit_types.LitType] = {
            "text": lit_types.TextSegment(),
            "tokens": lit_types.Tokens(parent="text", required=False),
            "answer": lit_types.TextSegment(required=False),
            "foil": lit_types.TextSegment(required=False),
        }
        if self.config.output_embeddings:
            spec["token_embeddings"] = lit_types.TokenEmbeddings(align="tokens", required=False)
        if self.config.compute_gradients:
            spec["target"] = lit_types.TextSegment(required=False)
            spec["target_mask"] = lit_types.TokenScores(align="tokens", required=False)
        return spec

    def output_spec(self) -> lit_types.Spec:
        """The fields of each prediction; see `lit_tl.lit.fields`."""
        return {name: field.lit_type for name, field in self._fields.items()}

    def heavy_fields(self) -> set[str]:
        """Outputs to make for a selection only: they grow with the text or cost another pass."""
        return {name for name, field in self._fields.items() if field.heavy}

    @property
    def supports_concurrent_predictions(self) -> bool:
        """True: calls from several threads are safe."""
        return True

    def max_minibatch_size(self) -> int:
        """Most prompts in one forward pass."""
        return self.config.batch_size

    def get_embedding_table(self) -> tuple[list[str], "npt.NDArray[np.float32]"]:
        """The vocabulary's readable strings, and the embeddings that the model reads for them,
        `[d_vocab, d_model]` float32."""
        table = self.loaded.runner.embedding_table().numpy()
        return self.loaded.prompter.vocabulary.all_strings(), table

    def predict(
        self, inputs: Iterable[Mapping[str, Any]], *, fields: Optional[Collection[str]] = None
    ) -> Iterator[dict[str, Any]]:
        """Predictions, one for each input, in the inputs' order.

        Args:
            inputs: examples as `input_spec()` describes them.
            fields: names of the outputs to make; None for all. What no wanted field needs is not
                computed.

        Raises:
            ValueError: a field or a token is unknown, embeddings or a mask do not fit the prompt.
        """
        wanted = list(self._fields) if fields is None else list(fields)
        for name in wanted:
            if name not in self._fields:
                outputs = ", ".join(self._fields)
                raise ValueError(f"{name!r} is not an output of this model; it has {outputs}")
        remaining = iter(inputs)
        size = _WINDOW_BATCHES * self.config.batch_size
        while window := list(itertools.islice(remaining, size)):
            yield from self._predict_window(window, wanted)

    def _predict_window(
        self, examples: Sequence[Mapping[str, Any]], wanted: Sequence[str]
    ) -> list[dict[str, Any]]:
        loaded = self.loaded
        prompts = [loaded.prompt(example) for example in examples]
        needs = [self._fields[name].needs for name in wanted]

        def view(i: int, batch: Optional[Batch], row: int, *more: Any) -> ExampleView:
            how = (self.config.top_k, self.config.loss_over)
            return ExampleView(loaded.prompter, prompts[i], batch, row, *how, *more)

        def make(made: ExampleView) -> dict[str, Any]:
            return {name: self._fields[name].make(made) for name in wanted}

        if not any(need.forward for need in needs):
            return [make(view(i, None, 0)) for i in range(len(examples))]
        outputs: list[dict[str, Any]] = [{} for _ in examples]
        generates = any(need.generation for need in needs)
        answers = [
            loaded.prompter.answers(example) if not prompt.truncated else {}
            for example, prompt in zip(examples, prompts, strict=True)
            if any(need.answers for need in needs)
        ]
        several = any(len(ids) > 1 for named in answers for ids in named.values())
        names_targets = any(need.targets for need in needs)
        runs = loaded.runner.run(
            prompts,
            observe=observed_for(needs),
            gradients=self._gradients(examples) if _any_gradient(needs) else None,
            logits=ReadTokens(self.config.top_k if any(need.top_tokens for need in needs) else 0),
            keep_cache=generates or several,
        )
        for batch in runs:
            texts = [""] * len(batch.prompts)
            # Before the generated text, which grows the cache.
            readings = self._readings(batch, answers)
            if generates:
                count = self.config.max_new_tokens
                texts = loaded.runner.continue_greedily(batch, max_new_tokens=count)
            if names_targets and batch.targets is None:
                batch.targets = self._targets(examples, batch)
            for row, i in enumerate(batch.index):
                outputs[i] = make(view(i, batch, row, texts[row], readings[row]))
        return outputs

    def _readings(
        self, batch: Batch, answers: Sequence[Mapping[str, tuple[int, ...]]]
    ) -> list[dict[str, Reading]]:
        """What the model thinks of the answers and foils of a batch, by its rows. The text was cut
        where it has none: an answer would follow another text."""
        readings: list[dict[str, Reading]] = [{} for _ in batch.prompts]
        if not answers:
            return readings
        asked = [
            (name, Answer(row, ids))
            for row, i in enumerate(batch.index)
            for name, ids in answers[i].items()
        ]
        read = self.loaded.runner.read_answers(batch, [answer for _, answer in asked])
        for (name, answer), reading in zip(asked, read, strict=True):
            readings[answer.row][name] = reading
        return readings

    def _gradients(self, examples: Sequence[Mapping[str, Any]]) -> Gradients:
        return Gradients(lambda batch: self._targets(examples, batch), at=(EMBED,))

    def _targets(self, examples: Sequence[Mapping[str, Any]], batch: Batch) -> Targets:
        return choose_targets(self.loaded.prompter, [examples[i] for i in batch.index], batch)


def _any_gradient(needs: Sequence[Needs]) -> bool:
    return any(need.gradients for need in needs)


def load_for_lit(
    model_name: str,
    dtype: str = "float32",
    *,
    allowed: Callable[[ModelSource, HookedTransformerLITConfig], str],
    **form: Any,
) -> lit_model.Model:
    """Load a model for LIT's dialog, which sends what `HookedTransformerLIT.init_spec()` describes.

    Args:
        model_name: as in `--models`.
        dtype: of the weights.
        allowed: gives the name to load, or refuses it.
        **form: settings of the wrapper.

    Raises:
        LoadingError: the model can't be loaded.
        SettingError: a setting is not allowed.
    """
    source = ModelSource.parse(model_name)
    if source.changes:
        raise LoadingError("a variant is made on the Interventions tab: leave the braces out here")
    given = {name: value for name, value in form.items() if value is not None}
    config = HookedTransformerLITConfig.read(given)
    return HookedTransformerLIT.from_pretrained(
        allowed(source, config),
        config,
        dtype=dtype or "float32",
        device=config.device,
        **source.version,
    )
