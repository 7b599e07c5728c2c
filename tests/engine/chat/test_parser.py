"""Laws of the parser where the format is silent, and what it repairs.

The known bugs of other engines are in `test_known_bugs.py`, splits in `test_splits.py`. Answers
are written as text with tags; `pieces` makes of it what the parser reads.
"""

import json
from typing import Any

import pytest

from glimt.core.events import (
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.request import Tool
from glimt.engine.chat.parser import AnswerParser, Delta
from glimt.engine.chat.reader import joined
from glimt.engine.chat.tags import Piece, TagScanner

WEATHER = Tool(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "note": {"type": ["string", "null"]},
            "tags": {"type": "array"},
        },
        "required": ["city"],
    },
)
TOOLS = (WEATHER, Tool(name="get"), Tool(name="now"), Tool(name="browser.open"))


def pieces(answer: str) -> list[Piece]:
    scanner = TagScanner()
    return [*scanner.push(answer), *scanner.flush()]


def read(
    chunks: list[list[Piece]], *, thinking: bool = False, natural: bool = True, repair: bool = True
) -> list[Delta]:
    numbers = iter(range(1000))
    parser = AnswerParser(
        TOOLS, thinking=thinking, call_id=lambda: f"call_{next(numbers)}", repair=repair
    )
    deltas = [delta for chunk in chunks for delta in parser.push(chunk)]
    return [*deltas, *parser.finish(natural=natural)]


def shown(deltas: list[Delta]) -> list[tuple[object, ...]]:
    """Deltas in short: thoughts and texts as (kind, text), calls as (name, arguments, whole)."""
    result: list[Any] = []
    for delta in joined(deltas):
        match delta:
            case ReasoningDelta():
                result.append(("thought", delta.text))
            case TextDelta():
                result.append(("text", delta.text))
            case ToolCallStarted():
                result.append([delta.name, "", False])
            case ToolCallDelta():
                result[-1][1] += delta.arguments
            case ToolCallFinished():
                result[-1][2] = True
            case _:
                raise AssertionError(delta)
    return [call(*row) if isinstance(row, list) else row for row in result]


def call(name: str, arguments: object, whole: bool = True) -> tuple[object, ...]:
    return (name, json.loads(str(arguments)) if whole else arguments, whole)


def parse(answer: str, **options: bool) -> list[tuple[object, ...]]:
    return shown(read([pieces(answer)], **options))


def weather(**arguments: object) -> tuple[object, ...]:
    return ("get_weather", arguments, True)


CITY = "<arg_key>city</arg_key><arg_value>Paris</arg_value>"


# Thoughts


def test_model_opens_a_thought_itself():
    """A `<think>` in text opens a thought: before the answer, or once more after it."""
    assert parse("<think>why</think>so") == [("thought", "why"), ("text", "so")]
    assert parse("so<think>hm</think>!") == [("text", "so"), ("thought", "hm"), ("text", "!")]


def test_unclosed_thought_after_an_answer_is_a_thought():
    """Text or a call before an unclosed thought is the answer already."""
    assert parse("a<think>b") == [("text", "a"), ("thought", "b")]
    answer = "<tool_call>now</tool_call><think>b"
    assert parse(answer, thinking=True) == [("now", {}, True), ("thought", "b")]


def test_thoughts_are_trimmed():
    """Whitespace at either end of a thought is not shown; within it is."""
    assert parse("\n a\n\nb \n</think>c", thinking=True) == [("thought", "a\n\nb"), ("text", "c")]


# Calls


def test_string_or_null_is_streamed_once_it_is_no_null():
    """A value that may be null waits only as long as it may be."""
    parser = AnswerParser(TOOLS, thinking=False)
    parser.push(pieces("<tool_call>get_weather<arg_key>note</arg_key><arg_value>"))
    assert parser.push(["nu"]) == []
    (delta,) = parser.push(["ll and void"])
    assert isinstance(delta, ToolCallDelta)
    assert delta.arguments == '"null and void'


def test_types_follow_the_schema():
    """Values have the types that the tool declares, unknown keys those of JSON."""
    arguments = {"city": "12_3", "days": "3", "note": "null", "tags": '["a"]', "more": "1.5"}
    text = "".join(
        f"<arg_key>{key}</arg_key><arg_value>{value}</arg_value>"
        for key, value in arguments.items()
    )
    assert parse(f"<tool_call>get_weather{text}</tool_call>") == [
        weather(city="12_3", days=3, note=None, tags=["a"], more=1.5)
    ]


def test_names_with_dots():
    """Names of the model's built-in tools, which have dots, are names."""
    assert parse("<tool_call>browser.open</tool_call>") == [("browser.open", {}, True)]


def test_blank_text_is_dropped():
    """Whitespace that is all there is between two things is no text."""
    answer = "why</think>\n\n<tool_call>now</tool_call>\n \n<tool_call>get</tool_call>\n"
    assert parse(answer, thinking=True) == [
        ("thought", "why"),
        ("now", {}, True),
        ("get", {}, True),
    ]
    assert parse("why</think>\n\nso", thinking=True) == [("thought", "why"), ("text", "so")]


def test_undeclared_call_is_text():
    """A call of a tool that was not declared stays text, tag by tag, where it stands."""
    answer = f"a<tool_call>rm{CITY}</tool_call>b"
    assert parse(answer) == [("text", answer)]
    assert parse(f"{answer}</think>c", thinking=True) == [("thought", answer), ("text", "c")]


def test_undeclared_call_is_text_at_once():
    """A name that cannot become a declared one is not waited for."""
    parser = AnswerParser(TOOLS, thinking=False)
    (delta,) = parser.push(pieces("<tool_call>rm -rf"))
    assert delta == TextDelta(text="<tool_call>rm -rf")


def test_declared_call_inside_an_undeclared_one():
    """An undeclared call that is not closed does not swallow the next call."""
    assert parse("<tool_call>rm<tool_call>now</tool_call>") == [
        ("text", "<tool_call>rm"),
        ("now", {}, True),
    ]


def test_first_of_two_equal_keys_counts():
    """A repeated key does not make two members of one name."""
    again = "<arg_key>city</arg_key><arg_value>Rome</arg_value>"
    assert parse(f"<tool_call>get_weather{CITY}{again}</tool_call>") == [weather(city="Paris")]


def test_tags_inside_values_are_text():
    """Tags other than the end of the value are part of it: code that speaks of tags survives."""
    value = "a<think>b</think><tool_call>c</tool_call> d<arg_key>e</arg_key>f"
    answer = (
        f"<tool_call>get_weather<arg_key>city</arg_key><arg_value>{value}</arg_value></tool_call>"
    )
    assert parse(answer) == [weather(city=value)]


TRUNCATED = [
    "<tool_call>get_we",
    "<tool_call>get_weather<arg_key>ci",
    "<tool_call>get_weather<arg_key>city</arg_key>",
    "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Par",
    "<tool_call>get_weather<arg_key>days</arg_key><arg_value>1",
    f"<tool_call>get_weather{CITY}<arg_key>days</arg_key><arg_value>1",
    f"<tool_call>get_weather{CITY}<arg_key>",
    "<tool_call>get_weather<arg_key>days</arg_key><arg_value>1</arg_value>",
    "<tool_call>get_weather",
]


@pytest.mark.parametrize("answer", TRUNCATED)
@pytest.mark.parametrize("natural", [False, True])
def test_truncated_call_is_never_finished(answer: str, natural: bool):
    """A call that was cut off, or ended without what it needs, is never finished."""
    deltas = read([pieces(answer)], natural=natural)
    assert not any(isinstance(delta, ToolCallFinished) for delta in deltas)


@pytest.mark.parametrize("answer", [f"<tool_call>get_weather{CITY}", "<tool_call>now"])
def test_call_cut_off_by_the_limit_is_never_finished(answer: str):
    """Even a call that looks whole is not finished when the limit cut it off, or without repair."""
    for options in ({"natural": False}, {"repair": False}):
        deltas = read([pieces(answer)], **options)
        assert not any(isinstance(delta, ToolCallFinished) for delta in deltas)


@pytest.mark.parametrize(
    ("answer", "arguments"),
    [
        (f"<tool_call>get_weather{CITY}", {"city": "Paris"}),
        ("<tool_call>get_weathercity</arg_key><arg_value>Paris</arg_value></tool_call>", None),
        ("<tool_call>get_weather<arg_key>city</arg_key>Paris</arg_value></tool_call>", None),
        ("<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</tool_call>", None),
        (
            (
                "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris<arg_key>days</arg_key>"
                "<arg_value>2</arg_value></tool_call>"
            ),
            {"city": "Paris", "days": 2},
        ),
    ],
)
def test_repairs(answer: str, arguments: dict[str, object] | None):
    """A missing tag is supplied where declared names leave no doubt; without repair it is not."""
    assert parse(answer) == [weather(**(arguments or {"city": "Paris"}))]
    assert parse(answer, repair=False) != parse(answer)


def test_repairs_between_calls():
    """A call that is not closed, or its last value, ends where the next call begins."""
    second = "<tool_call>now</tool_call>"
    open_value = "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</tool_call>\n"
    for first in (f"<tool_call>get_weather{CITY}", open_value):
        assert parse(first + second) == [weather(city="Paris"), ("now", {}, True)]


def test_repairs_are_limited_to_declared_names():
    """An undeclared key after an unclosed value is text of the value."""
    value = "a<arg_key>colour</arg_key><arg_value>b"
    answer = (
        f"<tool_call>get_weather<arg_key>city</arg_key><arg_value>{value}</arg_value></tool_call>"
    )
    assert parse(answer) == [weather(city=value)]


def test_call_left_for_another_is_not_finished():
    """A call that lacks a required argument where the next begins stays unfinished."""
    days = "<arg_key>days</arg_key><arg_value>1</arg_value>"
    answer = f"<tool_call>get_weather{days}<tool_call>now</tool_call>"
    assert parse(answer) == [("get_weather", '{"days": 1', False), ("now", {}, True)]


def test_stray_tags_of_calls_are_swallowed():
    """Tags of calls outside of a call are not shown."""
    assert parse("a</arg_value></tool_call><arg_key>b") == [("text", "ab")]


def test_spelled_tags_are_text_where_ids_are_known():
    """A tag that came as text, not as a token, is text."""
    deltas = read([["a</think><tool_call>now</tool_call>"]])
    assert shown(deltas) == [("text", "a</think><tool_call>now</tool_call>")]
