"""Several streams, read as one: whatever comes first, with the number of its stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from glimt.gateway.closing import closing

T = TypeVar("T")


async def merged(streams: Sequence[AsyncIterator[T]]) -> AsyncIterator[tuple[int, T]]:
    """Read all streams at once, each at most one item ahead of the reader.

    The first failure ends all of them and is raised.
    """
    news: asyncio.Queue[tuple[int, T] | BaseException | None] = asyncio.Queue(maxsize=1)
    closed = False

    async def read(position: int, stream: AsyncIterator[T]) -> None:
        async with closing(stream):
            async for item in stream:
                await news.put((position, item))

    async def read_all() -> None:
        end: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for position, stream in enumerate(streams):
                    group.create_task(read(position, stream))
        except BaseExceptionGroup as failures:
            end = failures.exceptions[0]
        if not closed:
            await news.put(end)

    readers = asyncio.create_task(read_all())
    try:
        while (item := await news.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed = True
        readers.cancel()
        await asyncio.wait([readers])
