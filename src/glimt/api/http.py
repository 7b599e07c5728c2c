"""The few things that every endpoint does with ASGI: read a body, send a document.

https://asgi.readthedocs.io/en/latest/specs/www.html. Knows no wire format.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec
from starlette.types import Receive, Scope, Send

from glimt.core.errors import (
    ClientGone,
    InvalidRequest,
    RequestTooLarge,
    UnsupportedMediaType,
)

Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
_MAX_WARNING_BYTES: Final = 4096
_MAX_WARNING_CHARACTERS: Final = 300
_FORMS: Final = (b"multipart/", b"application/x-www-form-urlencoded")


def header(scope: Scope, name: bytes) -> bytes | None:
    """A request header's first value; `name` is lower case."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), None)


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole request body.

    Raises:
        RequestTooLarge: It is longer than `max_bytes`; the rest is left to be drained.
        UnsupportedMediaType: It is compressed.
        ClientGone: The client hung up before the end.
    """
    encoding = header(scope, b"content-encoding")
    if encoding not in (None, b"", b"identity"):
        raise UnsupportedMediaType(
            f"A body with content-encoding {_latin(encoding)} is not understood; send it as it is."
        )
    length = header(scope, b"content-length")
    if length is not None and int(length) > max_bytes:
        raise _too_large(max_bytes)
    pieces: list[bytes] = []
    num_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client hung up while it sent its request.")
        piece: bytes = message.get("body", b"")
        num_bytes += len(piece)
        if num_bytes > max_bytes:
            raise _too_large(max_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def explain_media_type(
    scope: Scope, body: bytes, error: InvalidRequest
) -> InvalidRequest | UnsupportedMediaType:
    """A body that is no JSON may have been meant as something else; then say so.

    Any content type is fine as long as the body is JSON: `curl -d` calls it a form, and what opens
    like an object was meant as one.
    """
    if body.lstrip()[:1] == b"{":
        return error
    kind = header(scope, b"content-type") or b""
    if error.code == "invalid_json" and kind.startswith(_FORMS):
        return UnsupportedMediaType(
            f"The body is {_latin(kind)}; send JSON with content-type application/json."
        )
    return error


async def send_document(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = JSON,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """A whole response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def warning_headers(warnings: Sequence[str]) -> Headers:
    """`x-glimt-warnings`: a JSON list of sentences, in ASCII and no longer than proxies allow."""
    if not warnings:
        return []
    distinct = [warning[:_MAX_WARNING_CHARACTERS] for warning in dict.fromkeys(warnings)]
    shown = distinct
    num_shown = len(distinct)
    while len(value := _ascii_json(shown)) > _MAX_WARNING_BYTES:
        num_shown //= 2
        shown = [*distinct[:num_shown], f"and {len(distinct) - num_shown} more"]
    return [(b"x-glimt-warnings", value)]


def _ascii_json(value: list[str]) -> bytes:
    text = msgspec.json.encode(value).decode()
    if text.isascii() and text.isprintable():
        return text.encode()
    units = text.encode("utf-16-be", "surrogatepass")
    codes = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    return "".join(chr(c) if c < 0x7F else f"\\u{c:04x}" for c in codes).encode()


def _latin(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The request is larger than {max_bytes} bytes, the limit of this server "
        "(http.max_body_bytes)."
    )
