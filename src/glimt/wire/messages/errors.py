"""Errors in Anthropic's shape: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

https://docs.claude.com/en/api/errors. Its clients choose a class, and whether to try again, by the
status and the type; the field at fault is named in the message alone.
"""

from typing import Final, Literal

import msgspec

from glimt.core import errors
from glimt.core.errors import GlimtError
from glimt.wire.codec import Call, ErrorBody, client_message, client_name, json_object

_TYPES: Final[tuple[tuple[type[GlimtError], str, int | None], ...]] = (
    (errors.Unauthenticated, "authentication_error", 401),
    (errors.PaymentRequired, "billing_error", 402),
    (errors.Forbidden, "permission_error", 403),
    (errors.NotFound, "not_found_error", 404),
    (errors.RequestTooLarge, "request_too_large", 413),
    (errors.RequestError, "invalid_request_error", None),
    (errors.Overloaded, "overloaded_error", 529),
    (errors.RateLimited, "rate_limit_error", 429),
    (errors.Unavailable, "overloaded_error", 529),
    (errors.DeadlineExceeded, "timeout_error", 504),
)
"""Type and status of an error: those of the first class it belongs to, with the error's own status
where there is none here. Anything else is an `api_error`."""
_API_ERROR: Final = ("api_error", 500)
STATUSES: Final[dict[type[GlimtError], int]] = {errors.Unavailable: 529, errors.UpstreamError: 500}
"""Where a status is not the error's own; an `Overloaded` is told of with `Unavailable`."""

_CLASSES: Final[dict[str, type[GlimtError]]] = {
    "invalid_request_error": errors.InvalidRequest,
    "authentication_error": errors.Unauthenticated,
    "billing_error": errors.PaymentRequired,
    "permission_error": errors.Forbidden,
    "not_found_error": errors.NotFound,
    "request_too_large": errors.RequestTooLarge,
    "rate_limit_error": errors.RateLimited,
    "overloaded_error": errors.Overloaded,
    "timeout_error": errors.DeadlineExceeded,
}


_FORMS: Final = ("output_config", "output_format")
_STRICT: Final = ", or set strict to false"
"""A way out that other formats have; a schema for the answer is always strict in this one."""


class ErrorDetail(msgspec.Struct):
    """What went wrong."""

    type: str
    message: str


class ErrorDocument(msgspec.Struct):
    """The body of an error response, and the data of the last event of a broken stream."""

    type: Literal["error"]
    error: ErrorDetail
    request_id: str | None = None


def error_body(error: GlimtError, call: Call | None, request_id: str | None = None) -> ErrorBody:
    """A response; `request_id` is what its header calls the request."""
    _, status = _type_and_status(error)
    return ErrorBody(status=status, body=json_object(error_document(error, call, request_id)))


def error_document(
    error: GlimtError, call: Call | None, request_id: str | None = None
) -> ErrorDocument:
    """The error; its message opens with the client's name of the field at fault."""
    message, param = error.message, error.param
    if param is not None:
        names = {} if call is None else call.names
        message, param = client_message(error, names), client_name(param, names)
        if param not in message:
            message = _named(message, param)
        if param.startswith(_FORMS):
            message = message.replace(_STRICT, "")
    kind, _ = _type_and_status(error)
    return ErrorDocument("error", ErrorDetail(kind, message), request_id)


def _named(message: str, param: str) -> str:
    """The message with the field's path: before it, or in place of a part that it opens with."""
    opening = message.partition(" ")[0].rstrip(":")
    if opening and param.startswith((f"{opening}.", f"{opening}[")):
        return param + message.removeprefix(opening)
    return f"{param}: {message}"


def stream_error(kind: str, message: str) -> GlimtError:
    """The error that another server's stream ended with."""
    return _CLASSES.get(kind, errors.UpstreamError)(message or "The answer broke off.")


def _type_and_status(error: GlimtError) -> tuple[str, int]:
    for kind, name, status in _TYPES:
        if isinstance(error, kind):
            return name, status or error.status
    return _API_ERROR
