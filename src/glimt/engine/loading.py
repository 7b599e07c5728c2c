"""Filling the model's tensors from a checkpoint's.

Knows the published tensor names, with one tensor per expert or one per layer, and the prediction
layer's (`model.layers.{num_hidden_layers}`) with its copies of embedding and head. Weights in fp8
are widened as they are read. Every missing, unknown, mis-shaped or unreadable tensor is told in one
error, before a single byte is read.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, cast

import torch
from safetensors import safe_open
from torch import Tensor

from glimt.engine.checkpoint import CheckpointError, TensorEntry, list_tensors
from glimt.engine.config import ModelConfig
from glimt.engine.formats import Fp8Format
from glimt.engine.messages import LoadProgress
from glimt.engine.quantization import dequantize
from glimt.engine.weights import Dense, Layer, Mixture, Weights, allocate


class _Opened(Protocol):
    """The part of safetensors' untyped reader that is used here; it maps the file to memory."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def get_tensor(self, name: str) -> Tensor: ...


READABLE = frozenset({"F64", "F32", "F16", "BF16"})
FP8 = "F8_E4M3"
IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)
"""Constants that old versions of transformers saved."""

NUM_LISTED = 10
PROGRESS_STEP_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a checkpoint tensor of this shape goes; it is viewed as the memory's shape first."""

    memory: Tensor
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which checkpoint tensor fills which part of memory, and which only repeats another."""

    fill: dict[str, _Target]
    copies: dict[str, _Target]


def _whole(memory: Tensor) -> _Target:
    return _Target(memory, tuple(memory.shape))


def load_weights(
    folder: Path,
    config: ModelConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
    progress: Callable[[LoadProgress], None] | None = None,
) -> Weights:
    """Read all weights of a checkpoint, converted to `dtype` (the router stays fp32).

    The prediction layer is there when the checkpoint has any tensor of it.

    Raises:
        CheckpointError: A tensor is missing, unknown, of another shape or of an unreadable type;
            all of them are listed.
    """
    found = {
        name: entry
        for name, entry in list_tensors(folder).items()
        if not name.endswith(IGNORED_SUFFIXES)
    }
    extra_layer = f"model.layers.{config.num_layers}."
    prediction = any(name.startswith(extra_layer) for name in found)
    weights = allocate(config, dtype=dtype, device=device, prediction=prediction)
    plan = _plan(weights, config, found.keys())
    _require_match(folder, plan, found, config.fp8)
    with ExitStack() as stack:
        source = _Source(found, config.fp8, stack)
        _fill(plan.fill, source, progress)
        _settle_copies(weights, plan.copies, source)
    return weights


class _Source:
    """Reads the tensors of a checkpoint; files stay mapped until the stack closes."""

    def __init__(
        self, entries: dict[str, TensorEntry], fp8: Fp8Format | None, stack: ExitStack
    ) -> None:
        self.entries = entries
        self._fp8 = fp8
        self._stack = stack
        self._opened: dict[Path, _Opened] = {}

    def num_bytes(self, name: str) -> int:
        """What `read` reads."""
        scales = _scales_of(name, self.entries, self._fp8)
        return self.entries[name].num_bytes + (self.entries[scales].num_bytes if scales else 0)

    def read(self, name: str, memory: Tensor) -> Tensor:
        """The tensor, where it was rounded to fp8 widened to the dtype and device of `memory`."""
        scales = _scales_of(name, self.entries, self._fp8)
        numbers = self._raw(name)
        if scales is None or self._fp8 is None:
            return numbers
        numbers, factors = numbers.to(memory.device), self._raw(scales).to(memory.device)
        return dequantize(numbers, factors, memory.dtype, block=self._fp8.block)

    def _raw(self, name: str) -> Tensor:
        file = self.entries[name].file
        if file not in self._opened:
            opened = cast("_Opened", safe_open(str(file), framework="pt"))
            self._opened[file] = self._stack.enter_context(opened)
        return self._opened[file].get_tensor(name)


def _scales_of(name: str, found: dict[str, TensorEntry], fp8: Fp8Format | None) -> str | None:
    """The name of the scales that a tensor needs; they need not be there."""
    return name + fp8.suffix if fp8 is not None and found[name].dtype == FP8 else None


def _plan(weights: Weights, config: ModelConfig, names: Iterable[str]) -> _Plan:
    present = set(names)
    fill = {
        "model.embed_tokens.weight": _whole(weights.embedding),
        "model.norm.weight": _whole(weights.final_norm),
    }
    copies: dict[str, _Target] = {}
    (copies if config.tie_word_embeddings else fill)["lm_head.weight"] = _whole(weights.head)
    for index, layer in enumerate(weights.layers):
        fill |= _layer_targets(f"model.layers.{index}.", layer, config, present)
    if weights.prediction is not None:
        prefix = f"model.layers.{config.num_layers}."
        fill |= _layer_targets(prefix, weights.prediction.layer, config, present)
        fill |= {
            f"{prefix}enorm.weight": _whole(weights.prediction.embedding_norm),
            f"{prefix}hnorm.weight": _whole(weights.prediction.hidden_norm),
            f"{prefix}eh_proj.weight": _whole(weights.prediction.join),
            f"{prefix}shared_head.norm.weight": _whole(weights.prediction.head_norm),
        }
        copies[f"{prefix}embed_tokens.weight"] = _whole(weights.embedding)
        copies[f"{prefix}shared_head.head.weight"] = _whole(weights.head)
    return _Plan(fill=fill, copies={name: copies[name] for name in copies if name in present})


def _layer_targets(
    prefix: str, layer: Layer, config: ModelConfig, present: set[str]
) -> dict[str, _Target]:
    attention = layer.attention
    query, latent_and_key = (
        attention.down[: config.q_lora_rank],
        attention.down[config.q_lora_rank :],
    )
    num_heads, rows, rank = attention.kv_b.shape
    targets = {
        "input_layernorm.weight": _whole(layer.input_norm),
        "post_attention_layernorm.weight": _whole(layer.post_norm),
        "self_attn.q_a_proj.weight": _whole(query),
        "self_attn.q_a_layernorm.weight": _whole(attention.q_norm),
        "self_attn.q_b_proj.weight": _whole(attention.q_b),
        "self_attn.kv_a_proj_with_mqa.weight": _whole(latent_and_key),
        "self_attn.kv_a_layernorm.weight": _whole(attention.kv_norm),
        "self_attn.kv_b_proj.weight": _Target(attention.kv_b, (num_heads * rows, rank)),
        "self_attn.o_proj.weight": _whole(attention.out),
    }
    match layer.feed_forward:
        case Dense(gate_up=gate_up, down=down):
            gate, up = gate_up.chunk(2)
            targets["mlp.gate_proj.weight"] = _whole(gate)
            targets["mlp.up_proj.weight"] = _whole(up)
            targets["mlp.down_proj.weight"] = _whole(down)
        case Mixture() as mixture:
            targets["mlp.gate.weight"] = _whole(mixture.router)
            targets["mlp.gate.e_score_correction_bias"] = _whole(mixture.bias)
            fused = any(name.startswith(f"{prefix}mlp.experts.gate_up_proj") for name in present)
            targets |= _expert_targets(mixture, config, fused=fused)
    return {prefix + name: target for name, target in targets.items()}


def _expert_targets(mixture: Mixture, config: ModelConfig, *, fused: bool) -> dict[str, _Target]:
    count, shared = config.num_experts, config.num_shared_experts
    width, hidden = config.moe_intermediate_size, config.hidden_size
    targets: dict[str, _Target] = {}
    if fused:
        targets["mlp.experts.gate_up_proj"] = _whole(mixture.gate_up[:count])
        targets["mlp.experts.down_proj"] = _whole(mixture.down[:count])
    else:
        for index in range(count):
            gate, up = mixture.gate_up[index].chunk(2)
            targets[f"mlp.experts.{index}.gate_proj.weight"] = _whole(gate)
            targets[f"mlp.experts.{index}.up_proj.weight"] = _whole(up)
            targets[f"mlp.experts.{index}.down_proj.weight"] = _whole(mixture.down[index])
    if shared:
        # The checkpoint has n shared experts as one block n times as wide; its inner dimension is
        # cut into n experts.
        gates, ups = mixture.gate_up[count:].chunk(2, dim=1)
        downs = mixture.down[count:].transpose(0, 1)
        targets["mlp.shared_experts.gate_proj.weight"] = _Target(gates, (shared * width, hidden))
        targets["mlp.shared_experts.up_proj.weight"] = _Target(ups, (shared * width, hidden))
        targets["mlp.shared_experts.down_proj.weight"] = _Target(downs, (hidden, shared * width))
    return targets


def _require_match(
    folder: Path, plan: _Plan, found: dict[str, TensorEntry], fp8: Fp8Format | None
) -> None:
    """Raise one error that lists everything in which checkpoint and model differ."""
    expected = {name: target.shape for name, target in (plan.fill | plan.copies).items()}
    readable = dict.fromkeys(expected, READABLE)
    for name in sorted(expected.keys() & found.keys()):
        if fp8 is not None and (scales := _scales_of(name, found, fp8)) is not None:
            expected[scales] = fp8.scales_shape(expected[name])
            readable[name], readable[scales] = READABLE | {FP8}, READABLE
    known = sorted(expected.keys() & found.keys())
    faults = [
        _listing("missing", sorted(expected.keys() - found.keys())),
        _listing("unknown", sorted(found.keys() - expected.keys())),
        _listing(
            "of another shape",
            [
                f"{name} is {list(found[name].shape)}, expected {list(expected[name])}"
                for name in known
                if found[name].shape != expected[name]
            ],
        ),
        _listing(
            f"of an unreadable type (supported: {', '.join(sorted(READABLE))})",
            [
                f"{name} is {found[name].dtype}"
                for name in known
                if found[name].dtype not in readable[name]
            ],
        ),
    ]
    if any(faults):
        raise CheckpointError(
            f"{folder}: the weights do not fit config.json.\n" + "\n".join(filter(None, faults))
        )


def _listing(what: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f"\n    … and {len(items) - NUM_LISTED} more" if len(items) > NUM_LISTED else ""
    return f"  {len(items)} {what}:\n    " + "\n    ".join(items[:NUM_LISTED]) + more


def _fill(
    targets: dict[str, _Target],
    source: _Source,
    progress: Callable[[LoadProgress], None] | None,
) -> None:
    """Copy file after file, in the order of the bytes, so that a cold disk is read in sequence."""
    sizes = {name: source.num_bytes(name) for name in targets}
    total = sum(sizes.values())
    done = told = 0
    # The entries are in that order.
    for name in source.entries:
        if name not in targets:
            continue
        memory = targets[name].memory
        memory.copy_(source.read(name, memory).view(memory.shape))
        done += sizes[name]
        if progress and (done - told >= PROGRESS_STEP_BYTES or done == total):
            told = done
            progress(LoadProgress(stage="weights", done=done, total=total))


def _settle_copies(weights: Weights, copies: dict[str, _Target], source: _Source) -> None:
    """Share what repeats embedding or head; keep what differs as the prediction layer's own."""
    for name, target in copies.items():
        copy = source.read(name, target.memory).to(target.memory)
        if torch.equal(copy, target.memory):
            continue
        if weights.prediction is None or name == "lm_head.weight":
            raise CheckpointError(
                f"config.json ties lm_head to the embedding, but {name} differs from it."
            )
        if name.endswith("embed_tokens.weight"):
            weights.prediction.embedding = copy
        else:
            weights.prediction.head = copy
