"""Text completions: raw prompts in, texts out."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from openai.types import Completion

from glimt.core.errors import InvalidRequest
from glimt.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    Started,
    TextDelta,
    TokenLogprob,
    TopLogprob,
    collect,
)
from glimt.core.request import JsonObjectFormat, RegexFormat
from glimt.core.usage import Timing, Usage
from glimt.wire.codec import Call
from glimt.wire.completions.codec import CompletionsCodec
from glimt.wire.sse import EventDecoder
from tests.batches import alone

CODEC = CompletionsCodec()
STARTED = Started(id="glimt-1", model="m", created=17, provider="local")
FINISHED = Finished(usage=Usage(prompt_tokens=2, completion_tokens=3))


def decode(**fields: Any) -> Call:
    return CODEC.decode(json.dumps({"model": "m", "prompt": "a", **fields}).encode())


def both(events: Sequence[Event], call: Call) -> tuple[Any, list[Any]]:
    whole = json.loads(CODEC.unary(call, asyncio.run(collect(alone(*events)))))
    encoder = CODEC.stream(call)
    data = b"".join(map(encoder.encode, events)) + encoder.end()
    *chunks, done = [event.data for event in EventDecoder().feed(data)]
    assert done == "[DONE]"
    return whole, [json.loads(chunk) for chunk in chunks]


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("text", ["text"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2.0, 3], [(1, 2, 3)]),
        ([[1, 2], [3]], [(1, 2), (3,)]),
    ],
)
def test_prompts(prompt: Any, prompts: list[Any]):
    """A prompt is text or token ids, one or a list of them."""
    assert [request.prompt for request in decode(prompt=prompt).requests] == prompts


def test_defaults_and_names():
    """OpenAI's default length holds; log-probabilities are a number."""
    call = decode(logprobs=2, echo=True, n=2, best_of=2)
    assert call.request.sampling.max_tokens == 16
    assert call.request.sampling.top_logprobs == 2
    assert call.request.echo
    assert call.num_choices == 2
    assert decode(prompt=["a", "b"], n=3).num_choices == 6


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[1], ["a"]]}, "prompt[1][0]"),
        ({"prompt": [1.5]}, "prompt[0]"),
        ({"prompt": ["a"] * 1000}, "prompt"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"model": None}, "model"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"ebnf": "a"}, "ebnf"),
        ({"guided_json": {}, "response_format": {"type": "json_object"}}, "guided_json"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"cache_salt": ""}, "cache_salt"),
    ],
)
def test_mistakes_name_the_field(fields: dict[str, Any], param: str):
    """Every mistake is answered with the name of the field at fault."""
    with pytest.raises(InvalidRequest) as caught:
        decode(**fields)
    assert caught.value.param == param


def test_formats():
    """A raw prompt's answer may be held to a format too, in every spelling of chat's."""
    assert decode(guided_regex="a+").request.response_format == RegexFormat("a+")
    asked = {"type": "json_object"}
    assert decode(response_format=asked).request.response_format == JsonObjectFormat()
    call = decode(structured_outputs={"choice": ["a", "b"]}, prompt=["x", "y"])
    assert [r.response_format for r in call.requests] == [RegexFormat("a|b")] * 2
    assert call.names["response_format.pattern"] == "structured_outputs.choice"
    assert call.warnings == ()


def test_what_the_end_tells():
    """Times, the class that was given and late warnings are in the body, and in the last chunk."""
    timing = Timing(queue_s=0.5, prompt_s=1.0, completion_s=2.0, total_s=3.5)
    finished = Finished(usage=FINISHED.usage, timing=timing, warnings=("sampling.seed was late",))
    started = msgspec.structs.replace(STARTED, service_class="flex")
    events = [started, TextDelta(text="a"), ChoiceFinished(reason="stop"), finished]
    whole, (*others, last) = both(events, decode(stream=True))
    for document in (whole, last):
        assert document["service_tier"] == "flex"
        assert document["time_info"]["total_time"] == 3.5
        assert document["glimt"] == {"warnings": ["seed was late"]}
    assert all("glimt" not in chunk and "time_info" not in chunk for chunk in others)


def test_answers():
    """Whole and streamed answers have OpenAI's shape and say the same."""
    events = [STARTED, TextDelta(text="Hel"), TextDelta(text="lo")]
    events += [ChoiceFinished(reason="length"), FINISHED]
    whole, chunks = both(events, decode(stream=True))
    Completion.model_validate(whole, strict=True)
    assert whole["id"] == "cmpl-1"
    assert whole["choices"] == [
        {"text": "Hello", "index": 0, "finish_reason": "length", "logprobs": None}
    ]
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Hel", "lo", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "length"]
    assert chunks[-1]["usage"] == whole["usage"]
    *_, last = both(events, decode(stream=True, stream_options={"include_usage": True}))[1]
    assert last["choices"] == []


def test_logprobs():
    """Lists run in parallel; offsets count characters, halves of one with its other half."""
    first, second = "é".encode()[:1], "é".encode()[1:]
    tokens = (
        TokenLogprob(token="a", logprob=-1.0, token_bytes=b"a"),
        TokenLogprob(
            token="\ufffd",
            logprob=-2.0,
            token_bytes=first,
            top=(TopLogprob(token="x", logprob=-0.1, token_bytes=b"x"),),
        ),
        TokenLogprob(token="\ufffd", logprob=-3.0, token_bytes=second),
        TokenLogprob(token="b", logprob=-4.0, token_bytes=b"b"),
    )
    events = [STARTED, TextDelta(text="a", logprobs=tokens[:1])]
    events += [TextDelta(text="éb", logprobs=tokens[1:]), ChoiceFinished(reason="stop"), FINISHED]
    whole, chunks = both(events, decode(logprobs=1, stream=True))
    logprobs = whole["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["a", "bytes:\\xc3", "bytes:\\xa9", "b"]
    assert logprobs["text_offset"] == [0, 1, 1, 2]
    assert logprobs["top_logprobs"][1] == {"x": -0.1, "bytes:\\xc3": -2.0}
    assert chunks[1]["choices"][0]["logprobs"]["text_offset"] == [1, 1, 2]
