"""The wire to one upstream, and everything that can happen on a wire.

A proxy that passes requests on and answers back, byte by byte, in the mood that it is in. The
upstream behind it, real or scripted, is none the wiser. What it never does is to change words
within an answer that stays well-formed: nobody could tell.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from typing import Final

import aiohttp
from aiohttp import web

MOODS: Final = {
    "limited": ("429",),
    "slow": ("hang before headers", "drip", "hang mid-stream"),
    "corrupt": ("HTML page", "502 page", "error body", "no JSON mid-stream", "error mid-stream"),
    "cutting": ("reset before headers", "reset mid-stream", "end mid-stream"),
}
"""What each mood does; one of them to each request, most of the time."""
MIDDLE: Final = "mid-stream"
SHARE: Final = 0.9
RETRY_AFTER_S: Final = 1
LONGEST_CUT: Final = 5000
"""Bytes: most answers are longer as a stream of events."""
PAGE: Final = "<html><body><h1>502 Bad Gateway</h1></body></html>"
BUSY: Final = {"error": {"message": "try again later", "code": 503}}


class Wire:
    """One wire.

    Attributes:
        mood: A key of MOODS, or "fine".
        faults: What was done, and how often.
        port: Where it listens.
    """

    def __init__(self, upstream: str, port: int, rng: random.Random) -> None:
        self._upstream = upstream
        self._rng = rng
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._open: set[asyncio.BaseTransport] = set()
        self.mood = "fine"
        self.faults: Counter[str] = Counter()
        self.port = port

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", self._pass)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        # A connection for each request: none is left over from a server that was killed.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        await self.connect()

    async def connect(self) -> None:
        """Take connections."""
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, shutdown_timeout=1)
        await self._site.start()

    async def disconnect(self) -> None:
        """Refuse them, and reset those that are open: the machine behind it is gone."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        for transport in tuple(self._open):
            reset(transport)

    async def close(self) -> None:
        """The end of it."""
        await self.disconnect()
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _fault(self) -> str:
        if self.mood == "fine" or self._rng.random() > SHARE:
            return ""
        return self._rng.choice(MOODS[self.mood])

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._fault()
        if fault and not fault.endswith(MIDDLE):
            self.faults[fault] += 1
        if (refusal := refused(fault)) is not None:
            return refusal
        transport = request.transport
        if transport is None or fault == "reset before headers":
            return reset(transport)
        if fault == "hang before headers":
            await asyncio.sleep(3600)
        self._open.add(transport)
        try:
            return await self._relay(request, body, fault)
        finally:
            self._open.discard(transport)

    async def _relay(self, request: web.Request, body: bytes, fault: str) -> web.StreamResponse:
        """Pass the answer on, until the fault if there is one."""
        assert self._session is not None
        left = self._rng.randrange(LONGEST_CUT) if fault.endswith(MIDDLE) else -1
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        url = f"{self._upstream}/v1/chat/completions"
        try:
            async with self._session.post(url, data=body, headers=headers) as upstream:
                kind = upstream.headers["content-type"]
                response = web.StreamResponse(
                    status=upstream.status, headers={"content-type": kind}
                )
                await response.prepare(request)
                async for piece in upstream.content.iter_any():
                    if fault == "drip":
                        await asyncio.sleep(self._rng.uniform(0.01, 0.2))
                    if 0 <= left < len(piece):
                        self.faults[fault] += 1
                        await response.write(piece[:left])
                        return await break_off(request, response, fault)
                    left -= len(piece) if left >= 0 else 0
                    await response.write(piece)
                return response
        except aiohttp.ClientError:
            return reset(request.transport)  # The upstream was killed.


def refused(fault: str) -> web.Response | None:
    """What is sent in place of an answer, if this is such a fault."""
    match fault:
        case "429":
            after = {"retry-after": str(RETRY_AFTER_S)}
            error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return web.json_response(error, status=429, headers=after)
        case "HTML page":
            return web.Response(text=PAGE, content_type="text/html")
        case "502 page":
            return web.Response(text=PAGE, content_type="text/html", status=502)
        case "error body":
            return web.json_response(BUSY)
        case _:
            return None


async def break_off(
    request: web.Request, response: web.StreamResponse, fault: str
) -> web.StreamResponse:
    """What becomes of a stream in its middle."""
    match fault:
        case "hang mid-stream":
            await asyncio.sleep(3600)
        case "no JSON mid-stream":
            await response.write(b'\n\ndata: {"id": "1", "choices": [{"del\n\n')
        case "error mid-stream":
            await response.write(b'\n\ndata: {"error": {"message": "lost it", "code": 500}}\n\n')
        case "reset mid-stream":
            await asyncio.sleep(0.02)  # A reset throws away what was not read.
            return reset(request.transport)
        case _:
            pass  # An end as of an answer that is whole.
    return response


def reset(transport: asyncio.BaseTransport | None) -> web.Response:
    """Not a goodbye: a reset."""
    if isinstance(transport, asyncio.Transport):
        held: socket.socket = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
