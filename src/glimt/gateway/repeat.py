"""An answer that is given again from its beginning: what of it is new to whoever saw a part.

For what no place can go on with from its middle: a call, JSON, a place that begins every answer
anew. Only an answer that is the same each time can be compared with what was said, so this is for
`temperature` 0. Knows events; who is asked, and when, is for `gateway.attempt`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from glimt.core.errors import UpstreamError
from glimt.core.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)


class Call(msgspec.Struct):
    """A call as far as it was said."""

    name: str
    arguments: str = ""
    finished: bool = False


class Repeat:
    """What was said, against what is said now.

    Args:
        thought: Seen already, as are the others.
        text: All of it.
        calls: By their index.
    """

    def __init__(self, thought: str, text: str, calls: Mapping[int, Call]) -> None:
        self._thought = thought
        self._text = text
        self._thought_is_over = bool(text or calls)
        self._calls = {index: msgspec.structs.replace(call) for index, call in calls.items()}
        self._to_begin = set(calls)

    def new(self, event: Event) -> Sequence[Event]:
        """The event, what is new of it, or nothing.

        Raises:
            UpstreamError: It is not what was said.
        """
        match event:
            case ReasoningDelta():
                rest, self._thought = behind(event.text, self._thought)
                self._check(not (rest and self._thought_is_over))
                return [msgspec.structs.replace(event, text=rest)] if rest else []
            case TextDelta():
                rest, self._text = behind(event.text, self._text)
                self._check(not self._thought and not (rest and self._to_begin))
                return [msgspec.structs.replace(event, text=rest)] if rest else []
            case ToolCallStarted():
                self._check(not self._thought and not self._text)
                return [] if self._is_known(event) else [event]
            case ToolCallDelta() | ToolCallFinished() if event.index in self._calls:
                return self._of_call(event, self._calls[event.index])
            case ChoiceFinished():
                self._check(not (self._thought or self._text or self._to_begin))
                self._check(not any(call.arguments for call in self._calls.values()))
                return [event]
            case _:
                return [event]

    def _is_known(self, event: ToolCallStarted) -> bool:
        """The client has its id from whoever began it."""
        call = self._calls.get(event.index)
        self._check(call is not None or not self._to_begin)
        self._check(call is None or call.name == event.name)
        self._to_begin.discard(event.index)
        return call is not None

    def _of_call(self, event: ToolCallDelta | ToolCallFinished, call: Call) -> Sequence[Event]:
        if isinstance(event, ToolCallFinished):
            self._check(not call.arguments)
            return [] if call.finished else [event]
        rest, call.arguments = behind(event.arguments, call.arguments)
        self._check(not (rest and call.finished))
        return [msgspec.structs.replace(event, arguments=rest)] if rest else []

    def _check(self, is_same: bool) -> None:  # noqa: FBT001  a condition, as of an assertion
        if not is_same:
            raise _otherwise()


def behind(text: str, said: str) -> tuple[str, str]:
    """What of `text` is new, and what of `said` has yet to come.

    Raises:
        UpstreamError: Neither begins with the other.
    """
    if said.startswith(text):
        return "", said[len(text) :]
    if text.startswith(said):
        return text[len(said) :], ""
    raise _otherwise()


def _otherwise() -> UpstreamError:
    return UpstreamError("Another answer came than the one begun.", code="upstream_began_anew")
