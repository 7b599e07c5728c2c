"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from glimt.core.errors import GlimtError
from glimt.wire.codec import Call, ErrorBody, client_message, client_name, json_object
from glimt.wire.openai_types import ErrorDetail, ErrorDocument, error_type


def error_body(error: GlimtError, call: Call | None) -> ErrorBody:
    """A response. `param` is the client's name of the field; core's where nothing was decoded."""
    return ErrorBody(status=error.status, body=json_object(error_document(error, call)))


def error_document(error: GlimtError, call: Call | None) -> ErrorDocument:
    """The body alone, which a stream that breaks off sends as its last event."""
    param, message = error.param, error.message
    if param is not None and call is not None:
        param, message = client_name(param, call.names), client_message(error, call.names)
    return ErrorDocument(
        error=ErrorDetail(message=message, type=error_type(error), param=param, code=error.code)
    )
