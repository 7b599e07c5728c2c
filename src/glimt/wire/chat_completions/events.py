"""Answers in OpenAI's shape: as one document, and as chunks.

https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming. Thoughts are
`reasoning_content`, as GLM servers write them, and what else the dialect has (`spelling`). A chunk
leaves `usage` out where there is none; the last one has it even when nobody asked, because clients
of GLM servers read it there. What only the end can tell comes with the usage: the times, and every
warning, since headers are long gone.
"""

from typing import Final

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.events import (
    Answer,
    Choice,
    ChoiceFinished,
    Event,
    Finished,
    KeepAlive,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.ids import new_id
from glimt.wire import sse
from glimt.wire.chat_completions import spelling, types
from glimt.wire.chat_completions.errors import stream_members
from glimt.wire.chat_completions.metadata import router_metadata
from glimt.wire.codec import Call, all_warnings, json_object
from glimt.wire.openai_types import extension_of, time_info_of

DONE: Final = sse.encode(b"[DONE]")
OBJECT: Final = "chat.completion"
_MARK: Final = new_id("text-")
"""Stands for a text that is to come; nobody knows it, so that nothing else looks like it."""
CHUNK_OBJECT: Final = "chat.completion.chunk"


def completion_id(started: Started) -> str:
    """OpenAI's prefix, our number."""
    return "chatcmpl-" + started.id.removeprefix("glimt-")


def encode_answer(call: Call, answer: Answer) -> bytes:
    """The whole answer."""
    started, dialect = answer.started, call.dialect
    return json_object(
        types.ChatCompletion(
            id=completion_id(started),
            object=OBJECT,
            created=started.created,
            model=started.model,
            choices=[_choice(call, choice) for choice in answer.choices],
            usage=spelling.usage(answer.usage, dialect, answer.trace),
            service_tier=started.service_class,
            provider=spelling.provider(started, dialect),
            system_fingerprint=spelling.fingerprint(dialect),
            request_id=spelling.request_id(call, started),
            time_info=time_info_of(answer.timing, started.created),
            glimt=extension_of(all_warnings(call, started.warnings, answer.warnings)),
            openrouter_metadata=router_metadata(call, started, answer.trace),
        )
    )


def _choice(call: Call, choice: Choice) -> types.ChoiceOut:
    calls = [
        types.ToolCallOut(
            id=part.id,
            type="function",
            function=types.FunctionOut(name=part.name, arguments=part.arguments),
        )
        for part in choice.tool_calls
    ]
    hidden = call.request.thinking.hidden
    wanted = call.request.sampling.top_logprobs is not None
    thought = choice.reasoning_logprobs if wanted and not hidden else ()
    message = types.MessageOut(
        role="assistant",
        # A call alone has no content; an answer that is empty has an empty one.
        content=choice.text or (None if calls or choice.refusal else ""),
        refusal=choice.refusal,
        tool_calls=calls or msgspec.UNSET,
    )
    if not hidden:
        spelling.add_thoughts(message, choice.parts, call.dialect)
    return types.ChoiceOut(
        index=choice.index,
        message=message,
        finish_reason=spelling.finish_reason(choice.reason, call.dialect),
        native_finish_reason=spelling.native_finish_reason(choice.reason, call.dialect),
        logprobs=_logprobs(choice.logprobs) if wanted else None,
        reasoning_logprobs=_logprobs(thought) if thought else msgspec.UNSET,
    )


def _logprobs(tokens: tuple[TokenLogprob, ...]) -> types.LogprobsOut:
    return types.LogprobsOut(
        content=[
            types.TokenLogprobOut(
                token=token.token,
                logprob=token.logprob,
                bytes=list(token.token_bytes),
                top_logprobs=[
                    types.TopLogprobOut(
                        token=rival.token, logprob=rival.logprob, bytes=list(rival.token_bytes)
                    )
                    for rival in token.top
                ],
            )
            for token in tokens
        ]
    )


class ChunkEncoder:
    """The chunks of one answer.

    The chunk that ends a choice is held back until the next event: if that is the bill, the chunk
    carries it.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._dialect = call.dialect
        self._whole_calls: spelling.WholeCalls | None = None
        if call.dialect.whole_arguments:
            self._whole_calls = spelling.WholeCalls()
        self._hidden = call.request.thinking.hidden
        self._chunk = types.Chunk(id="", object=CHUNK_OBJECT, created=0, model="", choices=[])
        self._held: types.ChunkChoice | None = None
        self._service_tier: str | msgspec.UnsetType = msgspec.UNSET
        self._frames: dict[tuple[type[Event], int], list[bytes]] = {}
        self._started: Started | None = None

    def encode(self, event: Event) -> bytes:  # noqa: PLR0911  one for each kind
        """The chunks for an event; usually one."""
        match event:
            case TextDelta(logprobs=()):
                return self._say_text(event)
            case TextDelta():
                return self._say(
                    event.choice, types.Delta(content=event.text), logprobs=event.logprobs
                )
            case ReasoningDelta() if not self._hidden and (event.text or event.logprobs):
                if not event.logprobs and event.signature is None:
                    return self._say_text(event)
                return self._say(
                    event.choice,
                    spelling.thought(event, self._dialect),
                    reasoning_logprobs=event.logprobs,
                )
            case ToolCallStarted() | ToolCallDelta() | ToolCallFinished() if self._whole_calls:
                return self._gather(event)
            case ToolCallDelta():
                function = types.FunctionOut(arguments=event.arguments)
                delta = types.ToolCallDelta(
                    index=event.index, type=spelling.call_type(self._dialect), function=function
                )
                return self._say(
                    event.choice, types.Delta(tool_calls=[delta]), logprobs=event.logprobs
                )
            case ToolCallStarted():
                delta = types.ToolCallDelta(
                    index=event.index,
                    id=event.id,
                    type="function",
                    function=types.FunctionOut(name=event.name, arguments=""),
                )
                return self._say(event.choice, types.Delta(tool_calls=[delta]))
            case ChoiceFinished():
                released = self._release()
                self._held = spelling.last_choice(event, self._dialect)
                return released
            case Started():
                return self._open(event)
            case Finished():
                return self._bill(event)
            case ReasoningDelta() | ToolCallFinished() | KeepAlive():
                return b""

    def fail(self, error: GlimtError) -> bytes:
        """What happened, as a last event that clients raise as an error."""
        members = stream_members(error, self._call)
        if self._dialect.name == "openrouter":
            members = spelling.broken_chunk(self._chunk) | members
        return self._release() + sse.encode(json_object(members))

    def end(self) -> bytes:
        """OpenAI's end marker."""
        return self._release() + DONE

    def _open(self, started: Started) -> bytes:
        self._chunk.id = completion_id(started)
        self._chunk.created = started.created
        self._chunk.model = started.model
        self._chunk.service_tier = self._service_tier = started.service_class
        self._chunk.provider = spelling.provider(started, self._dialect)
        self._chunk.system_fingerprint = spelling.fingerprint(self._dialect)
        self._chunk.request_id = spelling.request_id(self._call, started)
        self._started = started
        opening = b"".join(
            self._say(index, types.Delta(role="assistant", content=""))
            for index in range(self._call.num_choices)
        )
        self._chunk.service_tier = msgspec.UNSET
        self._frames.clear()
        return opening

    def _say_text(self, event: TextDelta | ReasoningDelta) -> bytes:
        """Chunks of text differ from each other in their text alone: what is around it is kept."""
        if self._held is not None:
            return self._release() + self._say_text(event)
        frame = self._frames.get((type(event), event.choice))
        if frame is None:
            marked = msgspec.structs.replace(event, text=_MARK)
            delta = (
                types.Delta(content=_MARK)
                if isinstance(marked, TextDelta)
                else spelling.thought(marked, self._dialect)
            )
            frame = self._say(event.choice, delta).split(json_object(_MARK))
            self._frames[type(event), event.choice] = frame
        return json_object(event.text).join(frame)

    def _say(
        self,
        index: int,
        delta: types.Delta,
        *,
        logprobs: tuple[TokenLogprob, ...] = (),
        reasoning_logprobs: tuple[TokenLogprob, ...] = (),
    ) -> bytes:
        choice = types.ChunkChoice(index=index, delta=delta)
        if logprobs:
            choice.logprobs = _logprobs(logprobs)
        if reasoning_logprobs:
            choice.reasoning_logprobs = _logprobs(reasoning_logprobs)
        self._chunk.choices = [choice]
        data = sse.encode(json_object(self._chunk))
        return data if self._held is None else self._release() + data

    def _gather(self, event: ToolCallStarted | ToolCallDelta | ToolCallFinished) -> bytes:
        assert self._whole_calls is not None
        gathered = self._whole_calls.add(event)
        if gathered is None:
            return b""
        delta, logprobs = gathered
        return self._say(event.choice, types.Delta(tool_calls=[delta]), logprobs=logprobs)

    def _release(self) -> bytes:
        held, self._held = self._held, None
        if held is None:
            return b""
        self._chunk.choices = [held]
        return sse.encode(json_object(self._chunk))

    def _bill(self, finished: Finished) -> bytes:
        apart = self._dialect.usage_apart
        if self._held is None or (self._call.include_usage if apart is None else apart):
            released = self._release()
            self._chunk.choices = []
        else:
            released = b""
            self._chunk.choices = [self._held]
            self._held = None
        self._chunk.usage = spelling.usage(finished.usage, self._dialect, finished.trace)
        self._chunk.service_tier = self._service_tier
        self._chunk.time_info = time_info_of(finished.timing, self._chunk.created)
        early = () if self._started is None else self._started.warnings
        warnings = all_warnings(self._call, early, finished.warnings)
        self._chunk.glimt = extension_of(warnings)
        self._chunk.openrouter_metadata = router_metadata(self._call, self._started, finished.trace)
        return released + sse.encode(json_object(self._chunk))
