# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""Programs that work on one row of a tensor: norms, rotation, cache write.

A row fits a program's registers, so it is read once and written once. What each computes is the
function of the same name in `glimt.engine.kernels.reference`, roundings included. Arithmetic is in
fp32 throughout and rounded after: bf16 would be too, and the interpreter cannot.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.tile import power_of_two


@triton.jit
def rms_norm_program(
    values, weight, out, values_stride, eps, N: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """One row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < N
    total = tl.load(values + row * values_stride + column, mask=inside, other=0.0)
    wide = total.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, 0) / N + eps)
    gain = tl.load(weight + column, mask=inside, other=0.0)
    normed = (wide * scale).to(total.dtype).to(tl.float32)
    tl.store(out + row * N + column, normed * gain.to(tl.float32), mask=inside)


@triton.jit
def rotate_program(
    values, turns, row_stride, head_stride, HALF: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """The neighbouring pairs of one head of one token, in place."""
    row = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, BLOCK)
    inside = pair < HALF
    place = values + row * row_stride + tl.program_id(1) * head_stride + 2 * pair
    cosine = tl.load(turns + (row * HALF + pair) * 2, mask=inside, other=0.0)
    sine = tl.load(turns + (row * HALF + pair) * 2 + 1, mask=inside, other=0.0)
    even = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    odd = tl.load(place + 1, mask=inside, other=0.0).to(tl.float32)
    tl.store(place, even * cosine - odd * sine, mask=inside)
    tl.store(place + 1, even * sine + odd * cosine, mask=inside)


@triton.jit
def store_row(
    pool, source, norm, turns, slots, row, eps,
    RANK: tl.constexpr, HALF: tl.constexpr, BLOCK_RANK: tl.constexpr, BLOCK_HALF: tl.constexpr,
):  # fmt: skip
    """One new row of the cache: the latent normalised, the key rotated, both into their slot."""
    target = pool + tl.load(slots + row).to(tl.int64) * (RANK + 2 * HALF)
    column = tl.arange(0, BLOCK_RANK)
    inside = column < RANK
    latent = tl.load(source + column, mask=inside, other=0.0)
    wide = latent.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, 0) / RANK + eps)
    gain = tl.load(norm + column, mask=inside, other=0.0)
    normed = (wide * scale).to(latent.dtype).to(tl.float32)
    tl.store(target + column, normed * gain.to(tl.float32), mask=inside)

    pair = tl.arange(0, BLOCK_HALF)
    inside = pair < HALF
    cosine = tl.load(turns + (row * HALF + pair) * 2, mask=inside, other=0.0)
    sine = tl.load(turns + (row * HALF + pair) * 2 + 1, mask=inside, other=0.0)
    even = tl.load(source + RANK + 2 * pair, mask=inside, other=0.0).to(tl.float32)
    odd = tl.load(source + RANK + 2 * pair + 1, mask=inside, other=0.0).to(tl.float32)
    tl.store(target + RANK + 2 * pair, even * cosine - odd * sine, mask=inside)
    tl.store(target + RANK + 2 * pair + 1, even * sine + odd * cosine, mask=inside)


@triton.jit
def store_program(
    pool, rows, norm, turns, slots, rows_stride, eps,
    RANK: tl.constexpr, HALF: tl.constexpr, BLOCK_RANK: tl.constexpr, BLOCK_HALF: tl.constexpr,
):  # fmt: skip
    """A row for each program."""
    row = tl.program_id(0).to(tl.int64)
    store_row(
        pool, rows + row * rows_stride, norm, turns, slots, row, eps, RANK, HALF, BLOCK_RANK,
        BLOCK_HALF,
    )  # fmt: skip


def rms_norm(values: Tensor, weight: Tensor, eps: float) -> Tensor:
    """[T, N], any row stride → [T, N]."""
    count, size = values.shape
    out = torch.empty(count, size, dtype=values.dtype, device=values.device)
    if count:
        rms_norm_program[(count,)](
            values, weight, out, values.stride(0), eps,
            N=size, BLOCK=power_of_two(size), num_warps=4,
        )  # fmt: skip
    return out


def rotate(values: Tensor, rotations: Tensor) -> None:
    """[T, dim] or [T, heads, dim] in place; pairs lie side by side, other strides are free."""
    if values.dim() == 2:
        values = values.unsqueeze(1)
    count, heads, dim = values.shape
    if count:
        rotate_program[(count, heads)](
            values, torch.view_as_real(rotations), values.stride(0), values.stride(1),
            HALF=dim // 2, BLOCK=power_of_two(dim // 2), num_warps=1,
        )  # fmt: skip


def store(
    pool: Tensor, rows: Tensor, *, norm: Tensor, eps: float, rotations: Tensor, slots: Tensor
) -> None:
    """As `reference.store`; `rows` may have any row stride and stays as it is."""
    rank = len(norm)
    half = (rows.shape[1] - rank) // 2
    if len(rows):
        store_program[(len(rows),)](
            pool, rows, norm, torch.view_as_real(rotations), slots, rows.stride(0), eps,
            RANK=rank, HALF=half, BLOCK_RANK=power_of_two(rank), BLOCK_HALF=power_of_two(half),
            num_warps=4,
        )  # fmt: skip
