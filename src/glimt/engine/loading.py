"""Filling the model's tensors from a checkpoint's.

Knows the published tensor names, with one tensor per expert or one per layer, and the prediction
layer's (`model.layers.{num_hidden_layers}`) with its copies of embedding and head. Weights in fp8
are widened as they are read, or stay so; others can be rounded to fp8 or int4. Every missing,
unknown, mis-shaped or unreadable tensor is told in one error, before a single byte is read.
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
from glimt.engine.keeping import FP8, Kept, forms_of
from glimt.engine.messages import LoadProgress
from glimt.engine.quantization import (
    BLOCK,
    Scaled,
    Weight,
    dequantize,
    pack,
    quantize,
    refine,
)
from glimt.engine.weights import Dense, Layer, Mixture, Weights, allocate


class _Opened(Protocol):
    """The part of safetensors' untyped reader that is used here; it maps the file to memory."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def get_tensor(self, name: str) -> Tensor: ...


READABLE = frozenset({"F64", "F32", "F16", "BF16"})
IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)
"""Constants that old versions of transformers saved."""

NUM_LISTED = 10
PROGRESS_STEP_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a checkpoint tensor of this shape goes; it is viewed as the memory's shape first.

    With scales, `memory` is for numbers of few bits.
    """

    memory: Tensor
    shape: tuple[int, ...]
    scales: Tensor | None = None


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
    keep: Kept = "plain",
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
    forms = forms_of(keep, config, found)
    weights = allocate(config, dtype=dtype, device=device, prediction=prediction, forms=forms)
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

    def read(self, name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The tensor, and where it was rounded to fp8 widened to the dtype on the device."""
        if _scales_of(name, self.entries, self._fp8) is None or self._fp8 is None:
            return self._raw(name)
        kept = self.rounded(name)
        numbers, scales = kept.numbers.to(device), kept.scales.to(device)
        return dequantize(numbers, scales, dtype, block=self._fp8.block)

    def rounded(self, name: str) -> Scaled:
        """A tensor that was rounded to fp8, as it is."""
        scales = _scales_of(name, self.entries, self._fp8)
        assert scales is not None
        return Scaled(self._raw(name), self._raw(scales))

    def fp8(self, name: str, device: torch.device) -> tuple[Scaled, int]:
        """The tensor in fp8, rounded here unless it was; and how many rows share a scale."""
        if _scales_of(name, self.entries, self._fp8) is None or self._fp8 is None:
            return Scaled(*quantize(self._raw(name).to(device))), BLOCK
        return self.rounded(name), self._fp8.block[0] if self._fp8.block else 1

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
    rank, hidden, rest = config.q_lora_rank, config.hidden_size, config.cache_width
    targets = {
        "input_layernorm.weight": _whole(layer.input_norm),
        "post_attention_layernorm.weight": _whole(layer.post_norm),
        "self_attn.q_a_proj.weight": _rows(attention.down, 0, (rank, hidden)),
        "self_attn.q_a_layernorm.weight": _whole(attention.q_norm),
        "self_attn.q_b_proj.weight": _all(attention.q_b),
        "self_attn.kv_a_proj_with_mqa.weight": _rows(attention.down, rank, (rest, hidden)),
        "self_attn.kv_a_layernorm.weight": _whole(attention.kv_norm),
        "self_attn.kv_b_proj.weight": _all(attention.kv_b),
        "self_attn.o_proj.weight": _all(attention.out),
    }
    match layer.feed_forward:
        case Dense(gate_up=gate_up, down=down):
            width = config.intermediate_size
            targets["mlp.gate_proj.weight"] = _rows(gate_up, 0, (width, hidden))
            targets["mlp.up_proj.weight"] = _rows(gate_up, width, (width, hidden))
            targets["mlp.down_proj.weight"] = _all(down)
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
    gate_up, down = mixture.gate_up, mixture.down
    if fused:
        targets["mlp.experts.gate_up_proj"] = _part(
            gate_up, lambda t: t[:count], (count, 2 * width, hidden)
        )
        targets["mlp.experts.down_proj"] = _part(down, lambda t: t[:count], (count, hidden, width))
    else:
        for index in range(count):
            prefix = f"mlp.experts.{index}."
            targets |= {
                f"{prefix}gate_proj.weight": _part(
                    gate_up, lambda t, i=index: t[i].chunk(2)[0], (width, hidden)
                ),
                f"{prefix}up_proj.weight": _part(
                    gate_up, lambda t, i=index: t[i].chunk(2)[1], (width, hidden)
                ),
                f"{prefix}down_proj.weight": _part(down, lambda t, i=index: t[i], (hidden, width)),
            }
    if shared:
        # The checkpoint has n shared experts as one block n times as wide; its inner dimension is
        # cut into n experts.
        prefix, rows = "mlp.shared_experts.", (shared * width, hidden)
        targets |= {
            f"{prefix}gate_proj.weight": _part(
                gate_up, lambda t: t[count:].chunk(2, dim=1)[0], rows
            ),
            f"{prefix}up_proj.weight": _part(gate_up, lambda t: t[count:].chunk(2, dim=1)[1], rows),
            f"{prefix}down_proj.weight": _part(
                down, lambda t: t[count:].transpose(0, 1), (hidden, shared * width)
            ),
        }
    return targets


def _part(weight: Weight, cut: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> _Target:
    """A part of a weight, which scales have in the same place."""
    if isinstance(weight, Scaled):
        return _Target(cut(weight.numbers), shape, cut(weight.scales))
    return _Target(cut(weight), shape)


def _all(weight: Weight) -> _Target:
    """A matrix."""
    if isinstance(weight, Scaled):
        return _Target(weight.numbers, tuple(weight.numbers.shape), weight.scales)
    return _whole(weight)


def _rows(weight: Weight, start: int, shape: tuple[int, int]) -> _Target:
    """Some rows of a matrix."""
    end = start + shape[0]
    if isinstance(weight, Scaled):
        rows = len(weight) // len(weight.scales)
        scales = weight.scales[start // rows : end // rows]
        return _Target(weight.numbers[start:end], shape, scales)
    return _Target(weight[start:end], shape)


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
        _put(targets[name], source, name)
        done += sizes[name]
        if progress and (done - told >= PROGRESS_STEP_BYTES or done == total):
            told = done
            progress(LoadProgress(stage="weights", done=done, total=total))


def _put(target: _Target, source: _Source, name: str) -> None:
    memory, scales = target.memory, target.scales
    if scales is None:
        memory.copy_(source.read(name, memory.dtype, memory.device).view(memory.shape))
        return
    if memory.dtype is torch.uint8:
        size = 2 * memory.shape[-1]
        plain = source.read(name, torch.float32, memory.device).to(memory.device)
        kept = pack(plain.view(*memory.shape[:-1], size), size // scales.shape[-1])
    else:
        kept, rows = source.fp8(name, memory.device)
        if kept.scales.numel() != scales.numel():
            fewer = rows * scales.shape[-2] // memory.shape[-2]
            kept = Scaled(kept.numbers, refine(kept.scales, rows=fewer, num_rows=scales.shape[-2]))
    memory.copy_(kept.numbers.view(memory.shape))
    scales.copy_(kept.scales.view(scales.shape))


def _settle_copies(weights: Weights, copies: dict[str, _Target], source: _Source) -> None:
    """Share what repeats embedding or head; keep what differs as the prediction layer's own."""
    for name, target in copies.items():
        memory = target.memory
        copy = source.read(name, memory.dtype, memory.device).to(memory)
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
