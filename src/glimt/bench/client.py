"""One chat server, as its client sees it: its models, and an answer as it streams in.

Asks in `core.request`'s terms and answers in `core.events`, by the same chat completions codec that
the server uses. Whatever goes wrong on the way becomes one of our errors here. Knows nothing of
measuring or of terminals.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import aiohttp
import msgspec

from glimt.core.errors import GlimtError, InvalidRequest, Unavailable, UpstreamError
from glimt.core.events import Event, Finished
from glimt.core.request import Request
from glimt.wire.chat_completions.asking import encode_request
from glimt.wire.chat_completions.reading import ChunkDecoder
from glimt.wire.sse import EventDecoder

_CONNECT_S: Final = 5.0


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `GET /v1/models`; the context is in tokens, where the server says so."""

    id: str
    owned_by: str = ""
    context_length: int | None = None
    max_model_len: int | None = None

    @property
    def context(self) -> int | None:
        """The context, in whichever spelling it came."""
        return self.context_length or self.max_model_len


class _Error(msgspec.Struct):
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Error


class _ModelList(msgspec.Struct):
    data: list[Model]


def base_url(address: str) -> str:
    """The address that endpoints are appended to: "http://host:4747" means ".../v1"."""
    address = address.rstrip("/")
    if "://" not in address:
        address = f"http://{address}"
    path = address.split("://", 1)[1].partition("/")[2]
    return address if path else f"{address}/v1"


class ChatServer:
    """A server at `url`, spoken to through one pool of connections; an async context manager."""

    def __init__(self, url: str, *, api_key: str | None = None, max_connections: int = 0) -> None:
        self.url = base_url(url)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._max_connections = max_connections
        self._open: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._open = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=self._max_connections),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open is not None:
            await self._open.close()

    async def models(self) -> list[Model]:
        """What the server offers.

        Raises:
            Unavailable: Nobody answers at the address.
            UpstreamError: The answer is not a list of models.
        """
        try:
            async with self._session.get(f"{self.url}/models") as response:
                await _check(response)
                return msgspec.json.decode(await response.read(), type=_ModelList).data
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise self._ours(error) from error

    async def answer(self, request: Request) -> AsyncIterator[Event]:
        """The answer to `request`, event by event. Leaving the loop early hangs up.

        Raises:
            InvalidRequest: The server refuses what was asked.
            Unavailable: Nobody answers at the address.
            UpstreamError: The server failed, before or in the middle of its answer.
        """
        frames, chunks = EventDecoder(), ChunkDecoder(provider=self.url, model=request.model)
        try:
            async with self._session.post(
                f"{self.url}/chat/completions",
                data=encode_request(request, stream=True),
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
            ) as response:
                await _check(response)
                async for data in response.content.iter_any():
                    for frame in frames.feed(data):
                        for event in chunks.feed(frame.data):
                            yield event
                            if isinstance(event, Finished):
                                return
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._ours(error) from error
        raise UpstreamError("The stream broke off before it was finished.")

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            raise RuntimeError(
                "enter the server's context first: async with ChatServer(…) as server"
            )
        return self._open

    def _ours(self, error: Exception) -> GlimtError:
        if isinstance(error, aiohttp.ClientConnectorError):
            return Unavailable(f"Nobody answers at this address: {self.url}")
        if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
            return InvalidRequest(f"Not an address of a server: {self.url}")
        if isinstance(error, msgspec.DecodeError):
            return UpstreamError(
                f"The server's answer is not what the chat endpoint sends: {error}"
            )
        return UpstreamError(f"The connection broke: {error or type(error).__name__}")


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    raw = await response.read()
    try:
        message = msgspec.json.decode(raw, type=_ErrorBody).error.message
    except msgspec.DecodeError:
        message = raw[:200].decode(errors="replace").strip()
    text = f"{message or response.reason} (HTTP {response.status})"
    raise InvalidRequest(text) if response.status < 500 else UpstreamError(text)
