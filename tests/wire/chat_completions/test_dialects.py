"""One answer in every vendor's spelling."""

import json

import pytest

from glimt.core.errors import (
    ContextLengthExceeded,
    GlimtError,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    Unauthenticated,
    UnsupportedParameter,
)
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    collect,
)
from glimt.core.parts import ReasoningPart, TextPart
from glimt.core.request import Routing
from glimt.core.usage import Usage
from glimt.wire.chat_completions.asking import encode_request
from glimt.wire.chat_completions.codec import ChatCompletionsCodec
from glimt.wire.chat_completions.reading import ChunkDecoder
from glimt.wire.chat_completions.request import decode_request
from glimt.wire.dialect import CEREBRAS, OPENAI, OPENROUTER, ZAI, ZAI_CODING, Dialect
from glimt.wire.sse import EventDecoder
from tests.batches import alone

HELLO = {"model": "glm-4.7-flash", "messages": [{"role": "user", "content": "hi"}]}
ANSWER: list[Event] = [
    Started(id="glimt-1", model="m", created=5, provider="local"),
    ReasoningDelta(text="hm", signature="s"),
    TextDelta(text="a"),
    ToolCallStarted(index=0, id="c", name="f"),
    ToolCallDelta(index=0, arguments='{"a"'),
    ToolCallDelta(index=0, arguments=": 1}"),
    ToolCallFinished(index=0),
    ChoiceFinished(reason="tool_calls"),
    Finished(usage=Usage(prompt_tokens=3, completion_tokens=2)),
]
DETAIL = {
    "type": "reasoning.text",
    "text": "hm",
    "format": "unknown",
    "index": 0,
    "signature": "s",
}


def decode(dialect: Dialect, headers: dict[str, str] | None = None, **fields: object):
    body = json.dumps({**HELLO, **fields}).encode()
    return decode_request(body, dialect=dialect, headers=headers or {})


async def whole(dialect: Dialect, **fields: object) -> dict:
    codec = ChatCompletionsCodec(dialect)
    return json.loads(codec.unary(decode(dialect, **fields), await collect(alone(*ANSWER))))


def chunks(dialect: Dialect, events: list[Event] = ANSWER, **fields: object) -> list[dict]:
    encoder = ChatCompletionsCodec(dialect).stream(decode(dialect, **fields))
    data = b"".join(map(encoder.encode, events)) + encoder.end()
    read = [event.data for event in EventDecoder().feed(data)]
    assert read.pop() == "[DONE]"
    return [json.loads(chunk) for chunk in read]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("dialect", "fields", "thoughts"),
    [
        (OPENAI, {}, {"reasoning_content": "hm"}),
        (
            OPENAI,
            {"reasoning": {"enabled": True}},
            {"reasoning_content": "hm", "reasoning": "hm", "reasoning_details": [DETAIL]},
        ),
        (OPENAI, {"reasoning_format": "parsed"}, {"reasoning_content": "hm", "reasoning": "hm"}),
        (OPENROUTER, {}, {"reasoning": "hm", "reasoning_details": [DETAIL]}),
        (ZAI, {}, {"reasoning_content": "hm"}),
        (CEREBRAS, {}, {"reasoning": "hm"}),
    ],
)
async def test_thoughts(dialect: Dialect, fields: dict, thoughts: dict):
    """A thought has the members of its dialect and no others, whole or in pieces."""
    message = (await whole(dialect, **fields))["choices"][0]["message"]
    assert {k: v for k, v in message.items() if k.startswith("reasoning")} == thoughts
    deltas = [c["choices"][0]["delta"] for c in chunks(dialect, **fields) if c["choices"]]
    [thought] = [d for d in deltas if any(k.startswith("reasoning") for k in d)]
    assert thought == thoughts


@pytest.mark.anyio
async def test_openrouters_company():
    """OpenRouter's answer says who gave it, what it cost and the provider's own reason."""
    answer = await whole(OPENROUTER)
    assert answer["provider"] == "local"
    assert answer["usage"]["cost"] == 0
    assert answer["usage"]["is_byok"] is False
    assert answer["choices"][0]["native_finish_reason"] == "tool_calls"
    last = chunks(OPENROUTER)[-1]
    assert last["choices"] == []
    assert last["usage"]["cost"] == 0


@pytest.mark.anyio
async def test_zais_company():
    """Z.ai's answer names the request; its stream ends with reason and usage together."""
    assert (await whole(ZAI, request_id="mine-1"))["request_id"] == "mine-1"
    assert (await whole(ZAI))["request_id"] == "glimt-1"
    assert "request_id" not in await whole(OPENAI)
    assert (await whole(OPENAI, request_id="mine-1"))["request_id"] == "mine-1"
    last = chunks(ZAI, stream=True, stream_options={"include_usage": True})[-1]
    assert last["usage"]["total_tokens"] == 5
    choice = last["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["delta"] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    ("dialect", "fields", "pieces"),
    [
        (OPENAI, {}, ["", '{"a"', ": 1}"]),
        (OPENAI, {"tool_stream": False}, ['{"a": 1}']),
        (ZAI, {}, ['{"a": 1}']),
        (ZAI, {"tool_stream": True}, ["", '{"a"', ": 1}"]),
    ],
)
def test_arguments_in_pieces(dialect: Dialect, fields: dict, pieces: list[str]):
    """A call's arguments come whole from Z.ai unless asked otherwise, and in pieces elsewhere."""
    calls = [
        call
        for chunk in chunks(dialect, **fields)
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert [call["function"]["arguments"] for call in calls] == pieces
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("c", "f")


def test_a_call_that_was_cut_off():
    """A call that is gathered and never ends is not sent."""
    events = [*ANSWER[:5], ChoiceFinished(reason="length"), ANSWER[-1]]
    for chunk in chunks(ZAI, events):
        assert "tool_calls" not in chunk["choices"][0]["delta"]


@pytest.mark.parametrize(("reason", "word"), [("content_filter", "sensitive"), ("stop", "stop")])
def test_zais_reasons(reason, word):
    """Z.ai has words of its own for some of the reasons."""
    last = chunks(ZAI, [*ANSWER[:3], ChoiceFinished(reason=reason), ANSWER[-1]])[-1]
    assert last["choices"][0]["finish_reason"] == word


@pytest.mark.parametrize("dialect", [OPENAI, OPENROUTER, ZAI, CEREBRAS], ids=lambda d: d.name)
def test_every_dialect_is_read(dialect: Dialect):
    """A stream in any dialect is the same answer to who reads it, but for how it was cut."""
    decoder = ChunkDecoder(provider="p", model="?")
    read = [event for chunk in chunks(dialect) for event in decoder.feed(json.dumps(chunk))]
    text = "".join(e.text for e in read if isinstance(e, TextDelta))
    thought = "".join(e.text for e in read if isinstance(e, ReasoningDelta))
    arguments = "".join(e.arguments for e in read if isinstance(e, ToolCallDelta))
    assert (text, thought, arguments) == ("a", "hm", '{"a": 1}')
    assert ChoiceFinished(reason="tool_calls") in read


@pytest.mark.parametrize(
    ("error", "status", "zai", "openrouter"),
    [
        (ModelNotFound("x"), 400, "1211", "not_found"),
        (InvalidRequest("x"), 400, "1214", "invalid_request"),
        (ContextLengthExceeded("x"), 400, "1261", "context_length_exceeded"),
        (Unauthenticated("x"), 401, "1000", "authentication"),
        (Unauthenticated("x", code="missing_api_key"), 401, "1001", "authentication"),
        (Overloaded("x"), 429, "1305", "provider_overloaded"),
        (InternalError("x"), 500, "500", "server"),
    ],
)
def test_errors(error: GlimtError, status: int, zai: str, openrouter: str):
    """An error has the vendor's own number: a text for Z.ai, the status for OpenRouter."""
    document = ChatCompletionsCodec(ZAI).error(error, None)
    assert document.status == status
    assert json.loads(document.body) == {"error": {"code": zai, "message": "x"}}
    body = json.loads(ChatCompletionsCodec(OPENROUTER).error(error, None).body)["error"]
    assert (body["code"], body["metadata"]["error_type"]) == (error.status, openrouter)
    flat = json.loads(ChatCompletionsCodec(CEREBRAS).error(error, None).body)
    assert flat["message"] == "x"
    assert "error" not in flat


@pytest.mark.parametrize(
    ("dialect", "members"),
    [
        (OPENAI, {"error"}),
        (OPENROUTER, {"error", "id", "object", "created", "model", "choices"}),
        (ZAI, {"error"}),
        (CEREBRAS, {"error", "status_code"}),
    ],
)
def test_streams_that_break_off(dialect: Dialect, members: set[str]):
    """The last event says what happened in the dialect's shape."""
    encoder = ChatCompletionsCodec(dialect).stream(decode(dialect))
    encoder.encode(ANSWER[0])
    [event] = EventDecoder().feed(encoder.fail(Overloaded("full")))
    document = json.loads(event.data)
    assert set(document) == members
    assert document["error"]["message"] == "full"


def test_thoughts_are_kept_at_the_coding_path():
    """At Z.ai's coding path earlier thoughts stay unless they are to be cleared."""
    assert decode(ZAI_CODING).request.thinking.clear is False
    assert decode(ZAI).request.thinking.clear is None
    field = {"type": "enabled", "clear_thinking": True}
    assert decode(ZAI_CODING, thinking=field).request.thinking.clear is True


def test_details_come_back():
    """The details of an earlier answer may be sent back as they came, in pieces or whole."""
    sent = {"role": "assistant", "content": "a", "reasoning": "hm", "reasoning_details": [DETAIL]}
    message = decode(OPENROUTER, messages=[*HELLO["messages"], sent]).request.messages[1]
    assert message.parts == (
        ReasoningPart(text="hm", signature="s", format="unknown"),
        TextPart("a"),
    )


def test_routing_is_carried():
    """Wishes about who answers are carried in core's words, with the client's names of them."""
    call = decode(
        OPENROUTER,
        {"http-referer": "https://a.b", "x-title": "T", "x-session-id": "s"},
        models=["b"],
        provider={"order": ["c"], "ignore": ["d"], "allow_fallbacks": False, "sort": "price"},
        transforms=["middle-out"],
        route="fallback",
        usage={"include": True},
    )
    assert call.warnings == ()
    assert call.request.extensions == {}
    assert call.request.session == "s"
    assert call.request.routing == Routing(
        models=("b",),
        order=("c",),
        ignore=("d",),
        allow_fallbacks=False,
        options={
            "sort": "price",
            "transforms": ["middle-out"],
            "route": "fallback",
            "app": {"url": "https://a.b", "title": "T"},
        },
    )
    assert call.names["routing.options"] == "provider"
    assert call.names["routing.options.route"] == "route"
    assert call.names["routing.options.app"] == "http-referer"


def test_routing_goes_out_again():
    """What was read of routing is written the same, but for the headers."""
    fields = {"models": ["b"], "provider": {"only": ["c"], "zdr": True}, "route": "fallback"}
    call = decode(OPENAI, **fields)
    again = decode_request(encode_request(call.request))
    assert again.request == call.request


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"provider": {"order": "zai"}}, "provider.order"),
        ({"provider": {"allow_fallbacks": "no"}}, "provider.allow_fallbacks"),
        ({"models": [1]}, "models[0]"),
    ],
)
def test_mistakes_in_routing(fields: dict, param: str):
    """A malformed wish is an error with its name."""
    with pytest.raises(InvalidRequest) as caught:
        decode(OPENROUTER, **fields)
    assert (caught.value.param or "").startswith(param.partition("[")[0])


@pytest.mark.parametrize("plugin", [{"id": "web"}, {"id": "web-fetch", "enabled": True}])
def test_the_web_is_not_searched(plugin: dict):
    """A plugin that would bring the web into an answer is refused by name."""
    with pytest.raises(UnsupportedParameter) as caught:
        decode(OPENROUTER, plugins=[plugin])
    assert caught.value.param == "plugins[0]"
