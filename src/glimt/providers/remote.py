"""A place elsewhere, asked over HTTP in the format that its row names (`glimt.providers.wires`).

Always asks for a stream, so that a place that does not answer is found out early; understands a
whole answer too. Client gone is connection cut, which ends the work there. Knows the catalog's row
of the place and its keys, which go into one header and nowhere else.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from glimt.catalog.types import ProviderRow
from glimt.core.clock import Clock
from glimt.core.errors import GlimtError, UnsupportedParameter
from glimt.core.events import Batch, Event
from glimt.core.provider import ModelInfo
from glimt.core.request import Request
from glimt.providers.http import Http, Response
from glimt.providers.keys import NO_LIMITS, Key, Keys
from glimt.providers.raw import RawReader
from glimt.providers.reading import MAX_ANSWER, Reading
from glimt.providers.refusals import complaint, document_of, malformed, refusal, retry_after
from glimt.providers.spelling import spelled
from glimt.providers.wires import WIRES

MAX_ERROR: Final = 64 * 2**10


class _Count(msgspec.Struct):
    input_tokens: int


_COUNT: Final = msgspec.json.Decoder(_Count)


class RemoteProvider:
    """One place.

    Args:
        row: Where it is and how it is spoken to.
        http: The way out.
        keys: Used in turn (`glimt.providers.keys`); none sends no key.
        limits: The most requests at once for each key, by its own names of models.
        models: What it serves, by its own names.
    """

    def __init__(
        self,
        row: ProviderRow,
        http: Http,
        *,
        clock: Clock,
        keys: Sequence[str] = (),
        limits: Mapping[str, int] = NO_LIMITS,
        models: tuple[ModelInfo, ...] = (),
    ) -> None:
        self._row = row
        self._wire = WIRES[row.wire]
        self._url = row.base_url.rstrip("/") + self._wire.path
        self._http = http
        self._clock = clock
        self._secrets = tuple(keys)
        self._keys = Keys(row.slug, keys, clock=clock, limits=limits)
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
        body = self._wire.encode(self._limited(asked))
        async with self._post(self._url, body, request.model) as response:
            raw = None
            if self._row.quirks == "transformers":
                raw = RawReader(request.tools, thinking=request.thinking.enabled is not False)
            reading = Reading(
                self.name, self._wire, request, warnings, secrets=self._secrets, raw=raw
            )
            match response.content_type:
                case "text/event-stream":
                    while not reading.is_over and (piece := await response.read()):
                        batch: list[Event] = []
                        try:
                            reading.feed(piece, batch)
                        except GlimtError:
                            # What came before it came.
                            yield batch
                            raise
                        yield batch
                    if not reading.is_over:
                        yield reading.end()
                    await response.drain()
                case "application/json":
                    yield reading.whole(await self._read(response, MAX_ANSWER))
                case other:
                    raise malformed(self.name, f"{other[:80]!r} in place of an answer")

    async def count_tokens(self, request: Request) -> int:
        """Ask how many there would be.

        Raises:
            UnsupportedParameter: Its format has no way to ask.
            GlimtError: It refused, or broke off.
        """
        if self._wire.encode_count is None:
            raise UnsupportedParameter(f"{self.name} counts no tokens ahead of an answer.")
        body = self._wire.encode_count(spelled(request, self._row)[0])
        async with self._post(f"{self._url}/count_tokens", body, request.model) as response:
            counted = await self._read(response, MAX_ERROR)
        try:
            return _COUNT.decode(counted).input_tokens
        except msgspec.DecodeError as error:
            raise malformed(self.name, "what is no count") from error

    async def close(self) -> None:
        """Nothing is held here; connections are the session's."""

    def _limited(self, request: Request) -> Request:
        """With a limit of tokens, where the format wants one: no more than the model gives."""
        limit = self._wire.usual_limit
        if limit is None or request.sampling.max_tokens is not None:
            return request
        given = next((m.max_output_tokens for m in self._models if m.id == request.model), limit)
        sampling = msgspec.structs.replace(request.sampling, max_tokens=min(limit, given))
        return msgspec.structs.replace(request, sampling=sampling)

    @asynccontextmanager
    async def _post(self, url: str, body: bytes, model: str) -> AsyncGenerator[Response]:
        """What is not refused, by whichever key that is; one that is refused rests by itself."""
        given = False
        while True:
            key = await self._keys.take(model)
            try:
                async with self._http.post(
                    url, body, headers=self._headers(key), provider=self.name
                ) as response:
                    if response.status != 200:
                        raise await self._refused(response)
                    given = True
                    yield response
                    return
            except GlimtError as error:
                if not self._keys.failed(key, model, error) or given:
                    raise
            finally:
                self._keys.give_back(key, model)

    def _headers(self, key: Key) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            **self._wire.headers,
            **self._row.headers,
        }
        if key.secret is not None and self._row.auth != "none":
            if self._row.auth == "bearer":
                headers["authorization"] = f"Bearer {key.secret}"
            else:
                headers["x-api-key"] = key.secret
        return headers

    async def _refused(self, response: Response) -> GlimtError:
        document = document_of(await self._read(response, MAX_ERROR))
        wait_s = retry_after(response.headers, self._clock.now())
        said = complaint(response.status, document, retry_after_s=wait_s)
        return refusal(said, self.name, self._secrets)

    async def _read(self, response: Response, limit: int) -> bytes:
        """At most `limit` bytes."""
        pieces: list[bytes] = []
        left = limit
        while left > 0 and (piece := await response.read()):
            pieces.append(piece[:left])
            left -= len(piece)
        return b"".join(pieces)
