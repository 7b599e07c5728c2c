"""The client's side of an answer: chunks of chat completions as core's events.

The inverse of `events.ChunkEncoder`, for providers that speak this format. Lenient where vendors
differ: thoughts in `reasoning_content` or `reasoning`, usage in a chunk of its own or with the last
choice, members that are null or absent.
"""

import msgspec

from glimt.core.errors import (
    DeadlineExceeded,
    GlimtError,
    InternalError,
    InvalidRequest,
    RateLimited,
    Unavailable,
    UpstreamError,
)
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TopLogprob,
)
from glimt.core.ids import new_id
from glimt.core.usage import Timing, Usage
from glimt.wire.sampling import SERVICE_CLASSES

DONE = "[DONE]"

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # Z.ai's own: https://docs.z.ai/api-reference
    "sensitive": "content_filter",
    "model_context_window_exceeded": "length",
}


# The three that every chunk is made of are in the order of the wire, where they are found fastest,
# and of no interest to the garbage collector: they live for a moment, and nothing refers back.


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Rival(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Token(_Rival):
    top_logprobs: list[_Rival] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    message: _Delta | None = None
    reasoning_logprobs: _Logprobs | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    reasoning_tokens: int | None = None
    """Where SGLang puts them."""


class _TimeInfo(msgspec.Struct):
    queue_time: float = 0.0
    prompt_time: float = 0.0
    completion_time: float = 0.0
    total_time: float = 0.0


class _Extension(msgspec.Struct):
    warnings: list[str] = []


class _Error(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    created: int | float | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    service_tier: str | None = None
    time_info: _TimeInfo | None = None
    glimt: _Extension | None = None
    error: _Error | None = None


_DECODER = msgspec.json.Decoder(_Chunk)
_NOTHING = _Delta()


class ChunkDecoder:
    """The events of one streamed answer, chunk by chunk."""

    def __init__(self, *, provider: str, model: str) -> None:
        """`model` is what was asked for; the first chunk's own word for it wins."""
        self._provider = provider
        self._model = model
        self._started = False
        self._finished = False
        self._open_calls: dict[int, ToolCallStarted] = {}
        self._usage = Usage()
        self._timing = Timing()
        self._warnings: tuple[str, ...] = ()

    def feed(self, data: str) -> list[Event]:
        """The events of one chunk; `data` is a server-sent event's.

        Raises:
            UpstreamError: It is no chunk.
            GlimtError: The server says that the answer failed.
        """
        if data == DONE:
            return self.end()
        try:
            chunk = _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"{self._provider} sent what is no chunk: {error}.") from error
        if chunk.error is not None:
            raise stream_error(chunk.error.message, chunk.error.type, chunk.error.code)
        return self._read(chunk)

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came in one piece.

        Raises:
            UpstreamError: It is none.
            GlimtError: The server says that the answer failed.
        """
        try:
            chunk = _DECODER.decode(body)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"{self._provider} sent what is no answer: {error}.") from error
        if chunk.error is not None:
            raise stream_error(chunk.error.message, chunk.error.type, chunk.error.code)
        if not chunk.choices:
            raise UpstreamError(f"{self._provider} sent an answer without choices.")
        for choice in chunk.choices:
            calls = choice.message.tool_calls if choice.message is not None else None
            for index, call in enumerate(calls or ()):
                call.index = index  # Calls of a whole message have none: their place is it.
        return [*self._read(chunk), *self.end()]

    def _read(self, chunk: _Chunk) -> list[Event]:
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(self._start(chunk))
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        if chunk.time_info is not None:
            self._timing = _timing(chunk.time_info)
        if chunk.glimt is not None:
            self._warnings = tuple(chunk.glimt.warnings)
        for choice in chunk.choices or ():
            self._choice(choice, events)
        return events

    def end(self) -> list[Event]:
        """The bill, once.

        Raises:
            UpstreamError: The answer ended before it began.
        """
        if not self._started:
            raise UpstreamError(f"{self._provider} ended its answer without a word.")
        if self._finished:
            return []
        self._finished = True
        return [Finished(usage=self._usage, timing=self._timing, warnings=self._warnings)]

    def _start(self, chunk: _Chunk) -> Started:
        number = (chunk.id or new_id("")).removeprefix("chatcmpl-")
        return Started(
            id=f"glimt-{number}",
            model=chunk.model or self._model,
            created=int(chunk.created or 0),
            provider=self._provider,
            service_class=SERVICE_CLASSES.get(chunk.service_tier or "", "default"),
        )

    def _choice(self, choice: _Choice, events: list[Event]) -> None:
        delta = choice.delta or choice.message or _NOTHING
        thought = delta.reasoning_content or delta.reasoning
        thought_logprobs = _tokens(choice.reasoning_logprobs) if choice.reasoning_logprobs else ()
        logprobs = _tokens(choice.logprobs) if choice.logprobs else ()
        if thought or thought_logprobs:
            events.append(
                ReasoningDelta(choice=choice.index, text=thought or "", logprobs=thought_logprobs)
            )
        calls: list[Event] = []
        for call in delta.tool_calls or ():
            calls += self._call(choice, call)
        if delta.content or (logprobs and not calls):
            events.append(
                TextDelta(choice=choice.index, text=delta.content or "", logprobs=logprobs)
            )
        events += calls
        if choice.finish_reason:  # Some send an empty one until the end.
            reason = _REASONS.get(choice.finish_reason, "error")
            if reason in ("stop", "tool_calls"):
                events += self._close_call(choice.index)
            self._open_calls.pop(choice.index, None)
            events.append(ChoiceFinished(choice=choice.index, reason=reason))

    def _call(self, choice: _Choice, call: _ToolCall) -> list[Event]:
        events: list[Event] = []
        function = call.function or _Function()
        current = self._open_calls.get(choice.index)
        if current is None or current.index != call.index:
            events += self._close_call(choice.index)
            started = ToolCallStarted(
                choice=choice.index,
                index=call.index,
                id=call.id or new_id("call-"),
                name=function.name or "",
            )
            self._open_calls[choice.index] = started
            events.append(started)
        if function.arguments:
            events.append(
                ToolCallDelta(
                    choice=choice.index,
                    index=call.index,
                    arguments=function.arguments,
                    logprobs=_tokens(choice.logprobs),
                )
            )
        return events

    def _close_call(self, choice: int) -> list[Event]:
        call = self._open_calls.pop(choice, None)
        return [] if call is None else [ToolCallFinished(choice=choice, index=call.index)]


def stream_error(  # noqa: PLR0911  one for each
    message: str, kind: str | None, code: str | int | None
) -> GlimtError:
    """A server's error in the middle of a stream, where its status is lost: by type or code."""
    name = str(code) if code is not None else None
    match kind, code:
        case "rate_limit_error", _:
            return RateLimited(message, code=name)
        case "invalid_request_error", _:
            return InvalidRequest(message, code=name)
        case _, 429:
            return RateLimited(message, code=name)
        case _, 503 | "unavailable" | "not_ready" | "engine_died":
            return Unavailable(message, code=name)
        case _, 504 | "deadline_exceeded":
            return DeadlineExceeded(message, code=name)
        case _, "internal_error":
            return InternalError(message, code=name)
        case _:
            return UpstreamError(message or "The answer broke off.", code=name)


def _usage(usage: _Usage) -> Usage:
    prompt = usage.prompt_tokens_details or _PromptDetails()
    completion = usage.completion_tokens_details or _CompletionDetails()
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=prompt.cached_tokens or 0,
        completion_tokens=usage.completion_tokens,
        reasoning_tokens=completion.reasoning_tokens or usage.reasoning_tokens or 0,
        accepted_draft_tokens=completion.accepted_prediction_tokens or 0,
        rejected_draft_tokens=completion.rejected_prediction_tokens or 0,
    )


def _timing(times: _TimeInfo) -> Timing:
    return Timing(
        queue_s=times.queue_time,
        prompt_s=times.prompt_time,
        completion_s=times.completion_time,
        total_s=times.total_time,
    )


def _tokens(logprobs: _Logprobs | None) -> tuple[TokenLogprob, ...]:
    if logprobs is None:
        return ()
    return tuple(
        TokenLogprob(
            token=token.token,
            logprob=token.logprob,
            token_bytes=_bytes(token),
            top=tuple(
                TopLogprob(token=r.token, logprob=r.logprob, token_bytes=_bytes(r))
                for r in token.top_logprobs or ()
            ),
        )
        for token in logprobs.content or ()
    )


def _bytes(token: _Rival) -> bytes:
    return token.token.encode() if token.bytes is None else bytes(token.bytes)
