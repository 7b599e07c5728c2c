"""Where the dialects of an answer differ, member by member.

`events` writes what they have in common and asks here for the rest.
"""

from typing import Any, Final

import msgspec

from glimt import __version__
from glimt.core.events import (
    ChoiceFinished,
    FinishReason,
    ReasoningDelta,
    Started,
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.parts import Part, ReasoningPart
from glimt.core.trace import Trace
from glimt.core.usage import Usage as CoreUsage
from glimt.wire.chat_completions import types
from glimt.wire.codec import Call
from glimt.wire.dialect import Dialect
from glimt.wire.openai_types import Usage, usage_of

FORMAT: Final = "unknown"
"""OpenRouter's name for thoughts that are of no known vendor's form."""
_ZAI_REASONS: Final[dict[FinishReason, str]] = {
    "content_filter": "sensitive",
    "error": "network_error",
}


def finish_reason(reason: FinishReason, dialect: Dialect) -> str:
    """Why an answer ended."""
    return _ZAI_REASONS.get(reason, reason) if dialect.name == "zai" else reason


def native_finish_reason(reason: FinishReason, dialect: Dialect) -> str | msgspec.UnsetType:
    """The same in the provider's own word, which OpenRouter shows too."""
    return reason if dialect.name == "openrouter" else msgspec.UNSET


def usage(bill: CoreUsage, dialect: Dialect, trace: Trace | None = None) -> Usage:
    """The bill. A local model costs nothing, which OpenRouter's clients want to hear.

    Without a trace the answer is from here; a cost that nobody knows is left out.
    """
    told = usage_of(bill)
    if dialect.name == "openrouter":
        told.is_byok = False
        if trace is None:
            told.cost = 0.0
        elif trace.cost is not None:
            told.cost = float(trace.cost)
    return told


def provider(started: Started, dialect: Dialect) -> str | msgspec.UnsetType:
    """Who answered, beside the model."""
    return started.provider if dialect.name == "openrouter" else msgspec.UNSET


def fingerprint(dialect: Dialect) -> str | msgspec.UnsetType:
    """Which software answered; Cerebras's SDK takes a chunk for none without this member."""
    return f"glimt-{__version__}" if dialect.reasoning else msgspec.UNSET


def call_type(dialect: Dialect) -> str | msgspec.UnsetType:
    """What kind of call a later piece belongs to, which Cerebras's SDK wants to hear each time."""
    return "function" if dialect.reasoning else msgspec.UNSET


def request_id(call: Call, started: Started) -> str | msgspec.UnsetType:
    """The client's name for its request; Z.ai makes one up where there is none."""
    if call.request_id is not None:
        return call.request_id
    return started.id if call.dialect.request_id else msgspec.UNSET


def add_thoughts(message: types.MessageOut, parts: tuple[Part, ...], dialect: Dialect) -> None:
    """The thoughts of a whole answer, under every name that the dialect has for them."""
    thoughts = [part for part in parts if isinstance(part, ReasoningPart)]
    text = "".join(part.text for part in thoughts)
    if text and dialect.reasoning_content:
        message.reasoning_content = text
    if text and dialect.reasoning:
        message.reasoning = text
    if thoughts and dialect.reasoning_details:
        message.reasoning_details = [
            _detail(part.text, index, part.signature) for index, part in enumerate(thoughts)
        ]


def thought(event: ReasoningDelta, dialect: Dialect) -> types.Delta:
    """More of a thought."""
    delta = types.Delta()
    if dialect.reasoning_content:
        delta.reasoning_content = event.text
    if dialect.reasoning:
        delta.reasoning = event.text
    if dialect.reasoning_details:
        delta.reasoning_details = [_detail(event.text, 0, event.signature)]
    return delta


def _detail(text: str, index: int, signature: str | None) -> types.ReasoningDetailOut:
    return types.ReasoningDetailOut(
        type="reasoning.text", text=text, format=FORMAT, index=index, signature=signature
    )


def last_choice(event: ChoiceFinished, dialect: Dialect) -> types.ChunkChoice:
    """The chunk's choice that ends it; Z.ai's has an empty text."""
    is_zai = dialect.name == "zai"
    return types.ChunkChoice(
        index=event.choice,
        delta=types.Delta(role="assistant", content="") if is_zai else types.Delta(),
        finish_reason=finish_reason(event.reason, dialect),
        native_finish_reason=native_finish_reason(event.reason, dialect),
    )


def broken_chunk(chunk: types.Chunk) -> dict[str, Any]:
    """OpenRouter's last chunk of an answer that broke off, but for the error."""
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    members = {"id": chunk.id, "object": chunk.object, "created": chunk.created}
    return {**members, "model": chunk.model, "choices": [choice]}


class WholeCalls:
    """Gathers a stream's calls, so that each is sent once, whole.

    One that was cut off is not sent at all: it must never look like one to be run.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], tuple[ToolCallStarted, list[ToolCallDelta]]] = {}

    def add(
        self, event: ToolCallStarted | ToolCallDelta | ToolCallFinished
    ) -> tuple[types.ToolCallDelta, tuple[TokenLogprob, ...]] | None:
        """The whole call and its tokens, when this event ends it."""
        key = (event.choice, event.index)
        match event:
            case ToolCallStarted():
                self._open[key] = (event, [])
                return None
            case ToolCallDelta():
                self._open[key][1].append(event)
                return None
            case ToolCallFinished():
                started, deltas = self._open.pop(key)
        function = types.FunctionOut(
            name=started.name, arguments="".join(delta.arguments for delta in deltas)
        )
        call = types.ToolCallDelta(
            index=started.index, id=started.id, type="function", function=function
        )
        return call, tuple(token for delta in deltas for token in delta.logprobs)
