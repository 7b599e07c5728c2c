"""An answer that has to be there in time: when the time is over, the work behind it ends.

So does one whose first output is too long in coming. One timer for the whole answer, since one for
each token would cost five times as much: it interrupts whoever waits for the next batch, and closes
the work when nobody does, since a client that does not read must not hold it for longer either.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any, Final

from glimt.core.clock import Clock
from glimt.core.errors import DeadlineExceeded
from glimt.core.events import Batch, Finished, has_output
from glimt.gateway.closing import closing

MAX_TIMER_S: Final = 86_400.0
"""Event loops take no timers of years; nothing that runs for a day is ended to the second."""


class Deadline(AsyncIterator[Batch]):
    """The same batches of events, until `limit_s` after `start_s`; then DeadlineExceeded. Close it.

    An answer that is finished is not late any more, however slowly it is read. With `first_s` the
    first output of `place` has to come within so many seconds from now.
    """

    def __init__(
        self,
        events: AsyncIterator[Batch],
        limit_s: float,
        *,
        start_s: float,
        clock: Clock,
        first_s: float = math.inf,
        place: str = "",
    ) -> None:
        """`start_s` is a time on `clock`. Needs a running event loop."""
        self._events = events
        self._limit_s = limit_s
        self._clock = clock
        self._last_s = start_s + limit_s
        self._first_s = first_s
        self._place = place
        self._end_s = min(self._last_s, clock.monotonic() + first_s)
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Task[Any] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._finished = False
        self._over = False
        self._timer = self._set_timer()

    async def __anext__(self) -> Batch:
        # The clock is asked too: a provider that never waits leaves no timer a chance.
        if self._over or (not self._finished and self._clock.monotonic() >= self._end_s):
            raise self._error()
        batch = await self._next()
        if batch is None:
            raise StopAsyncIteration
        if self._end_s < self._last_s and has_output(batch):
            self._end_s = self._last_s  # The timer will ring too early, and be set again.
        if batch and isinstance(batch[-1], Finished):
            self._finished = True
            self._timer.cancel()
        return batch

    async def aclose(self) -> None:
        """End the work."""
        self._timer.cancel()
        if self._closer is not None:
            await self._closer
        else:
            await self._close()

    async def _next(self) -> Batch | None:
        """The next batch, unless the timer interrupts it."""
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("an answer is read by a task")
        num_cancels = task.cancelling()
        self._reader = task
        try:
            batch = await anext(self._events, None)
        except asyncio.CancelledError:
            # Whoever else wants this task to end goes first.
            if self._over and task.cancelling() <= num_cancels + 1:
                raise self._error() from None
            raise
        finally:
            self._reader = None
            if self._over:
                task.uncancel()
        if self._over:
            raise self._error()
        return batch

    def _ring(self) -> None:
        left_s = self._end_s - self._clock.monotonic()
        if left_s > 0:
            self._timer = self._set_timer()
            return
        self._over = True
        if self._reader is not None:
            self._reader.cancel()
        else:
            self._closer = asyncio.create_task(self._close(), name="glimt-deadline")

    def _set_timer(self) -> asyncio.TimerHandle:
        left_s = max(self._end_s - self._clock.monotonic(), 0.0)
        return self._loop.call_later(min(left_s, MAX_TIMER_S), self._ring)

    async def _close(self) -> None:
        async with closing(self._events):
            pass

    def _error(self) -> DeadlineExceeded:
        if self._end_s < self._last_s:
            return DeadlineExceeded(
                f"{self._place} said nothing within {self._first_s:g} s.",
                code="first_token_timeout",
            )
        return DeadlineExceeded(f"The answer was not finished within {self._limit_s:g} s.")
