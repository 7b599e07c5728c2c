"""Known bugs of other engines with GLM-4.7, each with what is right: model.md §4.1 and §4.2.

One test, or one family of them, for each row of the two tables, in their order; the docstring names
the public reports. Answers take the real path: nano's template says whether a thought is open, ids
go through a `ChoiceReader`, in every grouping (`tests.engine.chat.answers`). Only where ids do not
matter does the parser read pieces of text. The last but one row, forced calls, is about grammars:
`tests/engine/grammar/test_tools.py`, `test_forced_calls_are_in_glms_own_format`.
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
from glimt.engine.chat.parser import AnswerParser
from glimt.engine.chat.tags import Tag, TagScanner
from tests.engine.chat.answers import (
    TOKENIZER,
    Answered,
    Asked,
    encoded,
    every_grouping,
    grouped,
    streamed,
    unfinished,
    whole,
)


def tool(name: str = "f", *, required: tuple[str, ...] = (), **properties: Any) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name=name, parameters=parameters)


WEATHER = tool(
    "get_weather",
    required=("city",),
    city={"type": "string"},
    days={"type": "integer"},
)
NOW = Tool(name="now")
TOOLS = (WEATHER, Tool(name="get"), NOW)
PARIS = "<arg_key>city</arg_key><arg_value>Paris</arg_value>"


def spell(name: str, *arguments: tuple[str, str]) -> str:
    pairs = "".join(f"<arg_key>{k}</arg_key><arg_value>{v}</arg_value>" for k, v in arguments)
    return f"<tool_call>{name}{pairs}</tool_call>"


def value(schema: Any, text: str, **definitions: Any) -> Any:
    """What one argument becomes, by every grouping of its tokens."""
    parameters = {"type": "object", "properties": {"v": schema}, **definitions}
    declared = Tool(name="f", parameters=parameters)
    return every_grouping(spell("f", ("v", text)), tools=(declared,)).arguments["v"]


# §4.1 Reasoning


@pytest.mark.parametrize("stray", ["", "<think>", "<think>\n"])
def test_thinking_on_starts_inside_the_thought(stray: str):
    """The prompt ends in `<think>`, so the answer has only `</think>`: no thought leaks into text.

    vLLM #31319, #31383, #31417, #31449; LM Studio #1495; opencode #7779; vllm-mlx #725;
    GLM-V #243. A `<think>` that the model repeats is not shown.
    """
    found = every_grouping(f"{stray}7 times 6</think>42", thinking=True)
    assert found == Answered(thought="7 times 6", text="42")


def test_thinking_off_starts_in_text():
    """With thinking off no answer is taken for a thought: the state follows the request.

    vLLM #31449 (comments), an R1-style parser put the whole answer into the reasoning.
    """
    assert every_grouping("42", thinking=False) == Answered(text="42")


@pytest.mark.parametrize("closed", ["", "</think>"])
def test_call_inside_a_thought_ends_it(closed: str):
    """A `<tool_call>` inside a thought without `</think>` is a call, never swallowed.

    vLLM #42400, #46040, #46049, #40659 (fixed by #45915); SGLang's tool_start_token.
    """
    found = every_grouping(f"I need it.{closed}{spell('now')}", tools=TOOLS, thinking=True)
    assert found == Answered(thought="I need it.", calls=(("now", "{}"),), reason="tool_calls")


def test_thought_without_an_end_is_the_answer_if_the_model_stopped():
    """The model skips thinking and stops without `</think>`: the same text is given as the answer.

    SGLang #37645 (content "" and the answer in reasoning_content). Our policy: given again as text
    when the model ended it by its own end token and nothing else was said.
    """
    assert every_grouping("42", thinking=True) == Answered(thought="42", text="42")


@pytest.mark.parametrize(
    ("answer", "finish", "expected"),
    [
        ("4", "length", Answered(thought="4", reason="length")),
        ("a</think>b", "stop", Answered(thought="a", text="b")),
        (
            f"{spell('now')}<think>4",
            "stop",
            Answered(thought="4", calls=(("now", "{}"),), reason="tool_calls"),
        ),
    ],
)
def test_thought_that_was_cut_off_is_no_answer(answer: str, finish: Any, expected: Answered):
    """A thought is never promoted when the limit cut it off, or when there is an answer already.

    SGLang #37645, the other half of the policy.
    """
    assert every_grouping(answer, tools=TOOLS, thinking=True, finish=finish) == expected


def test_stray_end_of_a_thought_in_text_is_swallowed():
    """A `</think>` in the middle of text is not shown (vLLM's glm47 parser does the same)."""
    assert every_grouping("a</think>b</think>", thinking=False) == Answered(text="ab")
    assert every_grouping("t</think>a</think>b", thinking=True) == Answered(thought="t", text="ab")


def test_thinking_off_and_the_model_still_closes_a_thought():
    """With thinking off a leading `</think>` is not shown, and neither is the space after it."""
    assert every_grouping("</think>\nyes", thinking=False) == Answered(text="yes")


# §4.2 Calls


def test_call_without_arguments_is_an_empty_object():
    """`<tool_call>f</tool_call>` has the arguments `{}` (vLLM #32436, #32097: TypeError)."""
    assert every_grouping(spell("now"), tools=TOOLS).calls == (("now", "{}"),)


def test_call_without_arguments_is_streamed():
    """Streamed, a call without arguments is named once, at `</tool_call>`, and has `{}`.

    vLLM #44326 (fixed by #45915), #41654, #48131: dropped when streaming.
    """
    ids = encoded(spell("now"), "<|user|>")
    events = streamed(Asked(tools=TOOLS), grouped(ids, [1] * len(ids), "stop"))
    assert events[:3] == [
        ToolCallStarted(index=0, id="call_0", name="now"),
        ToolCallDelta(index=0, arguments="{}"),
        ToolCallFinished(index=0),
    ]


def test_name_is_held_until_it_is_whole():
    """`get_weather` is never announced as `get`, though `get` is declared too.

    vLLM #39757, #40071 (worse with several tokens a step). Announced at `<arg_key>`, whole, and
    only if it was declared.
    """
    ids = encoded(f"<tool_call>get_weather{PARIS}</tool_call>")
    until_key = ids.index(TOKENIZER.control_id("<arg_key>"))
    for width in range(1, until_key + 1):
        assert streamed(Asked(tools=TOOLS), unfinished(ids[:until_key], width)) == []
    assert every_grouping(ids, tools=TOOLS).calls == (("get_weather", '{"city": "Paris"}'),)
    assert every_grouping(spell("get_weath"), tools=TOOLS) == Answered(text=spell("get_weath"))


def test_steps_that_span_several_tags():
    """However many tags one step holds, nothing of the arguments is lost or garbled.

    vLLM #34449, #39253 (stream_interval above 1, MTP). `test_splits.py` has every split.
    """
    answer = (
        "Let me see."
        + spell("get_weather", ("city", "北京 <b>"), ("days", "3"))
        + spell("now")
        + spell("get_weather", ("city", ""))
    )
    found = every_grouping(f"Two at once.</think>{answer}", tools=TOOLS, thinking=True)
    assert found == Answered(
        thought="Two at once.",
        text="Let me see.",
        calls=(
            ("get_weather", '{"city": "北京 <b>", "days": 3}'),
            ("now", "{}"),
            ("get_weather", '{"city": ""}'),
        ),
        reason="tool_calls",
    )


def test_long_strings_are_streamed():
    """Each token of a string value is out at once, as far as it is whole characters.

    vLLM #32829: long values were buffered for seconds.
    """
    start = encoded("<tool_call>get_weather<arg_key>city</arg_key><arg_value>")
    text = 'Once upon a time there was "glimt" < & 北京 🦊.\n' * 20
    ids = [*start, *TOKENIZER.encode_untrusted(text)]
    events = streamed(Asked(tools=TOOLS), unfinished(ids))
    deltas = [event.arguments for event in events if isinstance(event, ToolCallDelta)]
    assert json.loads("".join(deltas) + '"}') == {"city": text}
    ascii_tokens = [i for i in ids[len(start) :] if TOKENIZER.token_bytes(i).isascii()]
    assert len(deltas) >= len(ascii_tokens)


def test_only_what_may_end_a_string_is_held_back():
    """Where tags come as text, no more of a string waits than may be the start of `</arg_value>`.

    vLLM #32829.
    """
    scanner, parser = TagScanner(), AnswerParser(TOOLS, thinking=False)
    parser.push(scanner.push("<tool_call>get_weather<arg_key>city</arg_key><arg_value>"))
    for text, shown in (("Par", '"Par'), ("is<", "is"), ("/arg", ""), ("s>", "</args>")):
        deltas = parser.push(scanner.push(text))
        assert "".join(d.arguments for d in deltas if isinstance(d, ToolCallDelta)) == shown


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "a", "a"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "null", None),
        ({"type": ["string", "null"]}, "nu", "nu"),
        ({"type": "array", "items": {"type": "string"}}, '["a", "b"]', ["a", "b"]),
        ({"type": ["array", "null"]}, "[[1], [2]]", [[1], [2]]),
        ({"anyOf": [{"type": "array"}, {"type": "object"}]}, '{"a": [1]}', {"a": [1]}),
    ],
)
def test_unions_and_arrays_are_whole(schema: Any, text: str, expected: Any):
    """Unions and lists of types are resolved; what is no string is written once, at its end.

    vLLM #40195, #40197; vllm-ascend #12261, #12286: a quote missing, a `]` doubled.
    """
    assert value(schema, text) == expected


def test_deltas_are_exactly_one_json_text():
    """The deltas of a call concatenate to one JSON text; nothing comes again in the last chunk.

    vLLM #36410, #37385: arguments serialised twice.
    """
    ids = encoded(spell("get_weather", ("city", 'a "b"'), ("days", "2")), "<|user|>")
    for width in range(1, len(ids)):
        events = streamed(Asked(tools=TOOLS), grouped(ids, [width] * len(ids), "stop"))
        text = "".join(e.arguments for e in events if isinstance(e, ToolCallDelta))
        assert text == '{"city": "a \\"b\\"", "days": 2}'


def test_tools_of_the_responses_api():
    """A tool that was declared flat, as OpenAI's Responses API does it, is typed like any other.

    vLLM #39574: the parser crashed on a tool without `.function`.
    """
    parameters = {"type": "object", "properties": {"code": {"type": "string"}}}
    flat = {"type": "function", "name": "f", "parameters": parameters}
    declared = Tool(name="f", parameters=parameters, raw=flat)
    found = every_grouping(spell("f", ("code", "007")), tools=(declared,))
    assert found.calls == (("f", '{"code": "007"}'),)


@pytest.mark.parametrize(
    "text", ["123_456", "0123", "1e5", "True", "None", "[1]", "{'a': 1}", '"q"']
)
def test_strings_are_never_coerced(text: str):
    """Where the schema says string, the raw text is the value, whatever it looks like.

    SGLang #28111, #30644, #28114: `123_456` went through Python's literal_eval.
    """
    assert value({"type": "string"}, text) == text


@pytest.mark.parametrize("text", ["123_456", "0x10", "(1, 2)", "True", "'a'"])
def test_literals_of_python_are_no_json(text: str):
    """Nothing is evaluated: what is no JSON is a string even where the schema says otherwise.

    SGLang #28111, #30644, #28114.
    """
    assert value({"type": "integer"}, text) == text
    assert value({}, text) == text


TYPED = {
    "string or null": ({"type": ["string", "null"]}, "None", "None"),
    "null where it may be": ({"type": ["string", "null"]}, "null", None),
    "null where it may not be": ({"type": "string"}, "null", "null"),
    "null for a number": ({"type": "integer"}, "null", "null"),
    "reference": ({"$ref": "#/$defs/Name"}, "12", "12"),
    "reference to a number": ({"$ref": "#/$defs/Count"}, "12", 12),
    "enumeration of strings": ({"enum": ["1", "2"]}, "1", "1"),
    "enumeration of numbers": ({"enum": [1, 2]}, "1", 1),
    "constant": ({"const": "true"}, "true", "true"),
    "one of": ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "5", 5),
    "all of": ({"allOf": [{"$ref": "#/$defs/Name"}, {"maxLength": 9}]}, "5", "5"),
}


@pytest.mark.parametrize("name", TYPED)
def test_streamed_arguments_are_the_unstreamed_ones(name: str):
    """One typing for both paths: references, unions, enumerations and `null` by the schema.

    SGLang #36688, #35564, #39136: streamed ≠ whole, "None" for null, `$ref`, `enum`, `oneOf` and
    `allOf` ignored.
    """
    schema, text, expected = TYPED[name]
    definitions = {"Name": {"type": "string"}, "Count": {"type": "integer"}}
    assert value(schema, text, **{"$defs": definitions}) == expected


def test_numbers_wait_for_their_end():
    """No digit of a number is out before all of them are (SGLang #36688, #39136)."""
    ids = encoded("<tool_call>get_weather<arg_key>days</arg_key><arg_value>12345")
    before = unfinished(ids)
    deltas = [e for e in streamed(Asked(tools=TOOLS), before) if isinstance(e, ToolCallDelta)]
    assert "".join(delta.arguments for delta in deltas) == '{"days": '
    end = "</arg_value></tool_call>"
    assert every_grouping(ids, end, tools=TOOLS).calls == (("get_weather", '{"days": 12345}'),)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[1, NaN]"])
@pytest.mark.parametrize("schema", [{"type": "number"}, {"type": "array"}, {}])
def test_nan_and_infinity_are_strings(text: str, schema: Any):
    """What JSON has no literal for stays the raw string (SGLang #28797: invalid JSON)."""
    assert value(schema, text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3), ("1.5", 1.5), ("true", True), ("null", None), ('["a"]', ["a"]), ("Paris", "Paris")],
)
@pytest.mark.parametrize("declared", [Tool(name="f"), tool("f", other={"type": "string"})])
def test_arguments_without_a_schema_keep_their_type(text: str, expected: Any, declared: Tool):
    """Without a schema a JSON literal keeps its type, and anything else is a string.

    ds4 #569, antirez's #582: all arguments came as strings.
    """
    assert every_grouping(spell("f", ("v", text)), tools=(declared,)).arguments == {"v": expected}


@pytest.mark.parametrize(
    "text",
    [
        "if a < b && c > d: pass",
        "&lt;p&gt; &amp; &#65;",
        '<b class="x">bold</b><br/>',
        "</arg_valu",
        "<![CDATA[x]]>",
        "a\x00b\tc\r\n",
    ],
)
def test_values_are_not_xml(text: str):
    """A value is raw text up to `</arg_value>`: no entity is decoded, no `<` or `&` is refused.

    ollama #13820, continue #10897.
    """
    assert value({"type": "string"}, text) == text


REPAIRED = {
    "no <arg_key>": "<tool_call>get_weathercity</arg_key><arg_value>Paris</arg_value></tool_call>",
    "no <arg_value>": "<tool_call>get_weather<arg_key>city</arg_key>Paris</arg_value></tool_call>",
    "no </arg_value>": (
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</tool_call>"
    ),
    "no </tool_call>": f"<tool_call>get_weather{PARIS}",
}


@pytest.mark.parametrize("name", REPAIRED)
def test_a_missing_tag_is_supplied(name: str):
    """A tag that the model left out is supplied where declared names leave no doubt.

    vLLM #47190; ollama #14656, #14961, #17250.
    """
    found = every_grouping(REPAIRED[name], tools=TOOLS)
    expected = (("get_weather", '{"city": "Paris"}'),)
    assert found == Answered(calls=expected, reason="tool_calls")


@pytest.mark.parametrize(
    "answer",
    [
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>/home/me",
        f"<tool_call>get_weather{PARIS}<arg_key>days</arg_key><arg_value>1",
        f"<tool_call>get_weather{PARIS}<arg_key>days</arg_key>",
        f"<tool_call>get_weather{PARIS}<arg_key>da",
        "<tool_call>get_weather<arg_key>days</arg_key><arg_value>1</arg_value>",
        "<tool_call>get_weather",
    ],
)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_truncated_value_never_becomes_a_call(answer: str, finish: Any):
    """An answer that ends inside a value, or without a required one, has no finished call.

    ollama #14656, #14961, #17250: `rm -r /home/me` must not run because `/project` was cut off.
    """
    found = every_grouping(answer, tools=TOOLS, finish=finish)
    assert found == Answered(reason=finish)


@pytest.mark.parametrize("answer", [REPAIRED["no </tool_call>"], "<tool_call>now"])
def test_the_limit_never_finishes_a_call(answer: str):
    """A call without `</tool_call>` is whole only when the model stopped by itself.

    ollama #14656, #14961, #17250.
    """
    assert every_grouping(answer, tools=TOOLS, finish="stop").reason == "tool_calls"
    assert every_grouping(answer, tools=TOOLS, finish="length") == Answered(reason="length")


def test_text_around_calls_is_content():
    """Text before, between and after calls is content; whitespace alone is none.

    The behaviour of vLLM and SGLang. The wire writes content that is empty beside a call as null.
    """
    answer = f"One.\n{spell('now')}\n{spell('get')} Two.{spell('now')}\n"
    found = every_grouping(answer, tools=TOOLS)
    assert found.text == "One.\n Two."
    assert [name for name, _ in found.calls] == ["now", "get", "now"]
    blank = every_grouping(
        f"t</think>\n\n{spell('now')}\n{spell('get')}\n", tools=TOOLS, thinking=True
    )
    assert blank.text == ""


# The lines below the tables: typing, layout, order


def test_strings_are_verbatim_and_other_values_are_stripped():
    """Whitespace in a string counts; around a literal it does not; keys are stripped."""
    pairs = (("\n city ", "\n Paris \n"), ("days", " 3\n"))
    found = every_grouping(spell("get_weather", *pairs), tools=TOOLS)
    assert found.arguments == {"city": "\n Paris \n", "days": 3}


def test_newlines_between_tags():
    """The layout of GLM-4.5 and 4.6, with newlines between tags, is read too."""
    answer = (
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
        "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>"
    )
    assert every_grouping(answer, tools=TOOLS).arguments == {"city": "Paris", "days": 2}


def test_tags_that_the_model_spelled_are_text():
    """A tag that came letter by letter is text, in a value and outside: ids tell them apart."""
    typed = TOKENIZER.encode_untrusted("</arg_value></tool_call>")
    head = "<tool_call>get_weather<arg_key>city</arg_key><arg_value>"
    found = every_grouping(head, typed, "</arg_value></tool_call>", tools=TOOLS)
    assert found.arguments == {"city": "</arg_value></tool_call>"}
    said = TOKENIZER.encode_untrusted("<think>a</think><tool_call>now</tool_call>")
    assert every_grouping(said, tools=TOOLS).text == "<think>a</think><tool_call>now</tool_call>"


def test_several_calls_are_numbered():
    """Several calls are parallel calls, 0, 1, 2 …, and the reason is `tool_calls`."""
    ids = encoded(spell("now"), spell("get"), spell("now"), "<|observation|>")
    events = streamed(Asked(tools=TOOLS), grouped(ids, [1] * len(ids), "stop"))
    started = [event for event in events if isinstance(event, ToolCallStarted)]
    assert [(event.index, event.name) for event in started] == [(0, "now"), (1, "get"), (2, "now")]
    assert len({event.id for event in started}) == 3
    assert whole(events).reason == "tool_calls"


def test_every_tag_is_a_token():
    """The tags that these tests write are one token each, so they took the path by ids."""
    assert all(TOKENIZER.encode(tag.value) == [TOKENIZER.control_id(tag.value)] for tag in Tag)
    events = streamed(Asked(thinking=True), grouped(encoded("a</think>b"), [1, 1], "length"))
    assert [type(event) for event in events[:2]] == [ReasoningDelta, TextDelta]
