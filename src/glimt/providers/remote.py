"""A place elsewhere, asked over HTTP in the format that its row names (`glimt.providers.wires`).

Always asks for a stream, so that a place that does not answer is found out early; understands a
whole answer too. Client gone is connection cut, which ends the work there. Knows the catalog's row
of the place and its keys, which go into one header and nowhere else.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final, cast

import aiohttp
import msgspec

from glimt.catalog.types import ProviderRow
from glimt.core.clock import Clock
from glimt.core.errors import GlimtError, UnsupportedParameter, UpstreamError
from glimt.core.events import (
    Batch,
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
from glimt.providers.proofs import marked
from glimt.providers.refusals import complaint, document_of, malformed, refusal, retry_after
from glimt.providers.spelling import spelled
from glimt.providers.wires import WIRES, AnswerDecoder
from glimt.wire.sse import EventDecoder, ServerSentEvent

MAX_EVENT: Final = 4 * 2**20
"""Bytes of one event; a tool call's arguments may come in one."""
MAX_ANSWER: Final = 64 * 2**20
"""Bytes of an answer: a model's longest is a hundredth of it, an endless one is cut here."""
MAX_ERROR: Final = 64 * 2**10
_DRAIN_S: Final = 0.05


class _Count(msgspec.Struct):
    input_tokens: int


_COUNT: Final = msgspec.json.Decoder(_Count)


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
        self._wire = WIRES[row.wire]
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

    async def answer(self, request: Request) -> AsyncIterator[Batch]:
        """Ask. `request.model` is the place's own name of it.

        Raises:
            UnsupportedParameter: The request has no form in this format.
            GlimtError: It refused, broke off, or answered what is no answer.
        """
        asked, warnings = spelled(request, self._row)
        body = self._wire.encode(asked)
        async with self._http.post(
            self._url, body, headers=self._headers(), provider=self.name
        ) as response:
            if response.status != 200:
                raise await self._refused(response)
            async with contextlib.aclosing(self._events(response, request)) as events:
                async for batch in events:
                    if warnings and batch and isinstance(started := batch[0], Started):
                        given = (*warnings, *started.warnings)
                        yield [msgspec.structs.replace(started, warnings=given), *batch[1:]]
                    else:
                        yield batch

    async def count_tokens(self, request: Request) -> int:
        """Ask how many there would be.

        Raises:
            UnsupportedParameter: Its format has no way to ask.
            GlimtError: It refused, or broke off.
        """
        if self._wire.encode_count is None:
            raise UnsupportedParameter(f"{self.name} counts no tokens ahead of an answer.")
        body = self._wire.encode_count(spelled(request, self._row)[0])
        async with self._http.post(
            f"{self._url}/count_tokens", body, headers=self._headers(), provider=self.name
        ) as response:
            if response.status != 200:
                raise await self._refused(response)
            counted = await self._read(response, MAX_ERROR)
        try:
            return _COUNT.decode(counted).input_tokens
        except msgspec.DecodeError as error:
            raise malformed(self.name, "what is no count") from error

    async def close(self) -> None:
        """Nothing is held here; connections are the session's."""

    @property
    def _url(self) -> str:
        return self._row.base_url.rstrip("/") + self._wire.path

    def _headers(self) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            **self._wire.headers,
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

    def _events(self, response: aiohttp.ClientResponse, request: Request) -> AsyncGenerator[Batch]:
        decoder = self._wire.decoder(provider=self.name, model=request.model)
        check = _Grammar(self.name, request.num_choices, continues=request.continues)
        match response.content_type:
            case "text/event-stream":
                return self._streamed(response, decoder, check)
            case "application/json":
                return self._whole(response, decoder, check)
            case other:
                raise malformed(self.name, f"{other[:80]!r} in place of an answer")

    async def _whole(
        self, response: aiohttp.ClientResponse, decoder: AnswerDecoder, check: "_Grammar"
    ) -> AsyncGenerator[Batch]:
        body = await self._read(response, MAX_ANSWER)
        if len(body) >= MAX_ANSWER:
            raise malformed(self.name, "an answer without end")
        self._look_for_error(body)
        try:
            events = decoder.whole(body)
        except UpstreamError as error:
            raise malformed(self.name, "what is no answer") from error
        batch: list[Event] = []
        self._add(events, check, batch)
        yield batch

    async def _streamed(
        self, response: aiohttp.ClientResponse, decoder: AnswerDecoder, check: "_Grammar"
    ) -> AsyncGenerator[Batch]:
        frames = EventDecoder()
        num_bytes = 0
        async for piece in self._http.pieces(response):
            num_bytes += len(piece)
            batch: list[Event] = []
            try:
                for frame in frames.feed(piece):
                    if self._take(frame, decoder, check, batch):
                        break
            except GlimtError:
                # What came before it came.
                yield batch
                raise
            yield batch
            if batch and isinstance(batch[-1], Finished):
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
        batch = []
        self._add(events, check, batch)
        yield batch

    def _take(
        self,
        frame: ServerSentEvent,
        decoder: AnswerDecoder,
        check: "_Grammar",
        batch: list[Event],
    ) -> bool:
        """Add a server-sent event's own to the batch; whether that was the end."""
        if frame.event == "error" or '"error"' in frame.data:
            self._look_for_error(frame.data.encode(), certain=frame.event == "error")
        try:
            events = decoder.feed(frame.data)
        except UpstreamError as error:
            raise malformed(self.name, "what is no answer") from error
        self._add(events, check, batch)
        return bool(events) and isinstance(events[-1], Finished)

    def _add(self, events: list[Event], check: "_Grammar", batch: list[Event]) -> None:
        for event in events:
            check.see(event)
            batch.append(marked(event, self.name))

    def _cut(self) -> UpstreamError:
        return UpstreamError(f"{self.name} broke off its answer.", code="upstream_cut")

    def _look_for_error(self, body: bytes, *, certain: bool = False) -> None:
        """An error in place of an answer, or in the middle of one. Raises it."""
        document = document_of(body)
        if not isinstance(document, dict):
            return
        told = cast("dict[str, Any]", document)
        error = told if certain else self._wire.error_in(told)
        if error is not None:
            raise refusal(complaint(200, error), self.name, self._secrets)


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
            while await response.content.read(MAX_ERROR):
                pass
