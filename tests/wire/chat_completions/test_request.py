"""Chat completions bodies: every field is honoured, refused by name or warned about."""

import base64
import contextlib
import json
import re
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.types.chat import completion_create_params

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.core.request import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    Sampling,
    TextFormat,
    Thinking,
    ToolChoice,
)
from glimt.engine.grammar.pattern import parse
from glimt.wire.chat_completions.request import decode_request
from glimt.wire.codec import Call, client_message, client_name, client_warnings

HI = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def decode(**fields: Any) -> Call:
    body = {"model": "glm", "messages": [HI], **fields}
    return decode_request(json.dumps(body).encode())


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*content]}


def refusal(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode(**fields)
    return caught.value


def messages(*given: dict[str, Any]) -> tuple[Message, ...]:
    return decode(messages=list(given)).request.messages


def test_smallest_request():
    """Model and messages are enough; everything else is not said."""
    call = decode()
    assert call.request.model == "glm"
    assert call.request.messages == (Message(role="user", parts=(TextPart("hi"),)),)
    assert call.request.sampling == Sampling()
    assert call.request.thinking == Thinking()
    assert call.warnings == ()
    assert not call.stream


def fields_of_the_reference() -> list[str]:
    """The body's fields as the official client declares them."""
    shape = completion_create_params.CompletionCreateParamsStreaming
    return sorted(typing.get_type_hints(shape))


def test_null_means_not_said():
    """Every field of the reference, and of the dialects, may be null."""
    dialects = ["thinking", "reasoning", "enable_thinking", "chat_template_kwargs", "top_k"]
    names = {*fields_of_the_reference(), *dialects} - {"model", "messages"}
    assert decode(**dict.fromkeys(names)) == decode()


HONOURED: dict[str, Any] = {
    "frequency_penalty": 0.5,
    "logit_bias": {"5": -100},
    "logprobs": True,
    "max_completion_tokens": 7,
    "max_tokens": 7,
    "messages": [HI, HI],
    "metadata": {"a": "b"},
    "model": "other",
    "n": 2,
    "parallel_tool_calls": False,
    "presence_penalty": 0.5,
    "prompt_cache_key": "k",
    "reasoning_effort": "none",
    "response_format": {"type": "json_object"},
    "safety_identifier": "someone",
    "seed": 3,
    "service_tier": "flex",
    "stop": "x",
    "stream": True,
    "temperature": 0.5,
    "tools": [FUNCTION],
    "top_p": 0.5,
    "user": "someone",
}
REFUSED: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "modalities": ["text", "audio"],
    "moderation": {"model": "m"},
    "web_search_options": {},
    "top_logprobs": 3,
    "tool_choice": "required",
}
WARNED: dict[str, Any] = {
    "prediction": {"type": "content", "content": "x"},
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "store": True,
    "stream_options": {"include_usage": True},
    "verbosity": "low",
}


def test_every_field_of_the_reference_is_accounted_for():
    """No field that the official client can send is left to chance."""
    assert sorted([*HONOURED, *REFUSED, *WARNED]) == fields_of_the_reference()


@pytest.mark.parametrize("name", HONOURED)
def test_honoured_fields_change_the_request(name: str):
    """An honoured field makes a difference and needs no warning."""
    call = decode(**{name: HONOURED[name]})
    assert call != decode()
    assert call.warnings == ()
    assert call.request.extensions == {}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_fields_are_named(name: str):
    """A refused field is named, and the message says what to do."""
    error = refusal(**{name: REFUSED[name]})
    assert error.param == name
    assert name in error.message


@pytest.mark.parametrize("name", WARNED)
def test_ignored_fields_are_warned_about(name: str):
    """An ignored field leaves the request as it was, and says so."""
    call = decode(**{name: WARNED[name]})
    assert call.request == decode().request
    assert [warning.split()[0] for warning in call.warnings] == [name]


def test_unknown_fields_travel_on():
    """What no codec knows is kept for a provider that may."""
    assert decode(frobnicate={"a": 1}).request.extensions == {"frobnicate": {"a": 1}}


@pytest.mark.parametrize(
    ("field", "value", "core"),
    [
        ("max_tokens", 1024.0, "max_tokens"),
        ("max_completion_tokens", 1024, "max_tokens"),
        ("top_k", 5.0, "top_k"),
        ("min_p", 0.1, "min_p"),
        ("repetition_penalty", 1.2, "repetition_penalty"),
        ("min_tokens", 3, "min_tokens"),
        ("seed", -5, "seed"),
    ],
)
def test_sampling_fields(field: str, value: float, core: str):
    """Numbers arrive where they belong, whole ones also when written with a point."""
    assert getattr(decode(**{field: value}).request.sampling, core) == value


def test_further_sampling_fields():
    """Stops, biases and switches arrive in core's shape."""
    sampling = decode(
        stop=["a", "b"],
        stop_token_ids=[1, 2.0],
        logit_bias={"7": 1.5},
        ignore_eos=True,
        include_stop_str_in_output=True,
        logprobs=True,
        top_logprobs=2,
        do_sample=False,
        temperature=0.9,
    ).request.sampling
    assert sampling == Sampling(
        stop=("a", "b"),
        stop_token_ids=(1, 2),
        logit_bias={7: 1.5},
        ignore_eos=True,
        include_stop=True,
        top_logprobs=2,
        temperature=0.0,
    )
    assert decode(max_tokens=-1, top_k=-1).request.sampling == Sampling()
    assert decode(logprobs=True).request.sampling.top_logprobs == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [HI, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [user({"type": "poem"})]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text"),
        ({"messages": [{**HI, "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "function_call": {}}]}, "messages[0].function_call"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"seed": 2**70}, "seed"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
        ({"stop_token_ids": list(range(65))}, "stop_token_ids"),
        ({"top_k": 10**400}, "top_k"),
        ({"max_completion_tokens": 1e300}, "max_completion_tokens"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 3}, "logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a": {}}}, "metadata.a"),
        ({"metadata": []}, "metadata"),
        ({"logit_bias": {"5": "x"}}, "logit_bias.5"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [FUNCTION], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "regex"}}, "response_format.regex"),
        ({"response_format": {}}, "response_format.type"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"thinking": {"type": "perhaps"}}, "thinking.type"),
        ({"thinking": {"budget_tokens": -7}}, "thinking.budget_tokens"),
        ({"thinking": True}, "thinking"),
        ({"reasoning": {"effort": "low", "max_tokens": 5}}, "reasoning.max_tokens"),
        ({"reasoning_format": "raw"}, "reasoning_format"),
        (
            {"chat_template_kwargs": {"enable_thinking": "no"}},
            "chat_template_kwargs.enable_thinking",
        ),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": "[]"}, "guided_json"),
        ({"guided_json": 3}, "guided_json"),
        ({"guided_regex": ""}, "guided_regex"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": ["a", 1]}, "guided_choice[1]"),
        ({"structured_outputs": {"regex": ["a"]}}, "structured_outputs.regex"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs.regex"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}, "schema": {}}},
            "response_format.schema",
        ),
        (
            {"response_format": {"type": "regex", "regex": "a", "pattern": "b"}},
            "response_format.pattern",
        ),
        ({"ebnf": "root ::= 'a'"}, "ebnf"),
        ({"grammar": "root ::= 'a'"}, "grammar"),
        ({"structural_tag": {}}, "structural_tag"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"deadline_s": -1.5}, "deadline_s"),
        ({"deadline_s": "5"}, "deadline_s"),
        ({"deadline_s": 10**400}, "deadline_s"),
        ({"cache_salt": ""}, "cache_salt"),
        ({"thinking_token_budget": -2}, "thinking_token_budget"),
        ({"chat_template_kwargs": {"thinking": "no"}}, "chat_template_kwargs.thinking"),
        ({"echo": True}, "echo"),
    ],
)
def test_mistakes_name_the_field(fields: dict[str, Any], param: str):
    """Every mistake is answered with the path of the field at fault, also in the message."""
    error = refusal(**fields)
    assert error.param == param
    assert re.match(r"\w+", param)[0] in error.message


@pytest.mark.parametrize("body", [b"[]", b"3", b"{", b'{"model": "a"', b"\xff", b"null"])
def test_bodies_that_are_no_object(body: bytes):
    """A body that is not a JSON object is said to be none."""
    with pytest.raises(InvalidRequest) as caught:
        decode_request(body)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_body_is_called_empty(body: bytes):
    """Nothing is not said to be cut off."""
    with pytest.raises(InvalidRequest, match="empty") as caught:
        decode_request(body)
    assert caught.value.code == "empty_body"


@pytest.mark.parametrize("field", ["max_tokens", "seed", "top_k", "n", "top_logprobs"])
def test_whole_numbers_are_called_so(field: str):
    """That 1024.0 will do for 1024 is no reason to ask for a number with a fraction."""
    assert refusal(**{field: "x"}).message == f"{field}: expected an integer, got a string."


@pytest.mark.parametrize("depth", [500, 100_000])
def test_deep_nesting_is_an_error(depth: int):
    """A document that is nested absurdly is refused or kept, and never crashes."""
    deep = b"[" * depth + b"]" * depth
    for name in (b"frobnicate", b"messages", b"tools"):
        body = b'{"model": "a", "messages": [{"role": "user", "content": "a"}], "%b": %b}'
        with contextlib.suppress(InvalidRequest):
            decode_request(body % (name, deep))


def test_text_that_is_no_text():
    """Bytes that are not UTF-8 inside a string are the client's mistake."""
    with pytest.raises(InvalidRequest) as caught:
        decode_request(b'{"model": "a", "messages": [{"role": "user", "content": "\xff"}]}')
    assert caught.value.param == "messages"


def test_roles():
    """Developers are system; each role keeps its place and its name."""
    given = messages(
        {"role": "system", "content": "a"},
        {"role": "developer", "content": "b", "name": "ops"},
        {"role": "user", "content": ["plain", {"type": "text", "text": "part"}]},
    )
    assert given == (
        Message(role="system", parts=(TextPart("a"),)),
        Message(role="system", parts=(TextPart("b"),), name="ops"),
        Message(role="user", parts=(TextPart("plain"), TextPart("part"))),
    )


def test_assistant_turns():
    """Thought, text, refusal and calls come in this order; arguments may be an object."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    (message,) = messages(
        {
            "role": "assistant",
            "content": "text",
            "reasoning_content": "hm",
            "refusal": "no",
            "tool_calls": [call],
            "annotations": [],
            "audio": None,
            "function_call": None,
        }
    )
    assert message.parts == (
        ReasoningPart(text="hm"),
        TextPart("text"),
        RefusalPart("no"),
        ToolCallPart(id="1", name="f", arguments='{"a":1}'),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": [{"type": "text", "text": "hm"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}], "reasoning": "hm"},
    ],
)
def test_thoughts_of_earlier_turns(fields: dict[str, Any]):
    """A thought is found in each of the fields that clients keep it in, and only once."""
    (message,) = messages({"role": "assistant", "content": "", **fields})
    assert message.parts[0] == ReasoningPart(text="hm")
    assert sum(isinstance(part, ReasoningPart) for part in message.parts) == 1


def test_opaque_thoughts_are_kept():
    """What only its producer can read goes back with the rest."""
    detail = {"type": "reasoning.encrypted", "data": "…", "id": "r", "format": "x-v1"}
    (message,) = messages({"role": "assistant", "content": "a", "reasoning_details": [detail]})
    assert message.parts[0] == ReasoningPart(encrypted="…", id="r", format="x-v1")


def test_tool_results():
    """A result names its call, whatever shape its content has."""
    given = messages(
        {"role": "tool", "tool_call_id": "1", "content": "text"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "part"}]},
    )
    assert [message.parts[0] for message in given] == [
        ToolResultPart(call_id="1", content=(TextPart("text"),)),
        ToolResultPart(call_id="2", content=(TextPart("part"),)),
    ]


def test_media():
    """Images, sounds and documents become parts, decoded where they are inline."""
    data = base64.b64encode(b"bytes").decode()
    (message,) = messages(
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "https://a.b/c.png", "detail": "low"}},
                {"type": "image_url", "image_url": f"data:image/png;base64,{data}"},
                {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
                {"type": "file", "file": {"file_data": data, "filename": "a.pdf"}},
                {"type": "video_url", "video_url": {"url": "https://a.b/c.mp4"}},
            ],
        }
    )
    assert message.parts == (
        ImagePart(url="https://a.b/c.png", detail="low"),
        ImagePart(data=b"bytes", media_type="image/png"),
        FilePart(kind="audio", data=b"bytes", media_type="audio/wav"),
        FilePart(kind="file", data=b"bytes", name="a.pdf"),
        FilePart(kind="video", url="https://a.b/c.mp4"),
    )


@pytest.mark.parametrize("url", ["data:image/png;base64,***", "data:image/png,abc"])
def test_broken_data_addresses(url: str):
    """An inline image that cannot be decoded is named."""
    image = {"type": "image_url", "image_url": {"url": url}}
    error = refusal(messages=[{"role": "user", "content": [image]}])
    assert error.param == "messages[0].content[0].image_url"


def test_unknown_fields_of_messages_are_warned_about():
    """A field that no message has is left out and named; the rest is understood."""
    call = decode(
        messages=[{**HI, "weird": 1}, {"role": "user", "content": [{"text": "a", "odd": 2}]}]
    )
    assert [warning.split()[0] for warning in call.warnings] == [
        "messages[0].weird",
        "messages[1].content[0].odd",
    ]
    assert call.request.messages[1].parts == (TextPart("a"),)


def test_tools():
    """A tool keeps its raw form for templates that show it as it was written."""
    raw = {"type": "function", "function": {"name": "f", "description": "d", "x": 1}}
    call = decode(tools=[raw])
    (tool,) = call.request.tools
    assert (tool.name, tool.description, tool.parameters, tool.strict) == ("f", "d", None, False)
    assert tool.raw == raw
    [warning] = call.warnings
    assert warning.startswith("tools[0].function.x was not honoured")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", ToolChoice()),
        ("none", ToolChoice(mode="none")),
        ("required", ToolChoice(mode="required")),
        (
            {"type": "function", "function": {"name": "f"}},
            ToolChoice(mode="required", names=("f",)),
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [FUNCTION]},
            },
            ToolChoice(mode="auto", names=("f",)),
        ),
    ],
)
def test_tool_choice(given: Any, expected: ToolChoice):
    """All spellings of the choice."""
    assert decode(tools=[FUNCTION], tool_choice=given).request.tool_choice == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "text"}, TextFormat()),
        ({"type": "json_object"}, JsonObjectFormat()),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": True}},
            JsonSchemaFormat(schema={}, name="a", strict=True),
        ),
        ({"type": "regex", "regex": "a+"}, RegexFormat("a+")),
        ({"type": "regex", "pattern": "a+"}, RegexFormat("a+")),
        ({"type": "grammar", "grammar": "start: /a/"}, GrammarFormat(grammar="start: /a/")),
        (
            {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
            JsonSchemaFormat(schema=SCHEMA, strict=False),
        ),
        ({"type": "json_object", "schema": SCHEMA}, JsonSchemaFormat(schema=SCHEMA)),
        ({"type": "json_object", "schema": {}}, JsonObjectFormat()),
        ({"type": "json_schema", "schema": SCHEMA}, JsonSchemaFormat(schema=SCHEMA)),
    ],
)
def test_response_formats(given: dict[str, Any], expected: object):
    """All kinds of format."""
    assert decode(response_format=given).request.response_format == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"guided_json": SCHEMA}, JsonSchemaFormat(schema=SCHEMA)),
        ({"guided_json": json.dumps(SCHEMA)}, JsonSchemaFormat(schema=SCHEMA)),
        ({"json_schema": SCHEMA}, JsonSchemaFormat(schema=SCHEMA)),
        ({"guided_regex": "a+"}, RegexFormat("a+")),
        ({"regex": "a+"}, RegexFormat("a+")),
        ({"guided_choice": ["yes", "no"]}, RegexFormat("yes|no")),
        ({"guided_grammar": "start: /a/"}, GrammarFormat(grammar="start: /a/")),
        ({"structured_outputs": {"json": SCHEMA}}, JsonSchemaFormat(schema=SCHEMA)),
        ({"structured_outputs": {"json_object": True}}, JsonObjectFormat()),
        ({"structured_outputs": {"regex": "a+"}}, RegexFormat("a+")),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, RegexFormat("yes|no")),
        ({"structured_outputs": {"grammar": "start: /a/"}}, GrammarFormat(grammar="start: /a/")),
        ({"guided_regex": "a+", "response_format": {"type": "text"}}, RegexFormat("a+")),
        ({"guided_regex": None, "structured_outputs": {}}, TextFormat()),
    ],
)
def test_spellings_of_formats(fields: dict[str, Any], expected: object):
    """What other servers call a format is the same format here, without a warning."""
    call = decode(**fields)
    assert call.request.response_format == expected
    assert call.warnings == ()
    assert call.request.extensions == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"response_format": {"type": "json_object"}}, {"guided_regex": "a"}),
        ({"guided_json": {}}, {"guided_choice": ["a"]}),
        ({"structured_outputs": {"regex": "a"}}, {"regex": "a"}),
        (
            {"response_format": {"type": "regex", "regex": "a"}},
            {"structured_outputs": {"json": {}}},
        ),
    ],
)
def test_two_formats(one: dict[str, Any], other: dict[str, Any]):
    """An answer has one form; two fields that ask for one are both named."""
    error = refusal(**one, **other)
    for name in (*one, *other):
        assert name in error.message


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=4)
)
def test_choices_are_literal(choices: list[str]):
    """Each choice matches itself and nothing else, and an engine can hold to it."""
    wanted = decode(guided_choice=choices).request.response_format
    assert isinstance(wanted, RegexFormat)
    for choice in choices:
        assert re.fullmatch(wanted.pattern, choice)
    assert bool(re.fullmatch(wanted.pattern, "axb")) == ("axb" in choices)
    assert parse(wanted.pattern, whole=True)


def test_members_that_do_not_count():
    """What another type of format would need is named, not dropped."""
    call = decode(response_format={"type": "json_object", "regex": "a", "strict": True})
    assert sorted(warning.split()[0] for warning in call.warnings) == [
        "response_format.regex",
        "response_format.strict",
    ]


def test_deadline_and_salt():
    """Both arrive in core's shape."""
    request = decode(deadline_s=2.5, cache_salt="secret").request
    assert (request.deadline_s, request.cache_salt) == (2.5, "secret")
    assert decode(deadline_s=3).request.deadline_s == 3


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning_effort": "none"}, Thinking(enabled=False)),
        ({"reasoning_effort": "high"}, Thinking(enabled=True, effort="high")),
        ({"thinking": {"type": "disabled"}}, Thinking(enabled=False)),
        (
            {"thinking": {"type": "enabled", "clear_thinking": False, "budget_tokens": 10}},
            Thinking(enabled=True, clear=False, budget_tokens=10),
        ),
        ({"enable_thinking": False}, Thinking(enabled=False)),
        ({"chat_template_kwargs": {"enable_thinking": False}}, Thinking(enabled=False)),
        ({"chat_template_kwargs": {"clear_thinking": False}}, Thinking(clear=False)),
        ({"reasoning": {"enabled": False}}, Thinking(enabled=False)),
        ({"reasoning": {"effort": "none"}}, Thinking(enabled=False)),
        (
            {"reasoning": {"max_tokens": 50, "exclude": True}},
            Thinking(budget_tokens=50, hidden=True),
        ),
        ({"disable_reasoning": True}, Thinking(enabled=False)),
        ({"clear_thinking": False}, Thinking(clear=False)),
        ({"reasoning_format": "hidden"}, Thinking(hidden=True)),
        ({"include_reasoning": False}, Thinking(hidden=True)),
        ({"thinking_budget": 0}, Thinking(enabled=False)),
        ({"thinking": {"type": "enabled"}}, Thinking(enabled=True)),
        ({"thinking": {"budget_tokens": 0}}, Thinking(enabled=False)),
        ({"thinking": {"clear_thinking": True}}, Thinking(clear=True)),
        ({"enable_thinking": True}, Thinking(enabled=True)),
        ({"chat_template_kwargs": {"thinking": False}}, Thinking(enabled=False)),
        ({"chat_template_kwargs": {"thinking": True}}, Thinking(enabled=True)),
        ({"reasoning": {"enabled": True}}, Thinking(enabled=True)),
        ({"reasoning": {"effort": "xhigh"}}, Thinking(enabled=True, effort="xhigh")),
        ({"reasoning": {"max_tokens": 0}}, Thinking(enabled=False)),
        ({"reasoning": {"exclude": True}}, Thinking(hidden=True)),
        ({"reasoning": {"exclude": False}}, Thinking()),
        ({"reasoning_effort": "minimal"}, Thinking(enabled=True, effort="minimal")),
        ({"reasoning_effort": "xhigh"}, Thinking(enabled=True, effort="xhigh")),
        ({"reasoning_effort": "max"}, Thinking(enabled=True, effort="max")),
        ({"disable_reasoning": False}, Thinking()),
        ({"include_reasoning": True}, Thinking()),
        ({"reasoning_format": "parsed"}, Thinking()),
        ({"thinking_budget": 64}, Thinking(budget_tokens=64)),
        ({"thinking_budget": -1}, Thinking()),
        ({"thinking_token_budget": 64}, Thinking(budget_tokens=64)),
        ({"thinking_token_budget": 0}, Thinking(enabled=False)),
        ({"clear_thinking": True}, Thinking(clear=True)),
        (
            {"reasoning_effort": "none", "enable_thinking": False, "thinking_budget": 0},
            Thinking(enabled=False),
        ),
    ],
)
def test_spellings_of_thinking(fields: dict[str, Any], expected: Thinking):
    """Every vendor's spelling means the same struct."""
    assert decode(**fields).request.thinking == expected


@pytest.mark.parametrize(
    ("fields", "first", "second"),
    [
        (
            {"enable_thinking": True, "chat_template_kwargs": {"enable_thinking": False}},
            "enable_thinking",
            "chat_template_kwargs.enable_thinking",
        ),
        (
            {"thinking": {"type": "disabled"}, "reasoning_effort": "high"},
            "thinking.type",
            "reasoning_effort",
        ),
        (
            {"thinking": {"budget_tokens": 5}, "thinking_token_budget": 6},
            "thinking.budget_tokens",
            "thinking_token_budget",
        ),
        ({"enable_thinking": True, "thinking_budget": 0}, "enable_thinking", "thinking_budget"),
        (
            {"reasoning": {"effort": "low"}, "reasoning_effort": "high"},
            "reasoning.effort",
            "reasoning_effort",
        ),
        (
            {"clear_thinking": True, "chat_template_kwargs": {"clear_thinking": False}},
            "clear_thinking",
            "chat_template_kwargs.clear_thinking",
        ),
        (
            {"chat_template_kwargs": {"enable_thinking": True, "thinking": False}},
            "chat_template_kwargs.enable_thinking",
            "chat_template_kwargs.thinking",
        ),
    ],
)
def test_contradictory_spellings(fields: dict[str, Any], first: str, second: str):
    """Two spellings that contradict each other are both named."""
    error = refusal(**fields)
    assert error.param == second
    assert f"{first} and {second}" in error.message


def test_spellings_that_agree():
    """The same said twice is no contradiction."""
    assert decode(reasoning_effort="high", thinking={"type": "enabled"}).request.thinking.enabled


def test_template_arguments():
    """What the template alone understands reaches it."""
    call = decode(chat_template_kwargs={"enable_thinking": True, "language": "zh"})
    assert call.request.template_arguments == {"language": "zh"}


@pytest.mark.parametrize(
    ("fields", "core", "expected"),
    [
        ({}, "num_choices", "n"),
        ({}, "sampling.temperature", "temperature"),
        ({"max_tokens": 5}, "sampling.max_tokens", "max_tokens"),
        ({"max_completion_tokens": 5}, "sampling.max_tokens", "max_completion_tokens"),
        ({"min_completion_tokens": 5}, "sampling.min_tokens", "min_completion_tokens"),
        ({"service_tier": "fast"}, "service_class", "service_tier"),
        ({"reasoning_effort": "low"}, "thinking.effort", "reasoning_effort"),
        ({"thinking_budget": 5}, "thinking.budget_tokens", "thinking_budget"),
        ({"thinking_token_budget": 5}, "thinking.budget_tokens", "thinking_token_budget"),
        ({"reasoning": {"max_tokens": 5}}, "thinking.budget_tokens", "reasoning.max_tokens"),
        ({"guided_json": {}}, "response_format", "guided_json"),
        ({"guided_json": {}}, "response_format.json_schema.schema", "guided_json"),
        ({"guided_json": {}}, "response_format.json_schema.schema.items", "guided_json.items"),
        ({"guided_regex": "a"}, "response_format.pattern", "guided_regex"),
        (
            {"structured_outputs": {"json_object": True}},
            "response_format",
            "structured_outputs.json_object",
        ),
        ({"regex": "a"}, "response_format.pattern", "regex"),
        ({"guided_choice": ["a"]}, "response_format.pattern", "guided_choice"),
        ({"guided_grammar": "a"}, "response_format.grammar", "guided_grammar"),
        (
            {"structured_outputs": {"json": {}}},
            "response_format.json_schema.schema",
            "structured_outputs.json",
        ),
        (
            {"response_format": {"type": "json_object", "schema": {"type": "object"}}},
            "response_format.json_schema.schema.type",
            "response_format.schema.type",
        ),
        (
            {"response_format": {"type": "regex", "regex": "a"}},
            "response_format.pattern",
            "response_format.regex",
        ),
        ({}, "tools[0].function.parameters", "tools[0].function.parameters"),
        ({}, "tool_choice", "tool_choice"),
        ({}, "sampling.logit_bias.5", "logit_bias.5"),
        ({}, "messages[1].content[0]", "messages[1].content[0]"),
    ],
)
def test_names_of_the_client(fields: dict[str, Any], core: str, expected: str):
    """Core's name of a field is said in the client's own spelling."""
    assert client_name(core, decode(**fields).names) == expected


@pytest.mark.parametrize("joint", [" holds more than 9 schemas", ": it leads back to itself"])
def test_complaints_in_the_clients_words(joint: str):
    """An error or a warning that opens with core's path of a field says the client's instead."""
    path = "response_format.json_schema.schema"
    names = decode(guided_json={}).names
    assert client_message(InvalidRequest(path + joint, param=path), names) == "guided_json" + joint
    assert client_warnings((path + joint,), names) == ["guided_json" + joint]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *(*fields_of_the_reference(), "thinking", "reasoning", "top_k", "deadline_s", "cache_salt"),
        *("guided_json", "guided_choice", "structured_outputs", "regex", "thinking_budget"),
    ]
)


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_body_is_understood_or_refused(fields: dict[str, Any]):
    """Whatever JSON a field holds, the answer is a request or an error that names a field."""
    body = msgspec.json.encode({"model": "glm", "messages": [HI], **fields})
    outcome: InvalidRequest | None = None
    try:
        decode_request(body)
    except InvalidRequest as error:
        outcome = error
    assert outcome is None or outcome.param


def test_unsupported_is_told_from_invalid():
    """What is understood but not done here has a code of its own."""
    assert isinstance(refusal(functions=[]), UnsupportedParameter)
    assert refusal(functions=[]).code == "unsupported_parameter"
