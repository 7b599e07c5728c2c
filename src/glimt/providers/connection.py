"""One connection to a server, and on it one exchange at a time: HTTP/1.1 from the client's side.

Knows bytes, heads and bodies. What is read is held until it is asked for, and no more of it is
taken when much is held. Knows no address and no pool (`glimt.providers.http`), follows nothing, and
unpacks nothing. The parser is httptools', as on the server's side.
"""

import asyncio
from typing import Final, cast

import httptools

MAX_HELD: Final = 2**18
"""Bytes that nobody asked for yet; from here on the server has to wait."""
MAX_HEAD: Final = 2**16
"""Bytes of a response's head."""


class Cut(ConnectionError):
    """The connection ended before the response did."""


class NotHttp(Exception):
    """What came is no response."""


class Connection(asyncio.Protocol):
    """A connection that is open, or was.

    Attributes:
        status: Of the response under way; 0 before its head is there.
        headers: Its headers by their lower-case names; of several, the last.
        heard: Something of it came.
        done: It is whole; so it is before the first request.
        used: There was an exchange before the one under way.
        closed: Nothing can be asked here any more.
    """

    def __init__(self) -> None:
        """Needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since_s = 0.0
        self._pieces: list[bytes] = []
        self._num_held = self._num_head = 0
        self._paused = False
        self._reusable = False
        self._until_end = False
        self._failure: Exception | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.heard = self.used = self.closed = False
        self.done = True

    def ask(self, request: bytes) -> None:
        """Send a request, as it is; the one before must be done."""
        self.status = self._num_head = 0
        self.headers = {}
        self.heard = self.done = self._until_end = False
        assert self._transport is not None
        self._transport.write(request)

    async def head(self) -> None:
        """Wait for `status` and `headers`.

        Raises:
            Cut: There are none.
            NotHttp: It is no head, or has no end.
        """
        while not self.status:
            if self._failure is not None:
                raise self._failure
            await self._news(None)

    async def read(self, limit_s: float) -> bytes:
        """More of the body, all that is there; empty at its end.

        Raises:
            Cut: It breaks off.
            NotHttp: It is no body.
            TimeoutError: There was nothing for `limit_s`, which is the same in every call.
        """
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self.done:
                return b""
            await self._news(limit_s)
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._num_held = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return body

    def leave(self) -> bool:
        """The exchange is over; whether there can be another one. If not, the connection is cut."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        can_go_on = (
            self.done
            and not self.closed
            and self._reusable
            and not self._pieces
            and self._failure is None
        )
        if can_go_on:
            self.used = True
        else:
            self.cut()
        return can_go_on

    def cut(self) -> None:
        """End it, whatever is under way."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class.

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        if self.done:
            # Nobody asked: whatever it is, it must not be taken for the next answer.
            self.cut()
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.done:
                self._failure = NotHttp(str(error))
            self._reusable = False
        if not self.status:
            self._num_head += len(data)
            if self._num_head > MAX_HEAD:
                self._failure = NotHttp("a head without end")
        if self._num_held > MAX_HELD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's."""
        self.closed = True
        self._transport = None
        if not self.done and self._failure is None:
            if self._until_end and exc is None:
                self.done = True
            else:
                self._failure = Cut("the connection ended before the response did")
        self._wake()

    def on_message_begin(self) -> None:
        """Httptools'."""
        if self.done:
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Httptools'."""
        if not self.done:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Httptools'."""
        status = self._parser.get_status_code()
        if self.done or status < 200:
            return
        self.status = status
        self._until_end = (
            "content-length" not in self.headers and "transfer-encoding" not in self.headers
        )

    def on_body(self, body: bytes) -> None:
        """Httptools'."""
        if not self.done:
            self._pieces.append(body)
            self._num_held += len(body)

    def on_message_complete(self) -> None:
        """Httptools'."""
        if self.done:
            return
        if self.status:
            self.done = True
            self._reusable = self._parser.should_keep_alive()
        else:
            self.headers = {}  # Of a word in between (100, 103): the response follows.

    async def _news(self, limit_s: float | None) -> None:
        """Wait until something came, or nothing will.

        One timer for many waits: it is set again only when it rings too early.
        """
        waiter = self._waiter = self._loop.create_future()
        if limit_s is not None:
            self._since_s = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(limit_s, self._ring, limit_s)
        try:
            await waiter
        finally:
            self._waiter = None

    def _ring(self, limit_s: float) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        left_s = self._since_s + limit_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._ring, limit_s)
        else:
            waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
