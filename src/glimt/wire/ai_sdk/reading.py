"""The client's side of an answer: parts of a stream as core's events.

The inverse of `events.PartEncoder`, for providers that speak this protocol. All generations are
read: what differs between them is told apart by its shape. Parts that have no meaning in core
(sources, files, approvals, raw chunks) are named in a warning at the end.
"""

from datetime import datetime
from typing import Any, Final, cast

import msgspec

from glimt.core.errors import GlimtError, UpstreamError
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.ids import new_id
from glimt.core.usage import Timing, Usage
from glimt.wire.ai_sdk.events import NOT_HONOURED
from glimt.wire.ai_sdk.prompt import OURS
from glimt.wire.chat_completions.reading import stream_error

_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool-calls": "tool_calls",
    "content-filter": "content_filter",
}
_SAYS_NOTHING: Final = (
    "text-start",
    "text-end",
    "reasoning-start",
    "reasoning-end",
    "tool-input-end",
    "ping",
)
_DONE: Final = "[DONE]"


class _Part(msgspec.Struct, rename="camel"):
    type: str
    id: str | None = None
    delta: str | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    input: Any = None
    model_id: str | None = None
    timestamp: str | None = None
    warnings: list[dict[str, Any]] | None = None
    usage: dict[str, Any] | None = None
    finish_reason: str | dict[str, Any] | None = None
    provider_metadata: dict[str, dict[str, Any]] | None = None
    error: Any = None


_DECODER: Final = msgspec.json.Decoder(_Part)


class PartDecoder:
    """The events of one streamed answer, part by part."""

    def __init__(self, *, provider: str, model: str) -> None:
        """`model` is what was asked for; the answer's own word for it wins."""
        self._provider = provider
        self._model = model
        self._warnings: tuple[str, ...] = ()
        self._started = False
        self._finished = False
        self._calls: dict[str, int] = {}
        self._num_calls = 0
        self._skipped: dict[str, None] = {}

    def feed(self, data: str) -> list[Event]:
        """The events of one part; `data` is a server-sent event's.

        Raises:
            UpstreamError: It is no part.
            GlimtError: The server says that the answer failed.
        """
        if data == _DONE:
            return []
        try:
            part = _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"{self._provider} sent what is no part: {error}.") from error
        if part.type == "stream-start":
            self._warnings = tuple(_sentence(warning) for warning in part.warnings or ())
            return []
        if part.type == "error":
            raise _failure(part.error)
        opened: list[Event] = []
        if not self._started:
            self._started = True
            opened.append(self._start(part))
        return opened + self._events(part)

    def end(self) -> list[Event]:
        """Nothing: the last part was the bill.

        Raises:
            UpstreamError: There was none.
        """
        if not self._finished:
            raise UpstreamError(f"{self._provider} broke off its answer without a word.")
        return []

    def _start(self, part: _Part) -> Started:
        is_metadata = part.type == "response-metadata"
        return Started(
            id=(part.id if is_metadata else None) or new_id("glimt-"),
            model=(part.model_id if is_metadata else None) or self._model,
            created=_seconds(part.timestamp if is_metadata else None),
            provider=self._provider,
            warnings=self._warnings,
        )

    def _events(self, part: _Part) -> list[Event]:  # noqa: PLR0911  one for each kind
        match part.type:
            case "text-delta":
                return [TextDelta(text=part.delta or "")]
            case "reasoning-delta":
                ours = (part.provider_metadata or {}).get(OURS, {})
                return [ReasoningDelta(text=part.delta or "", signature=ours.get("signature"))]
            case "tool-input-start":
                return [self._open_call(part.id or new_id("call-"), part.tool_name or "")]
            case "tool-input-delta":
                index = self._calls.get(part.id or "")
                if index is None:
                    raise UpstreamError(f"{self._provider} sent arguments of no call.")
                return [ToolCallDelta(index=index, arguments=part.delta or "")]
            case "tool-call":
                return self._whole_call(part)
            case "finish":
                return self._finish(part)
            case "response-metadata":
                return []
            case kind:
                if kind not in _SAYS_NOTHING:
                    self._skipped[f"a part of type {kind} was left out"] = None
                return []

    def _open_call(self, call_id: str, name: str) -> ToolCallStarted:
        index = self._calls[call_id] = self._num_calls
        self._num_calls += 1
        return ToolCallStarted(index=index, id=call_id, name=name)

    def _whole_call(self, part: _Part) -> list[Event]:
        """The end of a call whose arguments were streamed, or all of one."""
        call_id = part.tool_call_id or new_id("call-")
        if (index := self._calls.pop(call_id, None)) is not None:
            return [ToolCallFinished(index=index)]
        started = self._open_call(call_id, part.tool_name or "")
        self._calls.pop(call_id)
        text = part.input if isinstance(part.input, str) else msgspec.json.encode(part.input or {})
        arguments = text if isinstance(text, str) else text.decode()
        return [
            started,
            ToolCallDelta(index=started.index, arguments=arguments),
            ToolCallFinished(index=started.index),
        ]

    def _finish(self, part: _Part) -> list[Event]:
        self._finished = True
        reason = part.finish_reason
        unified = reason.get("unified") if isinstance(reason, dict) else reason
        ours = (part.provider_metadata or {}).get(OURS, {})
        late: list[str] = [w for w in ours.get("warnings", ()) if w not in self._warnings]
        return [
            ChoiceFinished(reason=_REASONS.get(unified or "", "error")),
            Finished(
                usage=_usage(part.usage or {}, ours),
                timing=_timing(ours.get("timing", {})),
                warnings=(*late, *self._skipped),
            ),
        ]


def _sentence(warning: dict[str, Any]) -> str:
    match warning:
        case {"type": "unsupported", "feature": str(name)} | {
            "type": "unsupported-setting",
            "setting": str(name),
        }:
            why = warning.get("details")
            return f"{name}{NOT_HONOURED}" + (f": {why}" if why else "")
        case {"message": str(message)}:
            return message
        case _:
            return msgspec.json.encode(warning).decode()


def _failure(error: object) -> GlimtError:
    match error:
        case {"message": str(message)}:
            detail = cast("dict[str, Any]", error)
            kind = detail.get("type")
            kind = "rate_limit_error" if kind == "rate_limit_exceeded" else kind
            return stream_error(message, kind, detail.get("code") or detail.get("statusCode"))
        case _:
            return UpstreamError(error if isinstance(error, str) else "The answer broke off.")


def _seconds(timestamp: str | None) -> int:
    return 0 if timestamp is None else int(datetime.fromisoformat(timestamp).timestamp())


def _usage(usage: dict[str, Any], ours: dict[str, Any]) -> Usage:
    given, made = usage.get("inputTokens"), usage.get("outputTokens")
    if isinstance(given, dict) or isinstance(made, dict):
        read: dict[str, Any] = {**cast("dict[str, Any]", given or {})}
        written: dict[str, Any] = {**cast("dict[str, Any]", made or {})}
        cached, reasoning = read.get("cacheRead"), written.get("reasoning")
        prompt, completion = read.get("total"), written.get("total")
    else:
        cached, reasoning = usage.get("cachedInputTokens"), usage.get("reasoningTokens")
        prompt, completion = given, made
    return Usage(
        prompt_tokens=prompt or 0,
        cached_tokens=cached or 0,
        completion_tokens=completion or 0,
        reasoning_tokens=reasoning or 0,
        accepted_draft_tokens=ours.get("acceptedDraftTokens", 0),
        rejected_draft_tokens=ours.get("rejectedDraftTokens", 0),
    )


def _timing(timing: dict[str, float]) -> Timing:
    return Timing(
        queue_s=timing.get("queueS", 0.0),
        prompt_s=timing.get("promptS", 0.0),
        completion_s=timing.get("completionS", 0.0),
        total_s=timing.get("totalS", 0.0),
    )
