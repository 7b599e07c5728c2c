"""Everything that can go wrong, once.

    GlimtError
    ├── RequestError              the client can fix it; trying again unchanged cannot help
    │   ├── InvalidRequest            400  a field is missing, malformed or contradictory
    │   │   ├── UnsupportedParameter      a field is understood, but not by this model or server
    │   │   └── ContextLengthExceeded     prompt and answer do not fit the model's context
    │   ├── Unauthenticated           401  no key, or not one we know
    │   ├── PaymentRequired           402  no budget left
    │   ├── Forbidden                 403  a known key that may not do this
    │   ├── NotFound                  404  no such thing
    │   │   └── ModelNotFound             no such model here
    │   ├── MethodNotAllowed          405
    │   ├── RequestTooLarge           413  the body exceeds the limit
    │   └── UnsupportedMediaType      415
    ├── RateLimited               429  a limit of this key or this server; `retry_after_s` says when
    │   └── Overloaded                    the queue is full
    ├── UpstreamError             502  who should have answered did not, or answered nonsense
    ├── Unavailable               503  cannot answer at the moment; a retry may help
    │   └── EngineDied                    the engine's worker ended while it held the request
    ├── DeadlineExceeded          504  took longer than allowed
    ├── InternalError             500  our mistake
    └── ClientGone                     nobody is left to answer to; never sent

An error says what happened and what to change, which parameter caused it, whether a retry may help
and who caused it. Foreign errors become one of these once, at the edge that met them.
"""

from typing import ClassVar, Literal, TypeAlias

from glimt.core.trace import Trace

Blame: TypeAlias = Literal["client", "server", "upstream"]


class GlimtError(Exception):
    """The root; never raised itself.

    Attributes:
        message: What happened and what to change, for the person who reads it.
        param: The path of the field at fault ("messages[1].content"), if one is.
        code: A short machine-readable name.
        retry_after_s: When a retry makes sense, in seconds, if that is known.
        route: The places that were tried, each with why it failed; set by whoever tried them.
        trace: The same in full.
        status: The HTTP status that means the same.
        retryable: Whether the same request may succeed later or elsewhere.
        blame: Who caused it.
    """

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    blame: ClassVar[Blame] = "server"
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after_s = retry_after_s
        self.route: tuple[str, ...] = ()
        self.trace: Trace | None = None


class RequestError(GlimtError):
    """The client can fix it."""

    status = 400
    blame = "client"
    default_code = "invalid_request"


class InvalidRequest(RequestError):
    """A field is missing, malformed or contradictory."""

    default_code = "invalid_value"


class UnsupportedParameter(InvalidRequest):
    """A field is understood, but this model or server cannot honour it."""

    default_code = "unsupported_parameter"


class ContextLengthExceeded(InvalidRequest):
    """Prompt and answer do not fit the model's context."""

    default_code = "context_length_exceeded"


class Unauthenticated(RequestError):
    """No key, or not one we know."""

    status = 401
    default_code = "invalid_api_key"


class PaymentRequired(RequestError):
    """No budget left."""

    status = 402
    default_code = "insufficient_quota"


class Forbidden(RequestError):
    """A known key that may not do this."""

    status = 403
    default_code = "forbidden"


class NotFound(RequestError):
    """No such thing."""

    status = 404
    default_code = "not_found"


class ModelNotFound(NotFound):
    """No such model here."""

    default_code = "model_not_found"


class MethodNotAllowed(RequestError):
    """The address exists, the method does not."""

    status = 405
    default_code = "method_not_allowed"


class RequestTooLarge(RequestError):
    """The body exceeds the limit."""

    status = 413
    default_code = "request_too_large"


class UnsupportedMediaType(RequestError):
    """The body is not JSON."""

    status = 415
    default_code = "unsupported_media_type"


class RateLimited(GlimtError):
    """A limit of this key or this server was reached."""

    status = 429
    retryable = True
    blame = "client"
    default_code = "rate_limit_exceeded"


class Overloaded(RateLimited):
    """The queue is full."""

    blame = "server"
    default_code = "overloaded"


class UpstreamError(GlimtError):
    """Who should have answered did not, or answered nonsense."""

    status = 502
    retryable = True
    blame = "upstream"
    default_code = "upstream_error"


class Unavailable(GlimtError):
    """Cannot answer at the moment."""

    status = 503
    retryable = True
    default_code = "unavailable"


class EngineDied(Unavailable):
    """The engine's worker process ended while it held the request."""

    default_code = "engine_died"


class DeadlineExceeded(GlimtError):
    """Took longer than allowed."""

    status = 504
    retryable = True
    default_code = "deadline_exceeded"


class InternalError(GlimtError):
    """Our mistake."""


class ClientGone(GlimtError):
    """Nobody is left to answer to; never sent."""

    status = 499
    blame = "client"
    default_code = "client_gone"
