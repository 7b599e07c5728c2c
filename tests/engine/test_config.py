"""Reading config.json and generation_config.json."""

from pathlib import Path
from typing import Any

import pytest

from glimt.engine.checkpoint import CheckpointError
from glimt.engine.config import GenerationDefaults, ModelConfig, parse_config
from tests.engine.checkpoints import TINY, write_json

PUBLISHED: dict[str, Any] = {
    "architectures": ["Glm4MoeLiteForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "pad_token_id": 154820,
    "eos_token_id": [154820, 154827, 154829],
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 10240,
    "max_position_embeddings": 202752,
    "model_type": "glm4_moe_lite",
    "moe_intermediate_size": 1536,
    "topk_method": "noaux_tc",
    "norm_topk_prob": True,
    "num_attention_heads": 20,
    "n_group": 1,
    "topk_group": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 1,
    "routed_scaling_factor": 1.8,
    "num_experts_per_tok": 4,
    "first_k_dense_replace": 1,
    "num_hidden_layers": 47,
    "num_key_value_heads": 20,
    "num_nextn_predict_layers": 1,
    "partial_rotary_factor": 1.0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
    "q_lora_rank": 768,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 192,
    "qk_rope_head_dim": 64,
    "v_head_dim": 256,
    "vocab_size": 154880,
}
"""GLM-4.7-Flash as published."""

RESAVED: dict[str, Any] = {
    **{
        name: value
        for name, value in PUBLISHED.items()
        if name not in ("first_k_dense_replace", "rope_theta", "rope_scaling", "topk_method")
    },
    "bos_token_id": 0,
    "head_dim": 64,
    "mlp_layer_types": ["dense"] + ["sparse"] * 46,
    "num_local_experts": 64,
    "rope_interleave": True,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1000000,
        "partial_rotary_factor": 1.0,
    },
}
"""The same after transformers 5 has loaded and saved it."""


def test_published() -> None:
    """The published config gives the published sizes."""
    config = parse_config(PUBLISHED)
    assert (config.num_layers, config.num_heads, config.num_experts) == (47, 20, 64)
    assert config.sparse_layers == (False,) + (True,) * 46
    assert (config.qk_head_dim, config.cache_width) == (256, 576)
    assert config.attention_scale == 1 / 16
    assert config.rope_theta == 1e6
    assert config.latent_norm_eps == config.rms_norm_eps == 1e-5
    assert config.stop_token_ids == (154820, 154827, 154829)
    assert 390 < config.expansion_threshold < 410


def test_spellings_agree() -> None:
    """Both spellings of one model mean the same, `head_dim` being no attention head's size."""
    assert parse_config(RESAVED) == parse_config(PUBLISHED)


def test_defaults() -> None:
    """What a config leaves out is GLM-4.7-Flash's own value."""
    bare = {"model_type": "glm4_moe_lite", "eos_token_id": PUBLISHED["eos_token_id"]}
    assert parse_config(bare | {"num_nextn_predict_layers": 1}) == parse_config(PUBLISHED)


def test_latent_norm_eps(tmp_path: Path) -> None:
    """The eps of the latent norms is the config's unless it is set."""
    write_json(tmp_path / "config.json", {"model_type": "glm4_moe_lite", **TINY})
    assert ModelConfig.load(tmp_path).latent_norm_eps == 1e-5
    changed = ModelConfig.load(tmp_path, latent_norm_eps=1e-6)
    assert (changed.latent_norm_eps, changed.rms_norm_eps) == (1e-6, 1e-5)


def test_other_architecture() -> None:
    """Another architecture is refused by name, with what is supported."""
    with pytest.raises(CheckpointError) as error:
        parse_config({"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"]})
    for word in ("qwen3_moe", "Qwen3MoeForCausalLM", "glm4_moe_lite"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rope_scaling": {"type": "yarn", "factor": 4}}, "yarn"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e6}}, "llama3"),
        ({"rope_parameters": 3}, "rope_parameters"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"rope_interleave": False}, "rope_interleave"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"scoring_func": "softmax"}, "softmax"),
        ({"topk_method": "greedy"}, "greedy"),
        ({"moe_layer_freq": 2}, "moe_layer_freq"),
        ({"num_key_value_heads": 4}, "num_key_value_heads"),
        ({"q_lora_rank": None}, "q_lora_rank"),
        ({"num_nextn_predict_layers": 2}, "num_nextn_predict_layers"),
        ({"quantization_config": {"quant_method": "awq"}}, "'awq'"),
        ({"quantization_config": {"quant_method": "fp8"}}, "weight_block_size"),
        ({"quantization_config": 3}, "must be an object"),
        ({"dtype": "float8_e4m3fn"}, "float8_e4m3fn"),
        ({"hidden_size": "2048"}, "hidden_size"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"rms_norm_eps": -1e-5}, "rms_norm_eps"),
        ({"norm_topk_prob": 1}, "norm_topk_prob"),
        ({"qk_rope_head_dim": 63}, "qk_rope_head_dim"),
        ({"num_experts_per_tok": 65}, "num_experts_per_tok"),
        ({"n_group": 3}, "n_group"),
        ({"n_group": 4, "topk_group": 5}, "topk_group"),
        ({"n_group": 32, "topk_group": 1}, "topk_group"),
        ({"mlp_layer_types": ["dense", "sparse"]}, "mlp_layer_types"),
        ({"mlp_layer_types": ["dense", "moe"]}, "mlp_layer_types"),
        ({"eos_token_id": "</s>"}, "eos_token_id"),
    ],
)
def test_refused(change: dict[str, Any], word: str) -> None:
    """What would compute something else is refused, and the field is named."""
    with pytest.raises(CheckpointError, match=word):
        parse_config(PUBLISHED | change)


def test_every_fault_is_listed() -> None:
    """One error lists all faults."""
    with pytest.raises(CheckpointError) as error:
        parse_config(PUBLISHED | {"hidden_act": "gelu", "attention_bias": True, "n_group": 3})
    assert all(word in str(error.value) for word in ("gelu", "attention_bias", "n_group"))


@pytest.mark.parametrize(
    ("text", "word"), [(None, "does not exist"), ("{", "JSON"), ("[1]", "object")]
)
def test_unreadable(tmp_path: Path, text: str | None, word: str) -> None:
    """A config that is absent or no JSON object is an error with its path."""
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=word) as error:
        ModelConfig.load(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_generation_defaults(tmp_path: Path) -> None:
    """Sampling defaults come from generation_config.json, stop tokens from there first."""
    write_json(tmp_path / "config.json", {"eos_token_id": 7})
    assert GenerationDefaults.load(tmp_path) == GenerationDefaults(stop_token_ids=(7,))
    write_json(
        tmp_path / "generation_config.json",
        {"do_sample": True, "temperature": 0.3, "top_p": 0.95, "top_k": 20, "eos_token_id": [1, 2]},
    )
    assert GenerationDefaults.load(tmp_path) == GenerationDefaults(
        stop_token_ids=(1, 2), temperature=0.3, top_p=0.95, top_k=20
    )
    write_json(tmp_path / "generation_config.json", {"do_sample": False, "temperature": 0.3})
    assert GenerationDefaults.load(tmp_path).temperature == 0


def test_generation_defaults_refuse_nonsense(tmp_path: Path) -> None:
    """A default of the wrong type is an error, not a silent `None`."""
    for value in ("warm", -1, 1e9):
        write_json(tmp_path / "generation_config.json", {"temperature": value})
        with pytest.raises(CheckpointError, match="temperature"):
            GenerationDefaults.load(tmp_path)
