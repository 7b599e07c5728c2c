"""The keys of one place: whose turn it is, which of them rest, how many requests each carries.

A key that is refused, is out of credit or at its limit rests by itself, while the others go on; it
is asked before its time only when all of them rest. A limit of requests at once holds for each key
and model, as vendors set it: who comes when all are full waits for one to be free. Knows no HTTP;
a key is in nothing that is printed.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from glimt.core.clock import Clock
from glimt.core.errors import GlimtError, RateLimited

ACCOUNT_REST_S: Final = 60.0
"""A refused key or an empty account is for a person to mend."""
LIMIT_REST_S: Final = 5.0
LONGEST_REST_S: Final = 3600.0
QUEUE_S: Final = 10.0
"""How long a request waits for a key that is free; then another place is asked."""
_OF_THE_ACCOUNT: Final = frozenset({"upstream_key_refused", "upstream_quota"})
NO_LIMITS: Final[Mapping[str, int]] = MappingProxyType({})


class Key:
    """One key, or none: a place that wants none has one of these all the same."""

    def __init__(self, secret: str | None) -> None:
        self.secret = secret
        self._rests_until_s = 0.0
        self._limited_until_s: dict[str, float] = {}
        self.num_running: dict[str, int] = {}
        self.num_used = 0

    def rests_until_s(self, model: str) -> float:
        """When it may be used for a model again."""
        return max(self._rests_until_s, self._limited_until_s.get(model, 0.0))

    def rest(self, error: GlimtError, model: str, now_s: float) -> bool:
        """What an error says of the key; whether it says anything."""
        if error.code in _OF_THE_ACCOUNT:
            self._rests_until_s = now_s + min(error.retry_after_s or ACCOUNT_REST_S, LONGEST_REST_S)
        elif isinstance(error, RateLimited):
            rest_s = min(error.retry_after_s or LIMIT_REST_S, LONGEST_REST_S)
            self._limited_until_s[model] = now_s + rest_s
        else:
            return False
        return True


class Keys:
    """All of one place.

    Args:
        place: What errors call it.
        secrets: None is a place that wants no key.
        limits: The most requests at once for each key, by the place's own name of the model.
    """

    def __init__(
        self,
        place: str,
        secrets: Sequence[str],
        *,
        clock: Clock,
        limits: Mapping[str, int] = NO_LIMITS,
    ) -> None:
        self._place = place
        self._keys = [Key(secret) for secret in secrets] or [Key(None)]
        self._limits = limits
        self._clock = clock
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, model: str) -> Key:
        """The key to use next, which is in use until `give_back`.

        Raises:
            RateLimited: All of them stayed full.
        """
        key = self._free(model)
        if key is None or self._waiting.get(model):
            key = await self._waited(model)
        key.num_running[model] = key.num_running.get(model, 0) + 1
        key.num_used += 1
        return key

    def give_back(self, key: Key, model: str) -> None:
        """A request is over, however."""
        key.num_running[model] -= 1
        self._call(model)

    def failed(self, key: Key, model: str, error: GlimtError) -> bool:
        """A request failed with a key; whether another key may be asked in its place.

        Where all of them rest, the error says when the first is up again.
        """
        now_s = self._clock.monotonic()
        if not key.rest(error, model, now_s) or len(self._keys) == 1:
            return False
        up_s = min(other.rests_until_s(model) for other in self._keys)
        if up_s <= now_s:
            return True
        if error.retry_after_s is not None:
            error.retry_after_s = up_s - now_s
        return False

    def _free(self, model: str) -> Key | None:
        """Whoever is up and has room, the least used first; whoever is up soonest if nobody is."""
        now_s = self._clock.monotonic()
        up = [key for key in self._keys if key.rests_until_s(model) <= now_s]
        limit = self._limits.get(model)
        able = [
            key
            for key in up or self._keys
            if limit is None or key.num_running.get(model, 0) < limit
        ]
        if up:
            return min(
                able, key=lambda key: (key.num_running.get(model, 0), key.num_used), default=None
            )
        return min(able, key=lambda key: key.rests_until_s(model), default=None)

    async def _waited(self, model: str) -> Key:
        """The next free key, in turn."""
        waiting = self._waiting.setdefault(model, deque())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout(QUEUE_S):
                while True:
                    await turn
                    if (key := self._free(model)) is not None:
                        return key
                    turn = waiting[0] = asyncio.get_running_loop().create_future()
        except TimeoutError:
            raise RateLimited(
                f"{self._place} has as many requests of ours under way as each key may have "
                "(`concurrency`).",
                code="upstream_busy",
            ) from None
        finally:
            waiting.remove(turn)
            # Whoever had its turn and left, passes it on.
            self._call(model)

    def _call(self, model: str) -> None:
        waiting = self._waiting.get(model)
        if waiting and not waiting[0].done():
            waiting[0].set_result(None)
