"""Answers on the real path: a request through nano's template, token ids through a `ChoiceReader`.

What is asked for is a value (`Asked`), what came is a value (`Answered`), and `every_grouping`
reads the same ids in several groupings, whose results must be one.
"""

import json
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from glimt.core.events import Answer, ChoiceFinished, Event, Finished, Started, collect
from glimt.core.parts import Message, TextPart
from glimt.core.request import Request, Thinking, Tool
from glimt.core.usage import Usage
from glimt.engine.chat.parser import AnswerParser
from glimt.engine.chat.reader import ChoiceReader, ReadingRules, joined
from glimt.engine.chat.template import ChatTemplate
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.messages import EngineFinish, Output
from tests.batches import alone

NANO = Path(__file__).parents[3] / "src/glimt/models/nano"
TOKENIZER = Tokenizer.load(NANO)
TEMPLATE = ChatTemplate.load(NANO, TOKENIZER)
ENDS = frozenset(
    token
    for text in ("<|endoftext|>", "<|user|>", "<|observation|>")
    if (token := TOKENIZER.control_id(text)) is not None
)


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, as a client that does not stream gets it; calls as (name, JSON text)."""

    thought: str = ""
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    reason: str = "stop"

    @property
    def arguments(self) -> Any:
        """Those of the one call."""
        ((_, text),) = self.calls
        return json.loads(text)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as far as reading its answer depends on it."""

    tools: tuple[Tool, ...] = ()
    thinking: bool = False
    rules: ReadingRules = ReadingRules(end_tokens=ENDS)


def reader(asked: Asked) -> ChoiceReader:
    """A reader as the provider makes it: whether a thought is open, the rendered prompt says."""
    request = Request(
        model="glimt/nano",
        messages=(Message(role="user", parts=(TextPart("Go on."),)),),
        tools=asked.tools,
        thinking=Thinking(enabled=asked.thinking),
    )
    prompt = TEMPLATE.render(request)
    numbers = iter(range(10_000))
    parser = AnswerParser(
        prompt.tools, thinking=prompt.thinking, call_id=lambda: f"call_{next(numbers)}"
    )
    return ChoiceReader(TOKENIZER, parser, choice=0, rules=asked.rules)


def encoded(*parts: str | Sequence[int]) -> list[int]:
    """Token ids of an answer: text in which tags are tokens, and ids as they are."""
    ids: list[int] = []
    for part in parts:
        ids.extend(TOKENIZER.encode(part) if isinstance(part, str) else part)
    return ids


def grouped(ids: Sequence[int], sizes: Iterable[int], finish: EngineFinish) -> list[Output]:
    """What the engine sends: so many tokens at a time, the last ones with the reason of the end."""
    outputs: list[Output] = []
    start = 0
    for size in sizes:
        if start + size >= len(ids):
            break
        outputs.append(Output(id=1, tokens=list(ids[start : start + size])))
        start += size
    outputs.append(Output(id=1, tokens=list(ids[start:]), finish=finish))
    return outputs


def unfinished(ids: Sequence[int], width: int = 1) -> list[Output]:
    """The same of an answer that goes on."""
    return [
        Output(id=1, tokens=list(ids[start : start + width])) for start in range(0, len(ids), width)
    ]


def streamed(asked: Asked, outputs: Iterable[Output]) -> list[Event]:
    """The events in the order in which a client that streams gets them."""
    one = reader(asked)
    events: list[Event] = []
    for output in outputs:
        if not one.finished:
            events.extend(one.read(output))
    return events


def run(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def whole(events: Iterable[Event]) -> Answered:
    """The same events as a client gets them that does not stream."""
    opening = Started(id="", model="", created=0, provider="")
    all_of_it = alone(opening, *events, Finished(usage=Usage()))
    (choice,) = run(collect(all_of_it)).choices
    return Answered(
        thought=choice.reasoning,
        text=choice.text,
        calls=tuple((part.name, part.arguments) for part in choice.tool_calls),
        reason=choice.reason,
    )


def every_grouping(
    *parts: str | Sequence[int],
    tools: Iterable[Tool] = (),
    thinking: bool = False,
    finish: EngineFinish = "stop",
) -> Answered:
    """Read an answer token by token, in groups of all sizes and at once: one result.

    An answer that stops by itself ends with the token for it.
    """
    asked = Asked(tools=tuple(tools), thinking=thinking)
    ids = encoded(*parts, "<|user|>" if finish == "stop" else "")
    first = joined(streamed(asked, grouped(ids, [len(ids)], finish)))
    for width in range(1, len(ids)):
        sizes = [width] * len(ids)
        assert joined(streamed(asked, grouped(ids, sizes, finish))) == first
    assert isinstance(first[-1], ChoiceFinished)
    return whole(first)
