# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""The mixture of experts with weights of few bits, which are widened after they were read.

The forms are those of `experts`: expert by expert for few tokens, grouped for many. A tile of a
weight never leaves its group of columns, so a row of it has one scale; a tile of int4 has the
columns of a group's first half in its low four bits, and those of the second half in the high ones.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.experts import (
    FEW_TOKENS,
    sort_by_expert,
    tile_of,
    weighted_sum,
    with_shared,
)
from glimt.engine.kernels.gpu.tile import INTERPRETED, dot
from glimt.engine.quantization import Scaled

BLOCK_N, WARPS, STAGES = 64, 8, 3
"""Of the grouped products: widening takes registers, so a tile has the threads of two."""

GROUPED_BYTES = {False: 64, True: 32}
"""How much of a row a tile of theirs has: of int4, that is as many values."""


@triton.jit
def times(tile, first, second, PACKED: tl.constexpr):
    """A tile [rows, columns] times its values, not yet scaled and not summed."""
    if PACKED:
        part = ((tile & 15).to(tl.float32) - 8.0) * first.to(tl.float32)[None, :]
        part += ((tile >> 4).to(tl.float32) - 8.0) * second.to(tl.float32)[None, :]
    else:
        part = tile.to(tl.float32) * first.to(tl.float32)[None, :]
    return part


@triton.jit
def scaled_dot(first, second, tile, factor, PACKED: tl.constexpr, UPCAST: tl.constexpr):
    """Lines @ a tile [columns, rows], which is rounded to the lines' dtype when it is widened."""
    kind = first.dtype
    if PACKED:
        low = (((tile & 15).to(tl.float32) - 8.0) * factor[None, :]).to(kind)
        high = (((tile >> 4).to(tl.float32) - 8.0) * factor[None, :]).to(kind)
        part = dot(first, low, UPCAST) + dot(second, high, UPCAST)
    else:
        part = dot(first, (tile.to(tl.float32) * factor[None, :]).to(kind), UPCAST)
    return part


@triton.jit
def few_gate_up_scaled_program(
    values, weight, scales, chosen, gated, values_stride,
    I: tl.constexpr, TOP: tl.constexpr, SLOTS: tl.constexpr, ROUTED: tl.constexpr,
    BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr,
    PACKED: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """silu(gate) * up of one expert of one token, BLOCK_I values of it."""
    slot = tl.program_id(1) % SLOTS
    token = (tl.program_id(1) // SLOTS).to(tl.int64)
    expert = tl.load(chosen + token * TOP + slot, mask=slot < TOP, other=0).to(tl.int64)
    expert = tl.where(slot < TOP, expert, ROUTED + slot - TOP)
    row = tl.program_id(0) * BLOCK_I + tl.arange(0, BLOCK_I)
    column = tl.arange(0, BLOCK_K)
    source = weight + expert * (2 * I * BYTES) + row[:, None] * BYTES + column[None, :]
    factors = scales + expert * (2 * I // ROWS * GROUPS)
    line = values + token * values_stride + column
    gate = tl.zeros([BLOCK_I, BLOCK_K], tl.float32)
    up = tl.zeros([BLOCK_I, BLOCK_K], tl.float32)
    for start in range(0, BYTES, BLOCK_K):
        within = column < BYTES - start
        inside = (row < I)[:, None] & within[None, :]
        group = start // STEP
        # Groups of int4 have twice as many columns as bytes.
        at = start + group * STEP if PACKED else start
        first = tl.load(line + at, mask=within, other=0.0)
        second = tl.load(line + at + STEP, mask=within, other=0.0) if PACKED else first
        factor = tl.load(factors + row // ROWS * GROUPS + group, mask=row < I, other=0.0)
        tile = tl.load(source + start, mask=inside, other=0.0)
        gate += times(tile, first, second, PACKED) * factor.to(tl.float32)[:, None]
        factor = tl.load(factors + (I + row) // ROWS * GROUPS + group, mask=row < I, other=0.0)
        tile = tl.load(source + I * BYTES + start, mask=inside, other=0.0)
        up += times(tile, first, second, PACKED) * factor.to(tl.float32)[:, None]
    kind = values.dtype.element_ty
    opened = tl.sum(gate, 1).to(kind).to(tl.float32)
    opened = (opened * tl.sigmoid(opened)).to(kind).to(tl.float32)
    target = gated + tl.program_id(1).to(tl.int64) * I
    tl.store(target + row, opened * tl.sum(up, 1).to(kind).to(tl.float32), mask=row < I)


@triton.jit
def few_down_scaled_program(
    gated, weight, scales, chosen, shares, out,
    I: tl.constexpr, H: tl.constexpr, TOP: tl.constexpr, SLOTS: tl.constexpr,
    ROUTED: tl.constexpr, BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr,
    ROWS: tl.constexpr, PACKED: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """The weighted sum over the experts of one token, BLOCK_H values of it."""
    token = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * BLOCK_H + tl.arange(0, BLOCK_H)
    column = tl.arange(0, BLOCK_K)
    total = tl.zeros([BLOCK_H], tl.float32)
    for slot in range(SLOTS):
        expert = tl.load(chosen + token * TOP + slot, mask=slot < TOP, other=0).to(tl.int64)
        expert = tl.where(slot < TOP, expert, ROUTED + slot - TOP)
        share = tl.load(shares + token * TOP + slot, mask=slot < TOP, other=1.0)
        source = weight + expert * (H * BYTES) + row[:, None] * BYTES + column[None, :]
        factors = scales + expert * (H // ROWS * GROUPS) + row // ROWS * GROUPS
        line = gated + (token * SLOTS + slot) * I + column
        part = tl.zeros([BLOCK_H, BLOCK_K], tl.float32)
        for start in range(0, BYTES, BLOCK_K):
            within = column < BYTES - start
            group = start // STEP
            at = start + group * STEP if PACKED else start
            first = tl.load(line + at, mask=within, other=0.0)
            second = tl.load(line + at + STEP, mask=within, other=0.0) if PACKED else first
            factor = tl.load(factors + group, mask=row < H, other=0.0).to(tl.float32)
            tile = tl.load(source + start, mask=(row < H)[:, None] & within[None, :], other=0.0)
            part += times(tile, first, second, PACKED) * factor[:, None]
        total += tl.sum(part, 1) * share
    tl.store(out + token * H + row, total, mask=row < H)


@triton.jit
def grouped_scaled_program(
    values, weight, scales, order, tile_experts, out, num_assignments, values_stride,
    N: tl.constexpr, PER_ROW: tl.constexpr, GATED: tl.constexpr, UPCAST: tl.constexpr,
    BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr,
    PACKED: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """As `grouped_program`."""
    tile_number = tl.program_id(1)
    expert = tl.load(tile_experts + tile_number).to(tl.int64)
    if expert >= 0:
        number = tl.load(order + tile_number * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
        real = number < num_assignments
        row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
        column = tl.arange(0, BLOCK_K)
        lines = values + (number // PER_ROW)[:, None] * values_stride + column[None, :]
        num_rows: tl.constexpr = 2 * N if GATED else N
        source = weight + expert * (num_rows * BYTES) + row[None, :] * BYTES + column[:, None]
        factors = scales + expert * (num_rows // ROWS * GROUPS)
        total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        up = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        for start in range(0, BYTES, BLOCK_K):
            within = column < BYTES - start
            wanted = real[:, None] & within[None, :]
            inside = within[:, None] & (row < N)[None, :]
            group = start // STEP
            at = start + group * STEP if PACKED else start
            first = tl.load(lines + at, mask=wanted, other=0.0)
            second = tl.load(lines + at + STEP, mask=wanted, other=0.0) if PACKED else first
            factor = tl.load(factors + row // ROWS * GROUPS + group, mask=row < N, other=0.0)
            tile = tl.load(source + start, mask=inside, other=0.0)
            total += scaled_dot(first, second, tile, factor.to(tl.float32), PACKED, UPCAST)
            if GATED:
                factor = tl.load(
                    factors + (N + row) // ROWS * GROUPS + group, mask=row < N, other=0.0
                )
                tile = tl.load(source + N * BYTES + start, mask=inside, other=0.0)
                up += scaled_dot(first, second, tile, factor.to(tl.float32), PACKED, UPCAST)
        kind = values.dtype.element_ty
        if GATED:
            opened = total.to(kind).to(tl.float32)
            opened = (opened * tl.sigmoid(opened)).to(kind).to(tl.float32)
            total = opened * up.to(kind).to(tl.float32)
        target = out + number[:, None] * N + row[None, :]
        tl.store(target, total, mask=real[:, None] & (row < N)[None, :])


def layout(weight: Scaled, *, most: int) -> dict[str, Any]:
    """What the programs are told of a weight, with tiles of at most so many bytes of a row."""
    num_bytes, groups = weight.numbers.shape[-1], weight.scales.shape[-1]
    step = num_bytes // groups
    return {
        "BYTES": num_bytes,
        "STEP": step,
        "GROUPS": groups,
        "ROWS": weight.numbers.shape[-2] // weight.scales.shape[-2],
        "PACKED": weight.is_packed,
        # In a single group nothing can be left; a tile of int4 has two halves all the same.
        "BLOCK_K": most if groups == 1 and not weight.is_packed else min(most, step),
    }


def scaled_experts(
    hidden: Tensor,
    gate_up: Scaled,
    down: Scaled,
    *,
    chosen: Tensor,
    shares: Tensor,
    num_shared: int,
) -> Tensor:
    """As `reference.experts`, in the form that suits the number of tokens."""
    few = len(hidden) <= FEW_TOKENS
    form = scaled_experts_of_few if few else scaled_experts_of_many
    return form(hidden, gate_up, down, chosen=chosen, shares=shares, num_shared=num_shared)


def scaled_experts_of_few(
    hidden: Tensor,
    gate_up: Scaled,
    down: Scaled,
    *,
    chosen: Tensor,
    shares: Tensor,
    num_shared: int,
) -> Tensor:
    """As `reference.experts`; each token reads its experts by itself."""
    count, size = hidden.shape
    total, width = len(gate_up), gate_up.numbers.shape[1] // 2
    top = chosen.shape[1]
    slots = top + num_shared
    gated = hidden.new_empty(count, slots, width)
    out = hidden.new_empty(count, size)
    if not count:
        return out
    few_gate_up_scaled_program[(triton.cdiv(width, 16), count * slots)](
        hidden, gate_up.numbers, gate_up.scales, chosen, gated, hidden.stride(0),
        I=width, TOP=top, SLOTS=slots, ROUTED=total - num_shared, BLOCK_I=16,
        **layout(gate_up, most=128), num_warps=4, num_stages=4,
    )  # fmt: skip
    few_down_scaled_program[(triton.cdiv(size, 8), count)](
        gated, down.numbers, down.scales, chosen, shares, out,
        I=width, H=size, TOP=top, SLOTS=slots, ROUTED=total - num_shared, BLOCK_H=8,
        **layout(down, most=128), num_warps=4, num_stages=4,
    )  # fmt: skip
    return out


def scaled_experts_of_many(
    hidden: Tensor,
    gate_up: Scaled,
    down: Scaled,
    *,
    chosen: Tensor,
    shares: Tensor,
    num_shared: int,
) -> Tensor:
    """As `reference.experts`; tokens of one expert share its weights."""
    count, size = hidden.shape
    total, width = len(gate_up), gate_up.numbers.shape[1] // 2
    chosen, shares = with_shared(chosen, shares, total=total, num_shared=num_shared)
    slots = chosen.shape[1]
    tile = tile_of(count * slots, total)
    order, tile_experts = sort_by_expert(chosen.flatten(), total, tile=tile)
    gated = hidden.new_empty(count * slots, width)
    results = hidden.new_empty(count * slots, size)
    sizes = {"BLOCK_M": tile, "BLOCK_N": BLOCK_N, "num_warps": WARPS, "num_stages": STAGES}
    grouped_scaled_program[(triton.cdiv(width, BLOCK_N), len(tile_experts))](
        hidden, gate_up.numbers, gate_up.scales, order, tile_experts, gated, count * slots,
        hidden.stride(0), N=width, PER_ROW=slots, GATED=True, UPCAST=INTERPRETED,
        **layout(gate_up, most=GROUPED_BYTES[gate_up.is_packed]), **sizes,
    )  # fmt: skip
    grouped_scaled_program[(triton.cdiv(size, BLOCK_N), len(tile_experts))](
        gated, down.numbers, down.scales, order, tile_experts, results, count * slots,
        gated.stride(0), N=size, PER_ROW=1, GATED=False, UPCAST=INTERPRETED,
        **layout(down, most=GROUPED_BYTES[down.is_packed]), **sizes,
    )  # fmt: skip
    return weighted_sum(results.view(count, slots, size), shares)
