"""An answer, as it happens.

A provider answers with a stream of batches of these, in this order:

    Started
      for each choice, interleaved:  ReasoningDelta* TextDelta* (ToolCallStarted ToolCallDelta*
                                     ToolCallFinished)*   in any order the model chose
                                     ChoiceFinished
    Finished                         exactly once, last

A failure is raised as `core.errors.GlimtError`, before or after any event; it is never an event.
`KeepAlive` may appear anywhere and means: alive, nothing to say yet.
A batch (`Batch`) is what was there at once: handing it on costs the same for one event and a
hundred, and nobody waits to fill one. `Started` is the first of its batch, `Finished` the last.
`collect` folds a stream into an `Answer`; a codec's unary form encodes that.
"""

from collections.abc import AsyncIterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from glimt.core.parts import Part, ReasoningPart, RefusalPart, TextPart, ToolCallPart
from glimt.core.request import ServiceClass
from glimt.core.trace import Trace
from glimt.core.usage import Timing, Usage

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "error"]


class TopLogprob(msgspec.Struct, frozen=True, gc=False):
    """One alternative at one position. `token` may be half a letter; `token_bytes` is exact."""

    token: str
    logprob: float
    token_bytes: bytes


class TokenLogprob(msgspec.Struct, frozen=True, gc=False):
    """The drawn token, its natural-log probability before temperature and filters, its rivals."""

    token: str
    logprob: float
    token_bytes: bytes
    top: tuple[TopLogprob, ...] = ()
    token_id: int = -1


class Started(msgspec.Struct, frozen=True, tag="started", kw_only=True):
    """Somebody took the request.

    `model` is the deployment that answers, never the alias that was asked for. `warnings` name what
    was understood but not honoured. `prompt_tokens` is known here by providers that render
    the prompt themselves. `service_class` is the one that is given, which may be less than was
    asked for. `route` names the places that were tried in vain, each with why, then the one that
    answers; empty where there was no choice.
    """

    id: str
    model: str
    created: int
    provider: str
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    service_class: ServiceClass = "default"
    warnings: tuple[str, ...] = ()
    route: tuple[str, ...] = ()


class KeepAlive(msgspec.Struct, frozen=True, tag="keep_alive"):
    """Nothing new, still working."""


class TextDelta(msgspec.Struct, frozen=True, gc=False, tag="text_delta", kw_only=True):
    """More of the answer's text. `text` may be empty when only `logprobs` are new."""

    choice: int = 0
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False, tag="reasoning_delta", kw_only=True):
    """More of the thought."""

    choice: int = 0
    text: str
    signature: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


class ToolCallStarted(msgspec.Struct, frozen=True, gc=False, tag="tool_call_started", kw_only=True):
    """A call begins; its name is whole and declared. `index` counts the calls of one choice."""

    choice: int = 0
    index: int
    id: str
    name: str


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False, tag="tool_call_delta", kw_only=True):
    """More of the arguments' JSON text; the deltas of one call concatenate to one JSON object."""

    choice: int = 0
    index: int
    arguments: str
    logprobs: tuple[TokenLogprob, ...] = ()


class ToolCallFinished(
    msgspec.Struct, frozen=True, gc=False, tag="tool_call_finished", kw_only=True
):
    """The arguments are whole. A truncated call never gets this event."""

    choice: int = 0
    index: int


class ChoiceFinished(msgspec.Struct, frozen=True, tag="choice_finished", kw_only=True):
    """One choice ended. `stop` is the stop text or token id that ended it, if one did."""

    choice: int = 0
    reason: FinishReason
    stop: str | int | None = None


class Finished(msgspec.Struct, frozen=True, tag="finished", kw_only=True):
    """All choices ended; the bill. `warnings` are those that only the end could tell.

    `route` replaces the one of `Started` where the answer was finished by another place; `trace` is
    the whole of it, where there was a choice.
    """

    usage: Usage
    timing: Timing = Timing()
    warnings: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    trace: Trace | None = None


Event: TypeAlias = (
    Started
    | KeepAlive
    | TextDelta
    | ReasoningDelta
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallFinished
    | ChoiceFinished
    | Finished
)


Batch: TypeAlias = Sequence[Event]
"""Events that were there at once, in order; whoever gets one leaves it as it is."""


OUTPUT: Final = frozenset({TextDelta, ReasoningDelta, ToolCallStarted, ToolCallDelta})
"""What of an answer a client waits for."""


def has_output(batch: Batch) -> bool:
    """Whether there is anything of the answer itself in it."""
    return any(type(event) in OUTPUT for event in batch)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One finished answer: its parts in order of appearance."""

    index: int
    parts: tuple[Part, ...]
    reason: FinishReason
    stop: str | int | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning_logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def reasoning(self) -> str:
        """The reasoning parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, ReasoningPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def refusal(self) -> str | None:
        """The refusal, if the model refused."""
        texts = [part.text for part in self.parts if isinstance(part, RefusalPart)]
        return "".join(texts) if texts else None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: the unary form of an event stream. `warnings` are those of its end."""

    started: Started
    choices: tuple[Choice, ...]
    usage: Usage
    timing: Timing = Timing()
    warnings: tuple[str, ...] = ()
    trace: Trace | None = None


class _ChoiceBuilder:
    """Folds the events of one choice. Text, thought and calls keep their order of appearance."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._runs: list[tuple[str, list[str], ToolCallStarted | None]] = []
        self._calls: dict[int, list[str]] = {}
        self._whole: set[int] = set()
        self._signatures: dict[int, str] = {}
        self.logprobs: list[TokenLogprob] = []
        self.reasoning_logprobs: list[TokenLogprob] = []
        self.finished: ChoiceFinished | None = None

    def _append(self, kind: str, text: str) -> None:
        if not self._runs or self._runs[-1][0] != kind:
            self._runs.append((kind, [], None))
        self._runs[-1][1].append(text)

    def add(self, event: Event) -> None:
        match event:
            case TextDelta():
                if event.text:
                    self._append("text", event.text)
                self.logprobs.extend(event.logprobs)
            case ReasoningDelta():
                if event.text or event.signature:
                    self._append("reasoning", event.text)
                if event.signature:
                    self._signatures[len(self._runs) - 1] = event.signature
                self.reasoning_logprobs.extend(event.logprobs)
            case ToolCallStarted():
                pieces: list[str] = []
                self._calls[event.index] = pieces
                self._runs.append(("tool_call", pieces, event))
            case ToolCallDelta():
                self._calls[event.index].append(event.arguments)
                self.logprobs.extend(event.logprobs)
            case ToolCallFinished():
                self._whole.add(event.index)
            case ChoiceFinished():
                self.finished = event
            case _:
                pass

    def build(self) -> Choice:
        parts: list[Part] = []
        for position, (kind, pieces, call) in enumerate(self._runs):
            text = "".join(pieces)
            if call is not None:
                # A call whose arguments were cut off must never look like one to be run.
                if call.index in self._whole:
                    parts.append(ToolCallPart(id=call.id, name=call.name, arguments=text))
            elif kind == "reasoning":
                parts.append(ReasoningPart(text=text, signature=self._signatures.get(position)))
            else:
                parts.append(TextPart(text))
        finished = self.finished or ChoiceFinished(choice=self.index, reason="error")
        return Choice(
            index=self.index,
            parts=tuple(parts),
            reason=finished.reason,
            stop=finished.stop,
            logprobs=tuple(self.logprobs),
            reasoning_logprobs=tuple(self.reasoning_logprobs),
        )


async def collect(batches: AsyncIterable[Batch]) -> Answer:
    """Fold a stream into an answer.

    Raises:
        GlimtError: Whatever the stream raised.
        ValueError: The stream broke its grammar (no `Started`, or no `Finished`).
    """
    started: Started | None = None
    finished: Finished | None = None
    builders: dict[int, _ChoiceBuilder] = {}
    async for batch in batches:
        for event in batch:
            match event:
                case Started():
                    started = event
                case Finished():
                    finished = event
                case KeepAlive():
                    pass
                case _:
                    if event.choice not in builders:
                        builders[event.choice] = _ChoiceBuilder(event.choice)
                    builders[event.choice].add(event)
    if started is None or finished is None:
        raise ValueError("an event stream must begin with Started and end with Finished")
    if finished.route:
        started = msgspec.structs.replace(started, route=finished.route)
    return Answer(
        started=started,
        choices=tuple(builders[index].build() for index in sorted(builders)),
        usage=finished.usage,
        timing=finished.timing,
        warnings=finished.warnings,
        trace=finished.trace,
    )
