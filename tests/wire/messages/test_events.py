"""What a client of Anthropic's reads."""

import asyncio
import json

import msgspec
import pytest
from anthropic.types import Message as SdkMessage, RawMessageStreamEvent
from pydantic import TypeAdapter

from glimt.core.errors import (
    DeadlineExceeded,
    EngineDied,
    Forbidden,
    GlimtError,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    RequestTooLarge,
    Unauthenticated,
    UnsupportedMediaType,
    UnsupportedParameter,
    UpstreamError,
)
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    FinishReason,
    KeepAlive,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    collect,
)
from glimt.core.request import Request, Thinking
from glimt.core.usage import Usage
from glimt.wire.codec import Call
from glimt.wire.messages.codec import MessagesCodec
from glimt.wire.sse import EventDecoder
from tests.batches import alone

STARTED = Started(
    id="glimt-1", model="glimt/nano", created=0, provider="local", prompt_tokens=5, cached_tokens=2
)
BILL = Finished(
    usage=Usage(prompt_tokens=5, cached_tokens=2, completion_tokens=4, reasoning_tokens=1)
)
CALL_EVENTS = [
    ToolCallStarted(index=0, id="c", name="f"),
    ToolCallDelta(index=0, arguments='{"a"'),
    ToolCallDelta(index=0, arguments=": 1}"),
    ToolCallFinished(index=0),
]
SDK_EVENT = TypeAdapter(RawMessageStreamEvent)


class Initials:
    """Signs with the first letter, which is enough to tell two thoughts apart."""

    def sign(self, text: str) -> str:
        return f"signed {text[:1]}"

    def verify(self, text: str, signature: str) -> bool:
        return signature == self.sign(text)


def codec() -> MessagesCodec:
    return MessagesCodec({"x-request-id": "req-7"}, signatures=Initials())


def call(**fields: object) -> Call:
    request = Request(model="zai/glm", **fields)
    return Call(requests=(request,), names={"messages[1]": "messages[0]"})


def streamed(events: list[Event], **fields: object) -> list[dict]:
    encoder = codec().stream(call(**fields))
    data = b"".join(map(encoder.encode, events)) + encoder.end()
    found = EventDecoder().feed(data)
    for event in found:
        # The official client skips pings, and its types leave them out.
        if event.event != "ping":
            assert SDK_EVENT.validate_json(event.data).type == event.event
    return [json.loads(event.data) for event in found]


def whole(events: list[Event], **fields: object) -> dict:
    body = codec().unary(call(**fields), asyncio.run(collect(alone(*events))))
    SdkMessage.model_validate_json(body)
    return json.loads(body)


def test_a_stream():
    """Blocks open and close in order; the beginning has the prompt's tokens, the end the rest."""
    events = [
        STARTED,
        KeepAlive(),
        ReasoningDelta(text="hm"),
        TextDelta(text="a"),
        TextDelta(text="b"),
        *CALL_EVENTS,
        ChoiceFinished(reason="tool_calls"),
        BILL,
    ]
    start, ping, *blocks, end, stop = streamed(events)
    assert start == {
        "type": "message_start",
        "message": {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "model": "glimt/nano",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 3,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 2,
                "output_tokens": 0,
                "service_tier": "standard",
            },
        },
    }
    assert ping == {"type": "ping"}

    def delta(index: int, **fields: str) -> dict:
        return {"type": "content_block_delta", "index": index, "delta": fields}

    def opened(index: int, **block: object) -> dict:
        return {"type": "content_block_start", "index": index, "content_block": block}

    def closed(index: int) -> dict:
        return {"type": "content_block_stop", "index": index}

    assert blocks == [
        opened(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="signed h"),
        closed(0),
        opened(1, type="text", text=""),
        delta(1, type="text_delta", text="a"),
        delta(1, type="text_delta", text="b"),
        closed(1),
        opened(2, type="tool_use", id="c", name="f", input={}),
        delta(2, type="input_json_delta", partial_json='{"a"'),
        delta(2, type="input_json_delta", partial_json=": 1}"),
        closed(2),
    ]
    assert end == {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 2,
            "output_tokens": 4,
            "output_tokens_details": {"thinking_tokens": 1},
        },
    }
    assert stop == {"type": "message_stop"}


def test_a_whole_answer():
    """The same in one document; arguments are an object, digit for digit."""
    events = [
        STARTED,
        ReasoningDelta(text="hm"),
        TextDelta(text="ab"),
        *CALL_EVENTS,
        ChoiceFinished(reason="tool_calls"),
        BILL,
    ]
    answer = whole(events)
    assert answer["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "signed h"},
        {"type": "text", "text": "ab"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
    ]
    assert answer["stop_reason"] == "tool_use"
    assert answer["usage"]["input_tokens"] == 3
    assert answer["usage"]["cache_read_input_tokens"] == 2


def test_a_call_that_the_limit_cut_off():
    """Its block just stops, and the reason says why; the whole answer leaves it out."""
    events = [STARTED, *CALL_EVENTS[:2], ChoiceFinished(reason="length"), BILL]
    *_, block, end, _ = streamed(events)
    assert block == {"type": "content_block_stop", "index": 0}
    assert end["delta"]["stop_reason"] == "max_tokens"
    answer = whole(events)
    assert answer["content"] == []
    assert answer["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("reason", "stop", "words"),
    [
        ("stop", None, ("end_turn", None)),
        ("stop", 7, ("end_turn", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("length", None, ("max_tokens", None)),
        ("tool_calls", None, ("tool_use", None)),
        ("content_filter", None, ("refusal", None)),
        ("error", None, ("max_tokens", None)),
    ],
)
def test_reasons(reason: FinishReason, stop: str | int | None, words: tuple):
    """Why it ended, in both forms; a token that ended it is no text."""
    events = [STARTED, TextDelta(text="a"), ChoiceFinished(reason=reason, stop=stop), BILL]
    delta = streamed(events)[-2]["delta"]
    answer = whole(events)
    assert (delta["stop_reason"], delta["stop_sequence"]) == words
    assert (answer["stop_reason"], answer["stop_sequence"]) == words


def test_hidden_thoughts():
    """A thought that shall be omitted has no block at all."""
    events = [
        STARTED,
        ReasoningDelta(text="hm"),
        TextDelta(text="a"),
        ChoiceFinished(reason="stop"),
        BILL,
    ]
    hidden = Thinking(enabled=True, hidden=True)
    kinds = [block["type"] for block in whole(events, thinking=hidden)["content"]]
    assert kinds == ["text"]
    assert "hm" not in json.dumps(streamed(events, thinking=hidden))


def test_a_thought_that_its_producer_signed():
    """Its signature goes to the client unchanged, and what follows is another block."""
    events = [
        STARTED,
        ReasoningDelta(text="one"),
        ReasoningDelta(text="", signature="theirs"),
        ReasoningDelta(text="two"),
        ChoiceFinished(reason="stop"),
        BILL,
    ]
    signatures = [
        event["delta"]["signature"]
        for event in streamed(events)
        if event.get("delta", {}).get("type") == "signature_delta"
    ]
    assert signatures == ["theirs", "signed t"]


def test_nobody_signs():
    """Without a key there is no proof, and no event that pretends one."""
    encoder = MessagesCodec({}, signatures=None).stream(call())
    data = encoder.encode(ReasoningDelta(text="hm")) + encoder.encode(TextDelta(text="a"))
    assert b"signature_delta" not in data


def test_arguments_that_are_no_object():
    """They are handed over in one, so that the document is whole and the tool can say so."""
    events = [
        STARTED,
        ToolCallStarted(index=0, id="c", name="f"),
        ToolCallDelta(index=0, arguments="[1"),
        ToolCallFinished(index=0),
        ChoiceFinished(reason="tool_calls"),
        BILL,
    ]
    [block] = whole(events)["content"]
    assert block["input"] == {"arguments": "[1"}


def test_warnings():
    """The early ones come with the message, the late ones with its end, each once."""
    started = Started(id="x", model="m", created=0, provider="p", warnings=("early",))
    bill = Finished(usage=Usage(), warnings=("late",))
    events = [started, ChoiceFinished(reason="stop"), bill]
    start, end, _ = streamed(events)
    assert start["message"]["glimt"] == {"warnings": ["early"]}
    assert end["glimt"] == {"warnings": ["early", "late"]}


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (InvalidRequest("x"), "invalid_request_error", 400),
        (UnsupportedMediaType("x"), "invalid_request_error", 415),
        (Unauthenticated("x"), "authentication_error", 401),
        (PaymentRequired("x"), "billing_error", 402),
        (Forbidden("x"), "permission_error", 403),
        (ModelNotFound("x"), "not_found_error", 404),
        (RequestTooLarge("x"), "request_too_large", 413),
        (RateLimited("x"), "rate_limit_error", 429),
        (Overloaded("x"), "overloaded_error", 529),
        (EngineDied("x"), "overloaded_error", 529),
        (UpstreamError("x"), "api_error", 500),
        (InternalError("x"), "api_error", 500),
        (DeadlineExceeded("x"), "timeout_error", 504),
    ],
)
def test_errors(error: GlimtError, kind: str, status: int):
    """Anthropic's types and statuses, by which its clients choose what to do."""
    found = codec().error(error, call())
    assert found.status == status
    assert json.loads(found.body) == {
        "type": "error",
        "error": {"type": kind, "message": "x"},
        "request_id": "req-7",
    }


def test_the_field_at_fault():
    """It is named in the message, in the client's numbering."""
    named = InvalidRequest("messages[1] holds an image.", param="messages[1].parts[0]")
    unnamed = InvalidRequest("Too hot.", param="sampling.temperature")
    texts = [
        json.loads(codec().error(error, call()).body)["error"]["message"]
        for error in (named, unnamed)
    ]
    assert texts == [
        "messages[0].parts[0] holds an image.",
        "temperature: Too hot.",
    ]


def test_no_way_out_that_is_none():
    """A schema for the answer has no `strict` here; that of a tool has."""
    why = "cannot be held; leave it out, or set strict to false"
    names = {"response_format.schema": "output_config.format.schema"}
    for path, said in [
        ("response_format.schema.uniqueItems", "cannot be held; leave it out"),
        ("tools[0].input_schema.uniqueItems", why),
    ]:
        error = UnsupportedParameter(f"{path}: {why}", param=path)
        asked = msgspec.structs.replace(call(), names=names)
        message = json.loads(codec().error(error, asked).body)["error"]["message"]
        assert message.endswith(f"uniqueItems: {said}")


def test_a_count():
    """What `count_tokens` answers."""
    assert json.loads(codec().encode_count(17)) == {"input_tokens": 17}
