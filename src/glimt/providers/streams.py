"""Several token streams of one request, read as they come.

A single stream is read as it is. Several feed one queue, each at most one message ahead, so that a
slow reader slows them down instead of filling memory. Knows nothing of what tokens mean.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

from glimt.engine.messages import Admitted, Output

Message: TypeAlias = Admitted | Output


class TokenStreams:
    """All streams of one request. Not a generator, so that nothing lingers when reading stops.

    At most `at_once` are read at a time, the next one begins when one has ended: a request with
    many choices leaves room for others. With `lead` the first stream's first tokens are awaited
    before the others begin: its prompt is then in the prefix cache, and theirs, which is the same,
    is not computed again.
    """

    def __init__(
        self, streams: Sequence[AsyncIterator[Message]], *, at_once: int, lead: bool = False
    ) -> None:
        self._streams = dict(enumerate(streams))
        self._waiting = deque(self._streams)
        self._tasks: dict[int, asyncio.Task[Message | None]] = {}
        self._ready: asyncio.Queue[int] = asyncio.Queue()
        """Streams whose task is done, in that order; those that were stopped since are skipped."""
        self._resting: int | None = None
        """The stream that was read last; it goes on when the next message is asked for."""
        self._alone = len(streams) == 1
        self._at_once = at_once
        self._lead = lead

    async def next(self) -> tuple[int, Message] | None:
        """A message and the index of its stream; `None` when all have ended or were stopped."""
        if self._alone:
            for index, stream in self._streams.items():
                async for message in stream:
                    return index, message
            return None
        while self._streams:
            self._begin()
            index = await self._ready.get()
            task = self._tasks.pop(index, None)
            if task is None:
                continue
            message = task.result()
            if isinstance(message, Output) or message is None:
                self._lead = False
            if message is None:
                del self._streams[index]
                continue
            self._resting = index
            return index, message
        return None

    async def stop(self, index: int) -> None:
        """Read no more of one stream, and close it."""
        stream = self._streams.pop(index, None)
        task = self._tasks.pop(index, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                # Nobody will ask for what it brought; an error must not be reported as forgotten.
                task.exception()
        if stream is not None:
            await _close(stream)

    async def close(self) -> None:
        """Stop all of them."""
        for index in list(self._streams):
            await self.stop(index)

    def _begin(self) -> None:
        """Ask for what may be asked for now: of the stream read last, and of those that wait."""
        resting, self._resting = self._resting, None
        if resting is not None and resting in self._streams:
            self._ask(resting)
        at_once = 1 if self._lead else self._at_once
        while self._waiting and len(self._tasks) < at_once:
            index = self._waiting.popleft()
            if index in self._streams:
                self._ask(index)

    def _ask(self, index: int) -> None:
        task = asyncio.create_task(_next(self._streams[index]))
        task.add_done_callback(lambda _: self._ready.put_nowait(index))
        self._tasks[index] = task


async def _next(stream: AsyncIterator[Message]) -> Message | None:
    return await anext(stream, None)


async def _close(stream: AsyncIterator[Message]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
