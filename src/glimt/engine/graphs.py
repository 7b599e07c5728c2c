"""Steps of few tokens as CUDA graphs: one launch a step instead of one for each operation.

A graph is recorded once for each size and replays on tensors that stay where they are. A step is
padded to the next size with tokens that write to a page of nobody and see nothing. On a CPU a
"graph" is a call of the same function on the same padded tensors, so that all but the recording is
tested there. Knows batches and the model's answer; nothing of requests or sampling.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from glimt.engine.batch import Batch
from glimt.engine.settings import PAGE_SIZE

SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64)
"""Tokens of a step that a graph is recorded for; larger steps run operation by operation."""

WARM_UPS = 2
"""Runs before a recording: programs are compiled and libraries take their workspaces."""

Compute = Callable[[Batch], tuple[Tensor, Tensor]]
"""A batch's states [T, H] and logits [T, V], of every token."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """A padded batch whose tensors stay, what it computed, and how to do it again."""

    batch: Batch
    replay: Callable[[Batch], tuple[Tensor, Tensor]]


class Graphs:
    """Recorded steps, by number of tokens.

    Args:
        compute: What is recorded; it must not ask the device anything.
        pool: The cache. Its last page is written by padding: no sequence may own it.
        max_pages: Pages of the longest sequence.
    """

    def __init__(self, compute: Compute, pool: Tensor, *, max_pages: int) -> None:
        self._compute = compute
        self._device = pool.device
        self._spare_page = pool.shape[1] - 1
        self._max_pages = max_pages
        self._graphs: dict[int, _Graph] = {}
        # Graphs replay one at a time, so what they need in between may lie in one place.
        self._memory = torch.cuda.graph_pool_handle() if self._device.type == "cuda" else None

    def fits(self, batch: Batch) -> bool:
        """Whether a graph can compute the batch: few tokens, all attending to latents."""
        return len(batch.tokens) <= SIZES[-1] and batch.num_latent == len(batch.context_lengths)

    def run(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """States [T, H] and logits [T, V] of every token; good until the next run."""
        count = len(batch.tokens)
        size = next(size for size in SIZES if size >= count)
        padded = self._pad(batch, size)
        graph = self._graphs.get(size)
        if graph is None:
            graph = self._graphs[size] = self._record(padded)
        _refill(graph.batch, padded)
        # Kernels that go sequence by sequence, which are never recorded, read the batch's numbers.
        current = replace(
            graph.batch,
            query_starts=padded.query_starts,
            context_lengths=padded.context_lengths,
            num_latent=padded.num_latent,
        )
        states, logits = graph.replay(current)
        return states[:count], logits[:count]

    def record_all(self) -> None:
        """Record every size now, on padding alone, so that no request waits for it."""
        none = torch.empty(0, dtype=torch.int64, device=self._device)
        empty = Batch(
            tokens=none,
            positions=none,
            slots=none,
            page_table=none.view(0, 1),
            query_starts=(0,),
            context_lengths=(),
            wanted=none,
            num_decodes=0,
            num_latent=0,
            decode_pages=none,
            decode_mask=None,
            owners=none,
            visible=none,
        )
        # The largest first: what it needs in between holds the others' too.
        for size in reversed(SIZES):
            self._graphs[size] = self._record(self._pad(empty, size))

    def _pad(self, batch: Batch, size: int) -> Batch:
        """The batch with `size` tokens and a page table of `size` rows, the widest there can be."""
        count, num_sequences = len(batch.tokens), len(batch.context_lengths)
        more = size - count
        assert batch.owners is not None, "graphs need kernels that attend query by query"
        assert batch.visible is not None, "graphs need kernels that attend query by query"

        def extend(values: Tensor, filling: int) -> Tensor:
            return torch.cat((values, values.new_full((more,), filling)))

        table = batch.page_table.new_full((size, self._max_pages), self._spare_page)
        width = batch.page_table.shape[1]
        table[:num_sequences, :width] = batch.page_table
        ends = tuple(batch.query_starts[-1] + place + 1 for place in range(more))
        return replace(
            batch,
            tokens=extend(batch.tokens, 0),
            positions=extend(batch.positions, 0),
            slots=extend(batch.slots, self._spare_page * PAGE_SIZE),
            page_table=table,
            query_starts=(*batch.query_starts, *ends),
            context_lengths=(*batch.context_lengths, *[1] * more),
            num_decodes=0,
            num_latent=num_sequences + more,
            decode_pages=table[:0].flatten(),
            decode_mask=None,
            owners=extend(batch.owners, size - 1),
            visible=extend(batch.visible, 0),
        )

    def _record(self, batch: Batch) -> _Graph:
        if self._memory is None:
            return _Graph(batch, self._compute)
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._compute(batch)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            results = self._compute(batch)

        def replay(_: Batch) -> tuple[Tensor, Tensor]:
            graph.replay()
            return results

        return _Graph(batch, replay)


def _refill(kept: Batch, new: Batch) -> None:
    """Copy the new batch's tensors to where the recorded ones lie."""
    for old, fresh in (
        (kept.tokens, new.tokens),
        (kept.positions, new.positions),
        (kept.slots, new.slots),
        (kept.page_table, new.page_table),
        (kept.owners, new.owners),
        (kept.visible, new.visible),
    ):
        assert old is not None, "a recorded batch has all of them"
        assert fresh is not None, "a padded batch has all of them"
        old.copy_(fresh)
