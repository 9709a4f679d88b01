"""Some of the architectures of `docs/architectures.md`: those that were wrong before, and one of
each kind. The program that makes the table runs all of them."""

import pathlib
from typing import Any

import pytest
import torch
import transformers

import lit_tl
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.lens import LogitLens
from lit_tl.lit.attention_panel import AttentionHeads
from lit_tl.lit.datasets import Prompts
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.models.causal_lm import load_causal_lm
from lit_tl.models.errors import LoadingError
from lit_tl.models.loading import load_model
from tests.architectures.checks import CHECKS, IDS, Case, check
from tests.architectures.reference import Reference
from tests.architectures.tiny import ARCHITECTURES
from tests.conftest import BUNDLED

NO_PATTERN = "refused: TransformerLens gives no pattern"
REFUSED = {
    "recurrent_gemma": {
        "attention": NO_PATTERN,
        "head scores": NO_PATTERN,
        "attention-value": "refused: {folder} shows no attention: TransformerLens has no pattern "
        "in any of its layers",
    },
    "bitnet": {
        "attention-value": "refused: what attention reads can't be seen in {folder}: its pattern "
        "times `v` is not what its heads give in layer 0",
    },
}
"""The cells that are no number."""
TRIED = (
    "gpt_neo",
    "bloom",
    "falcon",
    "granite",
    "olmo",
    "gemma4_text",
    "mixtral",
    "modernbert-decoder",
    "deepseek_v3",
    "youtu",
    "qwen3_next",
    "afmoe",
    "bitnet",
    "jamba",
    "lfm2",
    "recurrent_gemma",
    "olmo_hybrid",
    "mamba",
    "rwkv",
)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, pathlib.Path]":
    return {
        name: ARCHITECTURES[name].save(tmp_path_factory.mktemp(name) / name)
        for name in (*TRIED, "hrm_text", "openai-gpt", "deepseek_v4")
    }


@pytest.mark.parametrize("name", TRIED)
def test_each_number_is_that_of_transformers_or_refused(
    name: str, checkpoints: dict[str, pathlib.Path]
) -> None:
    folder = checkpoints[name]
    case = Case(folder)
    cells = {each: check(case, each) for each in CHECKS}
    refused = {each: cell for each, cell in cells.items() if cell.startswith("refused")}
    expected = REFUSED.get(name, {})
    assert refused == {each: text.format(folder=folder) for each, text in expected.items()}
    assert not [cell for cell in cells.items() if "WRONG" in cell[1] or "no reference" in cell[1]]


@pytest.mark.parametrize("name", ["hrm_text", "openai-gpt", "deepseek_v4"])
def test_a_model_without_a_residual_stream_to_see_is_refused(
    name: str, checkpoints: dict[str, pathlib.Path]
) -> None:
    with pytest.raises(ValueError, match="can't be looked into: its residual stream does not show"):
        HookedTransformerLIT.from_pretrained(str(checkpoints[name]))


@pytest.mark.parametrize("name", ["modernbert-decoder", "recurrent_gemma", "granite", "lfm2"])
def test_a_lens_of_plain_hugging_face_ends_in_the_models_logits(
    name: str, checkpoints: dict[str, pathlib.Path]
) -> None:
    """A head before the unembedding, a soft-cap, a scale, a norm of another name."""
    model, _ = load_causal_lm(str(checkpoints[name]), device="cpu")
    last = Reference(checkpoints[name]).residuals(IDS)[-1]
    with torch.no_grad():
        expected = model(torch.tensor([IDS])).logits[0]
        logits = LogitLens.from_model(model)(last, 1)
    assert torch.allclose(logits, expected, atol=1e-3 * float(expected.abs().max()))


def test_a_readout_that_is_not_the_models_is_refused(checkpoints: dict[str, pathlib.Path]) -> None:
    model, _ = load_causal_lm(str(checkpoints["mixtral"]), device="cpu")

    def temper(module: torch.nn.Module, args: tuple, output: Any) -> Any:
        output.logits = torch.tanh(output.logits)
        return output

    model.register_forward_hook(temper)
    with pytest.raises(ValueError, match=r"no lens can look into .* off its logits by \d+%"):
        LogitLens.from_model(model)


def test_attention_is_shown_of_the_layers_that_have_it(
    checkpoints: dict[str, pathlib.Path],
) -> None:
    model = HookedTransformerLIT.from_pretrained(str(checkpoints["qwen3_next"]))
    example = {"text": "one two three one two"}

    (scores,) = AttentionHeads().run([example], model, Prompts([example]))
    assert scores["layers"] == [1]
    assert scores["scores"]["first token"][0] == [None] * 4
    assert None not in scores["scores"]["first token"][1]
    with pytest.raises(ValueError, match="layer 0 has no attention: layers 1 of this model have"):
        lit_tl.analyze("Attention", model, example, layer=0)
    one = lit_tl.analyze("Attention", model, example, layer=1)
    assert one["attention"].shape == (1, len(scores["tokens"]), len(scores["tokens"]))
    mamba = HookedTransformerLIT.from_pretrained(str(checkpoints["mamba"]))
    with pytest.raises(ValueError, match=r"has no attention to show: TransformerLens gives no"):
        AttentionHeads().run([example], mamba, Prompts([example]))


@pytest.mark.parametrize("loader", [load_model, lambda name: load_causal_lm(name, device="cpu")])
def test_other_kinds_of_models_are_refused(loader: object, tmp_path: pathlib.Path) -> None:
    sizes = {"vocab_size": 2048, "num_layers": 1, "num_heads": 2, "d_model": 16, "d_kv": 8}
    t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, d_ff=16))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=2048, **small))
    for model, what in ((t5, "an encoder-decoder"), (bert, "a masked language model")):
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(BUNDLED).save_pretrained(folder)
        with pytest.raises(LoadingError, match=f"is {what}"):
            loader(str(folder))


def test_generated_text_goes_on_from_the_pass_that_looked_at_attention(
    checkpoints: dict[str, pathlib.Path],
) -> None:
    """Of latent attention, the two module trees keep different caches."""
    model = load_model(str(checkpoints["deepseek_v3"]))
    runner = Runner(model)
    (batch,) = runner.run(
        [Prompt(ids=tuple(IDS))], observe={"pattern": Observe(Site("pattern"))}, keep_cache=True
    )
    (text,) = runner.continue_greedily(batch, max_new_tokens=4)
    expected = Reference(checkpoints["deepseek_v3"]).greedy(IDS, 4)
    assert text == model.tokenizer.decode(expected, clean_up_tokenization_spaces=False)
