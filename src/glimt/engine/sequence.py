"""One sequence inside the worker: its tokens, how far they are computed, and the pages it holds.

Knows nothing of batching (scheduler), of tensors (runner) or of the socket (worker).
"""

from dataclasses import dataclass, field

from glimt.engine.messages import SamplingParams


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence:
    """A prompt and what was drawn after it.

    Attributes:
        connection: Which gateway process it belongs to.
        id: That process's own number for it.
        tokens: Prompt and drawn tokens, in order.
        num_prompt: How many of them are the prompt.
        num_computed: How many of them have their row in the cache.
        pages: The pool's pages that hold those rows, in order.
        page_hashes: The hash-chain keys of its full pages, as far as they are known.
        num_cached: Prompt tokens that the prefix cache already held when it was first admitted.
        stop_ids: The tokens that end it.
        arrived_s: Monotonic time of arrival.
        arrival: Its number in order of arrival, which breaks ties of priority.
    """

    connection: int
    id: int
    tokens: list[int]
    num_prompt: int
    sampling: SamplingParams
    priority: int = 0
    salt: str = ""
    stop_ids: frozenset[int] = field(init=False)
    arrived_s: float = 0.0
    arrival: int = 0
    num_computed: int = 0
    num_cached: int = 0
    admitted: bool = False
    pages: list[int] = field(default_factory=list[int])
    page_hashes: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        self.stop_ids = frozenset(self.sampling.stop_token_ids)

    @property
    def num_generated(self) -> int:
        """Tokens drawn so far."""
        return len(self.tokens) - self.num_prompt


@dataclass(slots=True, frozen=True)
class Scheduled:
    """Tokens `[start, start + count)` of a sequence are to be computed in this step.

    When they reach the last known token the step also draws the next one.
    """

    sequence: Sequence
    start: int
    count: int

    @property
    def draws(self) -> bool:
        """Whether this step yields a new token for the sequence."""
        return self.start + self.count == len(self.sequence.tokens)
