"""The sequences that wait for pages, in order of rank, and how many and how long they are.

Rank is (urgency, arrival). Knows nothing of who may start when (scheduler) or how many may wait
(admission). Torch-free.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

from glimt.core.request import ServiceClass
from glimt.engine.sequence import URGENCY, Sequence


@dataclass(slots=True)
class Load:
    """So many requests with so many tokens together."""

    num_requests: int = 0
    num_tokens: int = 0

    def add(self, num_tokens: int) -> None:
        """Count one request more."""
        self.num_requests += 1
        self.num_tokens += num_tokens

    def __add__(self, other: "Load") -> "Load":
        return Load(self.num_requests + other.num_requests, self.num_tokens + other.num_tokens)


class WaitingQueue:
    """Sequences without pages, the first to start first. They keep their length while they wait.

    Attributes:
        load: What waits of each class, by what was asked for.
    """

    def __init__(self) -> None:
        self._sequences: list[Sequence] = []
        self.load: dict[ServiceClass, Load] = {name: Load() for name in URGENCY}

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences)

    @property
    def first(self) -> Sequence:
        """The best-ranked; there must be one."""
        return self._sequences[0]

    @property
    def last(self) -> Sequence:
        """The worst-ranked; there must be one."""
        return self._sequences[-1]

    @property
    def num_tokens(self) -> int:
        """Tokens of all that wait."""
        return sum(load.num_tokens for load in self.load.values())

    def add(self, sequence: Sequence) -> None:
        """Put a sequence where its rank is."""
        insort(self._sequences, sequence, key=rank)
        self.load[sequence.service_class].add(sequence.length)

    def discard(self, sequence: Sequence) -> None:
        """Take a sequence out, which must be in."""
        discard(self._sequences, sequence)
        load = self.load[sequence.service_class]
        load.num_requests -= 1
        load.num_tokens -= sequence.length

    def check_integrity(self) -> None:
        """Assert that order and counts are right.

        Raises:
            AssertionError: What does not add up.
        """
        assert self._sequences == sorted(self._sequences, key=rank), "the queue is out of order"
        load = {name: Load() for name in URGENCY}
        for sequence in self._sequences:
            load[sequence.service_class].add(sequence.length)
        assert load == self.load, "what waits is counted wrongly"


def rank(sequence: Sequence) -> tuple[int, int]:
    """Who comes first: the lower one."""
    return (sequence.urgency, sequence.arrival)


def discard(queue: list[Sequence], sequence: Sequence) -> None:
    """Take a sequence out of a queue in order of rank."""
    index = bisect_left(queue, rank(sequence), key=rank)
    assert queue[index] is sequence, "a sequence is not where its rank puts it"
    del queue[index]
