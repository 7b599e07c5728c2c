# Triton has no types: programs and their launches are checked by running them.
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""The router: a norm, a product in fp32, and the choice of experts, in one program for few tokens.

Several programs share a token's experts, so that more than one multiprocessor reads the weight. The
last of them to end, which a counter in memory tells, chooses.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from glimt.engine.config import ModelConfig
from glimt.engine.kernels.gpu.tile import (
    begin,
    launch,
    power_of_two,
    touch,
    values_at,
)

EXPERTS_OF_ONE = 4
"""Experts whose scores one program computes."""


@triton.jit
def choose(
    logits, bias, chosen, shares, row, factor,
    E: tl.constexpr, TOP: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_TOP: tl.constexpr,
):  # fmt: skip
    """The TOP experts of one token; the bias steers the choice, never the share."""
    expert = tl.arange(0, BLOCK)
    inside = expert < E
    # Others wrote them: past the first-level cache.
    found = tl.load(logits + row * E + expert, mask=inside, other=0.0, cache_modifier=".cg")
    scores = tl.sigmoid(found)
    choice = scores + tl.load(bias + expert, mask=inside, other=0.0)
    choice = tl.where(inside, choice, float("-inf"))
    place = tl.arange(0, BLOCK_TOP)
    numbers = tl.zeros([BLOCK_TOP], tl.int64)
    parts = tl.zeros([BLOCK_TOP], tl.float32)
    for index in tl.static_range(TOP):
        best = tl.argmax(choice, 0)
        part = tl.sum(tl.where(expert == best, scores, 0.0), 0)
        numbers = tl.where(place == index, best.to(tl.int64), numbers)
        parts = tl.where(place == index, part, parts)
        choice = tl.where(expert == best, float("-inf"), choice)
    if NORMALIZE:
        parts = parts / (tl.sum(parts, 0) + 1e-20)
    tl.store(chosen + row * TOP + place, numbers, mask=place < TOP)
    tl.store(shares + row * TOP + place, parts * factor, mask=place < TOP)


@triton.jit
def choose_program(
    logits, bias, chosen, shares, factor,
    E: tl.constexpr, TOP: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_TOP: tl.constexpr,
):  # fmt: skip
    """A token for each program."""
    row = tl.program_id(0).to(tl.int64)
    choose(logits, bias, chosen, shares, row, factor, E, TOP, NORMALIZE, BLOCK, BLOCK_TOP)


@triton.jit
def route_program(
    hidden, gain, router, bias, logits, ended, chosen, shares, hidden_stride, eps, factor,
    H: tl.constexpr, E: tl.constexpr, TOP: tl.constexpr, NORMALIZE: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_TOP: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    PDL: tl.constexpr,
):  # fmt: skip
    """Scores of BLOCK_N experts for one token, and by the token's last program its choice."""
    row = tl.program_id(1).to(tl.int64)
    expert = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    if PDL:
        touch(router, expert, expert < E, H, H, BLOCK_K)
    begin(PDL)
    column = tl.arange(0, BLOCK_K)
    total = tl.zeros([BLOCK_N], tl.float32)
    square = tl.zeros([BLOCK_K], tl.float32)
    for start in range(0, H, BLOCK_K):
        place = start + column
        within = place < H
        tile = tl.load(
            router + expert[:, None] * H + place[None, :],
            mask=(expert < E)[:, None] & within[None, :], other=0.0,
        )  # fmt: skip
        line, more = values_at(hidden + row * hidden_stride, gain, place, within, True)
        square += more
        total += tl.sum(tile * line[None, :], 1)
    total = total * tl.rsqrt(tl.sum(square, 0) / H + eps)
    tl.store(logits + row * E + expert, total, mask=expert < E)
    # All threads have written before one of them counts.
    tl.debug_barrier()
    before = tl.atomic_add(ended + row, 1, sem="acq_rel")
    if before == tl.num_programs(0) - 1:
        choose(logits, bias, chosen, shares, row, factor, E, TOP, NORMALIZE, BLOCK, BLOCK_TOP)
        tl.store(ended + row, 0)


def choose_of_many(logits: Tensor, bias: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Router logits [T, E] fp32 → expert numbers [T, top] int64 and shares [T, top] fp32."""
    chosen, shares = _empty(logits, config)
    if len(logits):
        choose_program[(len(logits),)](
            logits, bias, chosen, shares, config.routed_scaling_factor, **_told(config), num_warps=1
        )
    return chosen, shares


def route_of_few(
    hidden: Tensor,
    router: Tensor,
    bias: Tensor,
    *,
    norm: Tensor,
    config: ModelConfig,
    ended: Tensor,
) -> tuple[Tensor, Tensor]:
    """As `reference.route` after a norm.

    Args:
        hidden: [T, H], any row stride.
        ended: At least T zeros, int32, which are zeros again afterwards.
    """
    count, size = hidden.shape
    chosen, shares = _empty(hidden, config)
    if not count:
        return chosen, shares
    num_experts = config.num_experts
    logits = torch.empty(count, num_experts, dtype=torch.float32, device=hidden.device)
    route_program[(triton.cdiv(num_experts, EXPERTS_OF_ONE), count)](
        hidden, norm, router, bias, logits, ended, chosen, shares, hidden.stride(0),
        config.rms_norm_eps, config.routed_scaling_factor, H=size, **_told(config),
        BLOCK_N=EXPERTS_OF_ONE, BLOCK_K=min(2048, power_of_two(size)),
        **launch(num_warps=4),
    )  # fmt: skip
    return chosen, shares


def _empty(like: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    shape = (len(like), config.num_experts_per_token)
    return (
        torch.empty(shape, dtype=torch.int64, device=like.device),
        torch.empty(shape, dtype=torch.float32, device=like.device),
    )


def _told(config: ModelConfig) -> dict[str, object]:
    return {
        "E": config.num_experts,
        "TOP": config.num_experts_per_token,
        "NORMALIZE": config.normalize_expert_weights,
        "BLOCK": power_of_two(config.num_experts),
        "BLOCK_TOP": power_of_two(config.num_experts_per_token),
    }
