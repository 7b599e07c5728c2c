"""What piles up comes out in order, in one piece, and before the error that follows it."""

import asyncio

import pytest

from glimt.core.errors import EngineDied
from glimt.engine.messages import Admitted, Output
from glimt.engine.stream import Stream

pytestmark = pytest.mark.anyio

ADMITTED = Admitted(id=1, cached_tokens=0, queue_s=0.0)


async def test_outputs_that_piled_up_become_one():
    """Tokens, log-probabilities and alternatives are joined in order; the last reason counts."""
    stream = Stream()
    stream.put(ADMITTED)
    stream.put(Output(1, [5], None, [-0.5], [[(5, -0.5)]]))
    stream.put(Output(1, [6], "stop", [-0.25], [[(6, -0.25)]]))
    assert await stream.get() == ADMITTED
    assert await stream.get() == Output(
        1, [5, 6], "stop", [-0.5, -0.25], [[(5, -0.5)], [(6, -0.25)]]
    )


async def test_an_error_comes_after_what_had_arrived():
    """Tokens that were delivered before a failure are read before it, and it stays."""
    stream = Stream()
    stream.put(Output(1, [5]))
    stream.fail(EngineDied("gone"))
    assert await stream.get() == Output(1, [5])
    for _ in range(2):
        with pytest.raises(EngineDied, match="gone"):
            await stream.get()


async def test_a_waiting_reader_is_woken():
    """An item and an error each wake the reader that waits for them."""
    stream = Stream()
    reader = asyncio.create_task(stream.get())
    await asyncio.sleep(0)
    stream.put(Output(1, [5]))
    assert await reader == Output(1, [5])
    reader = asyncio.create_task(stream.get())
    await asyncio.sleep(0)
    stream.fail(EngineDied("gone"))
    with pytest.raises(EngineDied):
        await reader


async def test_a_cancelled_reader_loses_nothing():
    """What arrives for a reader that was cancelled meanwhile is there for the next one."""
    stream = Stream()
    reader = asyncio.create_task(stream.get())
    await asyncio.sleep(0)
    stream.put(Output(1, [5]))
    reader.cancel()
    await asyncio.wait([reader])
    stream.put(Output(1, [6]))
    tokens: list[int] = []
    if not reader.cancelled():
        first = reader.result()
        assert isinstance(first, Output)
        tokens += first.tokens
    rest = await stream.get()
    assert isinstance(rest, Output)
    assert tokens + rest.tokens == [5, 6]
