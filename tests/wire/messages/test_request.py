"""Requests of Anthropic's format, as clients send them."""

import json
import re

import msgspec
import pytest

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.core.request import JsonSchemaFormat, Thinking, Tool, ToolChoice
from glimt.wire.codec import Call, client_name
from glimt.wire.messages.codec import MessagesCodec
from glimt.wire.messages.description import MessagesBody, PromptBody

HELLO = [{"role": "user", "content": "hi"}]
TOOL = {"name": "f", "input_schema": {"type": "object"}}
CACHED = {"cache_control": {"type": "ephemeral"}}
OMITTED = "omitted"


class OneSignature:
    """Knows one thought as its own."""

    def sign(self, text: str) -> str:
        return f"proof of {text}"

    def verify(self, text: str, signature: str) -> bool:
        return signature == self.sign(text)


def decode(messages: object = HELLO, headers: dict[str, str] | None = None, **fields: object):
    body = {"model": "zai/glm", "max_tokens": 50, "messages": messages, **fields}
    given = {name: value for name, value in body.items() if value != OMITTED}
    return MessagesCodec(headers or {}, signatures=OneSignature()).decode(
        json.dumps(given).encode()
    )


def blocks(role: str, *content: object) -> Call:
    return decode([{"role": role, "content": list(content)}])


def parts(role: str, *content: object) -> tuple[Part, ...]:
    call = blocks(role, *content)
    assert call.warnings == ()
    [message] = call.request.messages
    return message.parts


def test_what_claude_code_sends():
    """Its shape is understood, and the one warning is about a tool that Anthropic runs."""
    call = decode(
        [
            {"role": "user", "content": [{"type": "text", "text": "look", **CACHED}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "proof of hm"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1.50}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": "seen", **CACHED},
                    {"type": "text", "text": "and?"},
                ],
            },
            {"role": "system", "content": "Be short."},
        ],
        headers={"x-claude-code-session-id": "s1"},
        system=[{"type": "text", "text": "You help.", **CACHED}],
        tools=[
            {**TOOL, "description": "d", "defer_loading": True, "strict": True, **CACHED},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        ],
        thinking={"type": "adaptive", "display": "omitted"},
        output_config={"effort": "high"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        metadata={"user_id": "u"},
        stream=True,
    )
    assert [warning.split(" ")[0] for warning in call.warnings] == ["tools[1]"]
    request = call.request
    assert call.stream
    assert request.messages == (
        Message(role="system", parts=(TextPart("You help."),)),
        Message(role="user", parts=(TextPart("look"),)),
        Message(
            role="assistant",
            parts=(
                ReasoningPart(text="hm"),
                TextPart("I look."),
                ToolCallPart(id="c", name="f", arguments='{"a": 1.5}'),
            ),
        ),
        Message(role="tool", parts=(ToolResultPart(call_id="c", content=(TextPart("seen"),)),)),
        Message(role="user", parts=(TextPart("and?"),)),
        Message(role="system", parts=(TextPart("Be short."),)),
    )
    assert request.tools == (
        Tool(name="f", description="d", parameters={"type": "object"}, strict=True),
    )
    assert request.thinking == Thinking(enabled=True, effort="high", clear=False, hidden=True)
    assert request.sampling.max_tokens == 50
    assert (request.user, request.session) == ("u", "s1")
    assert request.extensions == {}


def test_indices_are_the_clients():
    """A complaint about core's message names the one that the client wrote."""
    call = decode(
        [
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a"},
                    {"type": "tool_result", "tool_use_id": "b"},
                ],
            },
            {"role": "user", "content": "hi"},
        ],
        system="s",
    )
    names = [client_name(f"messages[{i}].parts[0]", call.names) for i in range(4)]
    assert names == [
        "system.parts[0]",
        "messages[0].parts[0]",
        "messages[0].parts[0]",
        "messages[1].parts[0]",
    ]


def test_indices_of_tools_are_the_clients():
    """Tools that are left out do not shift the names of the others."""
    web = {"type": "web_search_20250305", "name": "web_search"}
    call = decode(tools=[web, TOOL])
    assert call.request.tools == (Tool(name="f", parameters={"type": "object"}),)
    assert client_name("tools[0].parameters", call.names) == "tools[1].parameters"


@pytest.mark.parametrize("system", ["", [], None])
def test_no_system_prompt(system: object):
    """An empty one is none."""
    assert [message.role for message in decode(system=system).request.messages] == ["user"]


def source(kind: str, **fields: object) -> dict[str, object]:
    return {"type": kind, **fields}


PICTURE = source("base64", media_type="image/png", data="eHg=")
PAPER = source("base64", media_type="application/pdf", data="eHg=")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "text", "text": "a", **CACHED}, [TextPart("a")]),
        ({"type": "text", "text": "a", "citations": None}, [TextPart("a")]),
        (
            {"type": "image", "source": PICTURE, **CACHED},
            [ImagePart(data=b"xx", media_type="image/png")],
        ),
        ({"type": "image", "source": source("url", url="http://a")}, [ImagePart(url="http://a")]),
        (
            {"type": "document", "source": PAPER, "title": "t"},
            [FilePart(kind="file", data=b"xx", media_type="application/pdf", name="t")],
        ),
        (
            {"type": "document", "source": source("url", url="http://a"), "context": "c"},
            [
                TextPart("c\n\n"),
                FilePart(kind="file", url="http://a", media_type="application/pdf"),
            ],
        ),
        (
            {
                "type": "document",
                "source": source("text", media_type="text/plain", data="d"),
                "title": "t",
                "citations": {"enabled": False},
            },
            [TextPart("t\n\n"), TextPart("d")],
        ),
        ({"type": "document", "source": source("content", content="d")}, [TextPart("d")]),
        (
            {
                "type": "document",
                "source": source("content", content=[{"type": "text", "text": "d"}]),
            },
            [TextPart("d")],
        ),
        (
            {
                "type": "search_result",
                "source": "http://a",
                "title": "t",
                "content": [{"type": "text", "text": "found"}],
            },
            [TextPart("t\nhttp://a\n\n"), TextPart("found")],
        ),
    ],
)
def test_blocks_of_content(block: dict, expected: list[Part]):
    """What users and tools send."""
    assert list(parts("user", block)) == expected
    [result] = parts("user", {"type": "tool_result", "tool_use_id": "c", "content": [block]})
    assert result == ToolResultPart(call_id="c", content=tuple(expected))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": "a"}, ToolResultPart(call_id="c", content=(TextPart("a"),))),
        ({}, ToolResultPart(call_id="c", content=())),
        ({"is_error": True}, ToolResultPart(call_id="c", content=(), is_error=True)),
        (
            {"content": [{"type": "tool_reference", "tool_name": "f"}]},
            ToolResultPart(call_id="c", content=(TextPart("The tool f is available."),)),
        ),
    ],
)
def test_results(fields: dict, expected: ToolResultPart):
    """What tools answer, nothing and failures too."""
    assert parts("user", {"type": "tool_result", "tool_use_id": "c", **fields}) == (expected,)


def test_thoughts():
    """Ours are known by their signature; others' keep it, for whoever may know it."""
    call = blocks(
        "assistant",
        {"type": "thinking", "thinking": "a", "signature": "proof of a"},
        {"type": "thinking", "thinking": "b", "signature": "proof of a"},
        {"type": "thinking", "thinking": "c", "signature": ""},
        {"type": "redacted_thinking", "data": "x"},
    )
    assert call.request.messages[0].parts == (
        ReasoningPart(text="a"),
        ReasoningPart(text="b", signature="proof of a"),
        ReasoningPart(text="c"),
        ReasoningPart(encrypted="x"),
    )
    assert call.warnings == ()


@pytest.mark.parametrize(
    ("content", "goes_on"),
    [
        ("It is", True),
        ([{"type": "text", "text": "It is"}], True),
        ([{"type": "thinking", "thinking": "Hm", "signature": ""}], True),
        ([{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "It is"}], True),
        ("", False),
        ([{"type": "redacted_thinking", "data": "x"}], False),
        ([{"type": "tool_use", "id": "1", "name": "f", "input": {}}], False),
    ],
)
def test_a_prefill(content: object, goes_on: bool):
    """The answer is the rest of a last message of the assistant's, where it can be."""
    said = {"role": "assistant", "content": content}
    call = decode(messages=[{"role": "user", "content": "hi"}, said])
    assert call.request.continues is goes_on
    assert not decode(messages=[said, {"role": "user", "content": "hi"}]).request.continues
    assert call.names.get("continues") == ("messages[1]" if goes_on else None)


def test_arguments_keep_their_digits():
    """A call's arguments are the text that the client wrote."""
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":'
        b'"tool_use","id":"c","name":"f","input":{"a":1.50 ,"b":"\\u00e9"}}]}]}'
    )
    call = MessagesCodec({}, signatures=None).decode(body)
    [part] = call.request.messages[0].parts
    assert part == ToolCallPart(id="c", name="f", arguments='{"a":1.50 ,"b":"\\u00e9"}')


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({}, Thinking()),
        ({"thinking": {"type": "disabled"}}, Thinking(enabled=False)),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1024.0}},
            Thinking(enabled=True, budget_tokens=1024),
        ),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, Thinking(enabled=True)),
        ({"output_config": {"effort": "xhigh"}}, Thinking(effort="xhigh")),
        (
            {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}},
            Thinking(clear=True),
        ),
    ],
)
def test_thinking(fields: dict, thinking: Thinking):
    """How to think, in Anthropic's words."""
    call = decode(**fields)
    assert call.request.thinking == thinking
    assert call.warnings == ()


@pytest.mark.parametrize(
    ("given", "choice", "parallel"),
    [
        ({"type": "auto"}, ToolChoice(), True),
        ({"type": "any"}, ToolChoice(mode="required"), True),
        ({"type": "none"}, ToolChoice(mode="none"), True),
        ({"type": "tool", "name": "f"}, ToolChoice(mode="required", names=("f",)), True),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(), False),
    ],
)
def test_tool_choice(given: dict, choice: ToolChoice, parallel: bool):
    """Whether and what to call, and how many at once."""
    request = decode(tools=[TOOL], tool_choice=given).request
    assert (request.tool_choice, request.parallel_tool_calls) == (choice, parallel)


@pytest.mark.parametrize("name", ["output_config", "output_format"])
def test_schemas(name: str):
    """An answer's form, at its place and at its older one."""
    shape = {"type": "json_schema", "schema": {"type": "object"}}
    field = {"format": shape} if name == "output_config" else shape
    call = decode(**{name: field})
    assert call.request.response_format == JsonSchemaFormat(schema={"type": "object"}, strict=True)


@pytest.mark.parametrize(
    ("tier", "service_class"),
    [("auto", "default"), ("standard_only", "default"), ("priority", "priority"), ("flex", "flex")],
)
def test_service_tier(tier: str, service_class: str):
    """Anthropic's words and ours."""
    assert decode(service_tier=tier).request.service_class == service_class


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"betas": ["b"]}, "betas"),
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
            "context_management.edits[0]",
        ),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0]"),
        ({"tools": [{**TOOL, "frobnicate": 1}]}, "tools[0].frobnicate"),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
            "output_config.effort",
        ),
        ({"system": [{"type": "text", "text": "s", "frobnicate": 1}]}, "system[0].frobnicate"),
    ],
)
def test_what_is_not_honoured(fields: dict, path: str):
    """It is named in a warning, and the rest is read."""
    [warning] = decode(**fields).warnings
    assert warning.startswith(f"{path} was not honoured")


def test_empty_lists_need_no_warning():
    """Clients send them where they have nothing to say."""
    assert decode(mcp_servers=[], betas=[], tools=[]).warnings == ()


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, ""),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, ""),
        ({"type": "text", "text": "a", "citations": [{"type": "x"}]}, ".citations"),
        ({"type": "text", "text": "a", "frobnicate": 1}, ".frobnicate"),
    ],
)
def test_blocks_that_are_not_honoured(block: dict, path: str):
    """A conversation that began elsewhere goes on here, and loses nothing in silence."""
    call = blocks("assistant", block, {"type": "text", "text": "b"})
    [warning] = call.warnings
    assert warning.startswith(f"messages[0].content[0]{path} was not honoured")
    assert call.request.messages[0].parts[-1] == TextPart("b")


def test_unknown_fields_travel_on():
    """Who can use them may; who cannot says so."""
    assert decode(frobnicate=5).request.extensions == {"frobnicate": 5}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": OMITTED}, "model"),
        ({"max_tokens": OMITTED}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": OMITTED}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"temperature": 3}, "temperature"),
        ({"service_tier": "x"}, "service_tier"),
        ({"thinking": {"type": "x"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "display": "x"}}, "thinking.display"),
        ({"output_config": {"effort": "x"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "x"}}, "tool_choice.type"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"metadata": {"user_id": 5}}, "metadata[...]"),
    ],
)
def test_mistakes(fields: dict, param: str):
    """The field at fault is named."""
    with pytest.raises(InvalidRequest) as caught:
        decode(**fields)
    assert (caught.value.param or "").startswith(param.removesuffix("[...]"))


def test_a_system_prompt_may_be_text():
    """What it is refused for says so."""
    with pytest.raises(InvalidRequest, match="system: expected a string or an array, got an"):
        decode(system=5)


@pytest.mark.parametrize(
    ("role", "block", "param"),
    [
        ("user", {"type": "text"}, "text"),
        ("user", {"type": "frobnicate"}, "type"),
        ("user", {"type": "thinking", "thinking": "x"}, "type"),
        ("user", {"type": "image"}, "source"),
        ("user", {"type": "image", "source": source("x")}, "source.type"),
        ("user", {"type": "image", "source": source("base64", data="!")}, "source.data"),
        ("user", {"type": "image", "source": source("file", file_id="f")}, "source.file_id"),
        ("user", {"type": "tool_result"}, "tool_use_id"),
        ("assistant", {"type": "tool_use", "name": "f", "input": {}}, "id"),
        ("assistant", {"type": "tool_use", "id": "c", "name": "f", "input": "{}"}, "input"),
        ("assistant", {"type": "tool_result", "tool_use_id": "c"}, "type"),
    ],
)
def test_mistakes_in_blocks(role: str, block: dict, param: str):
    """They are named by their whole path."""
    with pytest.raises(InvalidRequest) as caught:
        blocks(role, {"type": "text", "text": "a"}, block)
    assert caught.value.param == f"messages[0].content[1].{param}"


def test_files_kept_elsewhere():
    """They are refused, and the message says what to send instead."""
    with pytest.raises(UnsupportedParameter, match="base64"):
        blocks("user", {"type": "document", "source": source("file", file_id="f")})


def test_counting():
    """The same body without a limit, and nothing else is different."""
    body = json.dumps({"model": "m", "messages": HELLO, "system": "s", "tools": [TOOL]}).encode()
    counted = MessagesCodec({}, signatures=None).decode_count(body).request
    limited = decode(model="m", system="s", tools=[TOOL]).request
    assert counted.messages == limited.messages
    assert counted.tools == limited.tools
    with pytest.raises(InvalidRequest, match="messages is missing"):
        MessagesCodec({}, signatures=None).decode_count(b'{"model": "m"}')


def test_the_description_is_the_reader():
    """Every field of the description is one that the reader takes: none is left over."""
    values: dict[str, object] = {
        "system": "s",
        "tools": [TOOL],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
        "output_format": {"type": "json_schema", "schema": {}},
        "context_management": {"edits": []},
        "cache_control": {"type": "ephemeral"},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["x"],
        "service_tier": "auto",
        "stream": True,
        "models": ["m"],
        "provider": {"order": ["p"]},
        "transforms": ["middle-out"],
        "plugins": [{"id": "p"}],
    }
    numbers = {"temperature": 1, "top_p": 1, "top_k": 1, "deadline_s": 1, "max_tokens": 1}
    fields = [field.name for field in msgspec.structs.fields(MessagesBody)]
    given = {name: values.get(name, numbers.get(name, "x")) for name in fields}
    call = decode(**{**given, "messages": HELLO})
    assert call.request.extensions == {}
    documented = re.findall(r"^        ?(\w+): ", PromptBody.__doc__ or "", re.MULTILINE)
    assert {*documented, "max_tokens"} == set(fields)
