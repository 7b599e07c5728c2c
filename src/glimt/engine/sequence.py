"""One sequence inside the worker: its tokens, how far they are computed, and the pages it holds.

Knows nothing of batching (scheduler), of tensors (runner) or of the socket (worker).
"""

from dataclasses import dataclass, field
from typing import Final

from glimt.core.request import ServiceClass
from glimt.engine.constraint import Constraint
from glimt.engine.messages import EngineFinish, SamplingParams, ThoughtLimit

URGENCY: Final[dict[ServiceClass, int]] = {"priority": 0, "default": 1, "flex": 2}
"""Who is served first: the lower number."""
PRIORITY: Final = URGENCY["priority"]
FLEX: Final = URGENCY["flex"]


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence:
    """A prompt and what was drawn after it.

    Attributes:
        connection: Which gateway process it belongs to.
        id: That process's own number for it.
        tokens: Prompt and drawn tokens, in order.
        num_prompt: How many of them are the prompt.
        num_pending: How many tokens behind them are being drawn by steps in flight.
        row: Which row of the latest of those steps draws the last of them.
        num_computed: How many have their row in the cache, or will have once what is in flight has
            been computed.
        pages: The pool's pages that hold those rows, in order.
        page_hashes: The hash-chain keys of its full pages, as far as they are known.
        service_class: What was asked for.
        urgency: The class that it is served as, a number of `URGENCY`; the scheduler may better it.
        num_cached: Prompt tokens that the prefix cache already held when it was first admitted.
        stop_ids: The tokens that end it.
        arrived_s: Monotonic time of arrival.
        arrival: Its number in order of arrival, which breaks ties of urgency.
        draft: A guess at the token after the last one, if somebody made one.
        grammar: What the answer may be; `None` leaves it free.
        thought: How long the thought may be that it begins with; `None` sets no limit.
        constraint: What the next token may be, once the grammar is compiled; `None` leaves it free.
    """

    connection: int
    id: int
    tokens: list[int]
    num_prompt: int
    sampling: SamplingParams
    service_class: ServiceClass = "default"
    urgency: int = field(init=False)
    salt: str = ""
    stop_ids: frozenset[int] = field(init=False)
    arrived_s: float = 0.0
    arrival: int = 0
    num_pending: int = 0
    row: int = 0
    num_computed: int = 0
    num_cached: int = 0
    admitted: bool = False
    pages: list[int] = field(default_factory=list[int])
    page_hashes: list[bytes] = field(default_factory=list[bytes])
    draft: int | None = None
    grammar: str | None = None
    thought: ThoughtLimit | None = None
    constraint: Constraint | None = None

    def __post_init__(self) -> None:
        self.stop_ids = frozenset(self.sampling.stop_token_ids)
        self.urgency = URGENCY[self.service_class]

    def finish_at(self, token: int) -> EngineFinish | None:
        """Why the sequence ends with this token, its last, if it does."""
        constraint = self.constraint
        if constraint is not None and constraint.failed:
            return "grammar"
        if token in self.stop_ids:
            return "stop"
        if constraint is not None and constraint.complete:
            return "complete"
        return "length" if self.num_generated >= self.sampling.max_tokens else None

    @property
    def num_generated(self) -> int:
        """Tokens drawn so far."""
        return len(self.tokens) - self.num_prompt

    @property
    def length(self) -> int:
        """Tokens that are known or being drawn."""
        return len(self.tokens) + self.num_pending

    @property
    def is_spent(self) -> bool:
        """Whether its last token is being drawn, so that nothing is left to schedule."""
        return self.num_pending > 0 and self.length - self.num_prompt >= self.sampling.max_tokens


@dataclass(slots=True, frozen=True)
class Scheduled:
    """Tokens `[start, start + count)` of a sequence are to be computed in this step.

    When they reach the last known token the step also draws the next one. With a draft, the last
    of them is that guess; if the draw agrees with it, one more can be drawn.
    """

    sequence: Sequence
    start: int
    count: int
    draft: int | None = None

    @property
    def num_known(self) -> int:
        """How many of the tokens are no guess."""
        return self.count - (self.draft is not None)

    @property
    def draws(self) -> bool:
        """Whether this step yields a new token for the sequence. True until that is pending."""
        return self.start + self.num_known == self.sequence.length

    @property
    def num_logits(self) -> int:
        """How many rows of logits are asked for: none, one, or one more behind the draft."""
        return self.num_rows if self.draws else 0

    @property
    def num_rows(self) -> int:
        """The same for one that is known to draw, whatever became of its sequence since."""
        return 1 + (self.draft is not None)

    @property
    def tokens(self) -> list[int]:
        """The tokens themselves, 0 for one that is being drawn. Good until the sequence grows."""
        tokens = self.sequence.tokens[self.start : self.start + self.num_known]
        if len(tokens) < self.num_known:
            tokens.append(0)
        return tokens if self.draft is None else [*tokens, self.draft]

    @property
    def source(self) -> int | None:
        """Which row of the step before draws the last of these tokens; `None` if it is known."""
        sequence = self.sequence
        if not sequence.num_pending or self.start + self.num_known <= len(sequence.tokens):
            return None
        return sequence.row
