# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""A mixture of experts: two programs for few tokens, two grouped products for many.

Few tokens: every token's experts are read where they lie, the shared one as one more, and nothing
is sorted or copied. Many tokens: assignments are sorted by expert into tiles of one expert each,
without asking the device how many there are, so both forms fit a CUDA graph.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.tile import INTERPRETED, dot

FEW_TOKENS = 16
"""Up to this many tokens go expert by expert; above, tokens of one expert share its weights."""

SMALL_TILE, LARGE_TILE = 16, 64
"""Assignments of one tile of the grouped products: few while each expert has few, and as many as
the tensor cores take at once where it has many, because every tile reads the weight again."""


@triton.jit
def few_gate_up_program(
    values, weight, chosen, gated, values_stride,
    I: tl.constexpr, H: tl.constexpr, TOP: tl.constexpr, SLOTS: tl.constexpr,
    ROUTED: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """silu(gate) * up of one expert of one token, BLOCK_I values of it."""
    slot = tl.program_id(1) % SLOTS
    token = (tl.program_id(1) // SLOTS).to(tl.int64)
    expert = tl.load(chosen + token * TOP + slot, mask=slot < TOP, other=0).to(tl.int64)
    expert = tl.where(slot < TOP, expert, ROUTED + slot - TOP)
    row = tl.program_id(0) * BLOCK_I + tl.arange(0, BLOCK_I)
    column = tl.arange(0, BLOCK_K)
    source = weight + expert * (2 * I * H) + row[:, None] * H + column[None, :]
    gate = tl.zeros([BLOCK_I, BLOCK_K], tl.float32)
    up = tl.zeros([BLOCK_I, BLOCK_K], tl.float32)
    for start in range(0, H, BLOCK_K):
        within = column < H - start
        inside = (row < I)[:, None] & within[None, :]
        line = tl.load(values + token * values_stride + start + column, mask=within, other=0.0)
        line = line.to(tl.float32)[None, :]
        gate += tl.load(source + start, mask=inside, other=0.0).to(tl.float32) * line
        up += tl.load(source + I * H + start, mask=inside, other=0.0).to(tl.float32) * line
    kind = values.dtype.element_ty
    opened = tl.sum(gate, 1).to(kind).to(tl.float32)
    opened = (opened * tl.sigmoid(opened)).to(kind).to(tl.float32)
    target = gated + tl.program_id(1).to(tl.int64) * I
    tl.store(target + row, opened * tl.sum(up, 1).to(kind).to(tl.float32), mask=row < I)


@triton.jit
def few_down_program(
    gated, weight, chosen, shares, out,
    I: tl.constexpr, H: tl.constexpr, TOP: tl.constexpr, SLOTS: tl.constexpr,
    ROUTED: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
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
        source = weight + expert * (H * I) + row[:, None] * I + column[None, :]
        part = tl.zeros([BLOCK_H, BLOCK_K], tl.float32)
        for start in range(0, I, BLOCK_K):
            within = column < I - start
            line = tl.load(
                gated + (token * SLOTS + slot) * I + start + column, mask=within, other=0.0
            )
            tile = tl.load(source + start, mask=(row < H)[:, None] & within[None, :], other=0.0)
            part += tile.to(tl.float32) * line.to(tl.float32)[None, :]
        total += tl.sum(part, 1) * share
    tl.store(out + token * H + row, total, mask=row < H)


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


def experts(
    hidden: Tensor,
    gate_up: Tensor,
    down: Tensor,
    *,
    chosen: Tensor,
    shares: Tensor,
    num_shared: int,
) -> Tensor:
    """As `reference.experts`, in the form that suits the number of tokens."""
    few = len(hidden) <= FEW_TOKENS
    form = experts_of_few if few else experts_of_many
    return form(hidden, gate_up, down, chosen=chosen, shares=shares, num_shared=num_shared)


def experts_of_few(
    hidden: Tensor,
    gate_up: Tensor,
    down: Tensor,
    *,
    chosen: Tensor,
    shares: Tensor,
    num_shared: int,
) -> Tensor:
    """As `reference.experts`; each token reads its experts by itself."""
    count, size = hidden.shape
    total, width = len(gate_up), gate_up.shape[1] // 2
    top = chosen.shape[1]
    slots = top + num_shared
    gated = hidden.new_empty(count, slots, width)
    out = hidden.new_empty(count, size)
    if not count:
        return out
    few_gate_up_program[(triton.cdiv(width, 16), count * slots)](
        hidden, gate_up, chosen, gated, hidden.stride(0),
        I=width, H=size, TOP=top, SLOTS=slots, ROUTED=total - num_shared,
        BLOCK_I=16, BLOCK_K=128, num_warps=4, num_stages=4,
    )  # fmt: skip
    few_down_program[(triton.cdiv(size, 8), count)](
        gated, down, chosen, shares, out,
        I=width, H=size, TOP=top, SLOTS=slots, ROUTED=total - num_shared,
        BLOCK_H=8, BLOCK_K=256, num_warps=4, num_stages=4,
    )  # fmt: skip
    return out


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
