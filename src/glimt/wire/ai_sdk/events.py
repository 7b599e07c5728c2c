"""Answers as the AI SDK's parts: one document, and a stream of one part an event.

A stream ends with `finish` or `error`, without which clients take a broken answer for a whole one;
nothing but the parts of the specification is sent, because clients throw at any other. What a
model says first opens with the answer's id.
"""

from datetime import UTC, datetime
from typing import Any, Final, Literal

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
from glimt.core.parts import ReasoningPart, RefusalPart, TextPart, ToolCallPart
from glimt.core.usage import Usage
from glimt.wire import sse
from glimt.wire.ai_sdk.errors import stream_error
from glimt.wire.ai_sdk.generation import Generation
from glimt.wire.ai_sdk.prompt import OURS
from glimt.wire.ai_sdk.routing import metadata, opening
from glimt.wire.ai_sdk.types import GenerateResult, Part, ResponseMetadata
from glimt.wire.codec import Call, all_warnings, json_object

Run = Literal["text", "reasoning"]

_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "error": "error",
}
NOT_HONOURED: Final = " was not honoured"


def encode_answer(call: Call, answer: Answer, generation: Generation) -> bytes:
    """The whole answer."""
    started, choice = answer.started, answer.choices[0]
    warnings = all_warnings(call, started.warnings, answer.warnings)
    return json_object(
        GenerateResult(
            content=_content(choice.parts, hidden=call.request.thinking.hidden),
            finish_reason=finish_reason(choice.reason, generation),
            usage=usage_of(answer.usage, generation),
            provider_metadata=metadata(
                call,
                started,
                usage=answer.usage,
                timing=answer.timing,
                warnings=warnings,
                trace=answer.trace,
            ),
            response=ResponseMetadata(
                id=started.id, model_id=started.model, timestamp=timestamp(started)
            ),
            warnings=[warning_of(warning, generation) for warning in warnings],
        )
    )


def _content(parts: tuple[Any, ...], *, hidden: bool) -> list[Part]:
    content: list[Part] = []
    for part in parts:
        match part:
            case TextPart() | RefusalPart():
                content.append(Part(type="text", text=part.text))
            case ReasoningPart() if not hidden:
                content.append(
                    Part(type="reasoning", text=part.text, provider_metadata=_proof(part.signature))
                )
            case ToolCallPart():
                content.append(
                    Part(
                        type="tool-call",
                        tool_call_id=part.id,
                        tool_name=part.name,
                        input=part.arguments,
                    )
                )
            case _:
                pass
    return content


def _proof(signature: str | None) -> dict[str, Any] | None:
    return None if signature is None else {OURS: {"signature": signature}}


def finish_reason(reason: FinishReason, generation: Generation) -> str | dict[str, str]:
    """Why an answer ended; `raw` is our own word for it."""
    unified = _REASONS[reason]
    return {"unified": unified, "raw": reason} if generation.nested else unified


def usage_of(usage: Usage, generation: Generation) -> dict[str, Any]:
    """The bill. Cached tokens are read ones: what a prompt leaves in the cache costs nothing."""
    if not generation.nested:
        return {
            "inputTokens": usage.prompt_tokens,
            "outputTokens": usage.completion_tokens,
            "totalTokens": usage.total_tokens,
            "reasoningTokens": usage.reasoning_tokens,
            "cachedInputTokens": usage.cached_tokens,
        }
    return {
        "inputTokens": {
            "total": usage.prompt_tokens,
            "noCache": usage.prompt_tokens - usage.cached_tokens,
            "cacheRead": usage.cached_tokens,
            "cacheWrite": 0,
        },
        "outputTokens": {
            "total": usage.completion_tokens,
            "text": usage.completion_tokens - usage.reasoning_tokens,
            "reasoning": usage.reasoning_tokens,
        },
    }


def warning_of(warning: str, generation: Generation) -> dict[str, str]:
    """A sentence as the generation's kind of warning: of a setting where it opens with one."""
    feature, found, why = warning.partition(NOT_HONOURED)
    if not found or " " in feature:
        return {"type": "other", "message": warning}
    details = why.removeprefix(": ")
    if generation.version == 2:
        return {"type": "unsupported-setting", "setting": feature, "details": details}
    return {"type": "unsupported", "feature": feature, "details": details}


def timestamp(started: Started) -> str:
    """When the answer began, in ISO 8601."""
    return datetime.fromtimestamp(started.created, UTC).isoformat().replace("+00:00", "Z")


class PartEncoder:
    """The parts of one streamed answer."""

    def __init__(self, call: Call, generation: Generation) -> None:
        self._call = call
        self._generation = generation
        self._hidden = call.request.thinking.hidden
        self._started: Started | None = None
        self._run: Run | None = None
        self._num_runs = 0
        self._calls: dict[int, tuple[ToolCallStarted, list[str]]] = {}
        self._reason: FinishReason = "error"
        self._opening: dict[str, Any] | None = None

    def encode(self, event: Event) -> bytes:  # noqa: PLR0911  one for each kind
        """The parts for an event; usually one."""
        match event:
            case TextDelta():
                return self._say("text", event.text)
            case ReasoningDelta():
                if self._hidden:
                    return b""
                return self._say("reasoning", event.text, signature=event.signature)
            case ToolCallDelta():
                call, pieces = self._calls[event.index]
                pieces.append(event.arguments)
                return _part(Part(type="tool-input-delta", id=call.id, delta=event.arguments))
            case ToolCallStarted():
                self._calls[event.index] = (event, [])
                part = Part(type="tool-input-start", id=event.id, tool_name=event.name)
                return self._close() + self._first(part)
            case ToolCallFinished():
                return self._call_ends(event.index)
            case ChoiceFinished():
                self._reason = event.reason
                return self._close()
            case Started():
                return self._open(event)
            case Finished():
                return self._close() + self._finish(event)
            case KeepAlive():
                return b""

    def fail(self, error: GlimtError) -> bytes:
        """What happened, as a last part that clients raise as an error."""
        return _part(Part(type="error", error=stream_error(error, self._call)))

    def end(self) -> bytes:
        """Nothing: `finish` was the last part."""
        return b""

    def _open(self, started: Started) -> bytes:
        self._started = started
        self._opening = opening(started)
        warnings = all_warnings(self._call, started.warnings, ())
        parts = (
            Part(
                type="stream-start",
                warnings=[warning_of(warning, self._generation) for warning in warnings],
            ),
            Part(
                type="response-metadata",
                id=started.id,
                model_id=started.model,
                timestamp=timestamp(started),
            ),
        )
        return b"".join(map(_part, parts))

    def _say(self, kind: Run, text: str, *, signature: str | None = None) -> bytes:
        if not text and signature is None:
            return b""
        opened = b""
        if self._run != kind:
            opened = self._close()
            self._run = kind
            self._num_runs += 1
            opened += self._first(Part(type=f"{kind}-start", id=self._run_id))
        delta = Part(
            type=f"{kind}-delta",
            id=self._run_id,
            delta=text,
            provider_metadata=_proof(signature),
        )
        return opened + _part(delta)

    @property
    def _run_id(self) -> str:
        return str(self._num_runs)

    def _first(self, part: Part) -> bytes:
        """A part of the content; the very first one says which answer this is."""
        part.provider_metadata, self._opening = self._opening, None
        return _part(part)

    def _close(self) -> bytes:
        kind, self._run = self._run, None
        return b"" if kind is None else _part(Part(type=f"{kind}-end", id=self._run_id))

    def _call_ends(self, index: int) -> bytes:
        call, pieces = self._calls.pop(index)
        whole = Part(
            type="tool-call",
            tool_call_id=call.id,
            tool_name=call.name,
            input="".join(pieces) or "{}",
        )
        return _part(Part(type="tool-input-end", id=call.id)) + _part(whole)

    def _finish(self, finished: Finished) -> bytes:
        started = self._started
        assert started is not None, "an answer begins with Started"
        warnings = all_warnings(self._call, started.warnings, finished.warnings)
        return _part(
            Part(
                type="finish",
                usage=usage_of(finished.usage, self._generation),
                finish_reason=finish_reason(self._reason, self._generation),
                provider_metadata=metadata(
                    self._call,
                    started,
                    usage=finished.usage,
                    timing=finished.timing,
                    warnings=warnings,
                    trace=finished.trace,
                ),
            )
        )


def _part(part: Part) -> bytes:
    return sse.encode(json_object(part))
