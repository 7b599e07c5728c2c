"""What was seen of deployments, handed on to other processes and to later runs.

Every so often what is new in the history is written down, and what others wrote is counted; all of
it beside the requests, never in one. A database that cannot be used costs the memory across
restarts and nothing else. Knows the history and its store.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog

from glimt.core.errors import Unavailable
from glimt.data.measurements import MeasurementStore
from glimt.gateway.history import History, Minutes

EVERY_S: Final = 60.0
_AT_ONCE: Final = 100
"""Rows that are counted before the requests have their turn: some milliseconds."""


class HistoryKeeper:
    """Keeps one history."""

    def __init__(
        self, history: History, store: MeasurementStore, *, every_s: float = EVERY_S
    ) -> None:
        self._history = history
        self._store = store
        self._every_s = every_s
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failed = False
        self._logger: Any = structlog.get_logger()

    def start(self) -> None:
        """Begin with what is known already."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write down the rest."""
        # Not cancelled: whoever gives up a write does not learn whether it was made.
        self._stop.set()
        if self._task is not None:
            await self._task

    async def save(self) -> None:
        """Write down what is new. Raises Unavailable; it is tried again with the next."""
        news = self._history.news()
        if not news:
            return
        encode = msgspec.msgpack.encode
        try:
            await self._store.save({name: encode(minutes) for name, minutes in news.items()})
        except Unavailable:
            self._history.put_back(news)
            raise

    async def read(self) -> None:
        """Count what others saw. Raises Unavailable."""
        for number, row in enumerate(await self._store.others(), start=1):
            try:
                minutes = msgspec.msgpack.decode(row.body, type=Minutes)
            except msgspec.DecodeError:
                continue  # Of another version; it is forgotten within a day.
            self._history.merge(row.deployment, minutes)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _run(self) -> None:
        while True:
            await self._try(self.read)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._stop.wait()
            last = self._stop.is_set()
            await self._try(self.save)
            if last:
                return

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Unavailable as error:
            if not self._failed:
                self._logger.warning("gateway.history_not_kept", error=error.message)
            self._failed = True
        else:
            self._failed = False
