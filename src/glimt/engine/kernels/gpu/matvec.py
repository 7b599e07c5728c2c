# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""Products of few rows with a large weight, which are bound by the bytes of the weight.

One row is multiplied and summed in registers; up to 16 rows share a tile of the weight through the
tensor cores. Weights are in the dtype of the values, or fp8 (e4m3) with one fp32 scale for each
block of 128 x 128, widened after they were read.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.tile import INTERPRETED, dot

MAX_ROWS = 16
"""Rows of one tile; for more, a library's product is bound by the same bytes."""

SCALE_BLOCK = 128
"""Rows and columns that share one scale of an fp8 weight."""


@triton.jit
def matvec_program(
    values, weight, scales, out, M, values_stride,
    N: tl.constexpr, K: tl.constexpr, SCALED: tl.constexpr, UPCAST: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """BLOCK_N outputs of all rows. With SCALED a tile lies within one block of scales."""
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    column = tl.arange(0, BLOCK_K)
    token = tl.arange(0, BLOCK_M)
    source = weight + row.to(tl.int64)[:, None] * K + column[None, :]
    scale_row = (tl.program_id(0) * BLOCK_N // 128) * ((K + 127) // 128)
    if BLOCK_M == 1:
        total = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
    else:
        total = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    for start in range(0, K, BLOCK_K):
        within = column < K - start
        tile = tl.load(source + start, mask=(row < N)[:, None] & within[None, :], other=0.0)
        if BLOCK_M == 1:
            line = tl.load(values + start + column, mask=within, other=0.0)
            part = tile.to(tl.float32) * line.to(tl.float32)[None, :]
        else:
            lines = tl.load(
                values + token[None, :] * values_stride + (start + column)[:, None],
                mask=within[:, None] & (token < M)[None, :], other=0.0,
            )  # fmt: skip
            part = dot(tile.to(lines.dtype), lines, UPCAST)
        if SCALED:
            part = part * tl.load(scales + scale_row + start // 128)
        total += part
    if BLOCK_M == 1:
        tl.store(out + row, tl.sum(total, 1), mask=row < N)
    else:
        tl.store(
            out + token[None, :] * N + row[:, None], total,
            mask=(row < N)[:, None] & (token < M)[None, :],
        )  # fmt: skip


def matvec(values: Tensor, weight: Tensor, scales: Tensor | None = None) -> Tensor:
    """[T, K] with [N, K] → [T, N] for T up to `MAX_ROWS`.

    Args:
        values: Any row stride.
        weight: Contiguous; the values' dtype, or float8_e4m3fn with `scales`.
        scales: [ceil(N / 128), ceil(K / 128)] fp32.
    """
    count, size = values.shape
    num_out = len(weight)
    out = torch.empty(count, num_out, dtype=values.dtype, device=values.device)
    if not count:
        return out
    block_m, block_n, block_k = tiles(count)
    matvec_program[(triton.cdiv(num_out, block_n),)](
        values, weight, weight if scales is None else scales, out, count, values.stride(0),
        N=num_out, K=size, SCALED=scales is not None, UPCAST=INTERPRETED,
        BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k, num_warps=4, num_stages=4,
    )  # fmt: skip
    return out


def tiles(count: int) -> tuple[int, int, int]:
    """Tile sizes (rows, outputs, depth) for so many rows."""
    return (1, 16, 128) if count == 1 else (16, 32, 128)
