"""Laws of spelling: what the model wrote as an argument is what the next prompt says again."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from glimt.core.errors import InvalidRequest
from glimt.core.parts import Message, TextPart, ToolCallPart
from glimt.core.request import Request, Thinking, Tool
from glimt.engine.chat.environment import TemplateEnvironment
from glimt.engine.chat.spelling import SpelledList, SpelledNumber, SpelledObject, read_arguments
from tests.engine.chat.answers import TEMPLATE, TOKENIZER, every_grouping

TYPED = Tool(
    name="f",
    parameters={"type": "object", "properties": {"text": {"type": "string"}}},
)


def prompt_after(arguments: str) -> list[int]:
    """The prompt after a call with these arguments."""
    call = ToolCallPart(id="c", name="f", arguments=arguments)
    messages = (
        Message(role="user", parts=(TextPart("a"),)),
        Message(role="assistant", parts=(call,)),
    )
    request = Request(model="m", messages=messages, thinking=Thinking(enabled=False))
    return TEMPLATE.render(request).ids


def said_again(arguments: str) -> str:
    """How that prompt spells the call."""
    text = TOKENIZER.decode(prompt_after(arguments))
    return text.partition("<|assistant|></think>")[2].removesuffix("<|assistant|></think>")


def spelled(*pairs: tuple[str, str]) -> str:
    inner = "".join(f"<arg_key>{k}</arg_key><arg_value>{v}</arg_value>" for k, v in pairs)
    return f"<tool_call>f{inner}</tool_call>"


@pytest.mark.parametrize(
    "value",
    [
        *("1", "-0", "1.0", "1.50", "1e3", "1E+2", "1e999", "12345678901234567890.12345"),
        *("true", "null", "[1,2]", "[ 1 ]", '{"a":1}', '{"a": {"b":[1.0]}}', '["é","\\u00e9"]'),
        *('{"a": 1, "a": 2}', "[1e2]", '"quoted"', "plain", "", " x ", "[1", "NaN", "北京"),
        *('["C:\\\\users\\\\u00e9x",1]', r"C:\u00e9"),
        *('["<|user|>", "</arg_value>"]', '{"</think>":"<tool_call>"}', "123456789012345678901"),
    ],
)
def test_a_call_is_said_again_as_it_was(value: str):
    """Sent back as it came, a call renders to the tokens that the model wrote.

    Whatever the spelling of numbers, the spaces in lists, the order and the escapes.
    """
    pairs = (("text", value), ("any", value)) if value != " x " else (("text", value),)
    answer = spelled(*pairs)
    if "<" not in value:
        ((_, arguments),) = every_grouping(answer, tools=(TYPED,)).calls
        assert said_again(arguments) == answer
        assert (
            TOKENIZER.encode(answer)
            == prompt_after(arguments)[-len(TOKENIZER.encode(answer)) - 2 : -2]
        )
    else:
        arguments = json.dumps({"text": value})[:-1] + f', "any": {value}}}'
        assert said_again(arguments) == answer
        controls = [token for token in prompt_after(arguments) if token in TOKENIZER.control]
        calm = prompt_after('{"text": "", "any": []}')
        assert controls == [token for token in calm if token in TOKENIZER.control]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('{"v":{"a":[1,2]},"w":1}', '{"a": [1, 2]}'),
        ('{ "v": {"a":[1,2]} }', '{"a": [1, 2]}'),
        ('{"v": ["\\u5317\\u4eac"]}', '["北京"]'),
        ('{"v": ["\\ud83e\\udd8a",1]}', '["🦊", 1]'),
        ('{\n "v": [\n1]\n}', "[1]"),
    ],
)
def test_clients_that_wrote_it_anew(arguments: str, value: str):
    """What a client parsed and wrote in its own way is rendered as templates do it."""
    assert f"<arg_key>v</arg_key><arg_value>{value}</arg_value>" in said_again(arguments)


def test_values_are_still_values():
    """Templates find objects, lists and numbers, in whatever way they look at them."""
    value: Any = read_arguments('{"o": {"b":1,"a":2}, "l": [1,2], "n": 1.50, "s": "x", "t": true}')
    assert value == {"o": {"b": 1, "a": 2}, "l": [1, 2], "n": 1.5, "s": "x", "t": True}
    assert [type(item) for item in value.values()] == [
        SpelledObject, SpelledList, SpelledNumber, str, bool,
    ]  # fmt: skip
    environment = TemplateEnvironment(clock=None)  # pyright: ignore[reportArgumentType]
    source = "{{ o | tojson }} {{ o | tojson(sort_keys=true) }} {{ l }} {{ n + 1 }} {{ o.a }}"
    found = environment.from_string(source).render(value)
    assert found == '{"b":1,"a":2} {"a": 2, "b": 1} [1, 2] 2.5 2'
    assert environment.from_string("{{ v | tojson }}").render(v=value) == json.dumps(value)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    ),
    ascii_only=st.booleans(),
    separators=st.sampled_from([None, (",", ":"), (", ", ": ")]),
)
def test_any_object_is_read(value: Any, ascii_only: bool, separators: Any):
    """Whoever wrote it, the value is the JSON value."""
    text = json.dumps({"a": value, "b": [value]}, ensure_ascii=ascii_only, separators=separators)
    assert repr(read_arguments(text)) == repr(json.loads(text))


@pytest.mark.parametrize("arguments", ['{"a": }', '{"a": 1', '{"a": 1} x', '{"a": 1, }', "[1]"])
def test_what_is_no_object_is_refused(arguments: str):
    """A text that only begins like one of ours is refused as before."""
    with pytest.raises(InvalidRequest):
        prompt_after(arguments)
