# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""Attention of a few queries to cached latents, split over the context, then combined.

A program takes up to 32 heads of one query and one part of its context, so that the 20 heads of
GLM-4.7-Flash read a cache row once. How many parts there are depends on the number of queries
alone, and lengths are read on the device: one CUDA graph serves every context length.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.tile import (
    INTERPRETED,
    begin,
    dot,
    launch,
    layout,
    power_of_two,
    summed,
    tensors,
    touch,
)
from glimt.engine.quantization import Weight
from glimt.engine.settings import PAGE_SIZE

BLOCK_CONTEXT = 32
"""Rows of one tile of the context; divides a page, so that a tile needs one page number."""

VALUES_TILE = (32, 256)
"""Rows of a head's values, and columns, that a program has at once."""

MAX_SPLITS = 64
FULL_GRID = 132
"""Programs that fill the device: the multiprocessors of an H100 or H200."""


@triton.jit
def attend_program(
    queries, pool, pages, owners, visible, partial, weights, scale, pages_stride,
    token_stride, head_stride, HEADS,
    RANK: tl.constexpr, ROPE: tl.constexpr, SPLITS: tl.constexpr, PAGE: tl.constexpr,
    UPCAST: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """One part of one query's context: its share of the result and the log of its weight."""
    begin(PDL)
    query = tl.program_id(0).to(tl.int64)
    split = tl.program_id(2)
    head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    latent, key = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_P)
    source = queries + query * token_stride + head[:, None] * head_stride
    asked = (head < HEADS)[:, None]
    query_latent = tl.load(source + latent[None, :], mask=asked & (latent < RANK)[None], other=0.0)
    query_key = tl.load(source + RANK + key[None, :], mask=asked & (key < ROPE)[None], other=0.0)
    length = tl.load(visible + query).to(tl.int32)
    table = pages + tl.load(owners + query).to(tl.int64) * pages_stride
    part = tl.cdiv(tl.cdiv(length, SPLITS), BLOCK_C) * BLOCK_C
    end = tl.minimum((split + 1) * part, length)

    highest = tl.full([BLOCK_H], float("-inf"), tl.float32)
    mass = tl.zeros([BLOCK_H], tl.float32)
    result = tl.zeros([BLOCK_H, BLOCK_R], tl.float32)
    for start in range(split * part, end, BLOCK_C):
        place = start + tl.arange(0, BLOCK_C)
        there = (place < end)[:, None]
        page = tl.load(table + start // PAGE).to(tl.int64)
        row = pool + (page * PAGE + place % PAGE)[:, None] * (RANK + ROPE)
        latents = tl.load(row + latent[None, :], mask=there & (latent < RANK)[None], other=0.0)
        keys = tl.load(row + RANK + key[None, :], mask=there & (key < ROPE)[None], other=0.0)
        scores = dot(query_latent, tl.trans(latents), UPCAST)
        scores += dot(query_key, tl.trans(keys), UPCAST)
        scores = tl.where((place < end)[None, :], scores * scale, float("-inf"))
        higher = tl.maximum(highest, tl.max(scores, 1))
        shrink = tl.exp(highest - higher)
        shares = tl.exp(scores - higher[:, None])
        mass = mass * shrink + tl.sum(shares, 1)
        result = result * shrink[:, None] + dot(shares.to(latents.dtype), latents, UPCAST)
        highest = higher
    # An empty part has no mass; its weight's log is minus infinity and its result zero.
    safe = tl.where(mass > 0, mass, 1.0)
    target = (query * HEADS + head) * SPLITS + split
    tl.store(weights + target, highest + tl.log(safe), mask=head < HEADS)
    tl.store(
        partial + target[:, None] * RANK + latent[None, :], result / safe[:, None],
        mask=asked & (latent < RANK)[None],
    )  # fmt: skip


@triton.jit
def combine_program(
    partial, weights, out, RANK: tl.constexpr, SPLITS: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_R: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """The parts of one head of one query, weighted; BLOCK_R columns of the result."""
    begin(PDL)
    row = tl.program_id(0).to(tl.int64)
    split = tl.arange(0, BLOCK_S)
    latent = tl.program_id(1) * BLOCK_R + tl.arange(0, BLOCK_R)
    logs = tl.load(weights + row * SPLITS + split, mask=split < SPLITS, other=float("-inf"))
    highest = tl.max(logs, 0)
    # A query that sees nothing, which pads a batch, comes out as zero.
    shares = tl.where(highest > float("-inf"), tl.exp(logs - highest), 0.0)
    mass = tl.sum(shares, 0)
    parts = tl.load(
        partial + (row * SPLITS + split)[:, None] * RANK + latent[None, :],
        mask=(split < SPLITS)[:, None] & (latent < RANK)[None, :], other=0.0,
    )  # fmt: skip
    result = tl.sum(parts * shares[:, None], 0) / tl.where(mass > 0, mass, 1.0)
    tl.store(out + row * RANK + latent, result, mask=latent < RANK)


@triton.jit
def combine_values_program(
    partial, weights, kv_b, scales, out, HEADS,
    PER_HEAD: tl.constexpr, VALUES: tl.constexpr, SPLITS: tl.constexpr, SCALED: tl.constexpr,
    PACKED: tl.constexpr, BYTES: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr,
    PER: tl.constexpr, ROWS: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_V: tl.constexpr,
    BLOCK_K: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """The parts of one head of one query, weighted, times BLOCK_V rows of the head's values."""
    row = tl.program_id(0).to(tl.int64)
    value = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    number = (row % HEADS) * PER_HEAD + PER_HEAD - VALUES + value
    inside = value < VALUES
    if PDL:
        touch(kv_b, number, inside, BYTES, BYTES, BLOCK_K)
    begin(PDL)
    split = tl.arange(0, BLOCK_S)
    column = tl.arange(0, BLOCK_K)
    logs = tl.load(weights + row * SPLITS + split, mask=split < SPLITS, other=float("-inf"))
    highest = tl.max(logs, 0)
    shares = tl.where(logs > float("-inf"), tl.exp(logs - highest), 0.0)
    mass = tl.sum(shares, 0)
    shares = shares / tl.where(mass > 0, mass, 1.0)
    source = partial + (row * SPLITS + split)[:, None] * BYTES + column[None, :]
    total = tl.zeros([BLOCK_V], tl.float32)
    for start in range(0, BYTES, BLOCK_K):
        within = column < BYTES - start
        tile = tl.load(
            kv_b + number[:, None] * BYTES + (start + column)[None, :],
            mask=inside[:, None] & within[None, :], other=0.0,
        )  # fmt: skip
        # Parts without mass, of which a short context has many, are not read.
        parts = tl.load(source + start, mask=(shares > 0)[:, None] & within[None, :], other=0.0)
        line = tl.sum(parts * shares[:, None], 0).to(out.dtype.element_ty).to(tl.float32)
        total += summed(
            tile.to(tl.float32) * line[None, :], scales, number // ROWS, inside, start, SCALED,
            STEP, GROUPS, PER, BLOCK_V, BLOCK_K,
        )  # fmt: skip
    tl.store(out + row * VALUES + value, total, mask=inside)


def attend(
    queries: Tensor,
    pool: Tensor,
    page_table: Tensor,
    *,
    owners: Tensor,
    visible: Tensor,
    rank: int,
    scale: float,
) -> Tensor:
    """Attention of each query to the first rows of its sequence.

    Args:
        queries: [Q, heads, rank + rope]; the last dimension is contiguous.
        pool: [pages, PAGE_SIZE, rank + rope].
        page_table: [S, P], the pages of each sequence.
        owners: [Q], the row of `page_table` that is the query's.
        visible: [Q], how many rows a query sees; zero gives zeros.
        rank: Width of the latent part, which comes first in a row.
        scale: What scores are multiplied with.

    Returns:
        [Q, heads, rank].
    """
    count, heads, _ = queries.shape
    out = torch.empty(count, heads, rank, dtype=queries.dtype, device=queries.device)
    if not count:
        return out
    partial, weights = _parts(
        queries, pool, page_table, owners=owners, visible=visible, rank=rank, scale=scale
    )
    splits, block_r = weights.shape[-1], min(max(16, power_of_two(rank)), 128)
    combine_program[(count * heads, triton.cdiv(rank, block_r))](
        partial, weights, out, RANK=rank, SPLITS=splits,
        BLOCK_S=power_of_two(splits), BLOCK_R=block_r, **launch(num_warps=4),
    )  # fmt: skip
    return out


def attend_values(
    queries: Tensor,
    pool: Tensor,
    page_table: Tensor,
    kv_b: Weight,
    *,
    owners: Tensor,
    visible: Tensor,
    num_values: int,
    scale: float,
) -> Tensor:
    """As `attend`, carried out of the latent space: [Q, heads * value].

    Every query reads the weight by itself, so this is for very few of them.

    Args:
        kv_b: [heads * (nope + value), rank].
        num_values: Values of a head.
    """
    count, heads, _ = queries.shape
    numbers, scales = tensors(kv_b)
    rank = numbers.shape[-1]
    out = torch.empty(count, heads * num_values, dtype=queries.dtype, device=queries.device)
    if not count:
        return out
    partial, weights = _parts(
        queries, pool, page_table, owners=owners, visible=visible, rank=rank, scale=scale
    )
    splits = weights.shape[-1]
    combine_values_program[(count * heads, triton.cdiv(num_values, VALUES_TILE[0]))](
        partial, weights, numbers, scales, out, heads,
        PER_HEAD=len(numbers) // heads, VALUES=num_values, SPLITS=splits,
        **layout(kv_b, most=VALUES_TILE[1]), BLOCK_S=power_of_two(splits), BLOCK_V=VALUES_TILE[0],
        **launch(num_warps=8),
    )  # fmt: skip
    return out


def _parts(
    queries: Tensor,
    pool: Tensor,
    page_table: Tensor,
    *,
    owners: Tensor,
    visible: Tensor,
    rank: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Every part's result [Q, heads, splits, rank] and the log of its weight [Q, heads, splits]."""
    count, heads, width = queries.shape
    block_h, splits = shape_of_grid(count, heads)
    partial = queries.new_empty(count, heads, splits, rank, dtype=torch.float32)
    weights = queries.new_empty(count, heads, splits, dtype=torch.float32)
    attend_program[(count, triton.cdiv(heads, block_h), splits)](
        queries, pool, page_table, owners, visible, partial, weights, scale,
        page_table.stride(0), queries.stride(0), queries.stride(1), heads,
        RANK=rank, ROPE=width - rank, SPLITS=splits, PAGE=PAGE_SIZE, UPCAST=INTERPRETED,
        BLOCK_H=block_h, BLOCK_C=BLOCK_CONTEXT, BLOCK_R=max(16, power_of_two(rank)),
        BLOCK_P=max(16, power_of_two(width - rank)), **launch(num_warps=8, num_stages=2),
    )  # fmt: skip
    return partial, weights


def shape_of_grid(count: int, heads: int) -> tuple[int, int]:
    """Heads of one program and parts of a context, for so many queries."""
    block_h = 16 if heads <= 16 else 32
    programs = count * -(-heads // block_h)
    return block_h, min(MAX_SPLITS, -(-FULL_GRID // programs))
