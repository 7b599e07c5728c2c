"""Errors of chat completions, in each vendor's shape; OpenAI's where nothing else was asked for.

OpenAI: `{"error": {"message", "type", "param", "code"}}`. OpenRouter's code is the HTTP status, and
its SDKs want a number there. Z.ai's is the text of a number of its own, which its SDK shows to
people. Cerebras's error has no wrapper. https://openrouter.ai/docs/api_reference/errors-and-debugging,
https://docs.z.ai/api-reference/api-code.
"""

from typing import Any, Final

import msgspec

from glimt.core import errors
from glimt.core.errors import GlimtError
from glimt.wire.chat_completions.metadata import router_metadata
from glimt.wire.codec import Call, ErrorBody, client_message, client_name, json_object
from glimt.wire.dialect import OPENAI, Dialect
from glimt.wire.openai_types import ErrorDetail, ErrorDocument, error_type

_ZAI_CODES: Final[tuple[tuple[type[GlimtError], str], ...]] = (
    (errors.ContextLengthExceeded, "1261"),
    (errors.InvalidRequest, "1214"),
    (errors.Unauthenticated, "1000"),
    (errors.PaymentRequired, "1113"),
    (errors.Forbidden, "1220"),
    (errors.ModelNotFound, "1211"),
    (errors.NotFound, "1222"),
    (errors.MethodNotAllowed, "1212"),
    (errors.RequestError, "1210"),
    (errors.Overloaded, "1305"),
    (errors.RateLimited, "1302"),
    (errors.UpstreamError, "1234"),
    (errors.Unavailable, "1312"),
    (errors.DeadlineExceeded, "1230"),
)
"""Z.ai's number of an error: that of the first class it belongs to, or 500."""
_MISSING_KEY: Final = "1001"
_OPENROUTER_TYPES: Final[tuple[tuple[type[GlimtError], str], ...]] = (
    (errors.ContextLengthExceeded, "context_length_exceeded"),
    (errors.Unauthenticated, "authentication"),
    (errors.PaymentRequired, "payment_required"),
    (errors.Forbidden, "permission_denied"),
    (errors.NotFound, "not_found"),
    (errors.RequestTooLarge, "payload_too_large"),
    (errors.RequestError, "invalid_request"),
    (errors.Overloaded, "provider_overloaded"),
    (errors.RateLimited, "rate_limit_exceeded"),
    (errors.UpstreamError, "provider_unavailable"),
    (errors.Unavailable, "provider_unavailable"),
    (errors.DeadlineExceeded, "timeout"),
)


class PreviousError(msgspec.Struct):
    """Somebody who was tried before, and failed. `code` is our name of the error."""

    code: str
    provider: str
    status: int


class OpenRouterMetadata(msgspec.Struct, omit_defaults=True):
    """What else is known of an error. `provider_code` is our own name of it."""

    error_type: str
    provider_code: str | None
    param: str | None = None
    provider_name: str | None = None
    previous_errors: list[PreviousError] = []


class OpenRouterDetail(msgspec.Struct):
    """What went wrong; `code` is the HTTP status."""

    code: int
    message: str
    metadata: OpenRouterMetadata


class OpenRouterError(msgspec.Struct):
    """OpenRouter's body."""

    error: OpenRouterDetail


class ZaiDetail(msgspec.Struct):
    """What went wrong; `code` is a number of Z.ai's, as text."""

    code: str
    message: str


class ZaiError(msgspec.Struct):
    """Z.ai's body."""

    error: ZaiDetail


class CerebrasStreamError(msgspec.Struct):
    """The last event of a stream of Cerebras's that breaks off; elsewhere its error is bare."""

    error: ErrorDetail
    status_code: int


def error_body(error: GlimtError, call: Call | None, dialect: Dialect = OPENAI) -> ErrorBody:
    """A response. `param` is the client's name of the field; core's where nothing was decoded."""
    detail = _detail(error, call)
    body: Any
    status = error.status
    match dialect.name:
        case "openai":
            body = ErrorDocument(error=detail)
        case "openrouter":
            body = OpenRouterError(_openrouter(error, detail))
        case "zai":
            body = ZaiError(_zai(error, detail))
            # Z.ai has a number for an unknown model, and no status of its own for it.
            status = 400 if isinstance(error, errors.ModelNotFound) else status
        case "cerebras":
            body = detail
    asked = {} if call is None or status == 500 else _router_metadata(error, call)
    if asked:
        body = {**msgspec.to_builtins(body), **asked}
    return ErrorBody(status=status, body=json_object(body))


def error_document(error: GlimtError, call: Call | None) -> ErrorDocument:
    """OpenAI's body, which a stream of its that breaks off sends as its last event."""
    return ErrorDocument(error=_detail(error, call))


def stream_members(error: GlimtError, call: Call) -> dict[str, Any]:
    """What the last event of a stream that breaks off says of the error."""
    return {**_stream_error(error, call), **_router_metadata(error, call)}


def _router_metadata(error: GlimtError, call: Call) -> dict[str, Any]:
    told = router_metadata(call, None, error.trace)
    return {} if told is msgspec.UNSET else {"openrouter_metadata": told}


def _stream_error(error: GlimtError, call: Call) -> dict[str, Any]:
    detail = _detail(error, call)
    match call.dialect.name:
        case "openai":
            return {"error": detail}
        case "openrouter":
            return {"error": _openrouter(error, detail)}
        case "zai":
            return {"error": _zai(error, detail)}
        case "cerebras":
            return {"error": detail, "status_code": error.status}


def _detail(error: GlimtError, call: Call | None) -> ErrorDetail:
    param, message = error.param, error.message
    if param is not None and call is not None:
        param, message = client_name(param, call.names), client_message(error, call.names)
    return ErrorDetail(message=message, type=error_type(error), param=param, code=error.code)


def _openrouter(error: GlimtError, detail: ErrorDetail) -> OpenRouterDetail:
    kind = next((name for kind, name in _OPENROUTER_TYPES if isinstance(error, kind)), "server")
    metadata = OpenRouterMetadata(error_type=kind, provider_code=error.code, param=detail.param)
    if error.trace is not None and (attempts := error.trace.attempts):
        metadata.provider_name = attempts[-1].target.name
        metadata.previous_errors = [
            PreviousError(code=one.code, provider=one.target.name, status=one.status)
            for one in attempts[:-1]
        ]
    return OpenRouterDetail(code=error.status, message=detail.message, metadata=metadata)


def _zai(error: GlimtError, detail: ErrorDetail) -> ZaiDetail:
    code = next((code for kind, code in _ZAI_CODES if isinstance(error, kind)), "500")
    if error.code == "missing_api_key":
        code = _MISSING_KEY
    return ZaiDetail(code=code, message=detail.message)
