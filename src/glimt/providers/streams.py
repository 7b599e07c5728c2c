"""Several token streams of one request, read as they come.

A single stream is read as it is. Several are awaited together, each at most one message ahead, so
that a slow reader slows them down instead of filling memory. Knows nothing of what tokens mean.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

from glimt.engine.messages import Admitted, Output

Message: TypeAlias = Admitted | Output


class TokenStreams:
    """All streams of one request. Not a generator, so that nothing lingers when reading stops.

    With `lead` the first stream's first tokens are awaited before the others begin: its prompt is
    then in the prefix cache, and theirs, which is the same, is not computed again.
    """

    def __init__(self, streams: Sequence[AsyncIterator[Message]], *, lead: bool = False) -> None:
        self._streams = dict(enumerate(streams))
        self._tasks: dict[int, asyncio.Task[Message | None]] = {}
        self._alone = len(streams) == 1
        self._lead = lead

    async def next(self) -> tuple[int, Message] | None:
        """A message and the index of its stream; `None` when all have ended or were stopped."""
        if self._alone:
            for index, stream in self._streams.items():
                async for message in stream:
                    return index, message
            return None
        while self._streams:
            self._lead = self._lead and 0 in self._streams
            for index, stream in self._streams.items():
                if index not in self._tasks and (index == 0 or not self._lead):
                    self._tasks[index] = asyncio.create_task(_next(stream))
            await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
            index = next(index for index, task in self._tasks.items() if task.done())
            message = self._tasks.pop(index).result()
            if isinstance(message, Output):
                self._lead = False
            if message is not None:
                # To the end of the line, so that no stream waits for the others.
                self._streams[index] = self._streams.pop(index)
                return index, message
            del self._streams[index]
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


async def _next(stream: AsyncIterator[Message]) -> Message | None:
    return await anext(stream, None)


async def _close(stream: AsyncIterator[Message]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
