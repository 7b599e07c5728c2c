"""`python -m nano.export`: write a training checkpoint as a Hugging Face folder.

Knows the published tensor names and the original spelling of config.json. Knows nothing of
optimizers; the tokenizer and the chat template are already in the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from nano.network import Nano, NanoConfig
from nano.tokenizer import ADDED, FOLDER, STOPS


def stop_ids(config: NanoConfig) -> list[int]:
    """Ids of the tags that end a reply; the added tokens fill the end of the vocabulary."""
    names = [text for text, _ in ADDED]
    return [config.vocab_size - len(ADDED) + names.index(stop) for stop in STOPS]


def published_config(config: NanoConfig) -> dict[str, Any]:
    """config.json in the spelling of the original GLM-4.7-Flash checkpoint."""
    stops = stop_ids(config)
    return {
        "architectures": ["Glm4MoeLiteForCausalLM"],
        "model_type": "glm4_moe_lite",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": "bfloat16",
        "eos_token_id": stops,
        "pad_token_id": stops[0],
        "first_k_dense_replace": config.first_k_dense_replace,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "kv_lora_rank": config.kv_lora_rank,
        "max_position_embeddings": config.max_position_embeddings,
        "moe_intermediate_size": config.moe_intermediate_size,
        "n_group": 1,
        "n_routed_experts": config.n_routed_experts,
        "n_shared_experts": config.n_shared_experts,
        "norm_topk_prob": True,
        "num_attention_heads": config.num_attention_heads,
        "num_experts_per_tok": config.num_experts_per_tok,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_attention_heads,
        "num_nextn_predict_layers": 1,
        "partial_rotary_factor": 1.0,
        "q_lora_rank": config.q_lora_rank,
        "qk_nope_head_dim": config.qk_nope_head_dim,
        "qk_rope_head_dim": config.qk_rope_head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_interleave": True,
        "rope_scaling": None,
        "rope_theta": config.rope_theta,
        "routed_scaling_factor": config.routed_scaling_factor,
        "scoring_func": "sigmoid",
        "tie_word_embeddings": False,
        "topk_group": 1,
        "topk_method": "noaux_tc",
        "use_cache": True,
        "v_head_dim": config.v_head_dim,
        "vocab_size": config.vocab_size,
    }


def published_name(name: str, config: NanoConfig) -> str:
    """The checkpoint name of one of the network's parameters."""
    name = name.replace("prediction.", f"layers.{config.num_hidden_layers}.")
    return name if name.startswith("lm_head") else f"model.{name}"


def published_tensors(network: Nano) -> dict[str, Tensor]:
    """Every tensor under its published name; the router's bias stays in float32."""
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        target = published_name(name, network.config)
        if name.endswith("e_score_correction_bias"):
            tensors[target] = value.detach().float().contiguous()
        elif ".experts." in name:
            prefix, projection = target.rsplit(".", 1)
            for index, expert in enumerate(value.detach().to(torch.bfloat16)):
                tensors[f"{prefix}.{index}.{projection}.weight"] = expert.contiguous().clone()
        else:
            tensors[target] = value.detach().to(torch.bfloat16).contiguous()
    return tensors


def write(network: Nano, folder: Path) -> int:
    """Write weights and configuration; returns the size of the weights in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    save_file(published_tensors(network), str(weights), metadata={"format": "pt"})
    weights.chmod(0o644)
    stops = stop_ids(network.config)
    generation = {
        "do_sample": True, "temperature": 0.3, "top_p": 0.95,
        "eos_token_id": stops, "pad_token_id": stops[0],
    }  # fmt: skip
    for name, content in (
        ("config.json", published_config(network.config)), ("generation_config.json", generation),
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    return weights.stat().st_size


def load_checkpoint(path: Path) -> Nano:
    """The network of a training checkpoint."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    network = Nano(NanoConfig(**saved["config"]))
    network.load_state_dict(saved["network"])
    return network.eval()


def main() -> None:
    """Export a checkpoint."""
    parser = argparse.ArgumentParser(description="Export a checkpoint to the shipped folder.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    size = write(load_checkpoint(options.checkpoint), options.folder)
    print(f"{size / 1e6:.1f} MB of weights written to {options.folder}")


if __name__ == "__main__":
    main()
