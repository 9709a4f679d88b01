"""A TransformerLens model as a LIT model."""

from typing import Any, Collection, Iterable, Iterator, Mapping, Optional

import numpy as np
import numpy.typing as npt
import torch
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_tl.models import loading
from lit_tl.models.config import HookedTransformerLITConfig, form_spec
from lit_tl.models.engine import Engine
from lit_tl.passes import activations

_MODEL_MEMBERS = ("cfg", "hooks", "run_with_cache", "run_with_hooks", "to_tokens", "tokenizer", "unembed")


class HookedTransformerLIT(lit_model.Model):
    """A TransformerLens model in LIT: a `TransformerBridge`, or a `HookedTransformer` of TransformerLens 2 or 3.

    Outputs are described by `output_spec()`; all but generated text come from one forward pass and, where gradients are wanted,
    one backward pass to the input embeddings. Losses are in nats. Attention is `[head, query_pos, key_pos]`, rows summing to 1.

    Args:
        model: the model, with its tokenizer. Its weights are used as they are.
        config: what to compute.

    Raises:
        TypeError: `model` is not a TransformerLens model, or not a causal one.
        ValueError: the model has no tokenizer, or the config asks for layers that it does not have.
    """

    def __init__(self, model: Any, config: Optional[HookedTransformerLITConfig] = None):
        if not all(hasattr(model, member) for member in _MODEL_MEMBERS):
            raise TypeError(
                f"HookedTransformerLIT takes a TransformerLens model, not {type(model).__qualname__}"
                + (": for a model's name use HookedTransformerLIT.from_pretrained" if isinstance(model, str) else "")
            )
        if getattr(model.cfg, "attention_dir", "causal") != "causal" or getattr(model.cfg, "is_encoder_decoder", False):
            raise TypeError(
                f"{model.cfg.model_name} is not a causal language model: lit_tl reads models that predict the next token"
            )
        self.config = config or HookedTransformerLITConfig()
        if self.config.device is not None and torch.device(self.config.device) != activations.model_device(model):
            model.to(self.config.device)
        self.model = model
        self.loaded_with: Optional[dict[str, Any]] = None
        """The arguments of `from_pretrained`; None for a model that was made elsewhere."""
        self._engine = Engine(model, self.config)

    @classmethod
    def from_pretrained(
        cls, model_name: str, config: Optional[HookedTransformerLITConfig] = None, **model_kwargs: Any
    ) -> "HookedTransformerLIT":
        """Load a model and wrap it.

        Args:
            model_name: a bundled model, a TransformerLens alias, a Hub id or a local folder.
            config: what to compute.
            **model_kwargs: passed to TransformerLens: device, dtype, revision, checkpoint_value, n_devices, device_map,
                hf_model, ...; and fold_ln, center_writing_weights, center_unembed, none of which is done unless asked for.

        Raises:
            lit_tl.models.loading.LoadingError: the model can't be loaded; the message says why and what to do.
        """
        wrapper = cls(loading.load_model(model_name, **model_kwargs), config)
        wrapper.loaded_with = {"model_name": model_name, **{key: value for key, value in model_kwargs.items() if value is not None}}
        return wrapper

    def description(self) -> str:
        """The model's name and shape."""
        cfg = self.model.cfg
        return (
            f"{cfg.model_name} in TransformerLens: {cfg.n_layers} layers, {cfg.n_heads} heads, d_model {cfg.d_model}, "
            f"d_vocab {cfg.d_vocab}, context {cfg.n_ctx}, on {cfg.device}"
        )

    @classmethod
    def init_spec(cls) -> lit_types.Spec:
        """What LIT's dialog asks for to load another model. `load_for_lit` below takes these as keywords."""
        bundled = next(iter(loading.BUNDLED_MODELS))
        return {
            "model_name": lit_types.String(default=bundled),
            "dtype": lit_types.CategoryLabel(default="float32", vocab=list(loading.DTYPES), required=False),
        } | form_spec()

    def input_spec(self) -> lit_types.Spec:
        """`text`, and optionally what to read in its place (`tokens`, `token_embeddings`), what a gradient explains
        (`target_mask`, `target`, `answer`, in this order), and the `foil` of the answer."""
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
        """The fields of each prediction; see `lit_tl.models.fields`."""
        return {name: field.lit_type for name, field in self._engine.fields.items()}

    @property
    def supports_concurrent_predictions(self) -> bool:
        """True: calls from several threads are safe. They wait for each other, one lock for each model."""
        return True

    def max_minibatch_size(self) -> int:
        """Most prompts in one forward pass."""
        return self.config.batch_size

    def get_embedding_table(self) -> tuple[list[str], "npt.NDArray[np.float32]"]:
        """The vocabulary's readable strings, and the embeddings that the model reads for them, `[d_vocab, d_model]` float32."""
        return self._engine.prompter.vocabulary.all_strings(), self._engine.embedding_table().numpy()

    def predict(self, inputs: Iterable[Mapping[str, Any]], *, fields: Optional[Collection[str]] = None) -> Iterator[dict[str, Any]]:
        """Predictions, one for each input, in the inputs' order.

        Args:
            inputs: examples as `input_spec()` describes them.
            fields: names of the outputs to make; None for all. What no wanted field needs is not computed.

        Raises:
            ValueError: a field or a token is unknown, embeddings or a mask do not fit the prompt.
        """
        return self._engine.predict(inputs, fields)


def engine_of(model: HookedTransformerLIT) -> Engine:
    """What works inside a wrapper, for this package's own components."""
    return model._engine


def load_for_lit(model_name: str, dtype: str = "float32", **settings: Any) -> lit_model.Model:
    """Load a model for LIT's dialog, which sends what `HookedTransformerLIT.init_spec()` describes.

    Raises:
        LoadingError: the model can't be loaded.
        ValueError: a setting is out of its range.
    """
    source = loading.ModelSource.parse(model_name)
    config = HookedTransformerLITConfig.from_form(settings)
    return HookedTransformerLIT.from_pretrained(
        source.name,
        config,
        dtype=dtype or "float32",
        device=config.device,
        revision=source.revision,
        checkpoint_value=source.checkpoint_value,
    )
