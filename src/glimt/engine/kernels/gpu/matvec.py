# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""Products of few rows with a large weight, which are bound by the bytes of the weight.

One row is multiplied and summed in registers; up to 16 rows share a tile of the weight through the
tensor cores. A norm before the product costs no program of its own: its gain is multiplied into the
values, and what divides a row is known at the end of the product and applied there. Nor does the
sum with the residual stream after it.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.tile import (
    INTERPRETED,
    STAGES,
    begin,
    dot,
    launch,
    layout,
    summed,
    tensors,
    touch,
    values_at,
)
from glimt.engine.quantization import Weight

MAX_ROWS = 16
"""Rows of one tile; for more, a library's product is bound by the same bytes."""


@triton.jit
def product(
    values, values_stride, M, weight, scales, gain, eps, row, end, NORM: tl.constexpr,
    SCALED: tl.constexpr, BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr,
    PER: tl.constexpr, ROWS: tl.constexpr, UPCAST: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """All values times rows of a weight that are below `end`, in fp32.

    [BLOCK_N], or of several values [BLOCK_N, BLOCK_M].
    """
    column = tl.arange(0, BLOCK_K)
    inside = row < end
    source = weight + row.to(tl.int64)[:, None] * BYTES + column[None, :]
    if BLOCK_M == 1:
        total = tl.zeros([BLOCK_N], tl.float32)
        square = tl.zeros([BLOCK_K], tl.float32)
        for start in tl.range(0, BYTES, BLOCK_K, num_stages=STAGES):
            within = column < BYTES - start
            tile = tl.load(source + start, mask=inside[:, None] & within[None, :], other=0.0)
            line, more = values_at(values, gain, start + column, within, NORM)
            square += more
            part = tile.to(tl.float32) * line[None, :]
            total += summed(
                part, scales, row // ROWS, inside, start, SCALED, STEP, GROUPS, PER, BLOCK_N,
                BLOCK_K,
            )  # fmt: skip
        if NORM:
            total = total * tl.rsqrt(tl.sum(square, 0) / BYTES + eps)
    else:
        token = tl.arange(0, BLOCK_M)
        total = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
        squares = tl.zeros([BLOCK_M], tl.float32)
        for start in range(0, BYTES, BLOCK_K):
            within = column < BYTES - start
            tile = tl.load(source + start, mask=inside[:, None] & within[None, :], other=0.0)
            lines = tl.load(
                values + token[None, :] * values_stride + (start + column)[:, None],
                mask=within[:, None] & (token < M)[None, :], other=0.0,
            )  # fmt: skip
            kind = lines.dtype
            if NORM:
                wide = lines.to(tl.float32)
                squares += tl.sum(wide * wide, 0)
                more = tl.load(gain + start + column, mask=within, other=0.0)
                lines = (wide * more.to(tl.float32)[:, None]).to(kind)
            part = dot(tile.to(kind), lines, UPCAST)
            if SCALED:
                factor = scales + row // ROWS * GROUPS + start // STEP
                part = part * tl.load(factor, mask=inside, other=0.0).to(tl.float32)[:, None]
            total += part
        if NORM:
            total = total * tl.rsqrt(squares / BYTES + eps)[None, :]
    return total


@triton.jit
def matvec_program(
    values, weight, scales, gain, residual, out, M, values_stride, eps,
    N: tl.constexpr, NORM: tl.constexpr, ADD: tl.constexpr, SCALED: tl.constexpr,
    PACKED: tl.constexpr, BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr,
    PER: tl.constexpr, ROWS: tl.constexpr, UPCAST: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """BLOCK_N outputs of all rows."""
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    if PDL:
        touch(weight, row, row < N, BYTES, BYTES, BLOCK_K)
    begin(PDL)
    total = product(
        values, values_stride, M, weight, scales, gain, eps, row, N, NORM, SCALED, BYTES, STEP,
        GROUPS, PER, ROWS, UPCAST, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    if BLOCK_M == 1:
        place, inside = row, row < N
    else:
        token = tl.arange(0, BLOCK_M)
        place = token[None, :] * N + row[:, None]
        inside = (row < N)[:, None] & (token < M)[None, :]
    if ADD:
        kind = out.dtype.element_ty
        before = tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
        total = total.to(kind).to(tl.float32) + before
    tl.store(out + place, total, mask=inside)


def matvec(
    values: Tensor,
    weight: Weight,
    *,
    norm: Tensor | None = None,
    eps: float = 0.0,
    residual: Tensor | None = None,
) -> Tensor:
    """[T, K] with [N, K] → [T, N] for T up to `MAX_ROWS`.

    Args:
        values: Any row stride.
        weight: Contiguous; the values' dtype, or fp8 with its scales.
        norm: [K], of a norm of the values before the product, with `eps`.
        residual: [T, N], contiguous, to which the result is added in place.
    """
    count = len(values)
    numbers, scales = tensors(weight)
    num_out = len(numbers)
    out = residual
    if out is None:
        out = torch.empty(count, num_out, dtype=values.dtype, device=values.device)
    if not count:
        return out
    block_m, block_n, block_k = tiles(count)
    matvec_program[(triton.cdiv(num_out, block_n),)](
        values, numbers, scales, values if norm is None else norm, out, out, count,
        values.stride(0), eps,
        N=num_out, NORM=norm is not None, ADD=residual is not None, UPCAST=INTERPRETED,
        BLOCK_M=block_m, BLOCK_N=block_n, **layout(weight, most=block_k, whole=block_m > 1),
        **launch(num_warps=4, num_stages=4),
    )  # fmt: skip
    return out


def tiles(count: int) -> tuple[int, int, int]:
    """Tile sizes (rows, outputs, depth) for so many rows.

    Of one row a tile is as large as registers allow: bytes under way are what bandwidth is made of.
    """
    return (1, 8, 1024) if count == 1 else (16, 32, 128)
