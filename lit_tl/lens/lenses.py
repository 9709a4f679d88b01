"""Lenses: from a layer's hidden state to logits."""

import abc
import contextlib
import dataclasses
import os
import pathlib
from typing import Any, Iterator, Mapping, Optional, Union

import torch
from jaxtyping import Float, Int

from lit_tl.engine.runner import Runner
from lit_tl.lens import artifacts
from lit_tl.lens.streams import as_runner, last_hidden
from lit_tl.lens.unembed import Unembed

Hidden = Float[torch.Tensor, "*batch d_model"]
Logits = Float[torch.Tensor, "*batch d_vocab"]


def lens_index(component: str, layer: int) -> int:
    """Which translator reads a layer's component: the one of the layer's input, and for the layer's
    output the next layer's."""
    return layer + 1 if component == "resid_post" else layer


class Lens(abc.ABC, torch.nn.Module):
    """Decodes the residual stream at the input of layer `idx`."""

    def __init__(self, unembed: Unembed):
        super().__init__()
        self.unembed = unembed

    @abc.abstractmethod
    def transform_hidden(self, h: Hidden, idx: int) -> Hidden:
        """What stands for the final residual: the hidden state just before norm and unembedding."""

    def forward(self, h: Hidden, idx: int) -> Logits:
        """Logits, float32. `idx` counts layers by their inputs: 0 reads the embeddings."""
        return self.unembed.readout.logits(self.transform_hidden(h, idx))


class LogitLens(Lens):
    """The unembedding of every layer's residual as it is (nostalgebraist 2020)."""

    @classmethod
    def from_model(cls, model: Any) -> "LogitLens":
        """A logit lens for a TransformerLens or Hugging Face model."""
        return cls(Unembed(model))

    def transform_hidden(self, h: Hidden, idx: int) -> Hidden:
        """The hidden state itself."""
        del idx
        return h


@dataclasses.dataclass
class TunedLensConfig:
    """What a lens folder's `config.json` says."""

    base_model_name_or_path: str
    d_model: int
    num_hidden_layers: int
    bias: bool = True
    base_model_revision: Optional[str] = None
    unembed_hash: Optional[str] = None
    lens_type: str = "linear_tuned_lens"

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any]) -> "TunedLensConfig":
        """From JSON; keys of other programs are passed over.

        Raises:
            LensError: a key is missing, or it is another kind of lens.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        missing = {"base_model_name_or_path", "d_model", "num_hidden_layers"} - set(config_dict)
        if missing:
            raise artifacts.LensError(f"the lens's config has no {sorted(missing)[0]}")
        values = {name: value for name, value in config_dict.items() if name in names}
        for name, kind in (
            ("d_model", int),
            ("num_hidden_layers", int),
            ("bias", bool),
            ("base_model_name_or_path", str),
        ):
            if not isinstance(values.get(name, True if kind is bool else None), kind):
                raise artifacts.LensError(
                    f"the lens's config has {name} {values[name]!r}, which is no {kind.__name__}"
                )
        config = cls(**values)
        if config.lens_type != "linear_tuned_lens":
            raise artifacts.LensError(
                f"lens_type {config.lens_type!r} is not known: linear_tuned_lens is"
            )
        return config

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self)


class TunedLens(Lens):
    """An affine translator for each layer, `h + W h + b`, fitted so that the unembedding says what
    the model ends up saying (Belrose et al. 2023, arXiv 2303.08112, section 3). New translators are
    zero: the logit lens.

    Args:
        unembed: of the model.
        config: its shape.

    Raises:
        LensError: the config's shape is not the model's.
    """

    def __init__(self, unembed: Unembed, config: TunedLensConfig):
        super().__init__(unembed)
        readout = unembed.readout
        for name, own, of_model in (
            ("d_model", config.d_model, readout.d_model),
            ("num_hidden_layers", config.num_hidden_layers, readout.n_layers),
        ):
            if own != of_model:
                raise artifacts.LensError(
                    f"a lens of {config.base_model_name_or_path} does not fit {readout.name}: "
                    f"{name} is {own}, the model has {of_model}"
                )
        self.config = config
        self.layer_translators = torch.nn.ModuleList(
            torch.nn.Linear(config.d_model, config.d_model, bias=config.bias)
            for _ in range(config.num_hidden_layers)
        )
        for parameter in self.layer_translators.parameters():
            torch.nn.init.zeros_(parameter)

    def __len__(self) -> int:
        """How many layers have a translator."""
        return len(self.layer_translators)

    def __getitem__(self, layer: int) -> torch.nn.Module:
        """The translator of a layer, without the residual that `transform_hidden` adds."""
        return self.layer_translators[layer]

    def __iter__(self) -> Iterator[torch.nn.Module]:
        """The translators, from the first layer on."""
        return iter(self.layer_translators)

    @classmethod
    def from_model(
        cls, model: Any, model_revision: Optional[str] = None, bias: bool = True
    ) -> "TunedLens":
        """A new lens, equal to the logit lens, for a TransformerLens or Hugging Face model."""
        unembed = Unembed(model)
        config = TunedLensConfig(
            base_model_name_or_path=unembed.readout.name,
            d_model=unembed.readout.d_model,
            num_hidden_layers=unembed.readout.n_layers,
            bias=bias,
            base_model_revision=model_revision,
            unembed_hash=unembed.unembedding_hash(),
        )
        return cls(unembed, config).to(unembed.readout.weight.device)

    @classmethod
    def from_model_and_pretrained(
        cls,
        model: Any,
        lens_resource_id: Optional[Union[str, os.PathLike[str]]] = None,
        **kwargs: Any,
    ) -> "TunedLens":
        """A fitted lens of a folder or the Hub; without an id, the one that is published for the
        model, under its name or, for an alias of TransformerLens (`gpt2-small`), under its name on
        the Hub (`gpt2`). See `from_unembed_and_pretrained` for the rest."""
        unembed = Unembed(model)
        if lens_resource_id is None:
            lens_resource_id = published_name(unembed.readout.name)
        return cls.from_unembed_and_pretrained(unembed, lens_resource_id, **kwargs)

    @classmethod
    def from_unembed_and_pretrained(
        cls,
        unembed: Unembed,
        lens_resource_id: Union[str, os.PathLike[str]],
        *,
        strict: bool = True,
        map_location: Any = None,
        **kwargs: Any,
    ) -> "TunedLens":
        """A fitted lens of a folder or the Hub.

        Args:
            unembed: of the model that the lens was fitted to.
            lens_resource_id: a folder, or a name on the Hub.
            strict: refuse a lens of another unembedding; False goes on with a warning.
            map_location: the device for the translators; None for the unembedding's.
            **kwargs: as for `load_lens_artifacts`.

        Raises:
            LensError: there is no such lens, its files are damaged, or it is of another model; the
                message says which.
        """
        config_path, ckpt_path = artifacts.load_lens_artifacts(lens_resource_id, **kwargs)
        values = artifacts.read_config(config_path)
        lens = cls(unembed, TunedLensConfig.from_dict(values))
        artifacts.check_unembedding(values, unembed, strict=strict)
        artifacts.fill(lens.layer_translators, artifacts.read_tensors(ckpt_path), ckpt_path)
        return lens.to(map_location or unembed.readout.weight.device)

    def save(
        self, path: Union[str, pathlib.Path], ckpt: str = "params.pt", config: str = "config.json"
    ) -> None:
        """Write the translators and the config into a folder, which readers of the published lenses
        take too.

        The config carries `unembed_hash`, and a hash of the whole unembedding as
        `unembed_full_hash` beside it, but not where the model is in half precision, whose numbers
        may be rounded ones.
        """
        values = self.config.to_dict() | {"unembed_hash": self.unembed.unembedding_hash()}
        if self.unembed.readout.weight.dtype in (torch.float32, torch.float64):
            values["unembed_full_hash"] = self.unembed.full_hash()
        artifacts.write(
            pathlib.Path(path),
            self.layer_translators.state_dict(),
            values,
            ckpt=ckpt,
            config=config,
        )

    def transform_hidden(self, h: Hidden, idx: int) -> Hidden:
        """`h + W h + b`; the final residual (`idx` = number of layers) as it is.

        Raises:
            IndexError: there is no such layer.
        """
        if idx == len(self):
            return h
        if not 0 <= idx < len(self):
            raise IndexError(
                f"layer {idx} is out of range: this lens has layers 0 to {len(self) - 1}"
            )
        weight = next(self.layer_translators[idx].parameters())
        h = h.to(weight.device, weight.dtype)
        moved: torch.Tensor = h + self.layer_translators[idx](h)
        return moved

    @torch.no_grad()
    def generate(
        self,
        model: Any,
        layer: int,
        input_ids: Int[torch.Tensor, "*batch prompt_len"],
        do_sample: bool = True,
        temp: float = 1.0,
        max_new_tokens: int = 100,
        *,
        generator: Optional[torch.Generator] = None,
    ) -> Int[torch.Tensor, "batch len"]:
        """Go on with what the lens reads at the input of `layer`: the prompt with the new tokens,
        one forward pass each.

        A sequence that has come to the end of its text is filled up with that token, until all
        have come to theirs.

        Args:
            model: a `Runner`, or a TransformerLens or Hugging Face model.
            layer: whose input is read; the number of layers for the final residual.
            input_ids: without padding; a single sequence counts as a batch of one.
            do_sample: draw each token; False takes the likeliest.
            temp: temperature.
            max_new_tokens: at most, and no more than the model's context has room for.
            generator: of random numbers, on the model's device.

        Raises:
            ValueError: `temp` is not above 0, or the ids are not whole numbers.
            IndexError: the layer does not exist.
        """
        if temp <= 0:
            raise ValueError(
                f"temp is {temp}: give a temperature above 0, or do_sample=False for the "
                "likeliest token"
            )
        runner = as_runner(model)
        input_ids = torch.atleast_2d(torch.as_tensor(input_ids))
        if input_ids.is_floating_point():
            raise ValueError("input_ids are token ids, whole numbers: give them as integers")
        if runner.shape.context is not None:
            max_new_tokens = min(max_new_tokens, runner.shape.context - input_ids.shape[-1])
        ends = torch.tensor(sorted(_end_tokens(runner)), device=input_ids.device)
        done = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        for _ in range(max_new_tokens):
            logits = self(last_hidden(runner, input_ids, layer), layer)
            if do_sample:
                new = torch.multinomial((logits / temp).softmax(-1), 1, generator=generator)
            else:
                new = logits.argmax(-1, keepdim=True)
            new = new[:, 0].to(input_ids.device)
            if done.any():
                new = torch.where(done, input_ids[:, -1], new)
            input_ids = torch.cat([input_ids, new[:, None]], dim=-1)
            done |= torch.isin(new, ends)
            if done.all():
                break
        return input_ids


def _end_tokens(runner: Runner) -> set[int]:
    """What ends a text, as the tokenizer and Hugging Face's generation config say it."""
    generation = getattr(runner.model, "generation_config", None)
    ends: set[int] = set()
    for source in (runner.tokenizer, generation):
        given = getattr(source, "eos_token_id", None)
        ends |= set(given if isinstance(given, list) else [] if given is None else [given])
    return ends


def published_name(name: str) -> str:
    """Under which name a lens for a model is published: its id on the Hub, which published lenses
    of GPT-2 have without its owner."""
    from transformer_lens import supported_models  # 100 MB, which training a lens does without

    with contextlib.suppress(ValueError):
        name = supported_models.get_official_model_name(name)
    return name.removeprefix("openai-community/")
