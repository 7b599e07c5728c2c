"""Steps of few tokens as CUDA graphs: one launch a step instead of one for each operation.

A graph is recorded once for each size and kind and replays on tensors that stay where they are. It
is the whole step: the network, the draws, and where drafts are wanted the prediction layer over
what was drawn. A step is padded to the next size with tokens that write to a page of nobody and see
nothing. What the host knows of a step crosses in one copy; tokens that the step before has drawn
never leave the device.

On a CPU a "graph" is a call of the same function on the same padded tensors, so that all but the
recording is tested there. Knows batches and tensors; nothing of requests.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import torch
from torch import Tensor

from glimt.engine.batch import Batch, fill_in
from glimt.engine.draws import GREEDY, NUM_NUMBERS, Lots
from glimt.engine.settings import PAGE_SIZE
from glimt.engine.transfer import send

SIZES: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64)
"""Tokens of a step that a graph is recorded for; larger steps run operation by operation."""

GUESS_SIZES: Final = (1, 2, 4, 8, 16)
"""The same for steps that guess: with more tokens guesses hardly pay."""

WARM_UPS = 2
"""Runs before a recording: programs are compiled and libraries take their workspaces."""


class Kind(NamedTuple):
    """What a graph does beside the network.

    Attributes:
        random: Some rows draw at random; otherwise all take the most likely token.
        guesses: The prediction layer runs over the result.
    """

    random: bool = False
    guesses: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What a recorded step computed; good until the next one.

    Attributes:
        states: [T, H].
        logits: float32 [T, vocab_size].
        tokens: int64 [rows], what was drawn; negative where nothing was.
        guesses: int64 [T], for each token what may come after the one behind it; `None` unless
            asked for.
    """

    states: Tensor
    logits: Tensor
    tokens: Tensor
    guesses: Tensor | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """The tensors that a recorded step reads.

    Attributes:
        integers: int64 [9, size]; the attributes below are its rows.
        numbers: float32 [size, `NUM_NUMBERS`], how each row is drawn.
        page_table: int64 [size, most pages].
    """

    integers: Tensor
    numbers: Tensor
    page_table: Tensor

    @property
    def tokens(self) -> Tensor:
        """int64 [size]; negative where the step before could not draw."""
        return self.integers[0]

    @property
    def rows(self) -> Tensor:
        """int64 [size], the tokens behind which is drawn."""
        return self.integers[5]

    @property
    def following(self) -> Tensor:
        """int64 [size], the token that follows each, where it is known."""
        return self.integers[6]

    @property
    def drawn_at(self) -> Tensor:
        """int64 [size], which row draws the token that follows; -1 where it is known."""
        return self.integers[7]

    @property
    def sources(self) -> Tensor:
        """int64 [size], as `Batch.sources`."""
        return self.integers[8]


Compute = Callable[[Batch, Inputs, Kind], Result]


@dataclass(frozen=True, slots=True)
class _Graph:
    """A padded batch whose tensors stay, what it computed, and how to do it again."""

    batch: Batch
    inputs: Inputs
    replay: Callable[[Batch], Result]


class Graphs:
    """Recorded steps, by number of tokens and kind.

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
        self._graphs: dict[tuple[int, Kind], _Graph] = {}
        # Graphs replay one at a time, so what they need in between may lie in one place.
        self._memory = torch.cuda.graph_pool_handle() if self._device.type == "cuda" else None

    def fits(self, batch: Batch, *, guesses: bool = False) -> bool:
        """Whether a graph can compute the batch: few tokens, all attending to latents."""
        most = (GUESS_SIZES if guesses else SIZES)[-1]
        return len(batch.tokens) <= most and batch.num_latent == len(batch.context_lengths)

    def run(
        self,
        batch: Batch,
        before: Tensor | None = None,
        *,
        lots: Lots | None = None,
        following: Tensor | None = None,
    ) -> Result:
        """Compute a batch.

        Args:
            batch: On the host, and such that it `fits`.
            before: What the step before drew, if some of the batch's tokens are among it.
            lots: How its `wanted` rows are drawn; without it they are the most likely tokens.
            following: int64 [T] on the host, the token after each, where it is known; asks for
                guesses.
        """
        count = len(batch.tokens)
        size = next(size for size in SIZES if size >= count)
        kind = Kind(lots is not None and lots.are_random, following is not None)
        graph = self._graphs.get((size, kind))
        if graph is None:
            graph = self._graphs[size, kind] = self._record(size, kind)
        self._fill(graph.inputs, batch, following)
        if lots is not None and lots.are_random:
            graph.inputs.numbers[: len(lots.numbers)].copy_(send(lots.numbers, self._device))
        if batch.sources is not None:
            assert before is not None, "the step before is in flight"
            inputs = graph.inputs
            inputs.tokens.copy_(fill_in(inputs.tokens, inputs.sources, before))
        more = size - count
        ends = tuple(batch.query_starts[-1] + place + 1 for place in range(more))
        # Kernels that go sequence by sequence, which are never recorded, read the batch's numbers.
        result = graph.replay(
            replace(
                graph.batch,
                query_starts=(*batch.query_starts, *ends),
                context_lengths=(*batch.context_lengths, *[1] * more),
                num_latent=len(batch.context_lengths) + more,
            )
        )
        num_rows = len(batch.wanted)
        return Result(
            states=result.states[:count],
            logits=result.logits[:count],
            tokens=result.tokens[:num_rows].clone(),
            guesses=None if result.guesses is None else result.guesses[:count],
        )

    def record_all(self, *, guesses: bool) -> None:
        """Record every size and kind now, on padding alone, so that no request waits for it."""
        # The largest first: what it needs in between holds the others' too.
        for size in reversed(SIZES):
            for random in (True, False):
                self._graphs[size, Kind(random)] = self._record(size, Kind(random))
                if guesses and size in GUESS_SIZES:
                    kind = Kind(random, guesses=True)
                    self._graphs[size, kind] = self._record(size, kind)

    def _fill(self, inputs: Inputs, batch: Batch, following: Tensor | None) -> None:
        """Put a batch, padded, where the recorded step reads it."""
        count, num_rows = len(batch.tokens), len(batch.wanted)
        size = len(inputs.tokens)
        assert batch.owners is not None, "graphs need kernels that attend query by query"
        assert batch.visible is not None, "graphs need kernels that attend query by query"
        padding = [0, 0, self._spare_page * PAGE_SIZE, size - 1, 0, 0, 0, -1, -1]
        integers = torch.tensor(padding).unsqueeze(-1).repeat(1, size)
        integers[0, :count] = batch.tokens
        integers[1, :count] = batch.positions
        integers[2, :count] = batch.slots
        integers[3, :count] = batch.owners
        integers[4, :count] = batch.visible
        integers[5, :num_rows] = batch.wanted
        if following is not None:
            integers[6, :count] = following
            integers[7, batch.wanted] = torch.arange(num_rows)
        if batch.sources is not None:
            integers[8, :count] = batch.sources
        inputs.integers.copy_(send(integers, self._device))
        # What lies beyond the pages of a row is not read.
        num_sequences, width = batch.page_table.shape
        if num_sequences:
            table = inputs.page_table[:num_sequences, :width]
            table.copy_(send(batch.page_table, self._device))

    def _record(self, size: int, kind: Kind) -> _Graph:
        """Record a step of padding, whose tensors stay."""
        integers = torch.zeros(9, size, dtype=torch.int64, device=self._device)
        numbers = torch.tensor(GREEDY, device=self._device).repeat(size, 1)
        assert numbers.shape[1] == NUM_NUMBERS
        table = integers.new_full((size, self._max_pages), self._spare_page)
        inputs = Inputs(integers, numbers, table)
        batch = Batch(
            tokens=integers[0],
            positions=integers[1],
            slots=integers[2],
            page_table=table,
            query_starts=tuple(range(size + 1)),
            context_lengths=(1,) * size,
            wanted=integers[5],
            num_decodes=0,
            num_latent=size,
            decode_pages=table[:0].flatten(),
            decode_mask=None,
            owners=integers[3],
            visible=integers[4],
        )
        empty = replace(
            batch,
            **{name: getattr(batch, name)[:0].cpu() for name in _FILLED},
            page_table=table[:0, :0].cpu(),
        )
        self._fill(inputs, empty, None)
        if self._memory is None:
            return _Graph(batch, inputs, lambda current: self._compute(current, inputs, kind))
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._compute(batch, inputs, kind)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            result = self._compute(batch, inputs, kind)

        def replay(_: Batch) -> Result:
            graph.replay()
            return result

        return _Graph(batch, inputs, replay)


_FILLED: Final = ("tokens", "positions", "slots", "wanted", "owners", "visible")
