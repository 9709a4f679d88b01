"""Tiny checkpoints of many architectures, with random weights and the bundled tokenizer."""

import dataclasses
import inspect
import pathlib
from typing import Any, Mapping

import torch
import transformers

from lit_tl.models.errors import BUNDLED_MODELS

VOCABULARY = 2048
_SIZES: Mapping[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 128),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_selected_experts", "moe_topk"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    "vocab_size": VOCABULARY,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
    "attention_dropout": 0.0,
}
_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "n_group": 1,
    "topk_group": 1,
    "num_key_value_heads": 4,
}


@dataclasses.dataclass(frozen=True)
class Tiny:
    """One architecture: Hugging Face's `model_type`, and what differs from the common sizes."""

    model_type: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def config(self) -> Any:
        """The configuration."""
        cls = type(transformers.AutoConfig.for_model(self.model_type))
        parameters = set(inspect.signature(cls.__init__).parameters)
        fields = {field.name for field in dataclasses.fields(cls)}
        known = {k: v for k, v in _SIZES.items() if k in parameters | fields}
        return cls(**{**known, **self.changes})

    def save(self, folder: pathlib.Path, seed: int = 0) -> pathlib.Path:
        """Write a checkpoint, and return its folder."""
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(self.config())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 1 and "norm" in name.lower():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(BUNDLED_MODELS["lit-tl-tiny"])
        tokenizer.save_pretrained(folder)
        return folder


_PLAIN = """
gpt2 gpt_neox gptj gpt_neo codegen opt xglm bloom llama mistral ministral3 qwen2 qwen3
gemma gemma2 gemma3_text gemma4_text vaultgemma phi phi3 stablelm olmo olmo2 olmo3
granite starcoder2 cohere cohere2 falcon mpt gpt_bigcode smollm3 arcee apertus seed_oss
nemotron glm glm4 exaone4 ernie4_5 ernie4_5_moe hunyuan_v1_dense mixtral qwen2_moe
qwen3_moe olmoe flex_olmo granitemoe gpt_oss llama4_text minimax_m2 jetmoe afmoe laguna
nanochat bitnet jais2 modernbert-decoder glm4_moe mamba falcon_mamba rwkv openai-gpt
hrm_text deepseek_v4 glm_moe_dsa
""".split()
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8}
_LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_MIXED = ["linear_attention", "full_attention"]
_CHANGED: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 6},
    "gptj": {"rotary_dim": 8},
    "codegen": {"rotary_dim": 8},
    "granite": {
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.2,
    },
    "granitemoe": {"embedding_multiplier": 3.0, "logits_scaling": 2.0},
    "glm_moe_dsa": {**_LATENT, "index_n_heads": 2, "index_head_dim": 16, "index_topk": 64},
    "xglm": {"attention_heads": 4},
    "olmo": {"clip_qkv": 0.5},
    "deepseek_v2": _LATENT,
    "deepseek_v3": {**_LATENT, "first_k_dense_replace": 1},
    "glm4_moe_lite": _LATENT,
    "youtu": _LATENT,
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 2, "mamba_dt_rank": 4},
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "granitemoehybrid": {
        **_MAMBA,
        "layers_block_type": ["mamba", "attention"],
        "shared_intermediate_size": 32,
        "position_embedding_type": "rope",
    },
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 64},
    "mamba2": {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1},
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid"],
        "layer_types": ["mamba", "hybrid"],
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "mamba_ngroups": 1,
        "num_mem_blocks": 1,
        "attention_head_dim": 16,
    },
    "qwen3_next": {"layer_types": _MIXED, **_LINEAR},
    "qwen3_5_text": {"layer_types": _MIXED, **_LINEAR},
    "qwen3_5_moe_text": {"layer_types": _MIXED, **_LINEAR},
    "olmo_hybrid": {"layer_types": _MIXED, **_LINEAR},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"], "lru_width": 32},
    "nemotron_h": {},
}
ARCHITECTURES = {name: Tiny(name, _CHANGED.get(name, {})) for name in (*_PLAIN, *_CHANGED)}
"""By `model_type`."""
