"""Gradients through weights of 4 bits, on the CPU."""

import pathlib
from typing import Any

import bitsandbytes
import pytest
import torch
import transformers

from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Gradients, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.models.loading import load_model
from tests.conftest import BUNDLED


@pytest.fixture
def four_bits(tmp_path: pathlib.Path) -> str:
    """A Llama that is wide enough to be repacked, with weights of 4 bits."""
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 2048}
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **heads))
    model.save_pretrained(tmp_path / "whole")
    settings = transformers.BitsAndBytesConfig(load_in_4bit=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "whole", quantization_config=settings, device_map={"": "cpu"}
    )
    model.save_pretrained(tmp_path / "4bit")
    transformers.AutoTokenizer.from_pretrained(BUNDLED).save_pretrained(tmp_path / "4bit")
    return str(tmp_path / "4bit")


def _gradient_of_embeddings(model: Any) -> torch.Tensor:
    runner = Runner(model)
    prompt = Prompt(ids=tuple(range(40, 60)))
    last = Gradients(
        lambda batch: Targets(example=[0], pos=[19], token=[7], weight=[1.0]), at=[Site("embed")]
    )
    (batch,) = runner.run([prompt], gradients=last)
    assert batch.gradients is not None
    return batch.gradients[Site("embed")][0]


def test_gradients_through_4_bit_weights_are_the_same_after_a_prediction(four_bits: str) -> None:
    model = load_model(four_bits)
    before = _gradient_of_embeddings(model)
    assert bool(before.abs().sum() > 0)
    list(Runner(model).run([Prompt(ids=tuple(range(30)))]))
    assert torch.equal(_gradient_of_embeddings(model), before)


def test_repacked_4_bit_weights_give_no_gradients(four_bits: str) -> None:
    """As bitsandbytes repacks them in a first pass, on a processor that has units for it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(four_bits)
    for layer in model.modules():
        if hasattr(layer, "compute_dtype"):
            packed = bitsandbytes.functional._convert_weight_packed_for_cpu(
                layer.weight.data, layer.weight.quant_state
            )
            layer.weight.data, layer.weight.quant_state = packed
    with pytest.raises(ValueError, match="has no gradients any more: bitsandbytes repacked"):
        _gradient_of_embeddings(model)
