# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""From the down-projection to queries in the latent space, of few tokens: two programs.

The first normalises the query's latent, projects it up, rotates what is to be rotated, and beside
that writes the new cache rows. The second carries each head into the latent space, or out of it.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.batch import NewTokens
from glimt.engine.kernels.gpu.matvec import product, tiles
from glimt.engine.kernels.gpu.rows import store_row
from glimt.engine.kernels.gpu.tile import (
    INTERPRETED,
    begin,
    dot,
    launch,
    layout,
    power_of_two,
    tensors,
    touch,
)
from glimt.engine.quantization import Weight


@triton.jit
def queries_program(
    down, weight, scales, q_norm, kv_norm, turns, slots, pool, out, M, down_stride, eps,
    N: tl.constexpr, WIDTH: tl.constexpr, HALF: tl.constexpr, SHIFT: tl.constexpr,
    RANK: tl.constexpr, SCALED: tl.constexpr, PACKED: tl.constexpr, BYTES: tl.constexpr,
    STEP: tl.constexpr, GROUPS: tl.constexpr, PER: tl.constexpr, ROWS: tl.constexpr,
    UPCAST: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_RANK: tl.constexpr, BLOCK_HALF: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """A cache row, for the first M programs; BLOCK_N outputs of all queries, for the others.

    The last 2 * HALF values of a head's WIDTH are rotated, and lie SHIFT further than they would.
    """
    if PDL:
        own = (tl.program_id(0) - M) * BLOCK_N + tl.arange(0, BLOCK_N)
        touch(weight, own, (own >= 0) & (own < N), BYTES, BYTES, BLOCK_K)
    begin(PDL)
    if tl.program_id(0) < M:
        new = tl.program_id(0).to(tl.int64)
        store_row(
            pool, down + new * down_stride + BYTES, kv_norm, turns, slots, new, eps, RANK, HALF,
            BLOCK_RANK, BLOCK_HALF,
        )  # fmt: skip
    else:
        first = (tl.program_id(0) - M) * BLOCK_N
        total = product(
            down, down_stride, M, weight, scales, q_norm, eps, first + tl.arange(0, BLOCK_N), N,
            True, SCALED, BYTES, STEP, GROUPS, PER, ROWS, UPCAST, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        kind = out.dtype.element_ty
        total = total.to(kind).to(tl.float32)
        # Neighbouring rows are the pairs.
        row = first + 2 * tl.arange(0, BLOCK_N // 2)
        within = row % WIDTH
        pair = (within - (WIDTH - 2 * HALF)) // 2
        turned = (within >= WIDTH - 2 * HALF) & (row < N)
        place = row // WIDTH * (WIDTH + SHIFT) + within
        place = tl.where(turned, place + SHIFT, place)
        if BLOCK_M == 1:
            even, odd = tl.split(tl.reshape(total, [BLOCK_N // 2, 2]))
            turn, inside = turns + 2 * pair, row < N
        else:
            halves = tl.reshape(total, [BLOCK_N // 2, 2, BLOCK_M])
            even, odd = tl.split(tl.permute(halves, (0, 2, 1)))
            token = tl.arange(0, BLOCK_M)
            turn = turns + 2 * (token[None, :] * HALF + pair[:, None])
            inside = (row < N)[:, None] & (token < M)[None, :]
            turned = turned[:, None] & inside
            place = token[None, :] * (N // WIDTH * (WIDTH + SHIFT)) + place[:, None]
        cosine = tl.load(turn, mask=turned, other=1.0)
        sine = tl.load(turn + 1, mask=turned, other=0.0)
        tl.store(out + place, even * cosine - odd * sine, mask=inside)
        tl.store(out + place + 1, even * sine + odd * cosine, mask=inside)


@triton.jit
def carry_program(
    values, weight, scales, out, M, token_stride, head_stride, out_token_stride, out_head_stride,
    N: tl.constexpr, K: tl.constexpr, PER_HEAD: tl.constexpr, SCALED: tl.constexpr,
    PACKED: tl.constexpr, BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr,
    PER: tl.constexpr, ROWS: tl.constexpr, UPCAST: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """BLOCK_N columns of one head of all tokens: K values of it times the head's first K rows.

    A tile of columns has one scale a row, so that values are scaled rather than products.
    """
    head = tl.program_id(0).to(tl.int64)
    number = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = number < N
    if PDL:
        above = tl.arange(0, BLOCK_K)
        columns = weight + tl.program_id(1) * BLOCK_N
        touch(columns, head * PER_HEAD + above, above < K, BYTES, BLOCK_N, BLOCK_N)
    begin(PDL)
    token = tl.arange(0, BLOCK_M)
    source = values + head * head_stride
    if BLOCK_M == 1:
        total = tl.zeros([BLOCK_N], tl.float32)
    else:
        total = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    for start in range(0, K, BLOCK_K):
        at = start + tl.arange(0, BLOCK_K)
        within = at < K
        row = head * PER_HEAD + at
        tile = tl.load(
            weight + row[None, :] * BYTES + number[:, None],
            mask=inside[:, None] & within[None, :], other=0.0,
        )  # fmt: skip
        if BLOCK_M == 1:
            lines = tl.load(source + at, mask=within, other=0.0)[None, :]
        else:
            lines = tl.load(
                source + token[None, :] * token_stride + at[:, None],
                mask=within[:, None] & (token < M)[None, :], other=0.0,
            )  # fmt: skip
        kind = lines.dtype
        wide = lines.to(tl.float32)
        if SCALED:
            group = tl.program_id(1) * BLOCK_N // STEP
            factor = tl.load(scales + row // ROWS * GROUPS + group, mask=within, other=0.0)
            factor = factor.to(tl.float32)
            wide = wide * (factor[None, :] if BLOCK_M == 1 else factor[:, None])
        if BLOCK_M == 1:
            total += tl.sum(tile.to(tl.float32) * wide, 1)
        else:
            total += dot(tile.to(kind), wide.to(kind), UPCAST)
    target = out + head * out_head_stride
    if BLOCK_M == 1:
        tl.store(target + number, total, mask=inside)
    else:
        tl.store(
            target + token[None, :] * out_token_stride + number[:, None], total,
            mask=inside[:, None] & (token < M)[None, :],
        )  # fmt: skip


@triton.jit
def values_program(
    found, weight, scales, out, M, token_stride, head_stride,
    N: tl.constexpr, PER_HEAD: tl.constexpr, SCALED: tl.constexpr, PACKED: tl.constexpr,
    BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr, PER: tl.constexpr,
    ROWS: tl.constexpr, UPCAST: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """BLOCK_N values of one head of all tokens: what was found times the head's last N rows."""
    head = tl.program_id(0)
    number = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    end = (head + 1) * PER_HEAD
    if PDL:
        touch(weight, end - N + number, number < N, BYTES, BYTES, BLOCK_K)
    begin(PDL)
    total = product(
        found + head * head_stride, token_stride, M, weight, scales, found, 0.0, end - N + number,
        end, False, SCALED, BYTES, STEP, GROUPS, PER, ROWS, UPCAST, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    target = out + head * N + number
    if BLOCK_M == 1:
        tl.store(target, total, mask=number < N)
    else:
        token = tl.arange(0, BLOCK_M)
        tl.store(
            target[:, None] + token[None, :] * (tl.num_programs(0) * N), total,
            mask=(number < N)[:, None] & (token < M)[None, :],
        )  # fmt: skip


def queries_of_few(
    pool: Tensor,
    new: NewTokens,
    weight: Weight,
    kv_b: Weight | None,
    *,
    heads: int,
    norms: tuple[Tensor, Tensor],
    eps: float,
) -> Tensor:
    """As `reference.queries`, for up to `matvec.MAX_ROWS` tokens; the result may have gaps."""
    down, rotations, slots = new
    q_norm, kv_norm = norms
    numbers, scales = tensors(weight)
    count, num_out, rank, half = len(down), len(numbers), len(kv_norm), rotations.shape[1]
    width = num_out // heads
    # Carried queries are written between what is carried and what is rotated.
    shift = 0 if kv_b is None else rank
    out = torch.empty(count, heads, width + shift, dtype=down.dtype, device=down.device)
    if count:
        block_m, block_n, block_k = tiles(count)
        queries_program[(count + triton.cdiv(num_out, block_n),)](
            down, numbers, scales, q_norm, kv_norm, torch.view_as_real(rotations), slots, pool,
            out, count, down.stride(0), eps,
            N=num_out, WIDTH=width, HALF=half, SHIFT=shift, RANK=rank, UPCAST=INTERPRETED,
            BLOCK_M=block_m, BLOCK_N=block_n, **layout(weight, most=block_k, whole=block_m > 1),
            BLOCK_RANK=power_of_two(rank), BLOCK_HALF=power_of_two(half),
            **launch(num_warps=4, num_stages=4),
        )  # fmt: skip
    if kv_b is None:
        return out
    nope = width - 2 * half
    carried = out[..., nope:]
    carry_of_few(out[..., :nope], kv_b, into=carried[..., :rank])
    return carried


def carry_of_few(queries: Tensor, kv_b: Weight, *, into: Tensor) -> None:
    """The first values of heads into the latent space: [T, heads, nope] → [T, heads, rank]."""
    count, heads, nope = queries.shape
    numbers, scales = tensors(kv_b)
    if not count:
        return
    block_m, block_n, block_k = carry_tiles(count, nope)
    told = layout(kv_b, most=block_n, whole=True)
    block_n, told["BLOCK_K"] = told["BLOCK_K"], block_k  # a layout's tiles are of columns
    carry_program[(heads, triton.cdiv(into.shape[-1], block_n))](
        queries, numbers, scales, into, count, queries.stride(0), queries.stride(1),
        into.stride(0), into.stride(1),
        N=into.shape[-1], K=nope, PER_HEAD=len(numbers) // heads, UPCAST=INTERPRETED,
        BLOCK_M=block_m, BLOCK_N=block_n, **told, **launch(num_warps=4, num_stages=4),
    )  # fmt: skip


def values_of_few(found: Tensor, kv_b: Weight, *, num_values: int) -> Tensor:
    """As `reference.to_values`, for up to `matvec.MAX_ROWS` tokens."""
    count, heads, _ = found.shape
    numbers, scales = tensors(kv_b)
    out = torch.empty(count, heads * num_values, dtype=found.dtype, device=found.device)
    if count:
        block_m, block_n, block_k = tiles(count)
        values_program[(heads, triton.cdiv(num_values, block_n))](
            found, numbers, scales, out, count, found.stride(0), found.stride(1),
            N=num_values, PER_HEAD=len(numbers) // heads, UPCAST=INTERPRETED, BLOCK_M=block_m,
            BLOCK_N=block_n, **layout(kv_b, most=block_k, whole=block_m > 1),
            **launch(num_warps=4, num_stages=4),
        )  # fmt: skip
    return out


def carry_tiles(count: int, nope: int) -> tuple[int, int, int]:
    """Tile sizes (tokens, columns, depth) for so many tokens with so many values a head."""
    depth = max(16, power_of_two(nope))
    return (1, 64, min(depth, 256)) if count == 1 else (16, 64, min(depth, 64))
