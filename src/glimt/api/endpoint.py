"""The endpoint of every wire format: decode, answer, encode.

Knows HTTP and the codec's interface; what a format looks like is its codec's business.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import structlog
from starlette.types import Receive, Scope, Send

from glimt.api.http import (
    Headers,
    explain_media_type,
    read_body,
    send_document,
    warning_headers,
)
from glimt.api.services import Services
from glimt.api.stream import EventStream, until_gone
from glimt.core.errors import ClientGone, GlimtError, InternalError, InvalidRequest
from glimt.core.events import Answer, Started, collect
from glimt.gateway.closing import closing
from glimt.wire.codec import Call, Codec, client_warnings

INTERNAL: Final = "The server failed; this is a bug. Its log has the details."


class AnswerEndpoint:
    """An ASGI application that answers in one wire format."""

    def __init__(self, codec: Codec, services: Services) -> None:
        self._codec = codec
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call | None = None
        try:
            call = await self._decode(scope, receive)
            if call.stream:
                await self._stream(call, receive, send)
            else:
                await self._unary(call, receive, send)
        except ClientGone:
            return
        except GlimtError as error:
            await send_error(send, self._codec, error, call)
        except Exception:  # noqa: BLE001  logged with its traceback
            # The request's boundary: whatever it is, the client gets an error and the log the rest.
            structlog.get_logger().exception("endpoint.failed")
            await send_error(send, self._codec, InternalError(INTERNAL), call)

    async def _decode(self, scope: Scope, receive: Receive) -> Call:
        body = await read_body(scope, receive, self._services.settings.max_body_bytes)
        try:
            return self._codec.decode(body)
        except InvalidRequest as error:
            raise explain_media_type(scope, error) from None

    async def _unary(self, call: Call, receive: Receive, send: Send) -> None:
        answer = await until_gone(receive, self._collect(call))
        body = self._codec.unary(call, answer)
        await send_document(send, 200, body, headers=_answer_headers(call)(answer.started))

    async def _collect(self, call: Call) -> Answer:
        events = self._services.gateway.answer_all(call.requests)
        async with closing(events):
            return await collect(events)

    async def _stream(self, call: Call, receive: Receive, send: Send) -> None:
        stream = EventStream(
            self._services.gateway.answer_all(call.requests),
            self._codec.stream(call),
            keepalive_s=self._services.settings.keepalive_s,
            headers=_answer_headers(call),
        )
        await stream.respond(receive, send)


async def send_error(send: Send, codec: Codec, error: GlimtError, call: Call | None) -> None:
    """An error as a response."""
    document = codec.error(error, call)
    warnings: Any = warning_headers(call.warnings) if call is not None else []
    await send_document(
        send, document.status, document.body, headers=[*error_headers(error), *warnings]
    )


def error_headers(error: GlimtError) -> Headers:
    """When to try again, rounded up to the whole seconds that the header has."""
    if error.retry_after_s is None:
        return []
    return [(b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s)))]


def _answer_headers(call: Call) -> Callable[[Started | None], Headers]:
    """`x-glimt-model` and `x-glimt-warnings`, as far as they are known when headers are sent."""

    def headers(started: Started | None) -> Headers:
        warnings = list(call.warnings)
        if started is None:
            return warning_headers(warnings)
        warnings += client_warnings(started.warnings, call.names)
        model = started.model if started.model.isprintable() else ascii(started.model)
        return [(b"x-glimt-model", model.encode("ascii", "replace")), *warning_headers(warnings)]

    return headers
