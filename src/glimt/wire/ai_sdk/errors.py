"""Errors in the protocol's shape: `{"error": {"message", "type", "param", "code"}}`.

The client makes one of its classes of the type. Of a missing key it replaces our words by its own.
"""

from typing import Any

import msgspec

from glimt.core.errors import GlimtError, ModelNotFound
from glimt.wire.codec import Call, ErrorBody, client_message, client_name, json_object


class ErrorDetail(msgspec.Struct):
    """What went wrong. `param` is an object where a class of the client wants one."""

    message: str
    type: str
    param: str | dict[str, str] | None
    code: str | None


class ErrorDocument(msgspec.Struct):
    """The body of an error response."""

    error: ErrorDetail


def error_body(error: GlimtError, call: Call | None) -> ErrorBody:
    """A response."""
    document = ErrorDocument(error=error_detail(error, call))
    return ErrorBody(status=error.status, body=json_object(document))


def error_detail(error: GlimtError, call: Call | None) -> ErrorDetail:
    """The error alone."""
    param: str | dict[str, str] | None = error.param
    message = error.message
    if error.param is not None and call is not None:
        param, message = client_name(error.param, call.names), client_message(error, call.names)
    if isinstance(error, ModelNotFound) and call is not None:
        param = {"modelId": call.request.model}
    return ErrorDetail(message=message, type=error_type(error), param=param, code=error.code)


def stream_error(error: GlimtError, call: Call) -> dict[str, Any]:
    """The error as a part of a stream, where its status is lost."""
    detail = error_detail(error, call)
    return {**msgspec.structs.asdict(detail), "statusCode": error.status}


def error_type(error: GlimtError) -> str:  # noqa: PLR0911  one for each
    """The client's name of a class of errors."""
    if isinstance(error, ModelNotFound):
        return "model_not_found"
    match error.status:
        case 401:
            return "authentication_error"
        case 403:
            return "forbidden"
        case 404:
            return "not_found"
        case 429:
            return "rate_limit_exceeded"
        case 402:
            return "quota_for_entity_exceeded"
        case status if status < 500:
            return "invalid_request_error"
        case _:
            return "internal_server_error"
