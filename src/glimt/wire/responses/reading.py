"""The client's side of an answer: a stream's events, or a whole response, as core's events.

The inverse of `events.ResponseEncoder`, for providers that speak this format. Thoughts are read in
every spelling (OpenAI's two, Open Responses' one); of an item that has both a text and a summary
the first to come counts. Items without a meaning in core are named in a warning at the end.
"""

from typing import Any, Final

import msgspec

from glimt.core.errors import (
    ContextLengthExceeded,
    GlimtError,
    InvalidRequest,
    RateLimited,
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
from glimt.core.usage import Usage
from glimt.wire.chat_completions.reading import stream_error
from glimt.wire.responses.items import joined_name
from glimt.wire.sampling import SERVICE_CLASSES

DONE: Final = "[DONE]"
_THOUGHTS: Final = {
    "response.reasoning_text.delta": "text",
    "response.reasoning.delta": "text",
    "response.reasoning_summary_text.delta": "summary",
}
_REASONS: Final[dict[str, FinishReason]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
_ERRORS: Final[dict[str, type[GlimtError]]] = {
    "rate_limit_exceeded": RateLimited,
    "server_is_overloaded": RateLimited,
    "overloaded": RateLimited,
    "invalid_prompt": InvalidRequest,
    "context_length_exceeded": ContextLengthExceeded,
}


class _Rival(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Token(_Rival):
    top_logprobs: list[_Rival] | None = None


class _Item(msgspec.Struct):
    type: str
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    encrypted_content: str | None = None


class _Piece(msgspec.Struct):
    """A part of a message or of a thought."""

    text: str | None = None
    refusal: str | None = None
    logprobs: list[_Token] | None = None


class _WholeItem(_Item):
    content: list[_Piece] | None = None
    summary: list[_Piece] | None = None


class _Details(msgspec.Struct):
    reason: str | None = None


class _Error(msgspec.Struct):
    message: str = ""
    code: str | int | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Extension(msgspec.Struct):
    warnings: list[str] = []


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    service_tier: str | None = None
    incomplete_details: _Details | None = None
    error: _Error | None = None
    usage: _Usage | None = None
    glimt: _Extension | None = None


class _Whole(_Response):
    status: str | None = None
    output: list[_WholeItem] = []


class _Event(msgspec.Struct):
    type: str
    response: _Response | None = None
    output_index: int = 0
    summary_index: int = 0
    item: _Item | None = None
    delta: Any = None
    logprobs: list[_Token] | None = None
    code: str | None = None
    message: str | None = None
    error: _Error | None = None


class _Call(msgspec.Struct):
    """A call that is under way. `said` is whether any of its arguments came."""

    index: int
    said: bool = False


_DECODER: Final = msgspec.json.Decoder(_Event)
_WHOLE: Final = msgspec.json.Decoder(_Whole)


class EventReader:
    """The events of one streamed answer."""

    def __init__(self, *, provider: str, model: str) -> None:
        """`model` is what was asked for; the answer's own word for it wins."""
        self._provider = provider
        self._model = model
        self._started: Started | None = None
        self._finished = False
        self._calls: dict[int, _Call] = {}
        self._num_calls = 0
        self._thought_kinds: dict[int, str] = {}
        self._skipped: dict[str, None] = {}

    def feed(self, data: str) -> list[Event]:
        """The events of one server-sent event's data.

        Raises:
            UpstreamError: It is no such event.
            GlimtError: The server says that the answer failed.
        """
        if data == DONE:
            return []
        try:
            event = _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"{self._provider} sent what is no event: {error}.") from error
        if event.type == "error":
            failed = event.error or _Error(event.message or "", event.code)
            raise _failure(failed)
        opened: list[Event] = []
        if self._started is None:
            self._started = self._start(event.response or _Response())
            opened.append(self._started)
        return opened + self._events(event)

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came in one piece.

        Raises:
            UpstreamError: It is none, or not over.
            GlimtError: The server says that the answer failed.
        """
        try:
            response = _WHOLE.decode(body)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"{self._provider} sent what is no response: {error}.") from error
        if response.error is not None or response.status == "failed":
            raise _failure(response.error or _Error())
        if response.status not in ("completed", "incomplete"):
            raise UpstreamError(f"{self._provider} sent a response that is not over.")
        self._started = self._start(response)
        events: list[Event] = [self._started]
        for index, item in enumerate(response.output):
            events += self._item(item, index)
        end = _Event(type=f"response.{response.status}", response=response)
        return [*events, *self._finish(end)]

    def _item(self, item: _WholeItem, index: int) -> list[Event]:
        """A whole item."""
        events: list[Event] = []
        if item.type == "message":
            for piece in item.content or ():
                text = piece.text or piece.refusal or ""
                events.append(TextDelta(text=text, logprobs=_tokens(piece.logprobs)))
        elif item.type == "reasoning":
            thought = "".join(piece.text or "" for piece in item.content or ())
            thought = thought or "\n\n".join(piece.text or "" for piece in item.summary or ())
            events += [ReasoningDelta(text=thought)] if thought else []
        elif item.type != "function_call":
            events += self._added(item, index)
        return [*events, *self._done(item, index)]

    def end(self) -> list[Event]:
        """Nothing: the last event was the bill.

        Raises:
            UpstreamError: There was none.
        """
        if not self._finished:
            raise UpstreamError(f"{self._provider} broke off its answer without a word.")
        return []

    def _start(self, response: _Response) -> Started:
        number = (response.id or new_id("")).removeprefix("resp_")
        return Started(
            id=f"glimt-{number}",
            model=response.model or self._model,
            created=int(response.created_at or 0),
            provider=self._provider,
            service_class=SERVICE_CLASSES.get(response.service_tier or "", "default"),
            warnings=_warnings(response),
        )

    def _events(self, event: _Event) -> list[Event]:  # noqa: PLR0911  one for each kind
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta":
                return [TextDelta(text=event.delta or "", logprobs=_tokens(event.logprobs))]
            case "response.function_call_arguments.delta":
                call = self._calls.get(event.output_index)
                if call is None:
                    raise UpstreamError(f"{self._provider} sent arguments of no call.")
                call.said = True
                return [ToolCallDelta(index=call.index, arguments=event.delta or "")]
            case kind if kind in _THOUGHTS:
                return self._thought(event, _THOUGHTS[kind])
            case "response.reasoning_summary_part.added" if event.summary_index > 0:
                return self._thought(event, "summary", "\n\n")
            case "response.output_item.added" if event.item is not None:
                return self._added(event.item, event.output_index)
            case "response.output_item.done" if event.item is not None:
                return self._done(event.item, event.output_index)
            case "response.completed" | "response.incomplete":
                return self._finish(event)
            case "response.failed":
                response = event.response or _Response()
                raise _failure(response.error or _Error())
            case _:
                return []

    def _thought(self, event: _Event, kind: str, text: str | None = None) -> list[Event]:
        if self._thought_kinds.setdefault(event.output_index, kind) != kind:
            return []
        return [ReasoningDelta(text=event.delta or "" if text is None else text)]

    def _added(self, item: _Item, index: int) -> list[Event]:
        if item.type == "function_call":
            return [self._open_call(item, index)]
        if item.type not in ("message", "reasoning"):
            self._skipped[f"an item of type {item.type} was left out"] = None
        return []

    def _open_call(self, item: _Item, index: int) -> ToolCallStarted:
        call = self._calls[index] = _Call(self._num_calls)
        self._num_calls += 1
        name = item.name or ""
        if item.namespace is not None:
            name = joined_name(item.namespace, name)
        return ToolCallStarted(index=call.index, id=item.call_id or new_id("call-"), name=name)

    def _done(self, item: _Item, index: int) -> list[Event]:
        if item.type == "reasoning" and item.encrypted_content is not None:
            return [ReasoningDelta(text="", signature=item.encrypted_content)]
        if item.type != "function_call":
            return []
        events: list[Event] = []
        if index not in self._calls:
            events.append(self._open_call(item, index))
        if item.status == "incomplete":
            return events
        call = self._calls[index]
        if not call.said and item.arguments:
            events.append(ToolCallDelta(index=call.index, arguments=item.arguments))
        return [*events, ToolCallFinished(index=call.index)]

    def _finish(self, event: _Event) -> list[Event]:
        response = event.response or _Response()
        self._finished = True
        reason: FinishReason = "tool_calls" if self._num_calls else "stop"
        if event.type == "response.incomplete":
            details = response.incomplete_details or _Details()
            reason = _REASONS.get(details.reason or "", "error")
        early = self._started.warnings if self._started is not None else ()
        late = tuple(warning for warning in _warnings(response) if warning not in early)
        return [
            ChoiceFinished(reason=reason),
            Finished(usage=_usage(response.usage or _Usage()), warnings=(*late, *self._skipped)),
        ]


def _failure(error: _Error) -> GlimtError:
    kind = _ERRORS.get(str(error.code))
    if kind is not None:
        return kind(error.message, code=str(error.code))
    return stream_error(error.message, None, error.code)


def _warnings(response: _Response) -> tuple[str, ...]:
    return () if response.glimt is None else tuple(response.glimt.warnings)


def _usage(usage: _Usage) -> Usage:
    return Usage(
        prompt_tokens=usage.input_tokens,
        cached_tokens=(usage.input_tokens_details or _InputDetails()).cached_tokens or 0,
        completion_tokens=usage.output_tokens,
        reasoning_tokens=(usage.output_tokens_details or _OutputDetails()).reasoning_tokens or 0,
    )


def _tokens(logprobs: list[_Token] | None) -> tuple[TokenLogprob, ...]:
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
        for token in logprobs or ()
    )


def _bytes(token: _Rival) -> bytes:
    return token.token.encode() if token.bytes is None else bytes(token.bytes)
