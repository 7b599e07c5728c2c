"""What a client of the AI SDK reads."""

import json

import pytest
from inline_snapshot import snapshot

from glimt.core.errors import GlimtError, ModelNotFound, RateLimited, Unauthenticated
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
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
from glimt.wire.ai_sdk.codec import AiSdkCodec
from glimt.wire.ai_sdk.generation import V2, V3, V4, Generation
from glimt.wire.codec import Call
from glimt.wire.sse import EventDecoder
from tests.batches import alone

STARTED = Started(
    id="glimt-1",
    model="glimt/nano",
    created=0,
    provider="local",
    warnings=("sampling.top_k was not honoured: why", "a stand-in answers"),
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


def call(**fields: object) -> Call:
    request = Request(model="zai/glm", **fields)
    return Call(requests=(request,), names={"sampling.top_k": "topK"})


def streamed(events: list[Event], generation: Generation, **fields: object) -> list[dict]:
    encoder = AiSdkCodec(generation, {}).stream(call(**fields))
    data = b"".join(map(encoder.encode, events)) + encoder.end()
    return [json.loads(event.data) for event in EventDecoder().feed(data)]


def test_a_stream():
    """Parts open and close in order, and the last one says how it ended and what it cost."""
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
    *parts, finish = streamed(events, V3)
    opening = {"gateway": {"generationId": "glimt-1"}}
    assert parts == [
        {
            "type": "stream-start",
            "warnings": [
                {"type": "unsupported", "feature": "topK", "details": "why"},
                {"type": "other", "message": "a stand-in answers"},
            ],
        },
        {
            "type": "response-metadata",
            "id": "glimt-1",
            "modelId": "glimt/nano",
            "timestamp": "1970-01-01T00:00:00Z",
        },
        {"type": "reasoning-start", "id": "1", "providerMetadata": opening},
        {"type": "reasoning-delta", "id": "1", "delta": "hm"},
        {"type": "reasoning-end", "id": "1"},
        {"type": "text-start", "id": "2"},
        {"type": "text-delta", "id": "2", "delta": "a"},
        {"type": "text-delta", "id": "2", "delta": "b"},
        {"type": "text-end", "id": "2"},
        {"type": "tool-input-start", "id": "c", "toolName": "f"},
        {"type": "tool-input-delta", "id": "c", "delta": '{"a"'},
        {"type": "tool-input-delta", "id": "c", "delta": ": 1}"},
        {"type": "tool-input-end", "id": "c"},
        {"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": '{"a": 1}'},
    ]
    assert finish["finishReason"] == {"unified": "tool-calls", "raw": "tool_calls"}
    assert finish["usage"] == {
        "inputTokens": {"total": 5, "noCache": 3, "cacheRead": 2, "cacheWrite": 0},
        "outputTokens": {"total": 4, "text": 3, "reasoning": 1},
    }
    routing = finish["providerMetadata"]["gateway"]["routing"]
    assert routing["originalModelId"] == "zai/glm"
    assert routing["resolvedProviderApiModelId"] == "glimt/nano"
    assert routing["modelAttempts"][0]["providerAttempts"][0]["success"] is True


def test_version_2_is_flat():
    """AI SDK 5 gets a word for the reason, flat usage, and its own kinds of warnings."""
    parts = streamed([STARTED, TextDelta(text="a"), ChoiceFinished(reason="length"), BILL], V2)
    assert parts[0]["warnings"][0] == {
        "type": "unsupported-setting",
        "setting": "topK",
        "details": "why",
    }
    assert parts[-1]["finishReason"] == "length"
    assert parts[-1]["usage"] == {
        "inputTokens": 5,
        "outputTokens": 4,
        "totalTokens": 9,
        "reasoningTokens": 1,
        "cachedInputTokens": 2,
    }


def test_hidden_thoughts():
    """A thought that is not to be shown leaves no part behind."""
    events = [STARTED, ReasoningDelta(text="hm"), TextDelta(text="a")]
    kinds = [part["type"] for part in streamed(events, V4, thinking=Thinking(hidden=True))]
    assert kinds == ["stream-start", "response-metadata", "text-start", "text-delta"]


def test_a_call_that_was_cut_off():
    """A call whose arguments were cut off is never one to be run."""
    events = [STARTED, *CALL_EVENTS[:2], ChoiceFinished(reason="length"), BILL]
    assert "tool-call" not in [part["type"] for part in streamed(events, V4)]


@pytest.mark.anyio
async def test_a_whole_answer():
    """The unary form has the same content, reason and bill."""
    events = alone(
        STARTED,
        ReasoningDelta(text="hm"),
        TextDelta(text="a"),
        *CALL_EVENTS,
        ChoiceFinished(reason="tool_calls"),
        BILL,
    )
    answer = json.loads(AiSdkCodec(V4, {}).unary(call(), await collect(events)))
    assert answer["content"] == [
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "a"},
        {"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": '{"a": 1}'},
    ]
    assert answer["finishReason"]["unified"] == "tool-calls"
    assert answer["response"]["modelId"] == "glimt/nano"
    assert answer["warnings"][0]["feature"] == "topK"
    assert answer["providerMetadata"]["gateway"]["generationId"] == "glimt-1"


def failure(error: GlimtError) -> dict:
    document = AiSdkCodec(V4, {}).error(error, call())
    return {"status": document.status, **json.loads(document.body)["error"]}


def test_errors():
    """An error has the type that the client makes a class of, and the model it did not find."""
    assert failure(ModelNotFound("none", param="model")) == snapshot(
        {
            "status": 404,
            "message": "none",
            "type": "model_not_found",
            "param": {"modelId": "zai/glm"},
            "code": "model_not_found",
        }
    )
    assert failure(Unauthenticated("who"))["type"] == "authentication_error"
    assert failure(RateLimited("slow"))["type"] == "rate_limit_exceeded"


def test_a_stream_that_breaks_off():
    """The last part is an error with its type and the status that the stream could not have."""
    encoder = AiSdkCodec(V4, {}).stream(call())
    [event] = EventDecoder().feed(encoder.fail(RateLimited("slow", param="sampling.top_k")))
    assert json.loads(event.data) == {
        "type": "error",
        "error": {
            "message": "slow",
            "type": "rate_limit_exceeded",
            "param": "topK",
            "code": "rate_limit_exceeded",
            "statusCode": 429,
        },
    }
