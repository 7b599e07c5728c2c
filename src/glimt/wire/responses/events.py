"""Answers as the events of the Responses format, numbered through.

https://platform.openai.com/docs/api-reference/responses-streaming. An item is added, grows part by
part and is done, one after another; the last event has the whole response. An item that the end
cuts off is done with the status incomplete, but a call: clients run what is done, so a call that
was cut off stays open, and only the whole response has it. Open Responses ends with `[DONE]`, which
OpenAI's clients skip.
"""

from typing import Final, Literal

import msgspec

from glimt.core.errors import GlimtError
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
from glimt.core.parts import ToolCallPart
from glimt.wire import sse
from glimt.wire.codec import all_warnings, client_name, json_object
from glimt.wire.openai_types import extension_of
from glimt.wire.responses import types
from glimt.wire.responses.call import ResponseCall, ThoughtSeal, ToolWord
from glimt.wire.responses.resource import (
    Ids,
    failure,
    finish,
    logprobs_of,
    message,
    opened,
    thought,
    tool_call,
)

DONE: Final = sse.encode(b"[DONE]")


class StreamEvent(msgspec.Struct):
    """Every kind of event in one; `type` says which members are there."""

    type: str
    sequence_number: int
    response: types.Resource | msgspec.UnsetType = msgspec.UNSET
    item_id: str | msgspec.UnsetType = msgspec.UNSET
    output_index: int | msgspec.UnsetType = msgspec.UNSET
    content_index: int | msgspec.UnsetType = msgspec.UNSET
    summary_index: int | msgspec.UnsetType = msgspec.UNSET
    delta: str | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    name: str | msgspec.UnsetType = msgspec.UNSET
    arguments: str | msgspec.UnsetType = msgspec.UNSET
    input: str | msgspec.UnsetType = msgspec.UNSET
    part: types.TextOut | types.ThoughtOut | types.SummaryOut | msgspec.UnsetType = msgspec.UNSET
    item: types.ItemOut | msgspec.UnsetType = msgspec.UNSET
    logprobs: list[types.TokenLogprobOut] | msgspec.UnsetType = msgspec.UNSET
    code: str | msgspec.UnsetType | None = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET
    param: str | msgspec.UnsetType | None = msgspec.UNSET


class _Item(msgspec.Struct):
    """An item that grows. `silent` is one of which nothing but its end is sent."""

    kind: Literal["message", "thought", "call"]
    id: str
    index: int
    pieces: list[str] = []
    logprobs: list[types.TokenLogprobOut] = []
    signature: str | None = None
    silent: bool = False
    call: ToolCallStarted | None = None
    word: ToolWord | None = None


class ResponseEncoder:
    """The events of one streamed answer."""

    def __init__(self, call: ResponseCall, seal: ThoughtSeal | None) -> None:
        self._call = call
        self._seal = seal
        self._hidden = call.request.thinking.hidden
        self._summary = call.thoughts == "summary"
        self._resource: types.Resource | None = None
        self._ids: Ids | None = None
        self._warnings: tuple[str, ...] = ()
        self._number = 0
        self._item: _Item | None = None
        self._reason: FinishReason = "error"
        self._finished = False

    def encode(self, event: Event) -> bytes:  # noqa: PLR0911  one for each kind
        """The events for an event; usually one."""
        match event:
            case TextDelta():
                return self._text(event)
            case ReasoningDelta():
                return self._thought(event)
            case ToolCallDelta():
                return self._arguments(event)
            case ToolCallStarted():
                return self._open_call(event)
            case ToolCallFinished():
                return self._close("completed")
            case ChoiceFinished():
                self._reason = event.reason
                whole = event.reason in ("stop", "tool_calls")
                return self._close("completed" if whole else "incomplete")
            case Started():
                return self._open(event)
            case Finished():
                self.final(event)
                return self._end()
            case KeepAlive():
                return b""

    def final(self, finished: Finished) -> types.Resource:
        """The whole response; the same one again once it was asked for."""
        resource = self._resource
        assert resource is not None, "an answer begins with Started"
        if not self._finished:
            self._finished = True
            finish(resource, self._reason, finished.usage, finished.timing)
            warnings = all_warnings(self._call, self._warnings, finished.warnings)
            resource.glimt = extension_of(warnings)
        return resource

    def fail(self, error: GlimtError) -> bytes:
        """What happened, as a last event."""
        resource = self._resource
        failed = failure(error, self._call)
        if resource is None:
            event = StreamEvent("error", 0, code=failed.code, message=failed.message)
            event.param = (
                None if error.param is None else client_name(error.param, self._call.names)
            )
            return self._event(event) + DONE
        closed = self._close("incomplete")
        resource.status = "failed"
        resource.error = failed
        return closed + self._event(StreamEvent("response.failed", 0, response=resource)) + DONE

    def end(self) -> bytes:
        """Open Responses' end marker."""
        return DONE

    def _event(self, event: StreamEvent) -> bytes:
        event.sequence_number = self._number
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (event.type.encode(), json_object(event))

    def _open(self, started: Started) -> bytes:
        self._ids = Ids(started)
        self._warnings = started.warnings
        resource = self._resource = opened(self._call, started, self._ids)
        warnings = all_warnings(self._call, started.warnings, ())
        resource.glimt = extension_of(warnings)
        return self._event(StreamEvent("response.created", 0, response=resource)) + self._event(
            StreamEvent("response.in_progress", 0, response=resource)
        )

    def _end(self) -> bytes:
        resource = self._resource
        assert resource is not None
        return self._event(StreamEvent(f"response.{resource.status}", 0, response=resource))

    def _begin(self, kind: Literal["message", "thought", "call"], prefix: str) -> _Item:
        assert self._ids is not None, "an answer begins with Started"
        assert self._resource is not None
        index = len(self._resource.output)
        item = self._item = _Item(kind, self._ids.item(prefix, index), index)
        return item

    def _added(self, item: _Item, shown: types.ItemOut) -> bytes:
        return self._event(
            StreamEvent("response.output_item.added", 0, output_index=item.index, item=shown)
        )

    def _done(self, item: _Item, shown: types.ItemOut) -> bytes:
        assert self._resource is not None
        self._resource.output.append(shown)
        return self._event(
            StreamEvent("response.output_item.done", 0, output_index=item.index, item=shown)
        )

    def _text(self, event: TextDelta) -> bytes:
        if not event.text and not event.logprobs:
            return b""
        opening = b""
        item = self._item
        if item is None or item.kind != "message":
            opening = self._close("completed")
            item = self._begin("message", "msg")
            empty = types.MessageOut(id=item.id, status="in_progress", content=[])
            opening += self._added(item, empty)
            opening += self._part("response.content_part.added", item, types.TextOut(text=""))
        item.pieces.append(event.text)
        logprobs: list[types.TokenLogprobOut] = []
        if event.logprobs and self._call.wants_logprobs:
            logprobs = logprobs_of(event.logprobs)
            item.logprobs += logprobs
        delta = StreamEvent(
            "response.output_text.delta",
            0,
            item_id=item.id,
            output_index=item.index,
            content_index=0,
            delta=event.text,
            logprobs=logprobs,
        )
        return opening + self._event(delta) if opening else self._event(delta)

    def _part(
        self, kind: str, item: _Item, part: types.TextOut | types.ThoughtOut | types.SummaryOut
    ) -> bytes:
        event = StreamEvent(kind, 0, item_id=item.id, output_index=item.index, part=part)
        if isinstance(part, types.SummaryOut):
            event.summary_index = 0
        else:
            event.content_index = 0
        return self._event(event)

    def _thought(self, event: ReasoningDelta) -> bytes:
        if not event.text and event.signature is None:
            return b""
        opening = b""
        item = self._item
        if item is None or item.kind != "thought":
            opening = self._close("completed")
            item = self._begin("thought", "rs")
            item.silent = self._hidden
            if not item.silent:
                opening += self._added(item, types.ReasoningOut(id=item.id, summary=[]))
                opening += self._thought_part("added", item, "")
        item.pieces.append(event.text)
        item.signature = event.signature or item.signature
        if item.silent or not event.text:
            return opening
        return opening + self._thought_event("delta", item, event.text)

    def _thought_part(self, kind: str, item: _Item, text: str) -> bytes:
        if self._summary:
            part = types.SummaryOut(text=text)
            return self._part(f"response.reasoning_summary_part.{kind}", item, part)
        return self._part(f"response.content_part.{kind}", item, types.ThoughtOut(text=text))

    def _thought_event(self, kind: str, item: _Item, text: str) -> bytes:
        name = "reasoning_summary_text" if self._summary else "reasoning_text"
        event = StreamEvent(f"response.{name}.{kind}", 0, item_id=item.id, output_index=item.index)
        if self._summary:
            event.summary_index = 0
        else:
            event.content_index = 0
        if kind == "delta":
            event.delta = text
        else:
            event.text = text
        return self._event(event)

    def _open_call(self, started: ToolCallStarted) -> bytes:
        closed = self._close("completed")
        word = self._call.tools.get(started.name) or ToolWord(name=started.name)
        item = self._begin("call", "ctc" if word.custom else "fc")
        item.call, item.word = started, word
        return closed + self._added(item, self._call_item(item, "", "in_progress"))

    def _call_item(
        self, item: _Item, arguments: str, status: str
    ) -> types.CallOut | types.CustomCallOut:
        assert item.call is not None
        assert item.word is not None
        assert self._ids is not None
        part = ToolCallPart(id=item.call.id, name=item.word.name, arguments=arguments)
        shown = tool_call(self._ids, item.index, part, item.word)
        shown.status = status
        return shown

    def _arguments(self, event: ToolCallDelta) -> bytes:
        item = self._item
        assert item is not None, "arguments belong to a call"
        item.pieces.append(event.arguments)
        if item.word is not None and item.word.custom:
            return b""  # Text inside of JSON: it is known at the end.
        return self._event(
            StreamEvent(
                "response.function_call_arguments.delta",
                0,
                item_id=item.id,
                output_index=item.index,
                delta=event.arguments,
            )
        )

    def _close(self, status: str) -> bytes:
        """The end of the item that grows, if one does."""
        item, self._item = self._item, None
        if item is None:
            return b""
        text = "".join(item.pieces)
        match item.kind:
            case "message":
                return self._close_message(item, text, status)
            case "thought":
                return self._close_thought(item, text, status)
            case "call":
                return self._close_call(item, text, status)

    def _close_message(self, item: _Item, text: str, status: str) -> bytes:
        part = types.TextOut(text=text, logprobs=item.logprobs)
        done = self._event(
            StreamEvent(
                "response.output_text.done",
                0,
                item_id=item.id,
                output_index=item.index,
                content_index=0,
                text=text,
                logprobs=item.logprobs,
            )
        )
        shown = message(item.id, part)
        shown.status = status
        done += self._part("response.content_part.done", item, part)
        return done + self._done(item, shown)

    def _close_thought(self, item: _Item, text: str, status: str) -> bytes:
        shown = thought(self._call, item.id, text, signature=item.signature, seal=self._seal)
        if shown is None:
            return b""
        shown.status = status if status == "incomplete" else msgspec.UNSET
        if item.silent:
            empty = types.ReasoningOut(id=item.id, summary=[])
            return self._added(item, empty) + self._done(item, shown)
        done = self._thought_event("done", item, text) + self._thought_part("done", item, text)
        return done + self._done(item, shown)

    def _close_call(self, item: _Item, text: str, status: str) -> bytes:
        shown = self._call_item(item, text, status)
        if status != "completed":
            assert self._resource is not None
            self._resource.output.append(shown)
            return b""
        event = StreamEvent("", 0, item_id=item.id, output_index=item.index)
        before = b""
        if isinstance(shown, types.CustomCallOut):
            event.type = "response.custom_tool_call_input.delta"
            event.delta = shown.input
            before = self._event(event)
            event.type, event.delta = "response.custom_tool_call_input.done", msgspec.UNSET
            event.input = shown.input
        else:
            event.type = "response.function_call_arguments.done"
            event.name, event.arguments = shown.name, text
        return before + self._event(event) + self._done(item, shown)
