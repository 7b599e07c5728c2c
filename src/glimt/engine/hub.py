"""The worker's side of the socket: many gateway connections, one thread, nothing ever blocks.

Knows how to accept, read whole messages, queue frames and drop who misbehaves. Knows nothing of
what the messages ask for: that is the worker's loop. A connection that does not read what it is
sent is dropped once its buffer is full, because waiting for it would stop everybody else.
"""

import contextlib
import itertools
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from glimt.engine.messages import FromWorker, ToWorker
from glimt.engine.transport import FrameError, encode, reader_of_requests

READ_BYTES: Final = 256 * 1024
MAX_BUFFERED_BYTES: Final = 32 * 2**20
GOODBYE: Final = "the other side closed the connection"


class HubHandler(Protocol):
    """Who is told what happens on the connections. May call `Hub.send` from inside."""

    def opened(self, connection: int) -> None:
        """Somebody connected."""
        ...

    def received(self, connection: int, message: ToWorker) -> None:
        """A whole message arrived."""
        ...

    def closed(self, connection: int) -> None:
        """The other side is gone, or was dropped; nothing more can be sent to it."""
        ...


class _Connection:
    """One gateway process: its socket, the frame that is half here, what it has yet to read."""

    __slots__ = ("frames", "num_buffered", "number", "peer", "reader")

    def __init__(self, number: int, peer: socket.socket) -> None:
        self.number = number
        self.peer = peer
        self.reader = reader_of_requests()
        self.frames: deque[memoryview] = deque()
        self.num_buffered = 0

    def write(self) -> None:
        """Send what the system takes. Raises ConnectionError when the other side is gone."""
        while self.frames:
            frame = self.frames[0]
            try:
                num_sent = self.peer.send(frame)
            except BlockingIOError:
                return
            self.num_buffered -= num_sent
            if num_sent < len(frame):
                self.frames[0] = frame[num_sent:]
                return
            self.frames.popleft()


class Hub:
    """All connections of one worker.

    `poll` reads and writes what is possible and tells the handler. `send` never blocks. Connections
    are numbered from 1 and a number is never used twice.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        handler: HubHandler,
        logger: FilteringBoundLogger,
        wakeup: socket.socket | None = None,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        """`wakeup` ends a `poll` early when bytes arrive on it; they are thrown away."""
        self._listener: socket.socket | None = listener
        self._handler = handler
        self._logger = logger
        self._wakeup = wakeup
        self._max_buffered_bytes = max_buffered_bytes
        self._numbers = itertools.count(1)
        self._connections: dict[int, _Connection] = {}
        self._dropped: dict[int, str] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        if wakeup is not None:
            self._selector.register(wakeup, selectors.EVENT_READ)

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def num_buffered_bytes(self) -> int:
        """Bytes that the system would not take yet, over all connections."""
        return sum(connection.num_buffered for connection in self._connections.values())

    def poll(self, timeout_s: float | None) -> None:
        """Wait up to `timeout_s` (None: for ever) for traffic and handle what is there."""
        self._forget_dropped()
        for key, events in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            elif self._wakeup is not None and key.fileobj is self._wakeup:
                with contextlib.suppress(BlockingIOError):
                    self._wakeup.recv(READ_BYTES)
            else:
                connection: _Connection = key.data
                if events & selectors.EVENT_WRITE:
                    self._write(connection)
                if events & selectors.EVENT_READ and connection.number not in self._dropped:
                    self._read(connection)
        self._forget_dropped()

    def send(self, connection: int, messages: Iterable[FromWorker]) -> None:
        """Queue messages for one connection; nothing happens when it is gone.

        Takes effect at once where the system has room, else in later polls.
        """
        to = self._connections.get(connection)
        if to is None or connection in self._dropped:
            return
        data = b"".join(map(encode, messages))
        to.frames.append(memoryview(data))
        to.num_buffered += len(data)
        if len(to.frames) == 1:
            self._write(to)
        if to.num_buffered > self._max_buffered_bytes:
            self._drop(to, f"it left {to.num_buffered:,} bytes unread")

    def broadcast(self, message: FromWorker) -> None:
        """Queue one message for every connection."""
        for number in tuple(self._connections):
            self.send(number, (message,))

    def stop_accepting(self) -> None:
        """Close the listening socket; the connections stay."""
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def flush(self, timeout_s: float) -> None:
        """Write out what is queued, for at most `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while any(to.frames for to in self._connections.values()):
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return
            self.poll(remaining_s)

    def close(self) -> None:
        """Close every socket. The handler is not told."""
        self.stop_accepting()
        for connection in self._connections.values():
            connection.peer.close()
        self._connections.clear()
        self._selector.close()

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connected, _ = self._listener.accept()
        except OSError as error:
            # The other side hung up in the queue, or we are out of file descriptors.
            self._logger.warning("worker.accept_failed", reason=str(error))
            return
        connected.settimeout(0)
        connection = _Connection(next(self._numbers), connected)
        self._connections[connection.number] = connection
        self._selector.register(connected, selectors.EVENT_READ, connection)
        self._handler.opened(connection.number)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.peer.recv(READ_BYTES)
            if not data:
                self._drop(connection, GOODBYE)
                return
            messages = connection.reader.feed(data)
        except BlockingIOError:
            return
        except FrameError as error:
            self._drop(connection, error.message)
            return
        except ConnectionError:
            self._drop(connection, GOODBYE)
            return
        for message in messages:
            self._handler.received(connection.number, message)

    def _write(self, connection: _Connection) -> None:
        try:
            connection.write()
        except ConnectionError:
            self._drop(connection, GOODBYE)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.frames else 0)
        if self._selector.get_key(connection.peer).events != wanted:
            self._selector.modify(connection.peer, wanted, connection)

    def _drop(self, connection: _Connection, reason: str) -> None:
        """Mark for removal, which waits until no caller is in the middle of using it."""
        self._dropped.setdefault(connection.number, reason)

    def _forget_dropped(self) -> None:
        while self._dropped:
            number, reason = self._dropped.popitem()
            connection = self._connections.pop(number)
            self._selector.unregister(connection.peer)
            connection.peer.close()
            if reason != GOODBYE:
                self._logger.warning("worker.connection_dropped", connection=number, reason=reason)
            self._handler.closed(number)
