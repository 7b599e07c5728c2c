"""One chat server, as its client sees it: its models, and an answer as it streams in.

Speaks OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat) with the
`reasoning_content` that GLM servers add. Whatever goes wrong on the way becomes one of our errors
here. Knows nothing of measuring or of terminals.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from glimt.core.errors import GlimtError, InvalidRequest, Unavailable, UpstreamError

_CONNECT_S: Final = 5.0
_MAX_LINE: Final = 2**20


class ChatBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked. Only what differs from the default is sent, so that any server understands."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool | None = None
    stream_options: dict[str, bool] | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    ignore_eos: bool | None = None
    thinking: dict[str, str] | None = None


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What the server counted."""

    prompt: int
    completion: int
    cached: int = 0


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a streamed answer. `tool_call` is the part of a call's name or arguments."""

    text: str = ""
    reasoning: str = ""
    tool_call: str = ""
    finish: str | None = None
    tokens: Tokens | None = None
    model: str = ""

    @property
    def has_output(self) -> bool:
        """Whether the model said anything in it."""
        return bool(self.text or self.reasoning or self.tool_call)


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


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    model: str = ""
    error: _Error | None = None


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
            read_bufsize=_MAX_LINE,
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

    async def stream(self, body: ChatBody) -> AsyncIterator[Piece]:
        """The answer to `body`, event by event. Leaving the loop early hangs up.

        Raises:
            InvalidRequest: The server refuses what was asked.
            Unavailable: Nobody answers at the address.
            UpstreamError: The server failed, before or in the middle of its answer.
        """
        whole = msgspec.structs.replace(body, stream=True, stream_options={"include_usage": True})
        try:
            async with self._session.post(
                f"{self.url}/chat/completions",
                data=msgspec.json.encode(whole),
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
            ) as response:
                await _check(response)
                async for line in response.content:
                    if not line.startswith(b"data:"):
                        continue
                    data = line[5:].strip()
                    if data == b"[DONE]":
                        return
                    yield _piece(data)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, ValueError) as error:
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


def _piece(data: bytes) -> Piece:
    chunk = msgspec.json.decode(data, type=_Chunk)
    if chunk.error is not None:
        raise UpstreamError(chunk.error.message or "The server failed in the middle of its answer.")
    choice = chunk.choices[0] if chunk.choices else _Choice()
    delta = choice.delta
    calls = (call.function for call in delta.tool_calls or ())
    return Piece(
        text=delta.content or "",
        reasoning=delta.reasoning_content or delta.reasoning or "",
        tool_call="".join((call.name or "") + (call.arguments or "") for call in calls),
        finish=choice.finish_reason,
        tokens=_tokens(chunk.usage),
        model=chunk.model,
    )


def _tokens(usage: _Usage | None) -> Tokens | None:
    if usage is None:
        return None
    details = usage.prompt_tokens_details or _PromptDetails()
    return Tokens(
        prompt=usage.prompt_tokens,
        completion=usage.completion_tokens,
        cached=details.cached_tokens or 0,
    )
