"""Checkpoints in fp8, and experts of few bits: they load as the weights that they stand for."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from glimt.engine.checkpoint import CheckpointError
from glimt.engine.config import ModelConfig
from glimt.engine.formats import read_format
from glimt.engine.keeping import Kept
from glimt.engine.loading import load_weights
from glimt.engine.messages import LoadProgress
from glimt.engine.quantization import LARGEST, Scaled, dequantize, pack, quantize, widen
from glimt.engine.runner import Runner
from glimt.engine.sequence import Scheduled
from glimt.engine.settings import EngineSettings
from glimt.engine.weights import Mixture, Weights, weights_of
from tests.engine.checkpoints import (
    change_config,
    change_tensors,
    fuse_experts,
    make_checkpoint,
    shard,
)
from tests.engine.test_runner import sequence

BLOCKS = {
    "quant_method": "fp8",
    "fmt": "e4m3",
    "activation_scheme": "dynamic",
    "weight_block_size": [128, 128],
}
WEIGHTS = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
CHANNELS = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": WEIGHTS,
            "input_activations": {"num_bits": 8, "type": "float", "dynamic": True},
        }
    },
    "ignore": ["lm_head"],
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint, of sizes that are no multiples of a block."""
    place = tmp_path_factory.mktemp("plain")
    return make_checkpoint(place, hidden_size=160, moe_intermediate_size=136)


def channels(weight: Tensor) -> tuple[Tensor, Tensor]:
    """fp8 with a scale for each row, in bf16."""
    scales = (weight.abs().amax(-1, keepdim=True) / LARGEST).bfloat16()
    rounded = (weight / scales.float()).clamp(-LARGEST, LARGEST)
    return rounded.to(torch.float8_e4m3fn), scales


def is_rounded(name: str) -> bool:
    """What published checkpoints keep in fp8: projections, but no router, embedding or head."""
    return "_proj" in name and "eh_proj" not in name


def pair(source: Path, place: Path, method: dict[str, Any]) -> tuple[Path, Path]:
    """A checkpoint in fp8, and the same with each weight as what it stands for."""
    rounded: dict[str, Tensor] = {}
    widened: dict[str, Tensor] = {}
    for name, weight in load_file(source / "model.safetensors").items():
        if not is_rounded(name):
            continue
        if method is BLOCKS:
            numbers, scales = quantize(weight)
            rounded |= {name: numbers, f"{name}_scale_inv": scales}
            widened[name] = dequantize(numbers, scales, torch.float32)
        else:
            numbers, scales = channels(weight)
            rounded |= {name: numbers, f"{name}_scale": scales}
            widened[name] = numbers.float() * scales.float()
    fp8 = change_tensors(source, place / "fp8", rounded)
    document = json.loads((fp8 / "config.json").read_text())
    (fp8 / "config.json").write_text(json.dumps(document | {"quantization_config": method}))
    return fp8, change_tensors(source, place / "wide", widened)


def logits(folder: Path, **changes: Any) -> Tensor:
    """Of a short prompt."""
    settings = EngineSettings(device="cpu", dtype="float32", cache_gb=0.01, **changes)
    runner = Runner.load(settings, folder)
    return runner.forward([Scheduled(sequence(9, 0), 0, 9)])


@pytest.mark.parametrize("method", [BLOCKS, CHANNELS], ids=["blocks", "channels"])
def test_same_as_widened(plain: Path, tmp_path: Path, method: dict[str, Any]) -> None:
    """An fp8 checkpoint answers, bit for bit, as one that holds the widened weights."""
    fp8, wide = pair(plain, tmp_path, method)
    assert torch.equal(logits(fp8), logits(wide))


def test_layouts(plain: Path, tmp_path: Path) -> None:
    """Shards in which scales lie apart from their weights, and fused experts, are read too."""
    fp8, wide = pair(plain, tmp_path, BLOCKS)
    expected = logits(wide)
    assert torch.equal(logits(shard(fp8, tmp_path / "shards")), expected)
    fused, fused_wide = pair(fuse_experts(plain, tmp_path / "fused"), tmp_path / "two", BLOCKS)
    assert torch.equal(logits(fused), logits(fused_wide))


def test_faults_are_listed(plain: Path, tmp_path: Path) -> None:
    """A scale that is missing, mis-shaped, or without a weight in fp8 is named."""
    fp8, _ = pair(plain, tmp_path, BLOCKS)
    prefix = "model.layers.0.self_attn."
    folder = change_tensors(
        fp8,
        tmp_path / "bad",
        {
            f"{prefix}q_a_proj.weight_scale_inv": None,
            f"{prefix}q_b_proj.weight_scale_inv": torch.ones(7, 1),
            f"{prefix}o_proj.weight": torch.zeros(160, 80),
        },
    )
    with pytest.raises(CheckpointError) as error:
        Runner.load(EngineSettings(device="cpu"), folder)
    text = str(error.value)
    for part in ("1 missing", "q_a_proj.weight_scale_inv", "1 unknown", "o_proj", "[7, 1]"):
        assert part in text


def test_progress(plain: Path, tmp_path: Path) -> None:
    """Scales count among the bytes that are read."""
    fp8, wide = pair(plain, tmp_path, CHANNELS)
    totals: list[int] = []
    for folder in (fp8, wide):
        seen: list[LoadProgress] = []
        config = ModelConfig.load(folder)
        load_weights(folder, config, dtype=torch.float32, device=CPU, progress=seen.append)
        assert seen[-1].done == seen[-1].total
        totals.append(seen[-1].total)
    assert totals[0] < totals[1]


@pytest.mark.parametrize("method", [BLOCKS, CHANNELS], ids=["blocks", "channels"])
def test_experts_stay_in_fp8(tmp_path: Path, method: dict[str, Any]) -> None:
    """Experts that are kept as they are stand for the weights that would be widened."""
    shape = {"hidden_size": 128, "moe_intermediate_size": 256}
    fp8, _ = pair(make_checkpoint(tmp_path / "plain", **shape), tmp_path, method)
    assert_experts_stand_for_plain(fp8)
    fused = fuse_experts(tmp_path / "plain", tmp_path / "fused")
    assert_experts_stand_for_plain(pair(fused, tmp_path / "both", method)[0])


def test_shared_experts_stay_in_fp8(tmp_path: Path) -> None:
    """Blocks are cut with the shared experts that they belong to; rows' scales cannot be."""
    shape = {"hidden_size": 128, "moe_intermediate_size": 128, "n_shared_experts": 2}
    plain = make_checkpoint(tmp_path / "plain", **shape)
    assert_experts_stand_for_plain(pair(plain, tmp_path / "blocks", BLOCKS)[0])
    channelled = load(pair(plain, tmp_path / "channels", CHANNELS)[0], "as they are")
    assert all(isinstance(mixture.down, Tensor) for mixture in mixtures(channelled))


def test_ragged_experts_are_widened(plain: Path, tmp_path: Path) -> None:
    """Where blocks do not divide experts they are plain, and so are those that were never fp8."""
    for folder in (pair(plain, tmp_path, BLOCKS)[0], plain):
        weights = load(folder, "as they are")
        assert all(isinstance(mixture.gate_up, Tensor) for mixture in mixtures(weights))


@pytest.mark.parametrize("num_shared", [1, 2])
def test_int4_experts(tmp_path: Path, num_shared: int) -> None:
    """Rounded as they are loaded, experts are what rounding the plain ones gives, and run."""
    shape = {"hidden_size": 64, "moe_intermediate_size": 96, "n_shared_experts": num_shared}
    folder = make_checkpoint(tmp_path, **shape)
    kept, whole = load(folder, "int4 experts"), load(folder, "plain")
    assert kept.num_parameters == whole.num_parameters
    for ours, theirs in zip(mixtures(kept), mixtures(whole), strict=True):
        for mine, plain_one in ((ours.gate_up, theirs.gate_up), (ours.down, theirs.down)):
            assert isinstance(mine, Scaled)
            assert isinstance(plain_one, Tensor)
            expected = widen(pack(plain_one, 32), torch.float32)
            assert torch.equal(widen(mine, torch.float32), expected)
    rounded, exact = logits(folder, weights="int4-experts"), logits(folder)
    assert rounded.shape == exact.shape
    assert not torch.equal(rounded, exact)


def test_int4_refuses(plain: Path) -> None:
    """Experts that no group divides are an error that says their sizes."""
    with pytest.raises(CheckpointError, match=r"multiples of 32: 136 x 160"):
        load(plain, "int4 experts")


def load(folder: Path, keep: Kept) -> Weights:
    """Its weights."""
    config = ModelConfig.load(folder)
    return load_weights(folder, config, dtype=torch.float32, device=CPU, keep=keep)


def mixtures(weights: Weights) -> list[Mixture]:
    """Of all layers."""
    extra = [weights.prediction.layer] if weights.prediction else []
    blocks = [layer.feed_forward for layer in weights.layers + extra]
    return [block for block in blocks if isinstance(block, Mixture)]


def assert_experts_stand_for_plain(folder: Path) -> None:
    """Bit for bit."""
    kept, whole = load(folder, "as they are"), load(folder, "plain")
    assert kept.num_parameters == whole.num_parameters
    for ours, theirs in zip(mixtures(kept), mixtures(whole), strict=True):
        for mine, plain_one in ((ours.gate_up, theirs.gate_up), (ours.down, theirs.down)):
            assert isinstance(mine, Scaled)
            assert isinstance(plain_one, Tensor)
            assert torch.equal(widen(mine, torch.float32), plain_one)


LARGE = {
    "hidden_size": 128,
    "moe_intermediate_size": 128,
    "intermediate_size": 192,
    "q_lora_rank": 128,
    "kv_lora_rank": 128,
}


@pytest.mark.parametrize("method", [BLOCKS, CHANNELS], ids=["blocks", "channels"])
def test_layers_stay_in_fp8(tmp_path: Path, method: dict[str, Any]) -> None:
    """Attention and dense blocks stand for what would be widened, parts that share a block too."""
    fp8, _ = pair(make_checkpoint(tmp_path / "plain", **LARGE), tmp_path, method)
    kept, whole = load(fp8, "as they are"), load(fp8, "plain")
    assert kept.num_parameters == whole.num_parameters
    pairs = list(zip(weights_of(kept), weights_of(whole), strict=True))
    for mine, plain_one in pairs:
        assert isinstance(plain_one, Tensor)
        assert torch.equal(widen(mine, torch.float32), plain_one)
    # Of each layer, the prediction layer too, four of attention and two of the block, but for
    # matrices whose columns are no whole blocks: the output projection, and down of a dense one.
    num_layers = len(kept.layers) + 1
    num_kept = sum(isinstance(mine, Scaled) for mine, _ in pairs)
    assert num_kept == (6 * num_layers if method is CHANNELS else 5 * num_layers - 1)


def test_rounded_to_fp8(tmp_path: Path) -> None:
    """A plain checkpoint rounded on load is what the same rounded before would be, and runs."""
    whole_blocks = LARGE | {"intermediate_size": 256, "v_head_dim": 128}
    plain = make_checkpoint(tmp_path / "plain", **whole_blocks)
    fp8, _ = pair(plain, tmp_path, BLOCKS)
    for ours, theirs in zip(
        weights_of(load(plain, "fp8")), weights_of(load(fp8, "as they are")), strict=True
    ):
        assert isinstance(ours, Scaled) == isinstance(theirs, Scaled)
        assert torch.equal(widen(ours, torch.float32), widen(theirs, torch.float32))
    rounded, exact = logits(plain, weights="fp8"), logits(plain)
    assert not torch.equal(rounded, exact)
    assert torch.equal(rounded, logits(fp8, weights="fp8"))


def test_fp8_refuses(plain: Path) -> None:
    """Experts that no block divides are an error that says their sizes."""
    with pytest.raises(CheckpointError, match=r"fp8 needs .* multiples of 128: 136 x 160"):
        load(plain, "fp8")


@pytest.mark.parametrize("weights", ["fp8", "int4-experts"])
def test_dummy_weights_of_few_bits(tmp_path: Path, weights: str) -> None:
    """Random weights can be of few bits too, and keep activations near unit size."""
    folder = make_checkpoint(tmp_path, **LARGE)
    made = logits(folder, weights=weights, load_format="dummy")
    assert 0.3 < float(made.std()) < 3.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quant_method": "gptq"}, "'gptq'"),
        ({"config_groups": {}}, "one group"),
        ({"kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme"),
        ({"config_groups": {"g": {"weights": WEIGHTS | {"type": "int"}}}}, "'int'"),
        ({"config_groups": {"g": {"weights": WEIGHTS | {"num_bits": 4}}}}, "4 bits"),
        ({"config_groups": {"g": {"weights": WEIGHTS | {"symmetric": False}}}}, "symmetric"),
        ({"config_groups": {"g": {"weights": WEIGHTS | {"strategy": "tensor"}}}}, "'tensor'"),
        (
            {"config_groups": {"g": {"weights": WEIGHTS, "input_activations": {}}}},
            "static input_activations",
        ),
        (BLOCKS | {"fmt": "e5m2"}, "'e5m2'"),
        (BLOCKS | {"weight_block_size": [128]}, "two numbers"),
        (BLOCKS | {"activation_scheme": "static"}, "'static'"),
    ],
)
def test_unknown_methods(change: dict[str, Any], told: str) -> None:
    """What is not read exactly is refused, with what was found."""
    found = read_format(CHANNELS | change)
    assert isinstance(found, str)
    assert told in found


def test_refused_at_the_start(plain: Path, tmp_path: Path) -> None:
    """A method that is not known is an error of the checkpoint, which says what is supported."""
    folder = change_config(plain, tmp_path, quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(CheckpointError, match=r"'bitsandbytes'; supported: 'fp8'"):
        ModelConfig.load(folder)
