"""A place elsewhere that speaks chat completions.

Always asks for a stream, so that a place that does not answer is found out early; understands a
whole answer too. Client gone is connection cut, which ends the work there. Knows the catalog's row
of the place and its keys, which go into one header and nowhere else.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

import aiohttp
import msgspec

from glimt.catalog.types import ProviderRow
from glimt.core.clock import Clock
from glimt.core.errors import GlimtError, UnsupportedParameter, UpstreamError
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallStarted,
)
from glimt.core.provider import ModelInfo
from glimt.core.request import Request
from glimt.providers.http import Http
from glimt.providers.raw import RawReader
from glimt.providers.refusals import complaint, document_of, malformed, refusal, retry_after
from glimt.providers.spelling import spelled
from glimt.wire.chat_completions.asking import encode_request
from glimt.wire.chat_completions.reading import DONE, ChunkDecoder
from glimt.wire.sse import EventDecoder

MAX_EVENT: Final = 4 * 2**20
"""Bytes of one event; a tool call's arguments may come in one."""
MAX_ANSWER: Final = 64 * 2**20
"""Bytes of an answer: a model's longest is a hundredth of it, an endless one is cut here."""
MAX_ERROR: Final = 64 * 2**10
_DRAIN_S: Final = 0.05


class RemoteProvider:
    """One place.

    Args:
        row: Where it is and how it is spoken to.
        http: The way out.
        keys: Used in turn; none sends no key.
        models: What it serves, by its own names.
    """

    def __init__(
        self,
        row: ProviderRow,
        http: Http,
        *,
        clock: Clock,
        keys: Sequence[str] = (),
        models: tuple[ModelInfo, ...] = (),
    ) -> None:
        self._row = row
        self._http = http
        self._clock = clock
        self._secrets = tuple(keys)
        self._keys = itertools.cycle(keys) if keys else None
        self._models = models

    @property
    def name(self) -> str:
        """The catalog's slug."""
        return self._row.slug

    def models(self) -> tuple[ModelInfo, ...]:
        """As the catalog has them; nobody is asked."""
        return self._models

    async def answer(self, request: Request) -> AsyncIterator[Event]:
        """Ask. `request.model` is the place's own name of it.

        Raises:
            UnsupportedParameter: The request has no form in this format.
            GlimtError: It refused, broke off, or answered what is no answer.
        """
        asked, warnings = spelled(request, self._row)
        body = encode_request(asked, stream=True)
        url = f"{self._row.base_url.rstrip('/')}/chat/completions"
        async with self._http.post(
            url, body, headers=self._headers(), provider=self.name
        ) as response:
            if response.status != 200:
                raise await self._refused(response)
            async with contextlib.aclosing(self._events(response, request)) as events:
                async for event in events:
                    if isinstance(event, Started) and warnings:
                        yield msgspec.structs.replace(event, warnings=warnings)
                    else:
                        yield event

    async def count_tokens(self, request: Request) -> int:  # noqa: ARG002  whatever is asked
        """Raises UnsupportedParameter: chat completions have no way to ask."""
        raise UnsupportedParameter(f"{self.name} counts no tokens ahead of an answer.")

    async def close(self) -> None:
        """Nothing is held here; connections are the session's."""

    def _headers(self) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            **self._row.headers,
        }
        if self._keys is not None and self._row.auth != "none":
            key = next(self._keys)
            if self._row.auth == "bearer":
                headers["authorization"] = f"Bearer {key}"
            else:
                headers["x-api-key"] = key
        return headers

    async def _refused(self, response: aiohttp.ClientResponse) -> GlimtError:
        document = document_of(await self._read(response, MAX_ERROR))
        wait_s = retry_after(response.headers, self._clock.now())
        said = complaint(response.status, document, retry_after_s=wait_s)
        return refusal(said, self.name, self._secrets)

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        """At most `limit` bytes."""
        pieces: list[bytes] = []
        left = limit
        async for piece in self._http.pieces(response):
            pieces.append(piece[:left])
            left -= len(piece)
            if left <= 0:
                break
        return b"".join(pieces)

    async def _events(
        self, response: aiohttp.ClientResponse, request: Request
    ) -> AsyncGenerator[Event]:
        decoder = ChunkDecoder(provider=self.name, model=request.model)
        match response.content_type:
            case "text/event-stream":
                events = self._streamed(response, decoder)
            case "application/json":
                events = self._whole(response, decoder)
            case other:
                raise malformed(self.name, f"{other[:80]!r} in place of an answer")
        check = _Grammar(self.name, request.num_choices, continues=request.continues)
        raw = None
        if self._row.quirks == "transformers":
            raw = RawReader(request.tools, thinking=request.thinking.enabled is not False)
        async with contextlib.aclosing(events):
            async for event in events:
                for one in (event,) if raw is None else raw.read(event):
                    check.see(one)
                    yield one

    async def _whole(
        self, response: aiohttp.ClientResponse, decoder: ChunkDecoder
    ) -> AsyncGenerator[Event]:
        body = await self._read(response, MAX_ANSWER)
        if len(body) >= MAX_ANSWER:
            raise malformed(self.name, "an answer without end")
        self._look_for_error(body)
        try:
            events = decoder.whole(body)
        except UpstreamError as error:
            raise malformed(self.name, "what is no answer") from error
        for event in events:
            yield event

    async def _streamed(
        self, response: aiohttp.ClientResponse, decoder: ChunkDecoder
    ) -> AsyncGenerator[Event]:
        frames = EventDecoder()
        num_bytes = 0
        async for piece in self._http.pieces(response):
            num_bytes += len(piece)
            for frame in frames.feed(piece):
                if frame.event == "error" or '"error"' in frame.data:
                    self._look_for_error(frame.data.encode(), certain=frame.event == "error")
                for event in self._fed(decoder, frame.data):
                    yield event
                if frame.data == DONE:
                    await _drain(response)
                    return
            if frames.num_held > MAX_EVENT:
                raise malformed(self.name, "a line without end")
            if num_bytes > MAX_ANSWER:
                raise malformed(self.name, "an answer without end")
        try:
            events = decoder.end()
        except UpstreamError as error:
            raise self._cut() from error
        for event in events:
            yield event

    def _cut(self) -> UpstreamError:
        return UpstreamError(f"{self.name} broke off its answer.", code="upstream_cut")

    def _fed(self, decoder: ChunkDecoder, data: str) -> list[Event]:
        try:
            return decoder.feed(data)
        except UpstreamError as error:
            raise malformed(self.name, "what is no answer") from error

    def _look_for_error(self, body: bytes, *, certain: bool = False) -> None:
        """An error in place of an answer, or in the middle of one. Raises it."""
        document = document_of(body)
        if not isinstance(document, dict):
            return
        is_bare = "choices" not in document and "message" in document
        if certain or document.get("error") or is_bare:  # pyright: ignore[reportUnknownMemberType]
            raise refusal(complaint(200, document), self.name, self._secrets)  # pyright: ignore[reportUnknownArgumentType]


class _Grammar:
    """Whether what comes is an answer. Raises UpstreamError where it is not."""

    def __init__(self, provider: str, num_choices: int, *, continues: bool) -> None:
        self._provider = provider
        self._num_choices = num_choices
        self._num_finished = 0
        # What was begun elsewhere may be whole already.
        self._said_something = continues

    def see(self, event: Event) -> None:
        match event:
            case TextDelta() | ReasoningDelta() | ToolCallStarted():
                self._said_something = True
            case ChoiceFinished(reason="error"):
                raise UpstreamError(
                    f"{self._provider} ended its answer with an error.", code="upstream_error"
                )
            case ChoiceFinished(reason=reason):
                self._num_finished += 1
                # A filter, or a limit on tokens, explains that there is nothing.
                self._said_something |= reason in ("content_filter", "length")
            case Finished() if self._num_finished < self._num_choices:
                raise UpstreamError(f"{self._provider} broke off its answer.", code="upstream_cut")
            case Finished() if not self._said_something:
                raise UpstreamError(
                    f"{self._provider} answered with nothing.", code="upstream_empty"
                )
            case _:
                pass


async def _drain(response: aiohttp.ClientResponse) -> None:
    """The end of the body, if it is there: only a connection that was read out can be kept."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            await response.content.read(MAX_ERROR)
