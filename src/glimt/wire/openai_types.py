"""Shapes that OpenAI's chat and text completions share, and how core maps to them."""

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.usage import Usage as CoreUsage


class PromptDetails(msgspec.Struct):
    """Parts of the prompt."""

    cached_tokens: int = 0


class CompletionDetails(msgspec.Struct):
    """Parts of the completion."""

    reasoning_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Usage(msgspec.Struct):
    """The bill, in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class ErrorDetail(msgspec.Struct):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(msgspec.Struct):
    """The body of an error response, and of the last event of a stream that broke off."""

    error: ErrorDetail


def usage_of(usage: CoreUsage) -> Usage:
    """The bill in OpenAI's shape. Drafts of speculation are no predictions of the client's."""
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=PromptDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=CompletionDetails(reasoning_tokens=usage.reasoning_tokens),
    )


def error_type(error: GlimtError) -> str:
    """OpenAI's class of an error."""
    match error.status:
        case 401:
            return "authentication_error"
        case 402:
            return "insufficient_quota"
        case 403:
            return "permission_error"
        case 429:
            return "rate_limit_error"
        case status if status < 500:
            return "invalid_request_error"
        case _:
            return "server_error"
