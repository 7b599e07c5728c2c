"""Batches of events and single ones: for tests to which it does not matter what came together."""

from collections.abc import AsyncIterator

from glimt.core.events import Batch, Event


async def one_by_one(batches: AsyncIterator[Batch]) -> AsyncIterator[Event]:
    """The events of a stream. Closing it closes the stream."""
    try:
        async for batch in batches:
            for event in batch:
                yield event
    finally:
        close = getattr(batches, "aclose", None)
        if close is not None:
            await close()


async def alone(*events: Event) -> AsyncIterator[Batch]:
    """A stream in which every event comes by itself."""
    for event in events:
        yield [event]
