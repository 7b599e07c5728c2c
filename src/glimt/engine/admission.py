"""How much may wait, and when those should come again who found the queue full.

Two limits, on requests and on their tokens, bound what a flood can cost. `flex` may fill half of
either, so that it does not lock out others; nobody is put out of the queue for a better one: who
was let in is answered. A prompt longer than the limit is let in when nobody of its kind waits.

When to come again is told from the rate at which the queue was seen to drain, while somebody waited
in it, over the last half minute or so. Each refusal takes a place in a line that nobody sees, so
that of a thousand refused at once each is told its own time and finds room when it comes. `flex`
has its own line and rate: it drains when others leave time. Knows nothing of sequences and pages;
torch-free.
"""

from dataclasses import dataclass
from typing import Final

from glimt.core.clock import Clock
from glimt.core.request import ServiceClass
from glimt.engine.waiting import Load

FLEX_SHARE: Final = 2
"""One in so many places is open to flex."""
PLACE_S: Final = 0.2
"""What a place in the line is taken for before a queue was seen to drain."""
NUM_ASSUMED: Final = 2
"""So many places of that length count beside those that were seen: few, so that the first second of
a flood is heard, and some, so that a queue that stands still is not taken to do so for ever."""
HALF_LIFE_S: Final = 20.0
"""What was seen so long ago counts half; only time in which somebody waited is counted."""
MIN_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Full:
    """Why a request cannot wait here, and when it may.

    `place_s` is how long the queue takes to move by one, where it lacks a place.
    """

    message: str
    retry_after_s: float
    place_s: float | None


class Admission:
    """The limits of one engine's queue.

    Args:
        max_requests: How many may wait, beside those that find an idle place to run.
        max_tokens: How many tokens they may have together.
    """

    def __init__(self, *, max_requests: int, max_tokens: int, clock: Clock) -> None:
        self._limit = Load(max_requests, max_tokens)
        self._flex = _Line(clock)
        self._others = _Line(clock)
        self.num_refused = 0

    def refuse(
        self,
        service_class: ServiceClass,
        num_tokens: int,
        *,
        waiting: dict[ServiceClass, Load],
        num_idle: int,
    ) -> Full | None:
        """Why a request of `num_tokens` may not wait; `None` when it may.

        Args:
            waiting: What waits of each class.
            num_idle: How many of them will start with the next step.
        """
        total, line = sum(waiting.values(), Load()), self._others
        lacking = self._lacking(total, num_tokens, share=1, num_idle=num_idle)
        if service_class == "flex":
            line = self._flex
            lacking = lacking or self._lacking(
                waiting["flex"], num_tokens, share=FLEX_SHARE, num_idle=num_idle
            )
        if lacking is None:
            return None
        self.num_refused += 1
        retry_after_s = line.reserve(lacking)
        of_flex = f" (flex: {waiting['flex'].num_requests})" if service_class == "flex" else ""
        return Full(
            f"{total.num_requests} requests{of_flex} with {total.num_tokens} tokens wait already. "
            f"Try again in {retry_after_s:.0f} s.",
            retry_after_s,
            line.place_s if lacking.num_requests else None,
        )

    def _lacking(self, load: Load, num_tokens: int, *, share: int, num_idle: int) -> Load | None:
        """The room that one more request would need beyond what there is."""
        no_place = load.num_requests >= self._limit.num_requests // share + num_idle
        most_tokens = self._limit.num_tokens // share
        too_many = load.num_requests > 0 and load.num_tokens + num_tokens > most_tokens
        if not no_place and not too_many:
            return None
        return Load(int(no_place), num_tokens if too_many else 0)

    def observe(self, left: dict[ServiceClass, Load], *, waiting: dict[ServiceClass, Load]) -> None:
        """Learn from a step who left the queue to run, and who waits still."""
        flex = left.get("flex", Load())
        others = sum((load for name, load in left.items() if name != "flex"), Load())
        num_waiting = sum(load.num_requests for load in waiting.values())
        num_flex = waiting["flex"].num_requests
        self._flex.observe(flex, waits=num_flex > 0)
        self._others.observe(others, waits=num_waiting > num_flex)


class _Line:
    """The rate at which one part of the queue drains, and when its next place is free."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_s = clock.monotonic()
        self._waited = False
        self._busy_s = 0.0
        self._num_left = 0.0
        self._tokens_left = 0.0
        self._num_taken = 0.0
        self._told_s = self._seen_s

    def observe(self, left: Load, *, waits: bool) -> None:
        """Whoever left while others had been waiting is counted, with the time that it took."""
        now_s = self._clock.monotonic()
        if self._waited:
            elapsed_s = now_s - self._seen_s
            kept = 0.5 ** (elapsed_s / HALF_LIFE_S)
            self._busy_s = self._busy_s * kept + elapsed_s
            self._num_left = self._num_left * kept + left.num_requests
            self._tokens_left = self._tokens_left * kept + left.num_tokens
        self._seen_s = now_s
        self._waited = waits

    def reserve(self, lacking: Load) -> float:
        """Take as many places as are lacking; in how many seconds the last of them will be free.

        The line is kept in places, so that a better estimate of their length counts at once.
        """
        now_s, place_s = self._clock.monotonic(), self.place_s
        self._num_taken = max(0.0, self._num_taken - (now_s - self._told_s) / place_s)
        self._told_s = now_s
        num_places = float(lacking.num_requests)
        if lacking.num_tokens:
            average = self._tokens_left / self._num_left if self._num_left else 0.0
            num_places = max(1.0, lacking.num_tokens / average if average else 1.0)
        self._num_taken += num_places
        most = MAX_RETRY_S / place_s
        if self._num_taken > most:
            # Further ahead than can be told: spread over the second half of what can.
            self._num_taken = most / 2 + self._num_taken % (most / 2)
        return min(max(self._num_taken * place_s, MIN_RETRY_S), MAX_RETRY_S)

    @property
    def place_s(self) -> float:
        """How long the queue takes to move by one."""
        seen_s = self._busy_s + NUM_ASSUMED * PLACE_S
        return seen_s / (self._num_left + NUM_ASSUMED)
