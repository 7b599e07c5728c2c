"""The way out: one HTTP session for a process, and only to hosts that are configured.

Knows connections, their time limits, and how a broken one is said in core's errors. Follows no
redirect and reads no proxy variable, so that a key goes nowhere but where it was meant to; knows no
wire format.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from glimt.core.errors import DeadlineExceeded, GlimtError, InternalError, UpstreamError

CONNECT_S: Final = 5.0
IDLE_S: Final = 90.0
_KEEPALIVE_S: Final = 15.0


class Http:
    """A session, made when it is first used.

    Args:
        addresses: Base addresses of the places that may be asked; others are refused.
        connect_s: How long name, connection and TLS may take together.
        idle_s: How long a response's body may be silent; how long its head may take is for whoever
            waits for it.
    """

    def __init__(
        self, addresses: Iterable[str], *, connect_s: float = CONNECT_S, idle_s: float = IDLE_S
    ) -> None:
        self._origins = {_origin(address) for address in addresses}
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s)
        self._idle_s = idle_s
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str], provider: str
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """A response once its head is there; leaving the block early cuts the connection.

        Errors of reading it inside the block are turned into ours too.

        Raises:
            UpstreamError: There is no connection, or it broke.
            DeadlineExceeded: A time limit passed.
        """
        if _origin(url) not in self._origins:
            raise InternalError(f"{provider} is not at a configured address.")
        try:
            response = await self._open(url, body, headers)
            async with response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise broken(error, provider) from error

    async def pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
        """A response's body as it comes. Raises TimeoutError when it is silent for too long."""
        while True:
            async with asyncio.timeout(self._idle_s):
                piece = await response.content.readany()
            if not piece:
                return
            yield piece

    async def close(self) -> None:
        """End every connection."""
        if self._session is not None:
            await self._session.close()

    async def _open(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        context = SimpleNamespace(reused=False)
        try:
            return await self._send(url, body, headers, context)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not context.reused:
                raise
        # The server had closed a connection that we kept: nobody saw the request.
        return await self._send(url, body, headers, context)

    async def _send(
        self, url: str, body: bytes, headers: Mapping[str, str], context: SimpleNamespace
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = self._new_session()
        return await self._session.post(
            url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=context
        )

    def _new_session(self) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            timeout=self._timeout,
            trace_configs=[trace],
            cookie_jar=aiohttp.DummyCookieJar(),
        )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


async def _note_reuse(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    context.trace_request_ctx.reused = True


def broken(error: Exception, provider: str) -> GlimtError:  # noqa: PLR0911  one for each
    """A connection's failure in our words. Addresses stay out of it: they may be private."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return _unreachable(provider, "its name is not known", "upstream_dns")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError() | ssl.SSLError():
            return _unreachable(provider, "no safe connection could be made", "upstream_tls")
        case aiohttp.ClientConnectorError():
            return _unreachable(provider, "it takes no connection", "upstream_unreachable")
        case aiohttp.ConnectionTimeoutError():
            return DeadlineExceeded(
                f"{provider} took no connection in time.", code="upstream_unreachable"
            )
        case asyncio.TimeoutError():
            return DeadlineExceeded(f"{provider} was silent for too long.", code="upstream_silent")
        case aiohttp.ClientResponseError():
            return UpstreamError(f"{provider} sent what is no HTTP.", code="upstream_malformed")
        case _:
            return UpstreamError(f"{provider} cut the connection.", code="upstream_cut")


def _unreachable(provider: str, why: str, code: str) -> UpstreamError:
    return UpstreamError(f"{provider} cannot be reached: {why}.", code=code)
