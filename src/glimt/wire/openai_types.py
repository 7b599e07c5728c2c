"""Shapes that OpenAI's chat and text completions share, and how core maps to them.

`time_info` is Cerebras's: https://inference-docs.cerebras.ai/api-reference/chat-completions.
`glimt` is ours; clients of OpenAI's keep fields that they do not know, or leave them alone.
"""

from collections.abc import Sequence

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.usage import Timing, Usage as CoreUsage


class PromptDetails(msgspec.Struct):
    """Parts of the prompt."""

    cached_tokens: int = 0


class CompletionDetails(msgspec.Struct):
    """Parts of the completion, and the guesses that speed it up.

    Accepted guesses are tokens of the completion; rejected ones are no part of it and cost nothing.
    """

    reasoning_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Usage(msgspec.Struct):
    """The bill, in tokens; `cost` and `is_byok` are OpenRouter's, in dollars."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails
    cost: float | msgspec.UnsetType = msgspec.UNSET
    is_byok: bool | msgspec.UnsetType = msgspec.UNSET


class TimeInfo(msgspec.Struct):
    """Where the time went, in seconds; `created` is Unix time."""

    queue_time: float
    prompt_time: float
    completion_time: float
    total_time: float
    created: float


class Extension(msgspec.Struct):
    """What no other field has room for. `warnings` are those of the header, and the late ones."""

    warnings: list[str]


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
    """The bill in OpenAI's shape.

    Its `prediction_tokens` count guesses at what comes next, a client's with OpenAI; here they are
    those of speculation, since `prediction` itself is not used.
    """
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=PromptDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=CompletionDetails(
            reasoning_tokens=usage.reasoning_tokens,
            accepted_prediction_tokens=usage.accepted_draft_tokens,
            rejected_prediction_tokens=usage.rejected_draft_tokens,
        ),
    )


def time_info_of(timing: Timing, created: int) -> TimeInfo | msgspec.UnsetType:
    """Times in Cerebras's shape; nothing where the provider does not tell them."""
    if not timing.total_s:
        return msgspec.UNSET
    return TimeInfo(
        queue_time=timing.queue_s,
        prompt_time=timing.prompt_s,
        completion_time=timing.completion_s,
        total_time=timing.total_s,
        created=float(created),
    )


def extension_of(warnings: Sequence[str]) -> Extension | msgspec.UnsetType:
    """Our own field, where there is something to say in it."""
    return Extension(warnings=[*warnings]) if warnings else msgspec.UNSET


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
