"""The router of a mixture of experts."""

import pathlib

import pytest
import torch
import transformers

from lit_tl.engine.interventions import Zero
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Gradients, Observe, Targets
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.models.loading import load_model
from tests.conftest import BUNDLED

PROMPT = Prompt(ids=(0, 5, 9, 13))
TARGET = Targets(example=[0], pos=[3], token=[7], weight=[1.0])


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a small Mixtral of four experts, two of which see each token."""
    config = transformers.MixtralConfig(
        vocab_size=2048,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("mixtral")
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(BUNDLED).save_pretrained(folder)
    return folder


def test_its_logits_are_hugging_faces(mixtral: pathlib.Path) -> None:
    runner = Runner(load_model(str(mixtral)))
    assert runner.layers("router") == (0, 1)
    (batch,) = runner.run([PROMPT], observe={"router": Observe(Site("router"), stack=True)})
    plain = transformers.AutoModelForCausalLM.from_pretrained(mixtral)
    with torch.no_grad():
        output = plain(torch.tensor([PROMPT.ids]), output_router_logits=True)
    assert torch.allclose(batch.need_logits(), output.logits, atol=1e-4)
    for own, expected in zip(batch.observed["router"], output.router_logits, strict=True):
        assert torch.allclose(own[0], expected, atol=1e-5)


def test_what_would_change_nothing_is_refused(mixtral: pathlib.Path) -> None:
    runner = Runner(load_model(str(mixtral)))
    change, sentence = Zero(Site("router", layer=1)), r"router\[1\] .* can be observed, but neither"
    with pytest.raises(ValueError, match=sentence):
        list(runner.run([PROMPT], interventions=[change]))
    with pytest.raises(ValueError, match=sentence):
        Runner(runner.model, interventions=[change])
    explained = Gradients(lambda batch: TARGET, (Site("router"),))
    with pytest.raises(ValueError, match=r"router\[0\] .* can be observed, but neither"):
        list(runner.run([PROMPT], gradients=explained))


def test_the_neurons_of_experts_are_not_mistaken_for_the_mixtures(mixtral: pathlib.Path) -> None:
    runner = Runner(load_model(str(mixtral)))
    assert runner.layers("mlp_pre") == runner.layers("mlp_post") == ()
    (batch,) = runner.run([PROMPT], observe={"out": Observe(Site("mlp_out"), stack=True)})
    plain, outputs = transformers.AutoModelForCausalLM.from_pretrained(mixtral), []
    for block in plain.model.layers:
        block.mlp.register_forward_hook(lambda module, given, output: outputs.append(output))
    with torch.no_grad():
        plain(torch.tensor([PROMPT.ids]))
    for own, expected in zip(batch.observed["out"], outputs, strict=True):
        assert torch.allclose(own, expected, atol=1e-5)


def test_a_dense_model_has_none(mixtral: pathlib.Path) -> None:
    runner = Runner(load_model("lit-tl-tiny"))
    assert runner.layers("router") == ()
    with pytest.raises(ValueError, match="router"):
        next(runner.run([PROMPT], observe={"router": Observe(Site("router"))}))
