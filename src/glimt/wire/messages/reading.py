"""The client's side of an answer: a stream's events, or a whole message, as core's events.

The inverse of `events.MessageEncoder`, for providers that speak this format. Blocks that have no
meaning in core (redacted thoughts, tools that the server ran) are named in a warning at the end.
"""

import time
from typing import Final

import msgspec

from glimt.core.errors import UpstreamError
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    FinishReason,
    KeepAlive,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.ids import new_id
from glimt.core.usage import Usage
from glimt.wire.messages.errors import stream_error
from glimt.wire.openai_types import Extension

_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_EMPTY: Final = ("", "{}", "null")
_SAYS_NOTHING: Final = ("text", "thinking")


class _Details(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _Details | None = None
    service_tier: str | None = None


class _Block(msgspec.Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _Message(msgspec.Struct):
    """A whole answer; at the beginning of a stream, one that has nothing yet."""

    id: str | None = None
    model: str | None = None
    content: list[_Block] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: _Usage | None = None
    glimt: Extension | None = None
    error: "_Error | None" = None


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None
    glimt: Extension | None = None


_DECODER: Final = msgspec.json.Decoder(_Event)
_WHOLE: Final = msgspec.json.Decoder(_Message)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Call:
    """A call that goes on. `pieces` are those of its arguments so far."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pieces: list[str] = []

    @property
    def is_whole(self) -> bool:
        try:
            _OBJECT.decode("".join(self.pieces))
        except msgspec.DecodeError:
            return False
        return True


class MessageDecoder:
    """The events of one streamed answer, event by event."""

    def __init__(self, *, provider: str, model: str) -> None:
        """`model` is what was asked for; the answer's own word for it wins."""
        self._provider = provider
        self._model = model
        self._early: tuple[str, ...] = ()
        self._late: list[str] = []
        self._usage = _Usage()
        self._calls: dict[int, _Call] = {}
        self._num_calls = 0
        self._unfinished: list[int] = []
        self._skipped: dict[str, None] = {}
        self._has_started = self._has_reason = self._has_stopped = False

    def feed(self, data: str) -> list[Event]:  # noqa: PLR0911  one for each kind
        """The core events of one event; `data` is a server-sent event's.

        Raises:
            UpstreamError: It is no event of this format.
            GlimtError: The server says that the answer failed.
        """
        try:
            event = _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"{self._provider} sent what is no event: {error}.") from error
        match event:
            case _Event(type="content_block_delta", delta=_Delta() as delta):
                return self._delta(event.index, delta)
            case _Event(type="content_block_start", content_block=_Block() as block):
                return self._open(event.index, block)
            case _Event(type="content_block_stop"):
                return self._close(event.index)
            case _Event(type="message_start"):
                return [self._start(event.message or _Message())]
            case _Event(type="message_delta"):
                return self._finish_choice(event)
            case _Event(type="message_stop"):
                return self._finish()
            case _Event(type="ping"):
                return [KeepAlive()]
            case _Event(type="error"):
                error = event.error or _Error()
                raise stream_error(error.type, error.message)
            case _:
                self._skipped[f"an event of type {event.type} was left out"] = None
                return []

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came in one piece.

        Raises:
            UpstreamError: It is none.
            GlimtError: The server says that the answer failed.
        """
        try:
            message = _WHOLE.decode(body)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"{self._provider} sent what is no message: {error}.") from error
        if message.error is not None:
            raise stream_error(message.error.type, message.error.message)
        events: list[Event] = [self._start(message)]
        for index, block in enumerate(message.content):
            events += self._open(index, block)
            if block.signature:
                events.append(ReasoningDelta(text="", signature=block.signature))
            events += self._close(index)
        ending = _Delta(stop_reason=message.stop_reason, stop_sequence=message.stop_sequence)
        events += self._finish_choice(_Event(type="message_delta", delta=ending))
        return [*events, *self._finish()]

    def end(self) -> list[Event]:
        """Nothing: the last event was the bill.

        Raises:
            UpstreamError: There was none.
        """
        if not self._has_stopped:
            raise UpstreamError(f"{self._provider} broke off its answer without a word.")
        return []

    def _start(self, message: _Message) -> Started:
        self._has_started = True
        self._early = () if message.glimt is None else tuple(message.glimt.warnings)
        self._count(message.usage)
        usage = self._usage_so_far()
        is_priority = self._usage.service_tier == "priority"
        return Started(
            id=message.id or new_id("msg_"),
            model=message.model or self._model,
            created=int(time.time()),
            provider=self._provider,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            service_class="priority" if is_priority else "default",
            warnings=self._early,
        )

    def _open(self, index: int, block: _Block) -> list[Event]:
        if block.type == "tool_use":
            call = self._calls[index] = _Call(self._num_calls)
            self._num_calls += 1
            started = ToolCallStarted(
                index=call.index, id=block.id or new_id("toolu_"), name=block.name or ""
            )
            # Servers that do not stream arguments tell them here.
            arguments = bytes(block.input).decode()
            return [started, *self._arguments(index, "" if arguments in _EMPTY else arguments)]
        if block.type not in _SAYS_NOTHING:
            self._skipped[f"a block of type {block.type} was left out"] = None
        if block.text:
            return [TextDelta(text=block.text)]
        return [ReasoningDelta(text=block.thinking)] if block.thinking else []

    def _delta(self, index: int, delta: _Delta) -> list[Event]:
        match delta.type:
            case "text_delta":
                return [TextDelta(text=delta.text)]
            case "thinking_delta":
                return [ReasoningDelta(text=delta.thinking)]
            case "signature_delta":
                return [ReasoningDelta(text="", signature=delta.signature)]
            case "input_json_delta":
                return self._arguments(index, delta.partial_json)
            case kind:
                self._skipped[f"a delta of type {kind} was left out"] = None
                return []

    def _arguments(self, index: int, text: str) -> list[Event]:
        call = self._calls.get(index)
        if call is None or not text:
            return []  # Of a tool that the server runs itself, or the empty piece it opens with.
        call.pieces.append(text)
        return [ToolCallDelta(index=call.index, arguments=text)]

    def _close(self, index: int) -> list[Event]:
        """A block stops the same way whether it is whole or was cut off; a call's JSON tells."""
        call = self._calls.pop(index, None)
        if call is None:
            return []
        if not call.pieces:
            return [
                ToolCallDelta(index=call.index, arguments="{}"),
                ToolCallFinished(index=call.index),
            ]
        if call.is_whole:
            return [ToolCallFinished(index=call.index)]
        self._unfinished.append(call.index)
        return []

    def _finish_choice(self, event: _Event) -> list[Event]:
        self._count(event.usage)
        self._late = [] if event.glimt is None else event.glimt.warnings
        delta = event.delta or _Delta()
        if delta.stop_reason is None or self._has_reason:
            return []
        self._has_reason = True
        reason = _REASONS.get(delta.stop_reason, "error")
        finished: list[Event] = []
        if reason == "tool_calls":
            # Not cut off, so it is what the model meant, whatever it is.
            finished = [ToolCallFinished(index=index) for index in self._unfinished]
        return [*finished, ChoiceFinished(reason=reason, stop=delta.stop_sequence)]

    def _finish(self) -> list[Event]:
        if not self._has_started or not self._has_reason:
            raise UpstreamError(f"{self._provider} ended its answer without a reason.")
        self._has_stopped = True
        late = [warning for warning in self._late if warning not in self._early]
        return [Finished(usage=self._usage_so_far(), warnings=(*late, *self._skipped))]

    def _count(self, usage: _Usage | None) -> None:
        """Counts are cumulative; one that is not told again stays as it was."""
        for name in _Usage.__struct_fields__:
            if (value := getattr(usage, name, None)) is not None:
                setattr(self._usage, name, value)

    def _usage_so_far(self) -> Usage:
        usage = self._usage
        cached = usage.cache_read_input_tokens or 0
        made = usage.cache_creation_input_tokens or 0
        details = usage.output_tokens_details or _Details()
        return Usage(
            prompt_tokens=(usage.input_tokens or 0) + cached + made,
            cached_tokens=cached,
            completion_tokens=usage.output_tokens or 0,
            reasoning_tokens=details.thinking_tokens or 0,
        )
