"""The judge of the promise sees what is wrong."""

from typing import Any

import pytest

from benchmarks.promise_cases import Case, Said
from glimt.core.request import Tool

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "on": {"type": "string", "format": "date-time"}},
    "required": ["x"],
}
TOOLS = (Tool(name="f", parameters=POINT, strict=True), Tool(name="now"), Tool(name="g"))


def _case(kind: str, *, stream: bool = False, schema: dict[str, Any] | None = None) -> Case:
    body = {"stream": stream, "parallel_tool_calls": False}
    return Case(
        body=body, kind=kind, thinking=False, tools=TOOLS, names=("f", "now"), schema=schema
    )


def _called(*calls: tuple[str, str], finish: str = "tool_calls", content: str = "") -> Said:
    return Said(content=content, calls=dict(enumerate(calls)), finish=finish)


@pytest.mark.parametrize(
    "said",
    [
        _called(("f", '{"x": "1"}')),
        _called(("f", '{"x": NaN}')),
        _called(("f", '{"x": 1, "on": "2024-02-30T00:00:00Z"}')),
        _called(("f", '{"x": 1')),
        _called(("g", "{}")),
        _called(("now", '{"a": 1}')),
        _called(("now", "{}"), ("now", "{}")),
        _called(("now", "{}"), finish="stop"),
        _called(("now", "{}"), content="So:"),
        _called(finish="stop", content="{}"),
        _called(("f", '{"x": 1'), finish="length"),
    ],
)
def test_wrong_calls_are_seen(said: Said):
    """Invalid arguments, other names, calls too many or none, text beside, cut calls shown."""
    counts, fault = _case("required").judge(said)
    assert counts["wrong"]
    assert fault


@pytest.mark.parametrize("text", ['{"x": 1.5}', "{}", '{"x": 1} ok', "", '{"x": 1'])
def test_wrong_texts_are_seen(text: str):
    """A text that does not satisfy the schema is wrong."""
    counts, _ = _case("schema", schema=POINT).judge(Said(content=text, finish="stop"))
    assert counts["wrong"] == 1


def test_right_answers_are_right():
    """Valid calls and texts count as such; a stream's last call may be cut off, no other one."""
    good = ("f", '{"x": 1, "on": "2024-02-29T00:00:00Z"}')
    assert _case("required").judge(_called(good))[0]["wrong"] == 0
    assert _case("schema", schema=POINT).judge(Said(content='{"x": 1}', finish="stop"))[1] == ""
    half = ("f", '{"x')
    assert _case("auto", stream=True).judge(_called(good, half, finish="length"))[1] == ""
    assert _case("auto", stream=True).judge(_called(half, good, finish="length"))[1]
