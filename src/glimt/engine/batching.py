"""Scheduled sequences as the tensors of one forward pass.

Knows the order that kernels want and where a sequence's rows lie; nothing of the model.
"""

from collections.abc import Sequence as Collection
from itertools import accumulate

import torch
from torch import Tensor

from glimt.engine.batch import Batch
from glimt.engine.sequence import Scheduled
from glimt.engine.settings import PAGE_SIZE

MAX_PADDING = 4
"""Decodes are computed together while their contexts, padded to the longest, are at most so many
times what they are: a call each costs more than that for short ones."""


def make_batch(
    step: Collection[Scheduled], pool: Tensor, *, expansion_threshold: int, by_query: bool
) -> Batch:
    """The step's tensors, on the host: decodes first, then short chunks, then long ones.

    Args:
        pool: The cache, for its dtype.
        expansion_threshold: New tokens from which on a chunk expands its context's latents.
        by_query: The kernels attend query by query: `owners` and `visible` are filled, and what
            kernels need that go sequence by sequence is left out.
    """
    order = order_of(step, expansion_threshold)
    entries = [step[index] for index in order]
    counts = [entry.count for entry in entries]
    starts = [0, *accumulate(counts)]
    contexts = tuple(entry.start + entry.count for entry in entries)
    ends = {index: starts[place + 1] for place, index in enumerate(order)}
    wanted = [
        row
        for index, entry in enumerate(step)
        for row in range(ends[index] - entry.num_logits, ends[index])
    ]
    num_latent = sum(count < expansion_threshold for count in counts)

    def ints(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64)

    positions = _positions(entries)
    num_decodes = 0 if by_query else _num_together(entries)
    pages = [entry.sequence.pages for entry in entries]
    page_table = _page_table(pages, contexts)
    decode_pages = page_table
    if num_decodes < len(entries):
        decode_pages = _page_table(pages[:num_decodes], contexts[:num_decodes])
    owners, visible = None, None
    if by_query:
        latent = counts[:num_latent]
        owners = ints([index for index, count in enumerate(latent) for _ in range(count)])
        visible = ints([place + 1 for place in positions[: starts[num_latent]]])
    return Batch(
        tokens=ints(_tokens(entries)),
        positions=ints(positions),
        slots=ints(_slots(entries)),
        page_table=page_table,
        query_starts=tuple(starts),
        context_lengths=contexts,
        wanted=ints(wanted),
        num_decodes=num_decodes,
        num_latent=num_latent,
        decode_pages=decode_pages.flatten(),
        decode_mask=_decode_mask(contexts[:num_decodes], pool),
        owners=owners,
        visible=visible,
        sources=_sources(entries),
    )


def order_of(step: Collection[Scheduled], expansion_threshold: int) -> list[int]:
    """Where in `step` the batch's first sequence is, its second, and so on."""

    def kind(index: int) -> tuple[int, int]:
        """Decodes first, the shortest context first, then short chunks, then long ones."""
        entry = step[index]
        if entry.count == 1:
            return 0, entry.start
        return (1, 0) if entry.count < expansion_threshold else (2, 0)

    return sorted(range(len(step)), key=kind)


def _decode_mask(contexts: Collection[int], pool: Tensor) -> Tensor | None:
    if len(contexts) < 2:
        return None
    places = torch.arange(max(contexts))
    beyond = places >= torch.tensor(contexts, dtype=torch.int64).view(-1, 1, 1)
    mask = torch.zeros(beyond.shape, dtype=pool.dtype)
    return mask.masked_fill_(beyond, -torch.inf)


def _num_together(entries: Collection[Scheduled]) -> int:
    """How many decodes, from the first, waste little when they are padded to one length."""
    contexts = [entry.start + 1 for entry in entries if entry.count == 1]
    total = sum(contexts)
    while contexts and len(contexts) * contexts[-1] > MAX_PADDING * total:
        total -= contexts.pop()
    return len(contexts)


def _tokens(entries: Collection[Scheduled]) -> list[int]:
    tokens: list[int] = []
    for entry in entries:
        tokens += entry.tokens
    return tokens


def _sources(entries: Collection[Scheduled]) -> Tensor | None:
    if all(entry.source is None for entry in entries):
        return None
    sources: list[int] = []
    for entry in entries:
        known = entry.num_known if entry.source is None else entry.num_known - 1
        sources += [-1] * known
        if entry.source is not None:
            sources.append(entry.source)
        sources += [-1] * (entry.count - entry.num_known)
    return torch.tensor(sources, dtype=torch.int64)


def _positions(entries: Collection[Scheduled]) -> list[int]:
    positions: list[int] = []
    for entry in entries:
        positions += range(entry.start, entry.start + entry.count)
    return positions


def _slots(entries: Collection[Scheduled]) -> list[int]:
    """Rows of the flat pool for the new tokens, page by page."""
    slots: list[int] = []
    for entry in entries:
        place, end = entry.start, entry.start + entry.count
        while place < end:
            page, offset = divmod(place, PAGE_SIZE)
            num_rows = min(PAGE_SIZE - offset, end - place)
            first = entry.sequence.pages[page] * PAGE_SIZE + offset
            slots += range(first, first + num_rows)
            place += num_rows
    return slots


def _page_table(pages: Collection[list[int]], contexts: Collection[int]) -> Tensor:
    """[sequences, most pages], no wider than the longest context."""
    widths = [-(-context // PAGE_SIZE) for context in contexts]
    table = torch.zeros(len(pages), max(widths, default=0), dtype=torch.int64)
    # Row by row: beside a long context most of the table is padding.
    for row, owned, width in zip(table, pages, widths, strict=True):
        row[:width] = torch.tensor(owned[:width])
    return table
