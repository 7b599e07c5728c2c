"""What every kernel computes, in plain torch: the definition that faster versions are held to.

A faster module (`glimt.engine.kernels.cpu`, later Triton) has functions of the same names,
arguments and results. Clarity and fp32 where it matters come first here, speed not at all.

First come the steps, then what the model asks for: a few steps each, which a device may do in one.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from glimt.engine.batch import Batch, NewTokens
from glimt.engine.config import ModelConfig
from glimt.engine.quantization import Weight, widen

MAX_BLOCK_BYTES = 2**28
"""What attention makes at once for a part of its queries or heads, so that a long context takes
time and not memory. A step holds a few such blocks."""


def linear(values: Tensor, weight: Weight) -> Tensor:
    """[T, K] with [N, K] → [T, N]; widened where it is of few bits."""
    return functional.linear(values, widen(weight, values.dtype))


def rms_norm(values: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise the last dimension in fp32, return to the input's dtype, then scale.

    Args:
        values: [..., N].
        weight: [N].
        eps: Added to the mean square.
    """
    wide = values.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return wide.to(values.dtype) * weight


def rotary_table(length: int, dim: int, theta: float) -> Tensor:
    """Rotations for positions below `length` as complex numbers: [length, dim / 2] complex64."""
    exponents = torch.arange(0, dim, 2, dtype=torch.float32) / dim
    angles = torch.arange(length, dtype=torch.float32)[:, None] / theta**exponents
    return torch.complex(angles.cos(), angles.sin())


def rotate(values: Tensor, rotations: Tensor) -> None:
    """Rotate neighbouring pairs in place: (a, b) → (a·cos - b·sin, a·sin + b·cos), in fp32.

    Args:
        values: [T, ..., dim], any strides.
        rotations: [T, dim / 2] complex64, rows of `rotary_table`.
    """
    shape = (len(values), *[1] * (values.dim() - 2), -1)
    cosine, sine = rotations.real.reshape(shape), rotations.imag.reshape(shape)
    even, odd = values[..., 0::2].float(), values[..., 1::2].float()
    turned = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1)
    values.copy_(turned.flatten(-2))


def store(
    pool: Tensor,
    rows: Tensor,
    *,
    norm: Tensor,
    eps: float,
    rotations: Tensor,
    slots: Tensor,
) -> None:
    """Put new rows into one layer of the cache: the latent normalised, the key rotated.

    Args:
        pool: [pages, PAGE_SIZE, rank + rope].
        rows: [T, rank + rope]; may be overwritten.
        norm: [rank], weight of the latent's norm.
        eps: Of the latent's norm.
        rotations: [T, rope / 2] complex64.
        slots: [T], page * PAGE_SIZE + offset.
    """
    rank = len(norm)
    key = rows[:, rank:].clone()
    rotate(key, rotations)
    pool.view(-1, pool.shape[-1])[slots] = torch.cat((rms_norm(rows[:, :rank], norm, eps), key), -1)


def latent_attention(
    queries: Tensor, pool: Tensor, batch: Batch, *, rank: int, scale: float
) -> Tensor:
    """Attend to cached rows directly: all heads share one key, and its latent part is the value.

    Args:
        queries: [num_latent_tokens, heads, width], multiplied into the latent space.
        pool: [pages, PAGE_SIZE, width], rows of the new tokens already stored.
        rank: Width of the latent part, which comes first in a row.
        scale: What scores are multiplied with.

    Returns:
        [num_latent_tokens, heads, rank].
    """
    results = [queries.new_empty(0, queries.shape[1], rank)]
    for index in range(batch.num_latent):
        start, end = batch.query_starts[index : index + 2]
        rows = _context(pool, batch, index)
        keys, values = rows.float(), rows[:, :rank]
        for part in _blocks(end - start, queries.shape[1] * len(rows) * 4):
            asking = queries[start:end][part].float()
            scores = torch.einsum("thw,cw->htc", asking, keys) * scale
            shares = _shares(scores, end - start, part).to(queries.dtype)
            results.append(torch.einsum("htc,cr->thr", shares, values))
    return torch.cat(results)


def expanded_attention(
    queries: Tensor, pool: Tensor, batch: Batch, kv_b: Weight, *, scale: float
) -> Tensor:
    """Attend to keys and values that are expanded from the cached rows, for long chunks.

    Args:
        queries: [T - num_latent_tokens, heads, nope + rope].
        pool: [pages, PAGE_SIZE, rank + rope], rows of the new tokens already stored.
        kv_b: [heads * (nope + value), rank]: for each head the rows that make keys, then values.

    Returns:
        [T - num_latent_tokens, heads, value].
    """
    by_head = _by_head(kv_b, queries)
    num_heads, rows_per_head, rank = by_head.shape
    num_plain = queries.shape[-1] - (pool.shape[-1] - rank)
    results: list[Tensor] = []
    offset = batch.num_latent_tokens
    for index in range(batch.num_latent, len(batch.context_lengths)):
        start, end = (place - offset for place in batch.query_starts[index : index + 2])
        rows = _context(pool, batch, index)
        result = queries.new_empty(end - start, num_heads, rows_per_head - num_plain)
        for heads in _blocks(num_heads, len(rows) * (rows_per_head + queries.shape[-1]) * 4):
            expanded = torch.einsum("cr,hdr->hcd", rows[:, :rank], by_head[heads])
            shared = rows[:, rank:].expand(len(expanded), -1, -1)
            keys = torch.cat((expanded[..., :num_plain], shared), dim=-1).float()
            for part in _blocks(end - start, len(expanded) * len(rows) * 4):
                asking = queries[start:end][part, heads].float()
                scores = torch.einsum("thd,hcd->htc", asking, keys) * scale
                shares = _shares(scores, end - start, part).to(queries.dtype)
                found = torch.einsum("htc,hcv->thv", shares, expanded[..., num_plain:])
                result[part, heads] = found
        results.append(result)
    return torch.cat(results)


def _blocks(count: int, bytes_each: int) -> Iterator[slice]:
    """`range(count)` in parts of at most `MAX_BLOCK_BYTES`, or of one."""
    size = max(1, MAX_BLOCK_BYTES // bytes_each)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _shares(scores: Tensor, num_queries: int, part: slice) -> Tensor:
    """Softmax over the keys that each query of a block may see: [heads, queries, context].

    Args:
        part: Which of the sequence's `num_queries` last tokens ask.
    """
    context = scores.shape[-1]
    places = torch.arange(context - num_queries, context, device=scores.device)[part, None]
    later = torch.arange(context, device=scores.device) > places
    return scores.masked_fill_(later, -torch.inf).softmax(-1)


def _context(pool: Tensor, batch: Batch, index: int) -> Tensor:
    """The cached rows of one sequence in order, [context, width]."""
    return pool[batch.page_table[index]].flatten(0, 1)[: batch.context_lengths[index]]


def causal(num_queries: int, context: int, device: torch.device) -> Tensor:
    """[num_queries, context]: whether a query may see a key; the last query sees everything."""
    places = torch.arange(context - num_queries, context, device=device)
    return torch.arange(context, device=device) <= places[:, None]


def route(
    hidden: Tensor, router: Tensor, bias: Tensor, config: ModelConfig
) -> tuple[Tensor, Tensor]:
    """Choose experts by biased sigmoid scores; the bias steers the choice, never the share.

    Args:
        hidden: [T, H].
        router: [E, H] fp32.
        bias: [E] fp32; it may dwarf the scores, so scores and choice are kept apart, both in fp32.

    Returns:
        Expert numbers [T, top] int64 and their shares in the result, [T, top] fp32.
    """
    scores = functional.linear(hidden.float(), router).sigmoid()
    choice = scores + bias
    if config.num_expert_groups > 1:
        grouped = choice.view(len(choice), config.num_expert_groups, -1)
        strength = grouped.topk(2, dim=-1).values.sum(-1)
        best = strength.topk(config.num_chosen_groups, dim=-1).indices
        closed = torch.ones_like(strength, dtype=torch.bool).scatter(1, best, value=False)
        choice = grouped.masked_fill(closed[..., None], -torch.inf).flatten(1)
    chosen = choice.topk(config.num_experts_per_token, dim=-1, sorted=False).indices
    shares = scores.gather(1, chosen)
    if config.normalize_expert_weights:
        shares = shares / (shares.sum(-1, keepdim=True) + 1e-20)
    return chosen, shares * config.routed_scaling_factor


def experts(
    hidden: Tensor,
    gate_up: Weight,
    down: Weight,
    *,
    chosen: Tensor,
    shares: Tensor,
    num_shared: int,
) -> Tensor:
    """The sum of each token's experts, routed ones by their share and shared ones fully.

    Args:
        hidden: [T, H].
        gate_up: [E + num_shared, 2 * I, H], the gate's rows first; widened where it is of few
            bits.
        down: [E + num_shared, H, I].
        chosen: [T, top], expert numbers below E.
        shares: [T, top] fp32.

    Returns:
        [T, H].
    """
    total = torch.zeros_like(hidden, dtype=torch.float32)
    num_routed = len(gate_up) - num_shared
    for expert in range(len(gate_up)):
        if expert < num_routed:
            tokens, columns = torch.where(chosen == expert)
            share = shares[tokens, columns, None]
        else:
            tokens, share = torch.arange(len(hidden), device=hidden.device), 1.0
        result = feed_forward(hidden[tokens], gate_up[expert], down[expert])
        total.index_add_(0, tokens, result.float() * share)
    return total.to(hidden.dtype)


def feed_forward(hidden: Tensor, gate_up: Weight, down: Weight) -> Tensor:
    """down(silu(gate) * up): [T, H] with [2 * I, H] and [H, I] → [T, H]."""
    gate, up = linear(hidden, gate_up).chunk(2, dim=-1)
    return linear(functional.silu(gate) * up, down)


def norm_project(hidden: Tensor, weight: Weight, *, norm: Tensor, eps: float) -> Tensor:
    """Normalise, then multiply: [T, K] with [N, K] → [T, N]."""
    return linear(rms_norm(hidden, norm, eps), weight)


def project_add(values: Tensor, weight: Weight, residual: Tensor) -> Tensor:
    """Multiply and add to the residual stream, which may be overwritten: [T, K] → [T, N]."""
    return residual + linear(values, weight)


def queries(
    pool: Tensor,
    new: NewTokens,
    weight: Weight,
    kv_b: Weight | None,
    *,
    heads: int,
    norms: tuple[Tensor, Tensor],
    eps: float,
) -> Tensor:
    """Store the new tokens' cache rows, and make their queries.

    Args:
        pool: [pages, PAGE_SIZE, rank + rope], one layer of the cache.
        new: N tokens.
        weight: [heads * width, q_rank]; the last `rope` rows of each head are rotated.
        kv_b: [heads * (nope + value), rank]. With it the first `nope` values of each head are
            carried into the latent space, so that queries meet cached rows as they are.
        heads: How many there are.
        norms: Of the query's latent, [q_rank], and of the cached one, [rank].
        eps: Of both norms.

    Returns:
        [N, heads, width], or [N, heads, rank + rope] with `kv_b`.
    """
    q_norm, kv_norm = norms
    latent, rows = new.down[:, : len(q_norm)], new.down[:, len(q_norm) :]
    result = linear(rms_norm(latent, q_norm, eps), weight).view(len(latent), heads, -1)
    nope = result.shape[-1] - 2 * new.rotations.shape[1]
    rotate(result[..., nope:], new.rotations)
    store(pool, rows, norm=kv_norm, eps=eps, rotations=new.rotations, slots=new.slots)
    return result if kv_b is None else carry(result, kv_b, nope=nope)


def carry(queries: Tensor, kv_b: Weight, *, nope: int) -> Tensor:
    """Queries carried into the latent space: [T, heads, nope + rope] → [T, heads, rank + rope]."""
    to_latent = _by_head(kv_b, queries)[:, :nope]
    carried = torch.bmm(queries[..., :nope].transpose(0, 1), to_latent).transpose(0, 1)
    return torch.cat((carried, queries[..., nope:]), dim=-1)


def to_values(found: Tensor, kv_b: Weight, *, num_values: int) -> Tensor:
    """What was found in the latent space as values: [T, heads, rank] → [T, heads * value]."""
    values = torch.bmm(found.transpose(0, 1), _by_head(kv_b, found)[:, -num_values:].mT)
    return values.transpose(0, 1).flatten(1)


def _by_head(kv_b: Weight, values: Tensor) -> Tensor:
    """[heads, nope + value, rank], for values [N, heads, ...] and in their dtype."""
    wide = widen(kv_b, values.dtype)
    return wide.view(values.shape[1], -1, wide.shape[-1])


def latent_values(
    queries: Tensor,
    pool: Tensor,
    batch: Batch,
    kv_b: Weight | None,
    *,
    rank: int,
    num_values: int,
    scale: float,
) -> Tensor:
    """Attend to cached rows directly, as `latent_attention`, and leave the latent space.

    Args:
        kv_b: [heads * (nope + value), rank]; without it the result stays in the latent space.
        num_values: Values of a head.

    Returns:
        [num_latent_tokens, heads * value], or [..., heads * rank] without `kv_b`.
    """
    found = latent_attention(queries, pool, batch, rank=rank, scale=scale)
    return found.flatten(1) if kv_b is None else to_values(found, kv_b, num_values=num_values)


def dense(hidden: Tensor, gate_up: Weight, down: Weight, *, norm: Tensor, eps: float) -> Tensor:
    """A dense block after its norm, added to the stream, which may be overwritten: [T, H]."""
    return hidden + feed_forward(rms_norm(hidden, norm, eps), gate_up, down)


def mixture(
    hidden: Tensor,
    gate_up: Weight,
    down: Weight,
    *,
    norm: Tensor,
    router: Tensor,
    bias: Tensor,
    config: ModelConfig,
) -> Tensor:
    """Experts after their norm and choice, added to the stream, which may be overwritten: [T, H].

    The arguments are those of `rms_norm`, `route` and `experts`.
    """
    normed = rms_norm(hidden, norm, config.rms_norm_eps)
    chosen, shares = route(normed, router, bias, config)
    return hidden + experts(
        normed,
        gate_up,
        down,
        chosen=chosen,
        shares=shares,
        num_shared=config.num_shared_experts,
    )
