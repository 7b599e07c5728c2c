"""Attention of one sequence on a CPU, whose context may be long.

Block by block, in memory that the next step can use again. What it means is defined in `reference`.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from glimt.engine.batch import Batch

SCORES_BYTES: Final = 64_000_000
"""What the scores of one block of queries may take, or their mask; longer chunks go block by block,
so that a long context takes time and not memory."""

ROUND_FROM: Final = 8192
"""Longer contexts are computed as if a little longer, see `_rounded`."""


def _rounded(length: int) -> int:
    """A long context as long as others of its size, at most an eighth longer than it is.

    A context grows in every step, and memory that is a little too small for the next step is of no
    use to it: without this a process grew to ten times what it needed (docs/log.md).
    """
    if length <= ROUND_FROM:
        return length
    step = 1 << (length.bit_length() - 4)
    return -(-length // step) * step


def context_rows(pool: Tensor, batch: Batch, index: int) -> Tensor:
    """The cached rows of one sequence in order, [rounded context, width].

    Beyond the context are rows of its first page, which are numbers where it has numbers.
    """
    length = batch.context_lengths[index]
    rounded, page_size = _rounded(length), pool.shape[1]
    pages = batch.page_table[index, : -(-length // page_size)]
    num_more = -(-rounded // page_size) - len(pages)
    if num_more > 0:
        pages = torch.cat((pages, pages[:1].expand(num_more)))
    return pool.index_select(0, pages).view(-1, pool.shape[-1])[:rounded]


def attend_expanded(
    queries: Tensor, keys: Tensor, values: Tensor, *, context: int, scale: float
) -> Tensor:
    """A chunk over its context: [N, heads, K], [C, heads, K], [C, heads, V] → [N, heads, V].

    The first `context` of C count.
    """
    num_new = len(queries)
    is_whole = num_new == context
    # Where keys and values differ in width torch makes the scores of all heads, else a mask alone.
    num_rows = 1 if keys.shape[-1] == values.shape[-1] else keys.shape[1]
    block = max(1, SCORES_BYTES // (num_rows * context * 4))
    if is_whole and num_new > block:
        is_whole = False
    results: list[Tensor] = []
    for start in range(0, num_new, block):
        part = queries[start : start + block]
        end = context - num_new + start + len(part)
        seen = end if is_whole else _rounded(end)
        found = functional.scaled_dot_product_attention(
            part.transpose(0, 1).unsqueeze(0),
            keys[:seen].transpose(0, 1).unsqueeze(0),
            values[:seen].transpose(0, 1).unsqueeze(0),
            attn_mask=None if is_whole else _causal_mask(len(part), end, seen, queries),
            is_causal=is_whole,
            scale=scale,
        )
        results.append(found.squeeze(0).transpose(0, 1))
    return results[0] if len(results) == 1 else torch.cat(results)


def _causal_mask(num_queries: int, context: int, width: int, like: Tensor) -> Tensor:
    """What is added to the scores of a context's last queries: [queries, width].

    As numbers rather than truth values, which torch would turn into numbers twice.
    """
    mask = like.new_zeros(num_queries, width)
    mask[:, context:] = -torch.inf
    later = torch.ones(num_queries, num_queries, dtype=torch.bool).triu_(1)
    mask[:, context - num_queries : context].masked_fill_(later, -torch.inf)
    return mask


def attend_chunk(
    queries: Tensor, keys: Tensor, values: Tensor, *, context: int, scale: float
) -> Tensor:
    """A chunk over its context: [N, heads, width], [C, width], [C, rank] → [N, heads, rank].

    The first `context` of C count.
    """
    num_new, num_heads, _ = queries.shape
    block = max(1, SCORES_BYTES // (num_heads * context * 4))
    results: list[Tensor] = []
    for start in range(0, num_new, block):
        part = queries[start : start + block]
        end = context - num_new + start + len(part)
        seen = _rounded(end)
        scores = torch.mm(part.flatten(0, 1), keys[:seen].t()).mul_(scale)
        scores[:, end:] = -torch.inf
        if len(part) > 1:
            later = torch.ones(len(part), len(part), dtype=torch.bool).triu_(1).unsqueeze(1)
            own = scores.view(len(part), num_heads, seen)[..., end - len(part) : end]
            own.masked_fill_(later, -torch.inf)
        found = torch.mm(torch.softmax(scores, -1), values[:seen])
        results.append(found.view(len(part), num_heads, -1))
    return results[0] if len(results) == 1 else torch.cat(results)
