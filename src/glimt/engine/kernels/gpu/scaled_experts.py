# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""Products of many tokens with weights of few bits, which are widened after they were read.

Those of a mixture of experts are as in `experts`; a matrix is an expert that all tokens have. A
tile of a weight never leaves its group of columns, so a row of it has one scale.
"""

import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.experts import (
    LARGE_TILE,
    sort_by_expert,
    tile_of,
    weighted_sum,
    with_shared,
)
from glimt.engine.kernels.gpu.tile import INTERPRETED, dot, layout
from glimt.engine.quantization import Scaled

BLOCK_N, WARPS, STAGES = 64, 8, 3
"""Of the grouped products: widening takes registers, so a tile has the threads of two."""

GROUPED_BYTES = {False: 64, True: 32}
"""How much of a row a tile of theirs has: of int4, that is as many values."""


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
def grouped_scaled_program(
    values, weight, scales, order, tile_experts, out, num_assignments, values_stride,
    N: tl.constexpr, PER_ROW: tl.constexpr, GATED: tl.constexpr, UPCAST: tl.constexpr,
    BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr,
    PACKED: tl.constexpr, PER: tl.constexpr, SCALED: tl.constexpr, ALONE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """As `grouped_program`; ALONE there is one expert, and tokens come in their order."""
    tile_number = tl.program_id(1).to(tl.int64)
    expert = tile_number * 0
    if not ALONE:
        expert = tl.load(tile_experts + tile_number).to(tl.int64)
    if expert >= 0:
        number = tile_number * BLOCK_M + tl.arange(0, BLOCK_M)
        if not ALONE:
            number = tl.load(order + number).to(tl.int64)
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


def scaled_product(values: Tensor, weight: Scaled) -> Tensor:
    """As `reference.linear`, for many tokens."""
    count, num_out = len(values), len(weight)
    out = values.new_empty(count, num_out)
    grouped_scaled_program[(triton.cdiv(num_out, BLOCK_N), triton.cdiv(count, LARGE_TILE))](
        values, weight.numbers, weight.scales, values, values, out, count, values.stride(0),
        N=num_out, PER_ROW=1, GATED=False, UPCAST=INTERPRETED, ALONE=True,
        **layout(weight, most=GROUPED_BYTES[weight.is_packed], whole=True),
        BLOCK_M=LARGE_TILE, BLOCK_N=BLOCK_N, num_warps=WARPS, num_stages=STAGES,
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
    sizes |= {"ALONE": False}
    grouped_scaled_program[(triton.cdiv(width, BLOCK_N), len(tile_experts))](
        hidden, gate_up.numbers, gate_up.scales, order, tile_experts, gated, count * slots,
        hidden.stride(0), N=width, PER_ROW=slots, GATED=True, UPCAST=INTERPRETED,
        **layout(gate_up, most=GROUPED_BYTES[gate_up.is_packed], whole=True), **sizes,
    )  # fmt: skip
    grouped_scaled_program[(triton.cdiv(size, BLOCK_N), len(tile_experts))](
        gated, down.numbers, down.scales, order, tile_experts, results, count * slots,
        gated.stride(0), N=size, PER_ROW=1, GATED=False, UPCAST=INTERPRETED,
        **layout(down, most=GROUPED_BYTES[down.is_packed], whole=True), **sizes,
    )  # fmt: skip
    return weighted_sum(results.view(count, slots, size), shares)
