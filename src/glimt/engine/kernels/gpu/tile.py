# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
"""What the programs share: products of tiles, weights of few bits, whether Triton interprets.

A weight of few bits is read as it lies and widened in registers. `layout` says how it lies: a row
has BYTES bytes in GROUPS groups of STEP, each with a scale, which ROWS rows share; in int4 (PACKED)
a group's first half is in the low four bits of its bytes and the second half in the high ones.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from glimt.engine.quantization import Scaled, Weight

INTERPRETED: bool = bool(triton.knobs.runtime.interpret)
"""TRITON_INTERPRET was set when Triton was imported: programs run in numpy, on tensors of a CPU."""


STAGES: tl.constexpr = tl.constexpr(3)
"""Tiles of a weight under way and in use at once. Said of a loop it makes loads that wait for
nothing, through shared memory, which a compiler leaves out that sees no product of tiles."""


overlap = False
"""Whether a program may begin before the one before it has ended (programmatic dependent launch).
Off until it is measured; the first launch of a program fixes it for that program's arguments."""


def launch(*, num_warps: int, num_stages: int = STAGES.value) -> dict[str, int | bool]:
    """What a launch is told beside its arguments: warps and stages, and whether it overlaps."""
    told = {"num_warps": num_warps, "num_stages": num_stages, "PDL": overlap and not INTERPRETED}
    # The interpreter knows no such option, nor the instructions.
    return told | {"launch_pdl": True} if told["PDL"] else told


@triton.jit
def touch(
    weight, row, inside, BYTES: tl.constexpr, WIDTH: tl.constexpr, BLOCK_K: tl.constexpr
):  # fmt: skip
    """Have the first WIDTH of rows of a weight brought to the second-level cache, line by line."""
    line: tl.constexpr = 1024 // weight.dtype.element_ty.primitive_bitwidth
    for start in range(0, WIDTH, BLOCK_K):
        at = start + tl.arange(0, (BLOCK_K + line - 1) // line) * line
        wanted = inside[:, None] & (at < WIDTH)[None, :]
        place = tl.where(wanted, row.to(tl.int64)[:, None] * BYTES + at[None, :], 0)
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [weight + place],
            dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip


@triton.jit
def begin(PDL: tl.constexpr):
    """Wait for what came before, of which nothing was read or overwritten so far.

    Only then what comes after may begin: so when it runs, all but this program's predecessors have
    ended, and what they wrote may be read without waiting.
    """
    if PDL:
        gdc_wait()
        gdc_launch_dependents()


@triton.jit
def dot(left, right, UPCAST: tl.constexpr):
    """Left @ right in fp32.

    The interpreter multiplies the bit patterns of bf16 (Triton 3.6), so tiles are widened there.
    fp32 tiles are multiplied as such: the default would round them to tf32.
    """
    if UPCAST:
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, input_precision="ieee")


@triton.jit
def times(tile, first, second, PACKED: tl.constexpr):
    """A tile [rows, bytes] times its values in fp32, not yet scaled and not summed."""
    if PACKED:
        part = ((tile & 15).to(tl.float32) - 8.0) * first[None, :]
        part += ((tile >> 4).to(tl.float32) - 8.0) * second[None, :]
    else:
        part = tile.to(tl.float32) * first[None, :]
    return part


@triton.jit
def summed(
    part, scales, scale_row, inside, start, SCALED: tl.constexpr, STEP: tl.constexpr,
    GROUPS: tl.constexpr, PER: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """[rows, bytes] summed over the bytes, each group by its scale: [rows]."""
    if SCALED:
        group = start // STEP + tl.arange(0, PER)
        factor = tl.load(
            scales + scale_row[:, None] * GROUPS + group[None, :],
            mask=inside[:, None] & (group < GROUPS)[None, :], other=0.0,
        )  # fmt: skip
        part = tl.sum(tl.reshape(part, [BLOCK_N, PER, BLOCK_K // PER]), 2) * factor.to(tl.float32)
    return tl.sum(part, 1)


@triton.jit
def values_at(line, gain, place, within, NORM: tl.constexpr):
    """Values of a row in fp32, times the gain of its norm, and their squares."""
    wide = tl.load(line + place, mask=within, other=0.0).to(tl.float32)
    square = wide * wide
    if NORM:
        wide = wide * tl.load(gain + place, mask=within, other=0.0).to(tl.float32)
    return wide, square


def power_of_two(size: int) -> int:
    """The smallest power of two that is not below `size`: the shapes that tiles may have."""
    return 1 << (size - 1).bit_length()


def layout(weight: Weight, *, most: int, whole: bool = False) -> dict[str, Any]:
    """What the programs are told of a weight, with tiles of at most so many bytes of a row.

    Args:
        whole: A tile must not leave its group, because it is scaled as a whole.
    """
    scaled = isinstance(weight, Scaled)
    numbers, scales = tensors(weight)
    size, groups = numbers.shape[-1], scales.shape[-1] if scaled else 1
    step = size // groups
    block = min(most, step if whole and groups > 1 else max(16, power_of_two(size)))
    return {
        "SCALED": scaled,
        "PACKED": scaled and weight.is_packed,
        "BYTES": size,
        "STEP": step,
        "GROUPS": groups,
        "PER": 1 if groups == 1 else max(1, block // step),
        "ROWS": numbers.shape[-2] // scales.shape[-2] if scaled else 1,
        "BLOCK_K": block,
    }


def tensors(weight: Weight) -> tuple[Tensor, Tensor]:
    """The numbers and scales of a weight, as programs are given them; a plain one has no scales."""
    return (weight.numbers, weight.scales) if isinstance(weight, Scaled) else (weight, weight)
