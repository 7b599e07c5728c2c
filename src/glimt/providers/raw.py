"""What a model wrote, where a place passes it on as it is: thought, calls and text in one.

`transformers serve` knows no reader for GLM's format, so its text begins inside the thought and has
the format's tags in it. They are told apart as the engine's own answers are. Where a place tells
thoughts or calls apart itself, nothing is left to do. Knows core's events, and nothing of HTTP.
"""

from collections.abc import Sequence

import msgspec

from glimt.core.events import ChoiceFinished, Event, ReasoningDelta, TextDelta, ToolCallStarted
from glimt.core.request import Tool
from glimt.engine.chat.parser import AnswerParser
from glimt.engine.chat.tags import TagScanner


class RawReader:
    """Reads one answer.

    Args:
        tools: What was declared to the model.
        thinking: Its prompt ended inside a thought, as it does unless thinking is switched off.
    """

    def __init__(self, tools: Sequence[Tool], *, thinking: bool) -> None:
        self._scanner = TagScanner()
        self._parser = AnswerParser(tools, thinking=thinking)
        self._is_told_apart = False

    def read(self, event: Event) -> Sequence[Event]:
        """What it is, as far as that is certain."""
        match event:
            case _ if self._is_told_apart:
                return [event]
            case ReasoningDelta() | ToolCallStarted():
                self._is_told_apart = True
                return [event]
            case TextDelta():
                return self._parser.push(self._scanner.push(event.text))
            case ChoiceFinished():
                rest = [
                    *self._parser.push(self._scanner.flush()),
                    *self._parser.finish(natural=event.reason == "stop"),
                ]
                if event.reason == "stop" and self._parser.num_calls:
                    event = msgspec.structs.replace(event, reason="tool_calls")
                return [*rest, event]
            case _:
                return [event]
