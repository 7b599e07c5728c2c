"""A runner without a model: logits that are a pure function of the tokens so far.

It keeps what a real one keeps, the cache's rows by page, and reads the past only from there. So a
page handed to two owners, a prefix matched wrongly or a chunk left out changes the answer.
"""

import zlib

import torch
from torch import Tensor

from glimt.engine.draws import Lots, draw_by_numbers
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE


class FakeRunner:
    """Logits drawn from a generator seeded with all the tokens that the cache's rows hold.

    Attributes:
        steps: (sequence id, start, count) of everything computed, step by step.
        broken: Tokens whose presence in a sequence makes its logits NaN.
        records: Whether it draws as a recorded step does.
    """

    def __init__(
        self,
        *,
        vocab_size: int = 32,
        num_pages: int = 64,
        scale: float = 3.0,
        records: bool = False,
    ) -> None:
        self.vocab_size = vocab_size
        self.num_pages = num_pages
        self.steps: list[list[tuple[int, int, int]]] = []
        self.broken: set[int] = set()
        self.records = records
        self._scale = scale
        self._last = torch.empty(0)
        self._rows: list[list[int]] = [[-1] * PAGE_SIZE for _ in range(num_pages)]

    def forward(self, step: list[Scheduled], before: Tensor | None = None) -> Tensor:
        """Write every row, then read every drawing sequence's past back."""
        self.steps.append([(s.sequence.id, s.start, s.count) for s in step])
        for scheduled in step:
            sequence = scheduled.sequence
            assert scheduled.count >= 1
            assert scheduled.start == sequence.num_computed
            tokens = scheduled.tokens
            if scheduled.source is not None:
                assert before is not None
                tokens[scheduled.num_known - 1] = int(before[scheduled.source])
            for position, token in enumerate(tokens, scheduled.start):
                page, row = divmod(position, PAGE_SIZE)
                self._rows[sequence.pages[page]][row] = token
        rows = [
            self._logits(scheduled.sequence, scheduled.start + scheduled.count - num_behind)
            for scheduled in step
            for num_behind in reversed(range(scheduled.num_logits))
        ]
        return torch.stack(rows) if rows else torch.empty(0, self.vocab_size)

    def draw(
        self, step: list[Scheduled], before: Tensor | None, lots: Lots, *, guesses: bool = False
    ) -> Tensor | None:
        """Draw with the network, in steps of few tokens."""
        assert self.records
        if sum(scheduled.count for scheduled in step) > 64:
            return None
        known = [
            scheduled.source is None or before is None or bool(before[scheduled.source] >= 0)
            for scheduled in step
            for _ in range(scheduled.num_logits)
        ]
        self._last = self.forward(step, before)
        numbers = lots.numbers if lots.are_random else None
        return draw_by_numbers(self._last, numbers, torch.tensor(known, dtype=torch.bool))

    def last_logits(self) -> Tensor:
        """Of the last such step."""
        return self._last

    def _logits(self, sequence: Sequence, length: int) -> Tensor:
        return self.logits_behind(
            [row for page in sequence.pages for row in self._rows[page]][:length]
        )

    def logits_behind(self, past: list[int]) -> Tensor:
        """What this model says after these tokens."""
        if self.broken & set(past):
            return torch.full((self.vocab_size,), torch.nan)
        seed = zlib.crc32(repr(past).encode())
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.vocab_size, generator=generator) * self._scale
