# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""A mixture of experts for few tokens, in two programs, with plain weights or those of few bits.

Every token's experts are read where they lie, the shared one as one more, and nothing is sorted or
copied. The norm before and the sum with the residual stream after are part of the programs.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.kernels.gpu.tile import (
    STAGES,
    begin,
    launch,
    layout,
    summed,
    tensors,
    times,
    touch,
    values_at,
)
from glimt.engine.quantization import Weight

FEW_TOKENS = 16
"""Up to this many tokens go expert by expert; above, tokens of one expert share its weights."""

UP_TILE, DOWN_TILE = (8, 512), (8, 512)
"""Rows and bytes of a row that a program reads at once; of gate and of up each."""


@triton.jit
def few_gate_up_program(
    values, weight, scales, gain, chosen, gated, values_stride, eps,
    I: tl.constexpr, TOP: tl.constexpr, SLOTS: tl.constexpr, ROUTED: tl.constexpr,
    NORM: tl.constexpr, SCALED: tl.constexpr, PACKED: tl.constexpr, BYTES: tl.constexpr,
    STEP: tl.constexpr, GROUPS: tl.constexpr, PER: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_I: tl.constexpr, BLOCK_K: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """silu(gate) * up of one expert of one token, BLOCK_I values of it."""
    slot = tl.program_id(1) % SLOTS
    token = (tl.program_id(1) // SLOTS).to(tl.int64)
    begin(PDL)
    expert = tl.load(chosen + token * TOP + slot, mask=slot < TOP, other=0).to(tl.int64)
    expert = tl.where(slot < TOP, expert, ROUTED + slot - TOP)
    row = tl.program_id(0) * BLOCK_I + tl.arange(0, BLOCK_I)
    inside = row < I
    column = tl.arange(0, BLOCK_K)
    source = weight + expert * (2 * I * BYTES) + row[:, None] * BYTES + column[None, :]
    factors = scales + expert * (2 * I // ROWS * GROUPS)
    line = values + token * values_stride
    gate = tl.zeros([BLOCK_I], tl.float32)
    up = tl.zeros([BLOCK_I], tl.float32)
    square = tl.zeros([BLOCK_K], tl.float32)
    for start in tl.range(0, BYTES, BLOCK_K, num_stages=STAGES):
        byte = start + column
        within = byte < BYTES
        wanted = inside[:, None] & within[None, :]
        first_tile = tl.load(source + start, mask=wanted, other=0.0)
        second_tile = tl.load(source + I * BYTES + start, mask=wanted, other=0.0)
        # Groups of int4 have twice as many columns as bytes.
        at = byte + byte // STEP * STEP if PACKED else byte
        first, more = values_at(line, gain, at, within, NORM)
        square += more
        second = first
        if PACKED:
            second, more = values_at(line, gain, at + STEP, within, NORM)
            square += more
        gate += summed(
            times(first_tile, first, second, PACKED), factors, row // ROWS, inside, start, SCALED,
            STEP, GROUPS, PER, BLOCK_I, BLOCK_K,
        )  # fmt: skip
        up += summed(
            times(second_tile, first, second, PACKED), factors, (I + row) // ROWS, inside, start,
            SCALED, STEP, GROUPS, PER, BLOCK_I, BLOCK_K,
        )  # fmt: skip
    if NORM:
        scale = tl.rsqrt(tl.sum(square, 0) / (2 * BYTES if PACKED else BYTES) + eps)
        gate, up = gate * scale, up * scale
    kind = values.dtype.element_ty
    opened = gate.to(kind).to(tl.float32)
    opened = (opened * tl.sigmoid(opened)).to(kind).to(tl.float32)
    target = gated + tl.program_id(1).to(tl.int64) * I
    tl.store(target + row, opened * up.to(kind).to(tl.float32), mask=inside)


@triton.jit
def few_down_program(
    gated, weight, scales, chosen, shares, residual, out,
    H: tl.constexpr, TOP: tl.constexpr, SLOTS: tl.constexpr, ROUTED: tl.constexpr,
    ADD: tl.constexpr, SCALED: tl.constexpr, PACKED: tl.constexpr, BYTES: tl.constexpr,
    STEP: tl.constexpr, GROUPS: tl.constexpr, PER: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """The weighted sum over the experts of one token, BLOCK_H values of it."""
    token = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * BLOCK_H + tl.arange(0, BLOCK_H)
    inside = row < H
    column = tl.arange(0, BLOCK_K)
    width: tl.constexpr = 2 * BYTES if PACKED else BYTES
    total = tl.zeros([BLOCK_H], tl.float32)
    if PDL:
        # Who was chosen is known since the program before the one before.
        for slot in range(SLOTS):
            known = tl.load(chosen + token * TOP + slot, mask=slot < TOP, other=0).to(tl.int64)
            known = tl.where(slot < TOP, known, ROUTED + slot - TOP)
            touch(weight + known * (H * BYTES), row, inside, BYTES, BYTES, BLOCK_K)
    begin(PDL)
    # One loop over all tiles of all experts, so that the next expert's are under way in time; one
    # stage more, in which the number of the expert is under way.
    tiles: tl.constexpr = (BYTES + BLOCK_K - 1) // BLOCK_K
    for step in tl.range(0, SLOTS * tiles, num_stages=STAGES + 1):
        slot, start = step // tiles, step % tiles * BLOCK_K
        expert = tl.load(chosen + token * TOP + slot, mask=slot < TOP, other=0).to(tl.int64)
        expert = tl.where(slot < TOP, expert, ROUTED + slot - TOP)
        share = tl.load(shares + token * TOP + slot, mask=slot < TOP, other=1.0)
        byte = start + column
        within = byte < BYTES
        source = weight + expert * (H * BYTES) + row[:, None] * BYTES + byte[None, :]
        tile = tl.load(source, mask=inside[:, None] & within[None, :], other=0.0)
        at = byte + byte // STEP * STEP if PACKED else byte
        line = gated + (token * SLOTS + slot) * width
        first, _ = values_at(line, line, at, within, False)
        second = first
        if PACKED:
            second, _ = values_at(line, line, at + STEP, within, False)
        part = summed(
            times(tile, first, second, PACKED), scales + expert * (H // ROWS * GROUPS),
            row // ROWS, inside, start, SCALED, STEP, GROUPS, PER, BLOCK_H, BLOCK_K,
        )  # fmt: skip
        total += part * share
    if ADD:
        before = tl.load(residual + token * H + row, mask=inside, other=0.0).to(tl.float32)
        total = total.to(out.dtype.element_ty).to(tl.float32) + before
    tl.store(out + token * H + row, total, mask=inside)


def experts_of_few(
    hidden: Tensor,
    gate_up: Weight,
    down: Weight,
    *,
    chosen: Tensor,
    shares: Tensor,
    num_shared: int,
    norm: tuple[Tensor, float] | None = None,
) -> Tensor:
    """As `reference.experts`; each token reads its experts by itself.

    Args:
        norm: The weight and eps of a norm of `hidden`, to which the result is then added in place:
            `hidden` must be contiguous.
    """
    count, size = hidden.shape
    (first, first_scales), (second, second_scales) = tensors(gate_up), tensors(down)
    total, width = len(first), first.shape[1] // 2
    top = chosen.shape[1]
    slots = top + num_shared
    gated = hidden.new_empty(count, slots, width)
    out = hidden.new_empty(count, size) if norm is None else hidden
    if not count:
        return out
    gain, eps = norm or (hidden, 0.0)
    fixed = {"TOP": top, "SLOTS": slots, "ROUTED": total - num_shared, **launch(num_warps=4)}
    few_gate_up_program[(triton.cdiv(width, UP_TILE[0]), count * slots)](
        hidden, first, first_scales, gain, chosen, gated, hidden.stride(0), eps,
        I=width, NORM=norm is not None, BLOCK_I=UP_TILE[0], **layout(gate_up, most=UP_TILE[1]),
        **fixed,
    )  # fmt: skip
    few_down_program[(triton.cdiv(size, DOWN_TILE[0]), count)](
        gated, second, second_scales, chosen, shares, out, out,
        H=size, ADD=norm is not None, BLOCK_H=DOWN_TILE[0], **layout(down, most=DOWN_TILE[1]),
        **fixed,
    )  # fmt: skip
    return out


def dense_of_few(
    hidden: Tensor, gate_up: Weight, down: Weight, *, norm: tuple[Tensor, float] | None = None
) -> Tensor:
    """As `reference.feed_forward`: a shared expert alone. `norm` is as for `experts_of_few`."""
    none = torch.empty(len(hidden), 0, dtype=torch.int64, device=hidden.device)
    return experts_of_few(
        hidden, gate_up[None], down[None], chosen=none, shares=none.float(), num_shared=1, norm=norm
    )
