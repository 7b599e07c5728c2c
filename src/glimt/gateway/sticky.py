"""Which conversation has moved, and where it is now.

A plan leads each conversation to the same place by itself, where its cache is. One that was
answered elsewhere, because that place failed or was slow, left its cache there: it stays, until
nothing has come of it for a while. Bounded memory of one process; knows ids and the clock.
"""

from collections import OrderedDict
from typing import Final

from glimt.core.clock import Clock

IDLE_S: Final = 600.0
"""Vendors keep a prefix for some minutes after it was last used."""
MOST_CONVERSATIONS: Final = 10_000


class Moved:
    """Conversations that are not where a plan would lead them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._places: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._places)

    def place(self, conversation: bytes) -> str:
        """The deployment that holds it; empty where the plan decides."""
        found = self._places.get(conversation)
        if found is None:
            return ""
        deployment, until_s = found
        if until_s <= self._clock.monotonic():
            del self._places[conversation]
            return ""
        return deployment

    def note(self, conversation: bytes, deployment: str) -> None:
        """It was answered there just now."""
        self._places[conversation] = (deployment, self._clock.monotonic() + IDLE_S)
        self._places.move_to_end(conversation)
        while len(self._places) > MOST_CONVERSATIONS:
            self._places.popitem(last=False)
