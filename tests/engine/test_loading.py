"""Filling the model's tensors from checkpoints of every layout, and refusing what does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from glimt.engine.checkpoint import CheckpointError
from glimt.engine.config import ModelConfig
from glimt.engine.loading import load_weights
from glimt.engine.messages import LoadProgress
from glimt.engine.weights import Mixture, Weights, tensors_of
from tests.engine.checkpoints import (
    TINY,
    change_config,
    change_tensors,
    fuse_experts,
    make_checkpoint,
    shard,
)

CPU = torch.device("cpu")
EXTRA = f"model.layers.{TINY['num_hidden_layers']}."


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint in one file, experts apart, with two shared experts."""
    return make_checkpoint(tmp_path_factory.mktemp("single"), n_shared_experts=2)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Weights:
    """Its weights."""
    return load_weights(folder, ModelConfig.load(folder), dtype=dtype, device=CPU)


def assert_same(ours: Weights, theirs: Weights) -> None:
    """Bit for bit."""
    for mine, other in zip(tensors_of(ours), tensors_of(theirs), strict=True):
        assert torch.equal(mine, other)


def test_layouts_agree(single: Path, tmp_path: Path) -> None:
    """Experts fused or apart, one file or several, with or without index: the same weights."""
    weights = load(single)
    fused = fuse_experts(single, tmp_path / "fused")
    for folder in (
        fused,
        shard(single, tmp_path / "sharded"),
        shard(single, tmp_path / "loose", index=False),
        shard(fused, tmp_path / "both", num_files=5),
    ):
        assert_same(load(folder), weights)


def test_transformers_spelling(single: Path, tmp_path: Path) -> None:
    """What transformers writes after loading a checkpoint loads as the same model."""
    from transformers import Glm4MoeLiteForCausalLM  # noqa: PLC0415 (slow to import)
    from transformers.utils import logging  # noqa: PLC0415

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = Glm4MoeLiteForCausalLM.from_pretrained(single, dtype=torch.float32)
    model.save_pretrained(tmp_path)
    ours, theirs = load(single), load(tmp_path)
    # transformers has no prediction layer for this architecture and drops its tensors.
    assert theirs.prediction is None
    ours.prediction = None
    assert_same(ours, theirs)


def test_placement(single: Path) -> None:
    """Gate rows precede up rows; n shared experts are one wide block, cut to experts' width."""
    tensors, weights = load_file(single / "model.safetensors"), load(single)
    width, count = TINY["moe_intermediate_size"], TINY["n_routed_experts"]
    mixture = weights.layers[1].feed_forward
    assert isinstance(mixture, Mixture)
    assert isinstance(mixture.gate_up, Tensor)
    assert isinstance(mixture.down, Tensor)
    prefix = "model.layers.1.mlp."
    gate = tensors[f"{prefix}experts.5.gate_proj.weight"]
    assert torch.equal(mixture.gate_up[5, :width], gate)
    shared = tensors[f"{prefix}shared_experts.down_proj.weight"]
    assert torch.equal(mixture.down[count + 1], shared[:, width:])
    down = weights.layers[0].attention.down
    assert torch.equal(
        down[TINY["q_lora_rank"] :],
        tensors["model.layers.0.self_attn.kv_a_proj_with_mqa.weight"],
    )


def test_router_stays_fp32(single: Path) -> None:
    """In a bf16 model everything is rounded but the router and its bias."""
    weights, exact = load(single, torch.bfloat16), load(single)
    for layer, other in zip(weights.layers, exact.layers, strict=True):
        assert layer.attention.q_b.dtype is torch.bfloat16
        if isinstance(layer.feed_forward, Mixture) and isinstance(other.feed_forward, Mixture):
            assert torch.equal(layer.feed_forward.router, other.feed_forward.router)
            assert torch.equal(layer.feed_forward.bias, other.feed_forward.bias)


def test_prediction_layer_aliases(single: Path, tmp_path: Path) -> None:
    """Copies of embedding and head are shared; a differing one is kept as the layer's own."""
    prediction = load(single).prediction
    assert prediction is not None
    weights = load(single)
    assert weights.prediction is not None
    assert weights.prediction.embedding is weights.embedding
    assert weights.prediction.head is weights.head
    name = f"{EXTRA}shared_head.head.weight"
    head = load_file(single / "model.safetensors")[name] + 1
    changed = load(change_tensors(single, tmp_path / "own", {name: head}))
    assert changed.prediction is not None
    assert torch.equal(changed.prediction.head, head)
    assert changed.prediction.embedding is changed.embedding
    bare = change_tensors(
        single, tmp_path / "bare", {name: None, f"{EXTRA}embed_tokens.weight": None}
    )
    assert_same(load(bare), load(single))


def test_prediction_layer_absent(single: Path, tmp_path: Path) -> None:
    """A checkpoint without any tensor of the layer runs without it, whatever its config says."""
    names = [name for name in load_file(single / "model.safetensors") if name.startswith(EXTRA)]
    folder = change_tensors(single, tmp_path, dict.fromkeys(names))
    assert ModelConfig.load(folder).num_mtp_layers == 1
    assert load(folder).prediction is None


def test_tied_head(tmp_path: Path) -> None:
    """A tied head is the embedding; a copy of it may be there, another tensor may not."""
    folder = make_checkpoint(tmp_path / "tied", tie_word_embeddings=True)
    weights = load(folder)
    assert weights.head is weights.embedding
    copy = change_tensors(folder, tmp_path / "copy", {"lm_head.weight": weights.embedding.clone()})
    assert_same(load(copy), weights)
    other = change_tensors(folder, tmp_path / "other", {"lm_head.weight": weights.embedding + 1})
    with pytest.raises(CheckpointError, match="lm_head"):
        load(other)


def test_every_difference_is_listed(single: Path, tmp_path: Path) -> None:
    """Missing, unknown, mis-shaped and unreadable tensors come in one error."""
    folder = change_tensors(
        single,
        tmp_path,
        {
            "model.norm.weight": None,
            f"{EXTRA}enorm.weight": None,
            "model.layers.0.self_attn.q_b_proj.bias": torch.zeros(3),
            "model.layers.9.input_layernorm.weight": torch.zeros(3),
            "model.layers.0.input_layernorm.weight": torch.zeros(47),
            "lm_head.weight": torch.zeros(160, 48, dtype=torch.float8_e4m3fn),
        },
    )
    with pytest.raises(CheckpointError) as error:
        load(folder)
    text = str(error.value)
    for part in (
        "2 missing",
        "model.norm.weight",
        f"{EXTRA}enorm.weight",
        "2 unknown",
        "q_b_proj.bias",
        "layers.9",
        "1 of another shape",
        "[47]",
        "[48]",
        "1 of an unreadable type",
        "F8_E4M3",
    ):
        assert part in text


def test_mixed_experts(single: Path, tmp_path: Path) -> None:
    """Fused experts beside single ones of the same layer are unknown, not silently ignored."""
    fused = load_file(fuse_experts(single, tmp_path / "fused") / "model.safetensors")
    name = "model.layers.1.mlp.experts.gate_up_proj"
    folder = change_tensors(single, tmp_path / "mixed", {name: fused[name]})
    with pytest.raises(CheckpointError, match=r"24 unknown[\s\S]*experts\.0\.down_proj"):
        load(folder)


def test_other_size(single: Path, tmp_path: Path) -> None:
    """A config that promises more layers than the file has is an error that names them."""
    folder = change_config(single, tmp_path, num_hidden_layers=5)
    with pytest.raises(CheckpointError, match=r"missing[\s\S]*model\.layers\.4"):
        load(folder)


def test_progress(single: Path) -> None:
    """Progress counts the bytes of all tensors that are read and ends at the total."""
    seen: list[LoadProgress] = []
    config = ModelConfig.load(single)
    load_weights(single, config, dtype=torch.float32, device=CPU, progress=seen.append)
    assert [report.done for report in seen] == sorted(report.done for report in seen)
    assert seen[-1].stage == "weights"
    size = (single / "model.safetensors").stat().st_size
    copies = 2 * 4 * TINY["vocab_size"] * TINY["hidden_size"]
    assert seen[-1].done == seen[-1].total
    assert 0 < size - copies - seen[-1].total < 40_000
