"""The endpoint of every wire format: decode, answer, encode.

Knows HTTP and the codec's interface; what a format looks like is its codec's business.
"""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from glimt.api.auth import TENANT
from glimt.api.http import (
    Headers,
    explain_media_type,
    header,
    read_body,
    send_document,
    warning_headers,
)
from glimt.api.services import Services
from glimt.api.stream import EventStream, until_gone
from glimt.core.errors import ClientGone, GlimtError, InternalError, InvalidRequest
from glimt.core.events import Answer, Batch, Started, collect
from glimt.gateway.closing import closing
from glimt.wire.codec import Call, Codec, ErrorBody, StreamEncoder, client_warnings
from glimt.wire.sampling import check_deadline

DEADLINE_HEADER: Final = "x-glimt-deadline-s"
ROUTE_HEADER: Final = "x-glimt-route"
INTERNAL: Final = "The server failed; this is a bug. Its log has the details."


class AnswerEndpoint:
    """An ASGI application that answers in one wire format.

    A format that needs more than its codec overrides `read`, `prepare`, `respond`, `document` and
    `encoded`.
    """

    def __init__(self, codec: Codec, services: Services) -> None:
        self._codec = codec
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call | None = None
        try:
            body = await read_body(scope, receive, self._services.settings.max_body_bytes)
            since_s = self._services.clock.monotonic()
            call = await self.prepare(self._decode(scope, body), scope)
            await self.respond(call, receive, send, since_s=since_s)
        except ClientGone:
            return
        except GlimtError as error:
            await send_error(send, self._codec, error, call)
        except Exception:  # noqa: BLE001  logged with its traceback
            # The request's boundary: whatever it is, the client gets an error and the log the rest.
            structlog.get_logger().exception("endpoint.failed")
            await send_error(send, self._codec, InternalError(INTERNAL), call)

    def _decode(self, scope: Scope, body: bytes) -> Call:
        try:
            return self.read(body)
        except InvalidRequest as error:
            raise explain_media_type(scope, body, error) from None

    def read(self, body: bytes) -> Call:
        """A body as a call. Raises InvalidRequest with the client's name of the field at fault."""
        return self._codec.decode(body)

    async def prepare(self, call: Call, scope: Scope) -> Call:
        """The call, with what HTTP says beside the body: whose it is, and until when."""
        tenant: str = scope.get(TENANT, "")
        limits = [call.request.deadline_s, _deadline(scope), self._services.settings.max_answer_s]
        deadline_s = min((limit for limit in limits if limit is not None), default=None)
        if not tenant and deadline_s == call.request.deadline_s:
            return call
        requests = tuple(
            msgspec.structs.replace(request, tenant=tenant, deadline_s=deadline_s)
            for request in call.requests
        )
        return msgspec.structs.replace(call, requests=requests)

    async def respond(self, call: Call, receive: Receive, send: Send, *, since_s: float) -> None:
        """What is done with a call: it is answered, at once or as a stream."""
        answering = self._stream if call.stream else self._unary
        await answering(call, receive, send, since_s=since_s)

    async def _unary(self, call: Call, receive: Receive, send: Send, *, since_s: float) -> None:
        answer = await until_gone(receive, self._collect(call, since_s))
        body = await self.document(call, answer)
        headers = _answer_headers(call, answer.warnings)(answer.started)
        await send_document(send, 200, body, headers=headers)

    async def _collect(self, call: Call, since_s: float) -> Answer:
        events = self._services.gateway.answer_all(call.requests, since_s=since_s)
        async with closing(events):
            return await collect(events)

    async def document(self, call: Call, answer: Answer) -> bytes:
        """The whole answer as it is sent."""
        return self._codec.unary(call, answer)

    def encoded(
        self, call: Call, events: AsyncIterator[Batch]
    ) -> tuple[AsyncIterator[Batch], StreamEncoder]:
        """A stream's events, and what encodes them."""
        return events, self._codec.stream(call)

    async def _stream(self, call: Call, receive: Receive, send: Send, *, since_s: float) -> None:
        answer = self._services.gateway.answer_all(call.requests, since_s=since_s)
        events, encoder = self.encoded(call, answer)
        stream = EventStream(
            events,
            encoder,
            keepalive_s=self._services.settings.keepalive_s,
            headers=_answer_headers(call),
        )
        await stream.respond(receive, send)


class ErrorCodec(Protocol):
    """The part of a codec that errors need."""

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        """An error that came before any of the answer. `call` is None when it was not decoded."""
        ...


async def send_error(send: Send, codec: ErrorCodec, error: GlimtError, call: Call | None) -> None:
    """An error as a response."""
    document = codec.error(error, call)
    warnings: Any = warning_headers(call.warnings) if call is not None else []
    await send_document(
        send, document.status, document.body, headers=[*error_headers(error), *warnings]
    )


def error_headers(error: GlimtError) -> Headers:
    """Who was tried, and when to try again, rounded up to the header's whole seconds."""
    headers = _route_header(error.route)
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    return headers


def _route_header(route: Sequence[str]) -> Headers:
    """`x-glimt-route`: who was tried in vain, each with why, then who answers."""
    if not route:
        return []
    return [(ROUTE_HEADER.encode(), ", ".join(route).encode("ascii", "replace"))]


def _deadline(scope: Scope) -> float | None:
    """What `x-glimt-deadline-s` says. Raises InvalidRequest when it is no such number."""
    given = header(scope, DEADLINE_HEADER.encode())
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    return check_deadline(seconds, DEADLINE_HEADER)


def _answer_headers(call: Call, late: Sequence[str] = ()) -> Callable[[Started | None], Headers]:
    """Model, route and warnings, as far as they are known when headers are sent."""

    def headers(started: Started | None) -> Headers:
        warnings = list(call.warnings)
        if started is None:
            return warning_headers(warnings)
        warnings += client_warnings((*started.warnings, *late), call.names)
        model = started.model if started.model.isprintable() else ascii(started.model)
        return [
            (b"x-glimt-model", model.encode("ascii", "replace")),
            *_route_header(started.route or (started.provider,)),
            *warning_headers(warnings),
        ]

    return headers
