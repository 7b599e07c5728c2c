"""Tiny random checkpoints in Hugging Face layout, and the same ones in other layouts.

`make_checkpoint` is what other tests want: a folder that transformers and Glimt both load. Gates
and biases of the router are large enough to matter, and no norm is all ones.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

TINY: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 48,
    "intermediate_size": 64,
    "moe_intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 40,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 20,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 2048,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "routed_scaling_factor": 1.8,
    "tie_word_embeddings": False,
    "eos_token_id": [1, 2],
    "num_nextn_predict_layers": 1,
}
"""The published spelling; any of it can be given to `make_checkpoint`."""


def make_checkpoint(folder: Path, *, seed: int = 0, **shape: Any) -> Path:
    """Write a random model to `folder`: published spelling, one tensor per expert, one file.

    Args:
        shape: Fields of `config.json` that differ from `TINY`. `num_nextn_predict_layers=0`
            leaves the prediction layer out.

    Returns:
        `folder`, with config.json, generation_config.json and model.safetensors.
    """
    config = TINY | shape
    config["num_key_value_heads"] = config["num_attention_heads"]
    num_dense = config["first_k_dense_replace"]
    if num_dense != 1:
        # transformers takes the first layer alone as dense unless every layer is spelled out.
        num_sparse = config["num_hidden_layers"] - num_dense
        config["mlp_layer_types"] = ["dense"] * num_dense + ["sparse"] * num_sparse
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: _random(name, size, generator) for name, size in tensor_shapes(config).items()}
    if config["num_nextn_predict_layers"]:
        prefix = f"model.layers.{config['num_hidden_layers']}."
        tensors[f"{prefix}embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
        head = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
        tensors[f"{prefix}shared_head.head.weight"] = head.clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(
        folder / "config.json",
        {
            "architectures": ["Glm4MoeLiteForCausalLM"],
            "model_type": "glm4_moe_lite",
            "dtype": "float32",
            **config,
        },
    )
    write_json(
        folder / "generation_config.json",
        {"eos_token_id": config["eos_token_id"], "temperature": 1.0, "top_p": 0.95},
    )
    return folder


def tensor_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint, aliases of the prediction layer left out."""
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    num_layers, num_dense = config["num_hidden_layers"], config["first_k_dense_replace"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocabulary, hidden)
    for index in range(num_layers + config["num_nextn_predict_layers"]):
        prefix = f"model.layers.{index}."
        block = {**_attention_shapes(config), **_feed_forward_shapes(config, index >= num_dense)}
        if index == num_layers:
            block |= {
                "enorm.weight": (hidden,),
                "hnorm.weight": (hidden,),
                "eh_proj.weight": (hidden, 2 * hidden),
                "shared_head.norm.weight": (hidden,),
            }
        shapes |= {prefix + name: shape for name, shape in block.items()}
    return shapes


def _attention_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    query_rank, rank = config["q_lora_rank"], config["kv_lora_rank"]
    plain, rope, value = (
        config[name] for name in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    )
    return {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.q_a_proj.weight": (query_rank, hidden),
        "self_attn.q_a_layernorm.weight": (query_rank,),
        "self_attn.q_b_proj.weight": (heads * (plain + rope), query_rank),
        "self_attn.kv_a_proj_with_mqa.weight": (rank + rope, hidden),
        "self_attn.kv_a_layernorm.weight": (rank,),
        "self_attn.kv_b_proj.weight": (heads * (plain + value), rank),
        "self_attn.o_proj.weight": (hidden, heads * value),
    }


def _feed_forward_shapes(config: Mapping[str, Any], sparse: bool) -> dict[str, tuple[int, ...]]:
    hidden, num_experts = config["hidden_size"], config["n_routed_experts"]
    if not sparse:
        return _block_shapes("mlp.", hidden, config["intermediate_size"])
    width = config["moe_intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "mlp.gate.weight": (num_experts, hidden),
        "mlp.gate.e_score_correction_bias": (num_experts,),
    }
    for index in range(num_experts):
        shapes |= _block_shapes(f"mlp.experts.{index}.", hidden, width)
    if config["n_shared_experts"]:
        shapes |= _block_shapes("mlp.shared_experts.", hidden, width * config["n_shared_experts"])
    return shapes


def _block_shapes(prefix: str, hidden: int, width: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}gate_proj.weight": (width, hidden),
        f"{prefix}up_proj.weight": (width, hidden),
        f"{prefix}down_proj.weight": (hidden, width),
    }


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    values = torch.randn(shape, generator=generator)
    if name.endswith("e_score_correction_bias"):
        return values * 0.3
    if "norm" in name:
        return 1 + values * 0.2
    if name.endswith("mlp.gate.weight"):
        return values * 2 * shape[-1] ** -0.5
    return values if "embed" in name else values * 1.5 * shape[-1] ** -0.5


def fuse_experts(source: Path, folder: Path) -> Path:
    """A copy whose experts are one tensor per layer and projection, the gate's rows first."""
    tensors = load_file(source / "model.safetensors")
    fused: dict[str, Tensor] = {}
    stacks: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        layer, found, rest = name.partition("mlp.experts.")
        if not found:
            fused[name] = tensor
            continue
        index, kind, _ = rest.split(".")
        stacks.setdefault(layer, {}).setdefault(int(index), {})[kind] = tensor
    for layer, by_index in stacks.items():
        ordered = [by_index[index] for index in range(len(by_index))]
        fused[f"{layer}mlp.experts.gate_up_proj"] = torch.stack(
            [torch.cat((one["gate_proj"], one["up_proj"])) for one in ordered]
        )
        fused[f"{layer}mlp.experts.down_proj"] = torch.stack([one["down_proj"] for one in ordered])
    return _copy_with(source, folder, fused)


def shard(source: Path, folder: Path, *, num_files: int = 3, index: bool = True) -> Path:
    """A copy in several files, with or without the index that says what is where."""
    tensors = load_file(source / "model.safetensors")
    folder = _copy_with(source, folder, {})
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(num_files):
        file = f"model-{number + 1:05d}-of-{num_files:05d}.safetensors"
        part = {name: tensors[name] for name in names[number::num_files]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    if index:
        write_json(
            folder / "model.safetensors.index.json",
            {"metadata": {"total_size": 0}, "weight_map": weight_map},
        )
    return folder


def change_tensors(source: Path, folder: Path, changes: Mapping[str, Tensor | None]) -> Path:
    """A copy in which tensors are replaced or added, or left out where `None` is given."""
    tensors = {**load_file(source / "model.safetensors"), **changes}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    return _copy_with(source, folder, kept)


def change_config(source: Path, folder: Path, **changes: Any) -> Path:
    """A copy whose `config.json` differs; `...` leaves a field out."""
    folder = _copy_with(source, folder, load_file(source / "model.safetensors"))
    config = json.loads((source / "config.json").read_text()) | changes
    write_json(folder / "config.json", {k: v for k, v in config.items() if v is not ...})
    return folder


def _copy_with(source: Path, folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_json(path: Path, document: object) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
