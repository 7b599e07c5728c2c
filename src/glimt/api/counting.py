"""How many tokens a request would have, without an answer to it.

Knows HTTP and what a format needs for it; each format that counts has its own address.
"""

from typing import Protocol

import structlog
from starlette.types import Receive, Scope, Send

from glimt.api.endpoint import INTERNAL, send_error
from glimt.api.http import explain_media_type, read_body, send_document, warning_headers
from glimt.api.services import Services
from glimt.api.stream import until_gone
from glimt.core.errors import ClientGone, GlimtError, InternalError, InvalidRequest
from glimt.wire.codec import Call, ErrorBody


class CountingCodec(Protocol):
    """A format that counts."""

    def decode_count(self, body: bytes) -> Call:
        """Read what is to be counted. Raises InvalidRequest."""
        ...

    def encode_count(self, num_tokens: int) -> bytes:
        """The count as a document."""
        ...

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        """An error. `call` is None when it was not decoded."""
        ...


class Counting:
    """An ASGI application for one request to count."""

    def __init__(self, codec: CountingCodec, services: Services) -> None:
        self._codec = codec
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call | None = None
        try:
            body = await read_body(scope, receive, self._services.settings.max_body_bytes)
            try:
                call = self._codec.decode_count(body)
            except InvalidRequest as error:
                raise explain_media_type(scope, error) from None
            counting = self._services.gateway.count_tokens(call.request)
            counted = await until_gone(receive, counting)
            headers = warning_headers(call.warnings)
            document = self._codec.encode_count(counted)
            await send_document(send, 200, document, headers=headers)
        except ClientGone:
            return
        except GlimtError as error:
            await send_error(send, self._codec, error, call)
        except Exception:  # noqa: BLE001  logged with its traceback
            # The request's boundary: whatever it is, the client gets an error and the log the rest.
            structlog.get_logger().exception("endpoint.failed")
            await send_error(send, self._codec, InternalError(INTERNAL), call)
