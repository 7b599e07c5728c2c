"""How long a step will take, and how much prefill it has room for when others wait for its end.

A step takes what its decodes take, and for each token of a prefill a cost that grows with the
context behind it: `rate * (1 + context / balanced_context)`. The balance comes from the model's
shape; the rate and the decodes' time are measured, step by step, so that whatever the formula gets
wrong is corrected while the context grows. Knows no clock: it is told how long steps took.
Torch-free.

The numbers: an estimate moves half of the way to a slower measurement and a quarter of the way to a
faster one, because a step that is too long is felt and one that is too short costs little. A chunk
is never shorter than `MIN_CHUNK`, a page: below, a step is spent on gathering the context.

Steps of flex alone may have a shorter bound of their own: whoever comes meanwhile waits for their
end. How many flex sequences fit into it is found by trying: one more after each step that was short
enough, and after one that was too long as many fewer as it was too long.
"""

import math
from collections.abc import Iterable
from typing import Final

from glimt.engine.sequence import FLEX, Scheduled
from glimt.engine.settings import PAGE_SIZE, EngineSettings

MIN_CHUNK: Final = PAGE_SIZE
BALANCED_CONTEXT: Final = 4096
"""For models that do not say: between GLM-4.7-Flash's and that of a small one."""
_SLOWER: Final = 0.5
_FASTER: Final = 0.25
_LEAST_SHARE: Final = 0.1
"""A prefill takes at least this part of its step: the decodes' time is an estimate as well."""


class Pace:
    """What steps cost on this machine.

    Args:
        max_pause_s: How long a step with decodes may last; `math.inf` does not limit it.
        flex_step_s: How long a step of flex alone may last.
        balanced_context: The context at which attention costs a token as much as all the rest.
    """

    def __init__(
        self,
        max_pause_s: float,
        *,
        flex_step_s: float = math.inf,
        balanced_context: int = BALANCED_CONTEXT,
    ) -> None:
        self._max_pause_s = max_pause_s
        self._flex_step_s = flex_step_s
        self._flex_places: float = math.inf
        self._balance = balanced_context
        self._decode_s: float | None = None
        self._rate_s: float | None = None

    @classmethod
    def of(cls, settings: EngineSettings, *, balanced_context: int) -> "Pace":
        """As an engine's settings want it."""
        # Where nobody may overtake, a short step of flex would only be a slow one.
        flex_step_s = settings.flex_step_s if settings.priority_tier else math.inf
        return cls(settings.max_pause_s, flex_step_s=flex_step_s, balanced_context=balanced_context)

    def observe(self, step: Iterable[Scheduled], elapsed_s: float) -> None:
        """Learn from a step that drew: on a GPU others are not over when they are measured."""
        step = list(step)
        self._count_places(step, elapsed_s)
        work = sum(self._work(s.start, s.count) for s in step if s.num_known > 1)
        if not work:
            self._decode_s = _moved(self._decode_s, elapsed_s)
            return
        decode_s = self._decode_s or 0.0
        prefill_s = max(elapsed_s - decode_s, elapsed_s * _LEAST_SHARE)
        self._rate_s = _moved(self._rate_s, prefill_s / work)

    def predict_s(self, step: Iterable[Scheduled]) -> float:
        """How long a step will take; 0 as long as nothing is known."""
        entries = list(step)
        decodes = any(s.num_known == 1 for s in entries)
        work = sum(self._work(s.start, s.count) for s in entries if s.num_known > 1)
        return (self._decode_s or 0.0) * decodes + (self._rate_s or 0.0) * work

    @property
    def flex_places(self) -> float:
        """How many flex sequences may run at once."""
        return self._flex_places

    def room(self, num_tokens: int, *, decodes: bool, flex_alone: bool = False) -> "Room":
        """What prefills may take of a step that has `num_tokens` left beside its decodes.

        They have what the decodes leave of the longest pause, but no less time than the decodes
        take themselves: where a model's steps are that slow, half of the time is theirs.
        """
        rate_s = self._rate_s
        pause_s = self._max_pause_s if decodes else math.inf
        if flex_alone:
            pause_s = min(pause_s, self._flex_step_s)
        if not rate_s or math.isinf(pause_s):
            return Room(num_tokens, math.inf, self._balance)
        decode_s = (self._decode_s or 0.0) * decodes
        seconds = max(pause_s - decode_s, decode_s)
        return Room(num_tokens, seconds / rate_s, self._balance)

    def _count_places(self, step: list[Scheduled], elapsed_s: float) -> None:
        if math.isinf(self._flex_step_s) or any(s.sequence.urgency != FLEX for s in step):
            return
        if elapsed_s > self._flex_step_s:
            self._flex_places = max(1.0, len(step) * self._flex_step_s / elapsed_s)
        elif len(step) >= int(self._flex_places):
            self._flex_places += 1

    def _work(self, start: int, count: int) -> float:
        return _work_of(start, count, self._balance)


class Room:
    """What is left of a step for prefills: tokens, and work in units of a token without context."""

    def __init__(self, num_tokens: int, work: float, balanced_context: int) -> None:
        self._num_tokens = num_tokens
        self._work = work
        self._balance = balanced_context

    def take(self, start: int, wanted: int, *, half: bool = False, least: int = 0) -> int:
        """How many of `wanted` tokens behind a context of `start` get their place.

        With `half` no more than half of what is left; but `least` of them in any case, as long as
        there are tokens.
        """
        part = 2 if half else 1
        count = min(wanted, -(-self._num_tokens // part))
        if math.isfinite(self._work):
            fitting = _fitting(start, max(0.0, self._work / part), self._balance)
            # Whole pages: fewer shapes for libraries to prepare themselves for.
            fitting -= fitting % MIN_CHUNK
            count = min(count, max(fitting, least))
            self._work -= _work_of(start, count, self._balance)
        self._num_tokens -= count
        return count


def _work_of(start: int, count: int, balance: int) -> float:
    """`count` tokens behind `start` others, each with what lies before it as its context."""
    return count * (1 + (start + count / 2) / balance)


def _fitting(start: int, work: float, balance: int) -> int:
    """The most tokens that `_work_of` says are no more than `work`: a quadratic equation."""
    context = balance + start
    return int(math.sqrt(context * context + 2 * balance * work) - context)


def _moved(estimate: float | None, measured: float) -> float:
    if estimate is None:
        return measured
    share = _SLOWER if measured > estimate else _FASTER
    return estimate + share * (measured - estimate)
