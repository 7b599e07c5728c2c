"""A runner without a model: logits that are a pure function of the tokens so far.

It keeps what a real one keeps, the cache's rows by page, and reads the past only from there. So a
page handed to two owners, a prefix matched wrongly or a chunk left out changes the answer.
"""

import zlib

import torch
from torch import Tensor

from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE


class FakeRunner:
    """Logits drawn from a generator seeded with all the tokens that the cache's rows hold.

    Attributes:
        steps: (sequence id, start, count) of everything computed, step by step.
        broken: Tokens whose presence in a sequence makes its logits NaN.
    """

    def __init__(self, *, vocab_size: int = 32, num_pages: int = 64, scale: float = 3.0) -> None:
        self.vocab_size = vocab_size
        self.num_pages = num_pages
        self.steps: list[list[tuple[int, int, int]]] = []
        self.broken: set[int] = set()
        self._scale = scale
        self._rows: list[list[int]] = [[-1] * PAGE_SIZE for _ in range(num_pages)]

    def forward(self, step: list[Scheduled]) -> Tensor:
        """Write every row, then read every drawing sequence's past back."""
        self.steps.append([(s.sequence.id, s.start, s.count) for s in step])
        for scheduled in step:
            sequence = scheduled.sequence
            assert scheduled.count >= 1
            assert scheduled.start == sequence.num_computed
            for position in range(scheduled.start, scheduled.start + scheduled.count):
                page, row = divmod(position, PAGE_SIZE)
                token = scheduled.tokens[position - scheduled.start]
                self._rows[sequence.pages[page]][row] = token
        rows = [
            self._logits(scheduled.sequence, scheduled.start + scheduled.count - num_behind)
            for scheduled in step
            for num_behind in reversed(range(scheduled.num_logits))
        ]
        return torch.stack(rows) if rows else torch.empty(0, self.vocab_size)

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
