"""What a gateway process remembers of a full queue, so that a flood is refused before it is read.

A refusal costs the worker little, but the way to it (template, tokenizer, socket) is most of what a
request costs a gateway. The queue moves by one in `place_s`, which the worker tells with a refusal
for want of a place; so long it is still full for certain, and requests of the same kind need not
ask. Those refused here continue the worker's line, each a place further, and what the worker tells
afterwards is taken from there, so that times stay distinct. Of other gateway processes' refusals
nothing is known here: with several, times are that much too short until those have come again.
"""

from typing import Final

from glimt.core.errors import Overloaded
from glimt.core.request import ServiceClass
from glimt.engine.messages import Refused

MAX_HOLD_S: Final = 0.25
"""However slowly the queue moves: requests may also leave it because their clients do."""
MAX_RETRY_S: Final = 600.0


class Fullness:
    """The line at one end of the queue: flex has its own."""

    def __init__(self) -> None:
        self._lines: dict[bool, _Line] = {}

    def note(self, service_class: ServiceClass, refused: Refused, now_s: float) -> float | None:
        """Learn from the worker's refusal; when this client should really come again."""
        told_s = refused.retry_after_s
        if told_s is None or not refused.place_s:
            return told_s
        line = self._lines.setdefault(service_class == "flex", _Line())
        return line.extend(told_s, refused.place_s, now_s)

    def refuse(self, service_class: ServiceClass, now_s: float) -> None:
        """Raise Overloaded when the queue is known to be full for this class."""
        line = self._lines.get(service_class == "flex")
        if line is None or now_s >= line.full_until_s:
            return
        retry_after_s = line.next(now_s)
        raise Overloaded(
            f"The queue is full. Try again in {retry_after_s:.0f} s.", retry_after_s=retry_after_s
        )


class _Line:
    """How many places were told, kept as places: what is known of their length changes."""

    def __init__(self) -> None:
        self.full_until_s = 0.0
        self._place_s = 1.0
        self._num_taken = 0.0
        self._told_s = 0.0

    def extend(self, told_s: float, place_s: float, now_s: float) -> float:
        self._move(now_s)
        self._place_s = place_s
        self.full_until_s = now_s + min(place_s, MAX_HOLD_S)
        self._num_taken = max(self._num_taken + 1, told_s / place_s)
        return self._bounded()

    def next(self, now_s: float) -> float:
        self._move(now_s)
        self._num_taken += 1
        return self._bounded()

    def _move(self, now_s: float) -> None:
        self._num_taken = max(0.0, self._num_taken - (now_s - self._told_s) / self._place_s)
        self._told_s = now_s

    def _bounded(self) -> float:
        if self._num_taken * self._place_s > MAX_RETRY_S:
            self._num_taken = MAX_RETRY_S / 2 / self._place_s
        return self._num_taken * self._place_s
