# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""A mixture of experts for many tokens: two grouped products.

Assignments are sorted by expert into tiles of one expert each, without asking the device how many
there are, so that it fits a CUDA graph.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.tile import INTERPRETED, dot

SMALL_TILE, LARGE_TILE = 16, 64
"""Assignments of one tile of the grouped products: few while each expert has few, and as many as
the tensor cores take at once where it has many, because every tile reads the weight again."""


@triton.jit
def grouped_program(
    values, weight, order, tile_experts, out, num_assignments, values_stride,
    N: tl.constexpr, K: tl.constexpr, PER_ROW: tl.constexpr, GATED: tl.constexpr,
    UPCAST: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One tile of assignments with their expert's weight; with GATED, gate and up at once.

    An assignment is a token and one of its experts; its row of `values` is its number divided by
    PER_ROW, and its row of `out` its number.
    """
    tile = tl.program_id(1)
    expert = tl.load(tile_experts + tile).to(tl.int64)
    # Tiles are as many as could be needed; one that no expert has holds nothing.
    if expert >= 0:
        number = tl.load(order + tile * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
        real = number < num_assignments
        row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
        column = tl.arange(0, BLOCK_K)
        lines_at = values + (number // PER_ROW)[:, None] * values_stride + column[None, :]
        if GATED:
            source = weight + expert * (2 * N * K) + row[None, :] * K + column[:, None]
        else:
            source = weight + expert * (N * K) + row[None, :] * K + column[:, None]
        first = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        second = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        for start in range(0, K, BLOCK_K):
            within = column < K - start
            inside = within[:, None] & (row < N)[None, :]
            lines = tl.load(lines_at + start, mask=real[:, None] & within[None, :], other=0.0)
            first += dot(lines, tl.load(source + start, mask=inside, other=0.0), UPCAST)
            if GATED:
                weights = tl.load(source + N * K + start, mask=inside, other=0.0)
                second += dot(lines, weights, UPCAST)
        target = out + number[:, None] * N + row[None, :]
        kind = values.dtype.element_ty
        if GATED:
            opened = first.to(kind).to(tl.float32)
            opened = (opened * tl.sigmoid(opened)).to(kind).to(tl.float32)
            first = opened * second.to(kind).to(tl.float32)
        tl.store(target, first, mask=real[:, None] & (row < N)[None, :])


def experts_of_many(
    hidden: Tensor,
    gate_up: Tensor,
    down: Tensor,
    *,
    chosen: Tensor,
    shares: Tensor,
    num_shared: int,
) -> Tensor:
    """As `reference.experts`; tokens of one expert share its weights."""
    count, size = hidden.shape
    total, width = len(gate_up), gate_up.shape[1] // 2
    chosen, shares = with_shared(chosen, shares, total=total, num_shared=num_shared)
    slots = chosen.shape[1]
    tile = tile_of(count * slots, total)
    order, tile_experts = sort_by_expert(chosen.flatten(), total, tile=tile)
    gated = hidden.new_empty(count * slots, width)
    results = hidden.new_empty(count * slots, size)
    sizes = {"BLOCK_M": tile, "BLOCK_N": 64, "BLOCK_K": 64, "num_warps": 4, "num_stages": 4}
    grouped_program[(triton.cdiv(width, 64), len(tile_experts))](
        hidden, gate_up, order, tile_experts, gated, count * slots, hidden.stride(0),
        N=width, K=size, PER_ROW=slots, GATED=True, UPCAST=INTERPRETED, **sizes,
    )  # fmt: skip
    grouped_program[(triton.cdiv(size, 64), len(tile_experts))](
        gated, down, order, tile_experts, results, count * slots, gated.stride(0),
        N=size, K=width, PER_ROW=1, GATED=False, UPCAST=INTERPRETED, **sizes,
    )  # fmt: skip
    return weighted_sum(results.view(count, slots, size), shares)


def with_shared(
    chosen: Tensor, shares: Tensor, *, total: int, num_shared: int
) -> tuple[Tensor, Tensor]:
    """[T, top] experts and shares, and the last `num_shared` of `total` for every token, whole."""
    if not num_shared:
        return chosen, shares
    count = len(chosen)
    shared = torch.arange(total - num_shared, total, device=chosen.device)
    return (
        torch.cat((chosen, shared.expand(count, -1)), dim=1),
        torch.cat((shares, shares.new_ones(count, num_shared)), dim=1),
    )


def weighted_sum(results: Tensor, shares: Tensor) -> Tensor:
    """[T, slots, H] and [T, slots] as [T, H], summed in fp32."""
    return (results.float() * shares.unsqueeze(-1)).sum(1).to(results.dtype)


def tile_of(num_assignments: int, num_experts: int) -> int:
    """Assignments of a tile, by how many an expert has on average."""
    return LARGE_TILE if num_assignments >= 32 * num_experts else SMALL_TILE


def sort_by_expert(chosen: Tensor, num_experts: int, *, tile: int) -> tuple[Tensor, Tensor]:
    """Assignments in tiles of one expert each, without a word to the host.

    Args:
        chosen: [A], the expert of each assignment.
        tile: Assignments of a tile.

    Returns:
        [tiles * tile] numbers of assignments, A where a tile is not full; and [tiles], each
        tile's expert, or -1 for tiles that are not needed. There are as many as could be.
    """
    count = len(chosen)
    num_tiles = triton.cdiv(count, tile) + num_experts
    device = chosen.device
    counts = torch.zeros(num_experts, dtype=torch.int64, device=device)
    counts.scatter_add_(0, chosen, torch.ones_like(chosen))
    tiles_end = ((counts + tile - 1) // tile).cumsum(0)
    tiles_start = tiles_end - (counts + tile - 1) // tile
    sorted_experts, sorted_numbers = chosen.sort(stable=True)
    within = torch.arange(count, device=device) - (counts.cumsum(0) - counts)[sorted_experts]
    order = torch.full((num_tiles * tile,), count, dtype=torch.int64, device=device)
    order[tiles_start[sorted_experts] * tile + within] = sorted_numbers
    numbers = torch.arange(num_tiles, device=device)
    experts_of = torch.searchsorted(tiles_end, numbers, right=True)
    return order, torch.where(experts_of < num_experts, experts_of, -1)
