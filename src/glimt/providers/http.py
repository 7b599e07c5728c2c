"""The way out: connections that are kept, and only to hosts that are configured.

Knows addresses, time limits, and how a broken connection is said in core's errors. Follows no
redirect, keeps no cookie and reads no proxy variable, so that a key goes nowhere but where it was
meant to; knows no wire format. The bytes of one connection are `glimt.providers.connection`'s.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final

import aiohappyeyeballs
import msgspec
from yarl import URL

from glimt.core.errors import DeadlineExceeded, GlimtError, InternalError, UpstreamError
from glimt.providers.connection import Connection, Cut, NotHttp

CONNECT_S: Final = 5.0
IDLE_S: Final = 90.0
_KEEPALIVE_S: Final = 15.0
"""How long a connection is kept that nobody uses; servers close theirs later, mostly."""
_NEXT_ADDRESS_S: Final = 0.25
"""A name may have addresses that lead nowhere from here: then the next one is tried beside it."""
_DRAIN_S: Final = 0.05


class _Origin(msgspec.Struct, frozen=True):
    scheme: str
    host: str
    port: int


class _Target(msgspec.Struct, frozen=True):
    """An address, as it is connected to and as a request names it."""

    origin: _Origin
    opening: str


class Response:
    """A response whose head is there.

    Attributes:
        status: HTTP's.
        headers: By their lower-case names.
    """

    def __init__(self, connection: Connection, provider: str, idle_s: float) -> None:
        self._connection = connection
        self._provider = provider
        self._idle_s = idle_s
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers

    @property
    def content_type(self) -> str:
        """Without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """More of the body, as it comes; empty at its end.

        Raises:
            UpstreamError: It breaks off, or is none.
            DeadlineExceeded: It is silent for too long.
        """
        try:
            return await self._connection.read(self._idle_s)
        except (OSError, NotHttp) as error:
            raise _broken(error, self._provider) from error

    async def drain(self) -> None:
        """Pass over the end of the body, if it comes at once: else the connection is not kept."""
        if not self._connection.done:
            with contextlib.suppress(OSError, NotHttp):
                async with asyncio.timeout(_DRAIN_S):
                    while await self._connection.read(self._idle_s):
                        pass


class _Exchange:
    """A request and its response: `async with`."""

    def __init__(self, http: "Http", target: _Target, request: bytes, provider: str) -> None:
        self._http = http
        self._target = target
        self._request = request
        self._provider = provider
        self._connection: Connection | None = None

    async def __aenter__(self) -> Response:
        connection = await self._http.ask(self._target, self._request, self._provider)
        if connection.headers.get("content-encoding", "identity").strip().lower() != "identity":
            connection.cut()
            self._http.leave(self._target, connection)
            raise UpstreamError(
                f"{self._provider} packed its answer, unasked.", code="upstream_malformed"
            )
        self._connection = connection
        return Response(connection, self._provider, self._http.idle_s)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._http.leave(self._target, self._connection)


class Http:
    """The connections of one process.

    Args:
        addresses: Base addresses of the places that may be asked; others are refused.
        connect_s: How long name, connection and TLS may take together.
        idle_s: How long a response's body may be silent; how long its head may take is for whoever
            waits for it.
    """

    def __init__(
        self, addresses: Iterable[str], *, connect_s: float = CONNECT_S, idle_s: float = IDLE_S
    ) -> None:
        self._origins = {_origin(URL(address)) for address in addresses}
        self._targets: dict[str, _Target] = {}
        self._connect_s = connect_s
        self.idle_s = idle_s
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[_Origin, deque[tuple[float, Connection]]] = {}
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str], provider: str
    ) -> _Exchange:
        """A response once its head is there; leaving the block early cuts the connection.

        Raises:
            InternalError: The address is not configured.
            UpstreamError: There is no connection, or it broke.
            DeadlineExceeded: A time limit passed.
        """
        target = self._targets.get(url) or self._target(url, provider)
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
            raise InternalError(f"A header for {provider} has a line break in it.")
        head = f"{target.opening}{lines}content-length: {len(body)}\r\n\r\n"
        return _Exchange(self, target, head.encode() + body, provider)

    async def ask(self, target: _Target, request: bytes, provider: str) -> Connection:
        """A connection on which a response has begun. It must be left."""
        connection = self._kept(target.origin)
        if connection is not None:
            try:
                return await self._head(connection, request)
            except OSError as error:
                if connection.heard:
                    raise _broken(error, provider) from error
            # The server had closed a connection that we kept: nobody saw the request.
            except NotHttp as error:
                raise _broken(error, provider) from error
        try:
            async with asyncio.timeout(self._connect_s):
                connection = await self._connect(target.origin)
        except (OSError, UnicodeError) as error:
            raise _unreached(error, provider) from error
        self._open.add(connection)
        try:
            return await self._head(connection, request)
        except (OSError, NotHttp) as error:
            raise _broken(error, provider) from error

    def leave(self, target: _Target, connection: Connection) -> None:
        """Keep a connection for the next one, or cut it."""
        if not connection.leave():
            self._open.discard(connection)
            return
        idle = self._idle.setdefault(target.origin, deque())
        idle.append((time.monotonic(), connection))
        if self._sweeper is None:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(_KEEPALIVE_S, self._sweep)

    async def close(self) -> None:
        """End every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in self._open:
            connection.cut()
        self._open.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # The event loop's turn to close them.

    async def _head(self, connection: Connection, request: bytes) -> Connection:
        connection.ask(request)
        try:
            await connection.head()
        finally:
            if not connection.status:
                connection.cut()
                self._open.discard(connection)
        return connection

    def _kept(self, origin: _Origin) -> Connection | None:
        """The connection that was used last: those that are not needed grow old."""
        idle = self._idle.get(origin)
        oldest_s = time.monotonic() - _KEEPALIVE_S
        while idle:
            since_s, connection = idle.pop()
            if not connection.closed and since_s > oldest_s:
                return connection
            connection.cut()
            self._open.discard(connection)
        return None

    def _sweep(self) -> None:
        """Cut what nobody used for long; come again while there is something."""
        self._sweeper = None
        oldest_s = time.monotonic() - _KEEPALIVE_S
        for idle in self._idle.values():
            while idle and (idle[0][1].closed or idle[0][0] <= oldest_s):
                _, connection = idle.popleft()
                connection.cut()
                self._open.discard(connection)
        if any(self._idle.values()):
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(_KEEPALIVE_S, self._sweep)

    async def _connect(self, origin: _Origin) -> Connection:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        connected = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]  addresses of any family
            infos, happy_eyeballs_delay=_NEXT_ADDRESS_S, loop=loop
        )
        if origin.scheme == "http":
            return (await loop.create_connection(Connection, sock=connected))[1]
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        made = await loop.create_connection(
            Connection, sock=connected, ssl=self._tls, server_hostname=origin.host
        )
        return made[1]

    def _target(self, url: str, provider: str) -> _Target:
        parsed = URL(url)
        origin = _origin(parsed)
        if origin not in self._origins:
            raise InternalError(f"{provider} is not at a configured address.")
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        if not parsed.is_default_port():
            host += f":{origin.port}"
        # What comes is passed on as it comes: unpacking it would cost us, and gain the network.
        opening = (
            f"POST {parsed.raw_path_qs} HTTP/1.1\r\nhost: {host}\r\naccept-encoding: identity\r\n"
        )
        target = self._targets[url] = _Target(origin, opening)
        return target


def _origin(url: URL) -> _Origin:
    return _Origin(url.scheme, url.raw_host or "", url.port or 0)


def _unreached(error: Exception, provider: str) -> GlimtError:
    """Why there is no connection, in our words. Addresses stay out: they may be private."""
    match error:
        case TimeoutError():
            return DeadlineExceeded(
                f"{provider} took no connection in time.", code="upstream_unreachable"
            )
        case socket.gaierror() | UnicodeError():
            why, code = "its name is not known", "upstream_dns"
        case ssl.SSLError():
            why, code = "no safe connection could be made", "upstream_tls"
        case _:
            why, code = "it takes no connection", "upstream_unreachable"
    return UpstreamError(f"{provider} cannot be reached: {why}.", code=code)


def _broken(error: Exception, provider: str) -> GlimtError:
    """How a connection failed, in our words."""
    match error:
        case Cut():
            return UpstreamError(f"{provider} cut the connection.", code="upstream_cut")
        case TimeoutError():
            return DeadlineExceeded(f"{provider} was silent for too long.", code="upstream_silent")
        case NotHttp():
            return UpstreamError(f"{provider} sent what is no HTTP.", code="upstream_malformed")
        case _:
            return UpstreamError(f"{provider} cut the connection.", code="upstream_cut")
