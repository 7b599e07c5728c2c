"""Answers as chat completions: one document, and chunks that say the same."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from glimt.core.errors import ContextLengthExceeded, EngineDied, GlimtError, RateLimited
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    KeepAlive,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TopLogprob,
    collect,
)
from glimt.core.request import Request, Sampling, Thinking
from glimt.core.usage import Timing, Usage
from glimt.wire.chat_completions.codec import ChatCompletionsCodec
from glimt.wire.codec import MAX_WARNINGS, Call
from glimt.wire.sse import EventDecoder
from tests.batches import alone

CODEC = ChatCompletionsCodec()
STARTED = Started(id="glimt-1", model="glimt/nano", created=17, provider="local")
USAGE = Usage(
    prompt_tokens=9,
    cached_tokens=4,
    completion_tokens=5,
    reasoning_tokens=2,
    accepted_draft_tokens=3,
    rejected_draft_tokens=1,
)
TIMING = Timing(queue_s=0.5, prompt_s=1.0, completion_s=2.0, total_s=3.5)
FINISHED = Finished(usage=USAGE, timing=TIMING)
TIMES = {
    "queue_time": 0.5,
    "prompt_time": 1.0,
    "completion_time": 2.0,
    "total_time": 3.5,
    "created": 17.0,
}
BILL = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {
        "reasoning_tokens": 2,
        "accepted_prediction_tokens": 3,
        "rejected_prediction_tokens": 1,
    },
}


def call(*, include_usage: bool = False, **fields: Any) -> Call:
    return Call(requests=(Request(model="glm", **fields),), include_usage=include_usage)


def chunks(events: Sequence[Event], asked: Call | None = None) -> list[Any]:
    encoder = CODEC.stream(asked or call())
    data = b"".join(map(encoder.encode, events)) + encoder.end()
    documents = [event.data for event in EventDecoder().feed(data)]
    assert documents.pop() == "[DONE]"
    return [json.loads(document) for document in documents]


def whole(events: Sequence[Event], asked: Call | None = None) -> Any:
    answer = asyncio.run(collect(alone(*events)))
    return json.loads(CODEC.unary(asked or call(), answer))


def deltas(events: Sequence[Event], asked: Call | None = None) -> list[Any]:
    return [chunk["choices"][0]["delta"] for chunk in chunks(events, asked) if chunk["choices"]]


def test_whole_answer():
    """The document, to the letter."""
    events = [
        STARTED,
        ReasoningDelta(text="hm"),
        TextDelta(text="Hello"),
        ChoiceFinished(reason="stop"),
        FINISHED,
    ]
    assert whole(events) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 17,
        "model": "glimt/nano",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello",
                    "refusal": None,
                    "reasoning_content": "hm",
                },
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": BILL,
        "service_tier": "default",
        "time_info": TIMES,
    }


def test_chunks():
    """The stream, to the letter: role, news, reason; `usage` in the last chunk and never null."""
    events = [STARTED, TextDelta(text="Hel"), KeepAlive(), TextDelta(text="lo")]
    events += [ChoiceFinished(reason="length"), FINISHED]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17}
    head["model"] = "glimt/nano"

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    assert chunks(events) == [
        {**chunk({"role": "assistant", "content": ""}), "service_tier": "default"},
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        {
            **chunk({}, "length"),
            "usage": BILL,
            "service_tier": "default",
            "time_info": TIMES,
        },
    ]


def test_times_that_nobody_told():
    """A provider that does not tell times leaves them out, rather than saying zero."""
    events = [STARTED, ChoiceFinished(reason="stop"), Finished(usage=USAGE)]
    assert "time_info" not in whole(events)
    assert all("time_info" not in chunk for chunk in chunks(events))


def test_service_tier():
    """The answer says which class it got, not which was asked for."""
    started = msgspec.structs.replace(STARTED, service_class="flex")
    events = [started, TextDelta(text="a"), ChoiceFinished(reason="stop"), FINISHED]
    asked = call(service_class="priority")
    assert whole(events, asked)["service_tier"] == "flex"
    first, middle, last = chunks(events, asked)
    assert (first["service_tier"], last["service_tier"]) == ("flex", "flex")
    assert "service_tier" not in middle


def test_warnings():
    """All warnings are in the body, each once, in the client's words; a stream has them last."""
    started = msgspec.structs.replace(STARTED, warnings=("sampling.seed was early", "same"))
    finished = Finished(usage=USAGE, warnings=("sampling.max_tokens was late", "same"))
    events = [started, TextDelta(text="a"), ChoiceFinished(reason="length"), finished]
    asked = Call(
        requests=(Request(model="glm"),),
        warnings=("x was ours",),
        names={"sampling.max_tokens": "max_completion_tokens"},
    )
    expected = ["x was ours", "seed was early", "same", "max_completion_tokens was late"]
    assert whole(events, asked)["glimt"] == {"warnings": expected}
    *others, last = chunks(events, asked)
    assert last["glimt"] == {"warnings": expected}
    assert all("glimt" not in chunk for chunk in others)


def test_warnings_are_bounded():
    """A body with very many unknown fields makes no answer of the same length."""
    events = [STARTED, ChoiceFinished(reason="stop"), FINISHED]
    asked = Call(requests=(Request(model="glm"),), warnings=tuple(f"{i} x" for i in range(999)))
    said = whole(events, asked)["glimt"]["warnings"]
    assert len(said) == MAX_WARNINGS + 1
    assert said[-1] == f"and {999 - MAX_WARNINGS} more"


def test_usage_in_a_chunk_of_its_own():
    """Asked for, the usage comes last, without choices."""
    events = [STARTED, TextDelta(text="a"), ChoiceFinished(reason="stop"), FINISHED]
    *others, last = chunks(events, call(include_usage=True))
    assert last["choices"] == []
    assert last["usage"] == BILL
    assert all("usage" not in chunk for chunk in others)


def test_tool_calls():
    """Calls have name and id once, arguments piece by piece; whole, content is null."""
    events = [
        STARTED,
        ToolCallStarted(index=0, id="c1", name="f"),
        ToolCallDelta(index=0, arguments='{"a"'),
        ToolCallDelta(index=0, arguments=":1}"),
        ToolCallFinished(index=0),
        ToolCallStarted(index=1, id="c2", name="g"),
        ToolCallDelta(index=1, arguments="{}"),
        ToolCallFinished(index=1),
        ChoiceFinished(reason="tool_calls"),
        FINISHED,
    ]
    first = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert [delta.get("tool_calls") for delta in deltas(events)] == [
        None,
        [{"index": 0, **first}],
        [{"index": 0, "function": {"arguments": '{"a"'}}],
        [{"index": 0, "function": {"arguments": ":1}"}}],
        [{"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}],
        [{"index": 1, "function": {"arguments": "{}"}}],
        None,
    ]
    message = whole(events)["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": "{}"},
    ]


def test_cut_call_is_no_call():
    """A call that the length limit cut off is not handed over as one to be made."""
    events = [
        STARTED,
        ToolCallStarted(index=0, id="c1", name="f"),
        ToolCallDelta(index=0, arguments='{"a"'),
        ChoiceFinished(reason="length"),
        FINISHED,
    ]
    assert "tool_calls" not in whole(events)["choices"][0]["message"]


def test_hidden_thoughts():
    """A thought that the client does not want to see is not sent, and still billed."""
    events = [STARTED, ReasoningDelta(text="secret"), TextDelta(text="a")]
    events += [ChoiceFinished(reason="stop"), FINISHED]
    asked = call(thinking=Thinking(hidden=True))
    assert "secret" not in json.dumps([whole(events, asked), chunks(events, asked)])
    assert whole(events, asked)["usage"] == BILL


def test_logprobs():
    """Log-probabilities have bytes and rivals; a thought's are apart from the text's."""
    token = TokenLogprob(
        token="é",
        logprob=-0.5,
        token_bytes="é".encode(),
        top=(TopLogprob(token="e", logprob=-1.0, token_bytes=b"e"),),
    )
    events = [
        STARTED,
        ReasoningDelta(text="hm", logprobs=(token,)),
        TextDelta(text="é", logprobs=(token,)),
        ChoiceFinished(reason="stop"),
        FINISHED,
    ]
    asked = call(sampling=Sampling(top_logprobs=1))
    expected = {
        "content": [
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [{"token": "e", "logprob": -1.0, "bytes": [101]}],
            }
        ],
        "refusal": None,
    }
    choice = whole(events, asked)["choices"][0]
    assert (choice["logprobs"], choice["reasoning_logprobs"]) == (expected, expected)
    _, thought, text, _ = [chunk["choices"][0] for chunk in chunks(events, asked)]
    assert thought["reasoning_logprobs"] == expected
    assert text["logprobs"] == expected


@pytest.mark.parametrize(
    ("error", "kind", "param"),
    [
        (EngineDied("gone"), "server_error", None),
        (RateLimited("slow down"), "rate_limit_error", None),
        (ContextLengthExceeded("long", param="num_choices"), "invalid_request_error", "n"),
    ],
)
def test_errors(error: GlimtError, kind: str, param: str | None):
    """An error has OpenAI's shape and the client's names, alone or in the middle of a stream."""
    asked = Call(requests=(Request(model="a"),), names={"num_choices": "n"})
    expected = {
        "error": {"message": error.message, "type": kind, "param": param, "code": error.code}
    }
    response = CODEC.error(error, asked)
    assert response.status == error.status
    assert json.loads(response.body) == expected
    encoder = CODEC.stream(asked)
    data = b"".join(map(encoder.encode, [STARTED, TextDelta(text="a")])) + encoder.fail(error)
    assert json.loads(EventDecoder().feed(data)[-1].data) == expected


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
NEWS = st.one_of(
    st.builds(TextDelta, text=TEXT, choice=st.integers(0, 1)),
    st.builds(ReasoningDelta, text=TEXT, choice=st.integers(0, 1)),
    st.just(KeepAlive()),
)


@given(st.lists(NEWS, max_size=12), st.booleans())
def test_stream_and_whole_agree(news: list[Event], include_usage: bool):
    """The official client reads both, and the pieces of a stream add up to the whole."""
    ends = [ChoiceFinished(choice=index, reason="stop") for index in range(2)]
    events = [STARTED, *news, *ends, FINISHED]
    asked = call(num_choices=2, include_usage=include_usage)
    answer = ChatCompletion.model_validate(whole(events, asked), strict=True)
    pieces = [
        ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks(events, asked)
    ]
    for choice in answer.choices:
        news_of_choice = [c for piece in pieces for c in piece.choices if c.index == choice.index]
        text = "".join(c.delta.content or "" for c in news_of_choice)
        thought = "".join(getattr(c.delta, "reasoning_content", "") for c in news_of_choice)
        assert text == choice.message.content
        assert thought == getattr(choice.message, "reasoning_content", "")
        assert [c.finish_reason for c in news_of_choice if c.finish_reason] == ["stop"]
    assert pieces[-1].usage == answer.usage
