"""GGUF files."""

import json
import pathlib
import sys
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from lit_tl.models.errors import LoadingError
from lit_tl.models.loading import load_model
from tests.models.conftest import LOADERS, logits_of


@pytest.fixture(scope="session")
def gguf_file(
    checkpoint_folders: dict[str, pathlib.Path], tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The small Llama as llama.cpp would write it, in float32."""
    import gguf

    folder = checkpoint_folders["llama"]
    config = transformers.AutoConfig.from_pretrained(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    for added in tokenizer["added_tokens"]:
        if added["content"] not in vocabulary:
            vocabulary.append(added["content"])
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    padded = vocabulary + [f"<pad{i}>" for i in range(config.vocab_size - len(vocabulary))]
    writer.add_token_list(padded)
    merges = [" ".join(m) if isinstance(m, list) else m for m in tokenizer["model"]["merges"]]
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    for key, value in weights.items():
        writer.add_tensor(_gguf_name(key), _for_gguf(key, value, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_name(key: str) -> str:
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "model.layers": "blk",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for long, short in names.items():
        key = key.replace(long, short)
    return key


def _for_gguf(key: str, value: torch.Tensor, config: Any) -> np.ndarray:
    """llama.cpp keeps the halves of a rotation interleaved."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, n_heads in heads.items():
        if name in key:
            rows = value.shape[0]
            halves = value.reshape(n_heads, 2, rows // n_heads // 2, value.shape[1])
            value = halves.swapaxes(1, 2).reshape(value.shape)
    return value.float().contiguous().numpy()


@pytest.mark.parametrize("loader", LOADERS)
def test_a_gguf_file_is_loaded(
    loader: str, gguf_file: pathlib.Path, checkpoint_folders: dict[str, pathlib.Path]
) -> None:
    expected = logits_of(
        transformers.AutoModelForCausalLM.from_pretrained(checkpoint_folders["llama"])
    )
    loaded = LOADERS[loader](str(gguf_file))
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    assert torch.allclose(logits_of(model), expected, atol=1e-4)
    tokenizer = loaded[1] if isinstance(loaded, tuple) else loaded.tokenizer
    same = transformers.AutoTokenizer.from_pretrained(checkpoint_folders["llama"])
    text = "When Mary and John went to the store"
    assert tokenizer(text)["input_ids"][-5:] == same(text)["input_ids"][-5:]


def test_a_gguf_file_has_no_revision_and_needs_its_package(
    gguf_file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LoadingError, match="is a file and has no revisions"):
        load_model(str(gguf_file), revision="main")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(LoadingError, match=r"needs the package gguf: pip install 'lit_tl\[gguf\]'"):
        load_model(str(gguf_file))
