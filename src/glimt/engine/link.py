"""A gateway process's side of the socket: one connection, whole messages, as they arrive.

Knows bytes and the end of the connection. Knows nothing of requests, nor of reconnecting.
A protocol rather than a stream reader: a message costs no task switch.
"""

import asyncio
from typing import Protocol, cast

from glimt.engine.messages import FromWorker
from glimt.engine.transport import FrameError, reader_of_answers


class LinkListener(Protocol):
    """Who is told; both are called from the event loop and must not block."""

    def receive(self, message: FromWorker) -> None:
        """A whole message arrived."""
        ...

    def link_lost(self) -> None:
        """The connection is gone; called once."""
        ...


class Link(asyncio.Protocol):
    """One connection to the worker.

    Attributes:
        lost: Done when nothing can be sent or read any more; its result says why.
        closed: Done when the socket is closed too.
        writable: Clear while the system takes no more bytes.
    """

    def __init__(self, listener: LinkListener) -> None:
        self._listener = listener
        self._reader = reader_of_answers()
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods without the base class, so that no check can narrow.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._reader.feed(data):
                self._listener.receive(message)
        except FrameError as error:
            self._set_lost(error.message)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_lost(str(exc) if exc else "the worker closed the connection")
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def write(self, frame: bytes) -> None:
        """Send a frame, or nothing when the connection is lost."""
        if self._transport is not None and not self.lost.done():
            self._transport.write(frame)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _set_lost(self, reason: str) -> None:
        self.writable.set()
        if not self.lost.done():
            self.lost.set_result(reason)
            self._listener.link_lost()
