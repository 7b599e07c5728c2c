"""Errors that a place answered with, in core's: once, here.

A status, a JSON body of one of five shapes (OpenAI's, Cerebras's without a wrapper, Z.ai's with its
A status, a JSON body of one of six shapes (OpenAI's, Cerebras's without a wrapper, Z.ai's with its
own numbers, OpenRouter's with the status as code, Anthropic's with a type alone, FastAPI's
`detail`), or no JSON at all. What is wrong with our key or our account there is not the client's
fault, and its text is not the client's to read.
"""

import datetime as dt
import email.utils
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from glimt.core.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    GlimtError,
    InvalidRequest,
    RateLimited,
    RequestTooLarge,
    Unavailable,
    UpstreamError,
)

MAX_TEXT: Final = 400
_ZAI_STATUS: Final = {
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), 401),
    "1113": 402,  # sent with 429, but waiting does not help
    "1211": 404,
    "1210": 400,
    "1214": 400,
    "1261": 400,
    "1301": 400,
    "1302": 429,
    "1305": 529,
    "1312": 503,
}
"""https://docs.z.ai/api-reference/api-code"""
_TYPE_STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""OpenAI's and Anthropic's types: https://docs.claude.com/en/api/errors"""
_CODE_STATUS: Final = {
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "server_is_overloaded": 529,
    "overloaded": 529,
    "unavailable": 503,
    "not_ready": 503,
    "engine_died": 503,
    "deadline_exceeded": 504,
}
"""Codes of a response that failed, OpenAI's and our own, where no status tells."""
_TOO_LONG: Final = frozenset({"context_length_exceeded", "1261"})
_TOO_LONG_TEXT: Final = "prompt is too long"
"""How Anthropic says the same, which has no code for it."""
_MALFORMED_AT: Final = 502


_OTHERS: Final[dict[int, tuple[type[GlimtError], str]]] = {
    404: (UpstreamError, "upstream_not_found"),
    408: (DeadlineExceeded, "upstream_timeout"),
    429: (RateLimited, "upstream_rate_limited"),
    503: (Unavailable, "upstream_unavailable"),
    504: (DeadlineExceeded, "upstream_timeout"),
    524: (DeadlineExceeded, "upstream_timeout"),
    529: (Unavailable, "upstream_overloaded"),
}


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """What a place says of a failure. `code` and `kind` are its own words, `status` of HTTP."""

    status: int
    message: str = ""
    code: str = ""
    kind: str = ""
    param: str | None = None
    retry_after_s: float | None = None


def complaint(status: int, document: object, *, retry_after_s: float | None = None) -> Complaint:
    """Read a JSON body. With status 200 the body alone says what it is."""
    body = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    inner: Any = body.get("error", body)
    if not isinstance(inner, dict):
        inner = {"message": inner} if isinstance(inner, str) else {}
    error = cast("dict[str, Any]", inner)
    code, kind = _text(error.get("code")), _text(error.get("type"))
    told = _ZAI_STATUS.get(code)
    if told is None and status < 300:
        told = _as_status(body.get("status_code")) or _as_status(code) or _CODE_STATUS.get(code)
        told = told or _TYPE_STATUS.get(kind, _MALFORMED_AT)
    return Complaint(
        status=told or status,
        message=(_text(error.get("message")) or _text(body.get("detail")))[:MAX_TEXT],
        code=code,
        kind=kind,
        param=_text(error.get("param")) or None,
        retry_after_s=retry_after_s,
    )


def refusal(said: Complaint, provider: str, secrets: tuple[str, ...] = ()) -> GlimtError:
    """The error that a complaint is to whoever asked us. `secrets` are taken out of its text."""
    name = str(said.status)
    if said.code and said.code != name:
        name = f"{name}, {said.code[:MAX_TEXT]}"
    text = said.message
    for secret in secrets:
        text = text.replace(secret, "[key]")
    message = f"{provider} answered {name}: {text or 'no reason given'}"
    match said.status:
        case 400 | 409 | 415 | 422 if said.code in _TOO_LONG or text.startswith(_TOO_LONG_TEXT):
            return ContextLengthExceeded(message, param=said.param)
        case 400 | 409 | 415 | 422:
            return InvalidRequest(message, param=said.param, code="upstream_refused_request")
        case 413:
            return RequestTooLarge(message)
        case 401 | 403:
            return UpstreamError(f"{provider} refused our key.", code="upstream_key_refused")
        case 402:
            return UpstreamError(f"Our account at {provider} is empty.", code="upstream_quota")
        case _:
            kind, code = _OTHERS.get(said.status, (UpstreamError, "upstream_error"))
            return kind(message, code=code, retry_after_s=said.retry_after_s)


def malformed(provider: str, what: str) -> UpstreamError:
    """An answer that is none."""
    return UpstreamError(f"{provider} sent {what}.", code="upstream_malformed")


def document_of(body: bytes) -> object:
    """A body's JSON; an empty object where it is none (a proxy's page, half a document)."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}


def retry_after(headers: Mapping[str, str], now_s: float) -> float | None:
    """When to come back, in seconds: `retry-after-ms`, or seconds or a date in `retry-after`."""
    if (number := _number(headers.get("retry-after-ms"))) is not None:
        return number / 1000
    given = headers.get("retry-after")
    if (number := _number(given)) is not None:
        return number
    if given is None:
        return None
    try:
        date = email.utils.parsedate_to_datetime(given)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max(date.timestamp() - now_s, 0.0)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _as_status(value: object) -> int | None:
    text = _text(value)
    return int(text) if text.isdecimal() and 400 <= int(text) <= 599 else None


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
