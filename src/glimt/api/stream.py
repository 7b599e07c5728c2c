"""A response that is written as the answer comes, and the watch for clients that leave.

Server-sent events over ASGI. `receive` is raced with the work at all times: a client that hangs up
ends the work at once, whatever the server's version of ASGI promises about `send`. Knows no wire
format.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog
from starlette.types import Receive, Send

from glimt.api.http import Headers
from glimt.core.errors import ClientGone, GlimtError, InternalError
from glimt.core.events import Batch, Started
from glimt.gateway.closing import closing
from glimt.wire import sse
from glimt.wire.codec import StreamEncoder

T = TypeVar("T")

YIELD_EVERY: Final = 32
"""A provider that never has to wait must not keep others, nor the watch for its client, from it."""

STREAM_HEADERS: Final[Headers] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # Proxies that collect a response before they pass it on are asked not to.
    (b"x-accel-buffering", b"no"),
]


async def until_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled as soon as the client hangs up.

    Raises:
        ClientGone: The client hung up first.
    """
    watch = _Watch(receive)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.cancelled:
            raise ClientGone("The client hung up before the answer was ready.") from None
        raise
    finally:
        watch.end()


class _Watch:
    """Cancels the task that makes it when its client hangs up, until the watch is ended."""

    def __init__(self, receive: Receive) -> None:
        self._task = asyncio.current_task()
        self._num_cancels = 0 if self._task is None else self._task.cancelling()
        self._is_gone = False
        self._watcher = asyncio.create_task(_disconnected(receive))
        self._watcher.add_done_callback(self._leave)

    @property
    def cancelled(self) -> bool:
        """Whether the task was cancelled for this; whoever else wants it to end goes first."""
        task = self._task
        return self._is_gone and task is not None and task.cancelling() <= self._num_cancels + 1

    def end(self) -> None:
        """Leave the task alone from now on."""
        self._watcher.cancel()
        if self._is_gone and self._task is not None:
            self._task.uncancel()
        # An error's traceback leads here: what is left would be garbage that only the collector
        # finds, and refusals come by the thousand.
        self._task = None
        del self._watcher

    def _leave(self, _: object) -> None:
        if self._task is not None:
            self._is_gone = True
            self._task.cancel()


class EventStream:
    """One streamed response.

    Nothing is sent before there is something to say, so that an early failure still has its own
    status; but no longer than `keepalive_s`, after which a comment opens the stream.
    """

    def __init__(
        self,
        events: AsyncIterator[Batch],
        encoder: StreamEncoder,
        *,
        keepalive_s: float,
        headers: Callable[[Started | None], Headers],
    ) -> None:
        """`headers` makes the headers that depend on who answers; nobody is known yet for None.

        Needs a running event loop.
        """
        self._events = events
        self._encoder = encoder
        self._keepalive_s = keepalive_s
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._beat: asyncio.Task[None] | None = None
        self._last_sent_s = 0.0
        self._opened = False

    async def respond(self, receive: Receive, send: Send) -> None:
        """Write the response to its end.

        Raises:
            GlimtError: The answer failed before anything was sent.
            ClientGone: The client hung up.
        """
        self._last_sent_s = self._loop.time()
        self._timer = self._loop.call_later(self._keepalive_s, self._ring, send)
        try:
            await until_gone(receive, self._produce(send))
        finally:
            self._timer.cancel()
            if self._beat is not None:
                self._beat.cancel()
                await asyncio.wait([self._beat])

    async def _produce(self, send: Send) -> None:
        encode = self._encoder.encode
        num_events = 0
        async with closing(self._events):
            try:
                async for batch in self._events:
                    # One write for what came at once: it costs as much for one event as for all.
                    data = b"".join([encode(event) for event in batch])
                    if data:
                        await self._write(send, data, batch)
                    num_events += len(batch)
                    if num_events >= YIELD_EVERY:
                        num_events = 0
                        await asyncio.sleep(0)
                data = self._encoder.end()
            except GlimtError as error:
                if not self._opened:
                    raise
                data = self._encoder.fail(error)
            except Exception:
                if not self._opened:
                    raise
                # The request's boundary: half of a response is out, and must not just stop.
                structlog.get_logger().exception("stream.broken")
                data = self._encoder.fail(InternalError("The server failed; this is a bug."))
        await self._write(send, data, last=True)

    async def _write(
        self, send: Send, data: bytes, batch: Batch = (), *, last: bool = False
    ) -> None:
        async with self._lock:
            if not self._opened:
                self._opened = True
                started = next((event for event in batch if isinstance(event, Started)), None)
                headers = [*STREAM_HEADERS, *self._headers(started)]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": data, "more_body": not last})
            self._last_sent_s = self._loop.time()

    def _ring(self, send: Send) -> None:
        """A comment if it was quiet for long; one timer, which is set again as long as it rings."""
        quiet_s = self._loop.time() - self._last_sent_s
        if quiet_s >= self._keepalive_s:
            quiet_s = 0.0
            # Not while something is being written: a slow reader needs no more to read.
            if not self._lock.locked():
                self._beat = asyncio.create_task(self._write(send, sse.KEEPALIVE))
        self._timer = self._loop.call_later(self._keepalive_s - quiet_s, self._ring, send)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
