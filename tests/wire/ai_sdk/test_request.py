"""Calls of the AI SDK, as clients send them."""

import json

import pytest

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.core.request import JsonObjectFormat, JsonSchemaFormat, Routing, Thinking, ToolChoice
from glimt.wire.ai_sdk.request import decode_request
from glimt.wire.codec import Call

HELLO = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
TOOL = {"type": "function", "name": "f", "inputSchema": {"type": "object"}}


def decode(prompt: object = HELLO, **fields: object) -> Call:
    return decode_request(json.dumps({"prompt": prompt, **fields}).encode(), model="zai/glm")


def parts(role: str, *content: object) -> tuple[object, ...]:
    return decode([{"role": role, "content": list(content)}]).request.messages[0].parts


def test_a_call_of_version_4():
    """What AI SDK 7 sends for a plain prompt is understood without a warning."""
    call = decode(
        maxOutputTokens=50,
        tools=[TOOL],
        toolChoice={"type": "auto"},
        includeRawChunks=False,
        headers={"user-agent": "ai/7"},
        reasoning="provider-default",
    )
    assert call.warnings == ()
    assert call.request.model == "zai/glm"
    assert call.request.messages == (Message(role="user", parts=(TextPart("hi"),)),)
    assert call.request.sampling.max_tokens == 50
    assert call.request.thinking == Thinking()
    assert call.request.tool_choice == ToolChoice()
    assert call.request.extensions == {}


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({"reasoning": "none"}, Thinking(enabled=False)),
        ({"reasoning": "low"}, Thinking(enabled=True, effort="low")),
        (
            {"providerOptions": {"zai": {"thinking": {"type": "disabled"}}}},
            Thinking(enabled=False),
        ),
        (
            {"providerOptions": {"zai": {"thinking": {"type": "enabled", "clearThinking": False}}}},
            Thinking(enabled=True, clear=False),
        ),
        (
            {"providerOptions": {"openaiCompatible": {"reasoningEffort": "high"}}},
            Thinking(enabled=True, effort="high"),
        ),
        (
            {"providerOptions": {"cerebras": {"disable_reasoning": True}}},
            Thinking(enabled=False),
        ),
        ({"providerOptions": {"glimt": {"thinkingBudget": 9}}}, Thinking(budget_tokens=9)),
    ],
)
def test_thinking(fields: dict, thinking: Thinking):
    """Thinking is read in the SDK's word for it, and under the names of GLM servers."""
    call = decode(**fields)
    assert call.request.thinking == thinking
    assert call.warnings == ()


def test_names_in_the_clients_words():
    """A complaint about thinking names the provider option that it came by."""
    path = "providerOptions.zai.thinking.type"
    call = decode(providerOptions={"zai": {"thinking": {"type": "enabled"}}})
    assert call.names["thinking.enabled"] == path
    with pytest.raises(InvalidRequest, match=path) as caught:
        decode(providerOptions={"zai": {"thinking": {"type": "sometimes"}}})
    assert caught.value.param == path


def test_wishes_of_two_servers():
    """Two servers' options that contradict each other are an error that names both."""
    options = {"zai": {"enableThinking": True}, "cerebras": {"enable_thinking": False}}
    with pytest.raises(InvalidRequest, match=r"zai\.enableThinking and .*cerebras\.enable_th"):
        decode(providerOptions=options)


def test_options_for_others():
    """Options for another provider are named in a warning, wherever they stand."""
    message = {"role": "user", "content": HELLO[0]["content"], "providerOptions": {"openai": {}}}
    call = decode([message], providerOptions={"anthropic": {"x": 1}, "zai": {"frobnicate": 1}})
    assert call.warnings == (
        "providerOptions.anthropic was not honoured: another provider's",
        "prompt[0].providerOptions.openai was not honoured: another provider's",
    )
    assert call.request.extensions == {"providerOptions.zai.frobnicate": 1}


def test_metadata_that_comes_back():
    """Which answer a part was of comes back with it, and is no option that somebody set."""
    said = {"type": "text", "text": "hi", "providerOptions": {"gateway": {"generationId": "g"}}}
    assert decode([{"role": "assistant", "content": [said]}]).warnings == ()
    for other in ({"generationId": "g", "caching": "auto"}, 5):
        said["providerOptions"]["gateway"] = other
        (warning,) = decode([{"role": "assistant", "content": [said]}]).warnings
        assert warning.startswith("prompt[0].content[0].providerOptions.gateway was not honoured")


def test_routing():
    """Options for the gateway are carried, under the client's names."""
    gateway = {"order": ["a"], "models": ["b"], "sort": "ttft", "serviceTier": "flex", "user": "u"}
    call = decode(providerOptions={"gateway": gateway})
    request = call.request
    assert request.routing == Routing(order=("a",), models=("b",), options={"sort": "ttft"})
    assert (request.service_class, request.user) == ("flex", "u")
    assert call.names["routing.options"] == "providerOptions.gateway"


def test_unknown_fields():
    """A field that nobody knows is left out and named, and the rest of the prompt stays."""
    part = {"type": "text", "text": "hi", "frob": 1}
    call = decode([{"role": "user", "content": [part]}], nicate=2)
    assert call.warnings == ("prompt[0].content[0].frob was not honoured: unknown here",)
    assert call.request.extensions == {"nicate": 2}
    assert call.request.messages[0].parts == (TextPart("hi"),)


def test_a_tool_loop():
    """A thought, a call and its result come back as they were sent, arguments as written."""
    call = {"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": {"a": 1.5}}
    assert parts("assistant", {"type": "reasoning", "text": "hm"}, call) == (
        ReasoningPart(text="hm"),
        ToolCallPart(id="c", name="f", arguments='{"a": 1.5}'),
    )
    result = {"type": "tool-result", "toolCallId": "c", "toolName": "f"}
    assert parts("tool", {**result, "output": {"type": "json", "value": {"b": 2}}}) == (
        ToolResultPart(call_id="c", content=(TextPart('{"b": 2}'),)),
    )
    assert parts("tool", {**result, "output": {"type": "error-text", "value": "no"}}) == (
        ToolResultPart(call_id="c", content=(TextPart("no"),), is_error=True),
    )
    assert parts("tool", {**result, "output": {"type": "execution-denied"}}) == (
        ToolResultPart(
            call_id="c", content=(TextPart("The user denied this call."),), is_error=True
        ),
    )


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ("https://a.b/c.png", ImagePart(url="https://a.b/c.png", media_type="image/png")),
        ("data:image/png;base64,aGk=", ImagePart(data=b"hi", media_type="image/png")),
        ("aGk=", ImagePart(data=b"hi", media_type="image/png")),
        ({"type": "data", "data": "aGk="}, ImagePart(data=b"hi", media_type="image/png")),
        (
            {"type": "url", "url": "https://a.b/c"},
            ImagePart(url="https://a.b/c", media_type="image/png"),
        ),
        ({"type": "text", "text": "hi"}, TextPart("hi")),
    ],
)
def test_files(data: object, part: object):
    """A file is read in the spelling of every generation."""
    assert parts("user", {"type": "file", "mediaType": "image/png", "data": data}) == (part,)


def test_other_files():
    """What is no image keeps its kind and its name."""
    file = {"type": "file", "mediaType": "application/pdf", "data": "aGk=", "filename": "a.pdf"}
    assert parts("user", file) == (
        FilePart(kind="file", data=b"hi", media_type="application/pdf", name="a.pdf"),
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"type": "json"}, JsonObjectFormat()),
        (
            {"type": "json", "schema": {"type": "object"}, "name": "n"},
            JsonSchemaFormat(schema={"type": "object"}, name="n"),
        ),
    ],
)
def test_formats(given: dict, wanted: object):
    """A response format with a schema binds to it; without one it is any JSON object."""
    assert decode(responseFormat=given).request.response_format == wanted


USER_PART = {"role": "user", "content": [{"type": "video", "text": "hi"}]}


@pytest.mark.parametrize(
    ("fields", "param", "kind"),
    [
        ({"prompt": []}, "prompt", InvalidRequest),
        ({"prompt": [{"role": "wizard", "content": []}]}, "prompt[0].role", InvalidRequest),
        ({"prompt": [{"role": "system", "content": []}]}, "prompt[0].content", InvalidRequest),
        ({"prompt": [{"role": "tool", "content": "x"}]}, "prompt[0].content", InvalidRequest),
        ({"prompt": [USER_PART]}, "prompt[0].content[0].type", UnsupportedParameter),
        ({"temperature": 3}, "temperature", InvalidRequest),
        ({"maxOutputTokens": 0}, "maxOutputTokens", InvalidRequest),
        ({"stopSequences": [""]}, "stopSequences", InvalidRequest),
        ({"toolChoice": {"type": "required"}}, "toolChoice", InvalidRequest),
        (
            {"tools": [TOOL], "toolChoice": {"type": "tool", "toolName": "g"}},
            "toolChoice.toolName",
            InvalidRequest,
        ),
        ({"toolChoice": {"type": "maybe"}}, "toolChoice.type", InvalidRequest),
        ({"responseFormat": {"type": "yaml"}}, "responseFormat.type", InvalidRequest),
        (
            {"tools": [{"type": "provider", "id": "gateway.exa_search", "name": "s", "args": {}}]},
            "tools[0].type",
            UnsupportedParameter,
        ),
        (
            {"providerOptions": {"gateway": {"serviceTier": "gold"}}},
            "providerOptions.gateway.serviceTier",
            InvalidRequest,
        ),
        (
            {"providerOptions": {"gateway": {"only": "x"}}},
            "providerOptions.gateway.only",
            InvalidRequest,
        ),
    ],
)
def test_mistakes_name_the_field(fields: dict, param: str, kind: type[InvalidRequest]):
    """A field at fault is an error with the client's name of it."""
    with pytest.raises(kind) as caught:
        decode(**{"prompt": HELLO, **fields})
    assert caught.value.param == param


def test_a_call_without_a_model():
    """The header that names the model is asked for by its name."""
    with pytest.raises(InvalidRequest, match="ai-language-model-id"):
        decode_request(b'{"prompt": []}', model=None)
