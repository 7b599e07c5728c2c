"""Answers as Anthropic's messages: one document, and a stream of one block after the other.

A stream ends with `message_stop` or `error`. The prompt's tokens are told at its beginning where
the provider knows them by then; those that a cache held are counted apart. A call that the limit
cut off just stops, and the reason says why. Errors in the middle have an event of their own.
"""

from typing import Final, Literal

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.events import (
    Answer,
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
from glimt.core.parts import Part, ReasoningPart, RefusalPart, TextPart, ToolCallPart
from glimt.core.request import ServiceClass
from glimt.core.usage import Usage
from glimt.wire.codec import Call, all_warnings, json_object
from glimt.wire.messages.errors import error_document
from glimt.wire.messages.signatures import Signatures
from glimt.wire.messages.types import (
    BlockDelta,
    BlockOut,
    BlockStart,
    BlockStop,
    DeltaOut,
    InputDeltaOut,
    MessageDelta,
    MessageOut,
    MessageStart,
    MessageStop,
    Ping,
    RedactedBlock,
    SignatureDeltaOut,
    StopOut,
    TextBlock,
    TextDeltaOut,
    ThinkingBlock,
    ThinkingDeltaOut,
    TokenDetails,
    ToolUseBlock,
    UsageOut,
)
from glimt.wire.openai_types import extension_of

Run = Literal["text", "thinking"]

_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    # There is no word for an answer that broke; this one says at least that it is not whole.
    "error": "max_tokens",
}
_TIERS: Final[dict[ServiceClass, str]] = {
    "default": "standard",
    "flex": "standard",
    "priority": "priority",
}
"""Anthropic has no word for less than standard."""
_NO_INPUT: Final = msgspec.Raw(b"{}")
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PREFIX: Final = "msg_"


def encode_answer(call: Call, answer: Answer, signatures: Signatures | None) -> bytes:
    """The whole answer."""
    started, choice = answer.started, answer.choices[0]
    stop = _stop(choice.reason, choice.stop)
    usage = _usage(answer.usage)
    usage.service_tier = _TIERS[started.service_class]
    message = _message(started, usage)
    hidden = call.request.thinking.hidden
    message.content = [
        block
        for part in choice.parts
        if (block := _block(part, signatures, hidden=hidden)) is not None
    ]
    message.stop_reason, message.stop_sequence = stop.stop_reason, stop.stop_sequence
    message.glimt = extension_of(all_warnings(call, started.warnings, answer.warnings))
    return json_object(message)


def _block(part: Part, signatures: Signatures | None, *, hidden: bool) -> BlockOut | None:
    match part:
        case TextPart() | RefusalPart():
            return TextBlock(part.text)
        case ReasoningPart() if hidden:
            return None
        case ReasoningPart(text="", encrypted=str(data)):
            return RedactedBlock(data)
        case ReasoningPart():
            return ThinkingBlock(part.text, _signature(part.text, part.signature, signatures))
        case ToolCallPart():
            return ToolUseBlock(id=part.id, name=part.name, input=json_arguments(part.arguments))
        case _:
            return None


def json_arguments(text: str) -> msgspec.Raw:
    """A call's arguments as a document, digit for digit.

    What is no object, though a model wrote it, comes as one with the text in it: the tool's own
    check can tell the model then.
    """
    try:
        _OBJECT.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.Raw(json_object({"arguments": text})) if text.strip() else _NO_INPUT
    return msgspec.Raw(text.encode())


def _signature(text: str, given: str | None, signatures: Signatures | None) -> str:
    """That of whoever thought it, where it has one: it must come back to them unchanged."""
    if given is not None:
        return given
    return "" if signatures is None else signatures.sign(text)


def _message(started: Started, usage: UsageOut) -> MessageOut:
    return MessageOut(
        id=_message_id(started.id),
        role="assistant",
        model=started.model,
        content=[],
        stop_reason=None,
        stop_sequence=None,
        usage=usage,
    )


def _message_id(answer_id: str) -> str:
    """The answer's own id, with the prefix by which clients know a message."""
    if answer_id.startswith(_PREFIX):
        return answer_id
    return _PREFIX + answer_id.removeprefix("glimt-")


def _usage(usage: Usage) -> UsageOut:
    return UsageOut(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=usage.cached_tokens,
        output_tokens=usage.completion_tokens,
        output_tokens_details=TokenDetails(usage.reasoning_tokens),
    )


def _stop(reason: FinishReason, stop: str | int | None) -> StopOut:
    if reason == "stop" and isinstance(stop, str):
        return StopOut("stop_sequence", stop)
    return StopOut(_REASONS[reason], None)


class MessageEncoder:
    """The events of one streamed answer."""

    def __init__(self, call: Call, signatures: Signatures | None) -> None:
        self._call = call
        self._signatures = signatures
        self._hidden = call.request.thinking.hidden
        self._started: Started | None = None
        self._run: Run | None = None
        self._thought: list[str] = []
        self._block = -1
        self._num_blocks = 0
        self._calls: dict[int, int] = {}
        self._stop = StopOut(_REASONS["error"], None)

    def encode(self, event: Event) -> bytes:  # noqa: PLR0911  one for each kind
        """The events for an event; usually one."""
        match event:
            case TextDelta():
                return self._text(event.text)
            case ReasoningDelta():
                return b"" if self._hidden else self._think(event)
            case ToolCallDelta():
                delta = InputDeltaOut(event.arguments)
                return _event("content_block_delta", BlockDelta(self._calls[event.index], delta))
            case ToolCallStarted():
                block = ToolUseBlock(id=event.id, name=event.name, input=_NO_INPUT)
                opened = self._close() + self._open(block)
                self._calls[event.index] = self._block
                return opened
            case ToolCallFinished():
                return _event("content_block_stop", BlockStop(self._calls.pop(event.index)))
            case ChoiceFinished():
                self._stop = _stop(event.reason, event.stop)
                return self._close() + self._close_calls()
            case Started():
                return self._start(event)
            case Finished():
                return self._close() + self._close_calls() + self._finish(event)
            case KeepAlive():
                return b"" if self._started is None else _event("ping", Ping())

    def fail(self, error: GlimtError) -> bytes:
        """What happened, as a last event that clients raise as an error."""
        return _event("error", error_document(error, self._call))

    def end(self) -> bytes:
        """Nothing: `message_stop` was the last event."""
        return b""

    def _start(self, started: Started) -> bytes:
        self._started = started
        cached = started.cached_tokens or 0
        usage = UsageOut(
            input_tokens=(started.prompt_tokens or cached) - cached,
            cache_creation_input_tokens=0,
            cache_read_input_tokens=cached,
            output_tokens=0,
            service_tier=_TIERS[started.service_class],
        )
        message = _message(started, usage)
        message.glimt = extension_of(all_warnings(self._call, started.warnings, ()))
        return _event("message_start", MessageStart(message))

    def _open(self, block: BlockOut) -> bytes:
        self._block = self._num_blocks
        self._num_blocks += 1
        return _event("content_block_start", BlockStart(self._block, block))

    def _delta(self, delta: DeltaOut) -> bytes:
        return _event("content_block_delta", BlockDelta(self._block, delta))

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        if self._run == "text":
            return self._delta(TextDeltaOut(text))
        opened = self._close() + self._open(TextBlock(""))
        self._run = "text"
        return opened + self._delta(TextDeltaOut(text))

    def _think(self, event: ReasoningDelta) -> bytes:
        """More of a thought; one that its producer signs is whole."""
        if not event.text and event.signature is None:
            return b""
        opened = b""
        if self._run != "thinking":
            opened = self._close() + self._open(ThinkingBlock(""))
            self._run = "thinking"
        if event.text:
            self._thought.append(event.text)
            opened += self._delta(ThinkingDeltaOut(event.text))
        return opened if event.signature is None else opened + self._close(event.signature)

    def _close(self, signature: str | None = None) -> bytes:
        """End the block of text or thought that is open, if one is."""
        run, self._run = self._run, None
        if run is None:
            return b""
        signed = b""
        if run == "thinking":
            proof = _signature("".join(self._thought), signature, self._signatures)
            self._thought.clear()
            if proof:
                signed = self._delta(SignatureDeltaOut(proof))
        return signed + _event("content_block_stop", BlockStop(self._block))

    def _close_calls(self) -> bytes:
        """End the calls that were cut off."""
        cut = [_event("content_block_stop", BlockStop(block)) for block in self._calls.values()]
        self._calls.clear()
        return b"".join(cut)

    def _finish(self, finished: Finished) -> bytes:
        started = self._started
        assert started is not None, "an answer begins with Started"
        late = finished.warnings
        delta = MessageDelta(
            delta=self._stop,
            usage=_usage(finished.usage),
            glimt=extension_of(all_warnings(self._call, started.warnings, late) if late else ()),
        )
        return _event("message_delta", delta) + _event("message_stop", MessageStop())


def _event(name: str, data: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json_object(data))
