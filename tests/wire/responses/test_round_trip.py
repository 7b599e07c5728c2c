"""The format read and written by the same house: what one side writes the other reads."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from glimt.core.errors import (
    ContextLengthExceeded,
    EngineDied,
    GlimtError,
    InternalError,
    Overloaded,
    RateLimited,
    Unavailable,
    UnsupportedParameter,
    UpstreamError,
)
from glimt.core.events import (
    Answer,
    ChoiceFinished,
    Event,
    Finished,
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
from glimt.core.parts import (
    Citation,
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
    Request,
    Routing,
    Sampling,
    TextFormat,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.core.usage import Usage
from glimt.wire.codec import json_object
from glimt.wire.responses.asking import encode_request
from glimt.wire.responses.call import ResponseCall
from glimt.wire.responses.events import ResponseEncoder
from glimt.wire.responses.reading import EventReader
from glimt.wire.responses.request import decode_request
from glimt.wire.responses.resource import encode_answer
from glimt.wire.sse import EventDecoder
from tests.batches import alone

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SOME_TEXT = TEXT.filter(bool)
NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
CITED = st.builds(
    TextPart,
    TEXT,
    st.lists(
        st.builds(Citation, url=SOME_TEXT, title=st.none() | TEXT, start=st.none() | st.just(1)),
        max_size=1,
    ).map(tuple),
)
CONTENT = st.one_of(
    st.builds(TextPart, TEXT),
    st.builds(ImagePart, url=st.just("https://a.b/c.png"), detail=st.none() | st.just("low")),
    st.builds(ImagePart, data=st.binary(max_size=5), media_type=st.just("image/png")),
    st.builds(FilePart, kind=st.just("audio"), data=st.binary(), media_type=st.just("audio/wav")),
    st.builds(FilePart, kind=st.just("file"), data=st.binary(), name=st.none() | NAME),
    st.builds(FilePart, kind=st.just("file"), url=st.just("https://a.b/c.pdf")),
)
THOUGHT = st.one_of(
    st.builds(ReasoningPart, text=SOME_TEXT, id=st.none() | SOME_TEXT),
    st.builds(ReasoningPart, text=SOME_TEXT, summary=TEXT, encrypted=TEXT, id=SOME_TEXT),
    st.builds(ReasoningPart, encrypted=TEXT),
    st.builds(ReasoningPart, summary=TEXT),
)
CALL = st.builds(ToolCallPart, id=SOME_TEXT, name=NAME, arguments=st.just('{"a": 1}'))
OTHERS = st.one_of(
    st.builds(
        Message,
        role=st.sampled_from(["system", "user"]),
        parts=st.lists(CONTENT, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        ToolResultPart,
        call_id=SOME_TEXT,
        content=st.lists(CONTENT, min_size=1, max_size=2).map(tuple),
    ).map(lambda result: Message(role="tool", parts=(result,))),
)
ANSWERS = st.builds(
    Message,
    role=st.just("assistant"),
    parts=st.lists(st.one_of(THOUGHT, CITED, st.builds(RefusalPart, TEXT), CALL), max_size=4).map(
        tuple
    ),
)
# The format has no turns: neighbouring ones of the assistant would be one.
MESSAGES = st.lists(
    st.one_of(OTHERS.map(lambda m: (m,)), st.tuples(ANSWERS, OTHERS)), min_size=1, max_size=3
).map(lambda groups: tuple(message for group in groups for message in group))
NUMBER = st.none() | st.floats(0, 1).map(lambda number: round(number, 3))
COUNT = st.none() | st.integers(16, 50)
TOOLS = (
    Tool(name="f"),
    Tool(name="g", description="d", parameters={"type": "object"}, strict=True),
)
REQUESTS = st.builds(
    Request,
    model=SOME_TEXT,
    messages=MESSAGES,
    tools=st.just(TOOLS),
    tool_choice=st.sampled_from(
        [
            ToolChoice(),
            ToolChoice(mode="none"),
            ToolChoice(mode="required"),
            ToolChoice(mode="required", names=("g",)),
            ToolChoice(mode="auto", names=("f",)),
            ToolChoice(mode="required", names=("f", "g")),
        ]
    ),
    parallel_tool_calls=st.booleans(),
    response_format=st.one_of(
        st.just(TextFormat()),
        st.just(JsonObjectFormat()),
        st.builds(
            JsonSchemaFormat,
            schema=st.just({"type": "object"}),
            name=NAME,
            strict=st.booleans(),
            description=st.none() | SOME_TEXT,
        ),
        st.builds(RegexFormat, SOME_TEXT),
        st.builds(GrammarFormat, grammar=SOME_TEXT),
    ),
    thinking=st.one_of(
        st.builds(
            Thinking,
            enabled=st.none() | st.booleans(),
            budget_tokens=COUNT,
            clear=st.none() | st.booleans(),
            hidden=st.booleans(),
        ),
        st.just(Thinking(enabled=True, effort="low")),
    ),
    sampling=st.builds(
        Sampling,
        temperature=NUMBER,
        top_p=NUMBER,
        top_k=COUNT,
        min_p=NUMBER,
        presence_penalty=NUMBER,
        seed=COUNT,
        stop=st.lists(SOME_TEXT, max_size=2).map(tuple),
        max_tokens=COUNT,
        top_logprobs=st.none() | st.integers(0, 20),
    ),
    routing=st.builds(
        Routing,
        models=st.lists(NAME, max_size=2).map(tuple),
        order=st.lists(NAME, max_size=2).map(tuple),
        allow_fallbacks=st.booleans(),
    ),
    service_class=st.sampled_from(["priority", "default", "flex"]),
    template_arguments=st.dictionaries(st.just("custom"), st.integers(), max_size=1),
    cache_key=st.none() | SOME_TEXT,
    cache_salt=st.none() | SOME_TEXT,
    deadline_s=st.none() | st.just(5.0),
    user=st.none() | TEXT,
    session=st.none() | TEXT,
    metadata=st.dictionaries(NAME, TEXT, max_size=2),
    extensions=st.dictionaries(st.just("frobnicate"), st.integers(), max_size=1),
)


@given(REQUESTS, st.booleans())
def test_requests(request_: Request, stream: bool):
    """A call that we write is the call that we read."""
    call = decode_request(encode_request(request_, stream=stream))
    assert call.request == request_
    assert call.stream == stream
    assert call.store is False
    assert call.warnings == ()


USER = (Message(role="user", parts=(TextPart("hi"),)),)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": (), "prompt": "raw"}, "prompt"),
        ({"num_choices": 2}, "num_choices"),
        ({"continues": True}, "continues"),
        ({"messages": (Message(role="user", parts=(), name="bob"),)}, "messages[0].name"),
        (
            {"messages": (Message(role="user", parts=(RefusalPart("no"),)),)},
            "messages[0].parts[0]",
        ),
        (
            {"messages": (Message(role="user", parts=(FilePart(kind="video", url="u"),)),)},
            "messages[0].parts[0]",
        ),
        (
            {
                "messages": (
                    Message(role="assistant", parts=(ReasoningPart(text="t", signature="s"),)),
                )
            },
            "messages[0].parts[0]",
        ),
    ],
)
def test_what_has_no_words(fields: dict[str, Any], param: str):
    """What the format cannot say is refused by name, not left out."""
    with pytest.raises(UnsupportedParameter) as caught:
        encode_request(Request(model="m", **{"messages": USER, **fields}))
    assert caught.value.param == param


def call_events(index: int, *pieces: str) -> list[Event]:
    deltas = [ToolCallDelta(index=index, arguments=piece) for piece in pieces]
    return [
        ToolCallStarted(index=index, id=f"c{index}", name="f"),
        *deltas,
        ToolCallFinished(index=index),
    ]


TOKENS = st.lists(
    st.builds(
        TokenLogprob,
        token=TEXT,
        logprob=st.just(-0.5),
        token_bytes=st.binary(max_size=3),
        top=st.lists(
            st.builds(TopLogprob, token=TEXT, logprob=st.just(-1.5), token_bytes=st.binary()),
            max_size=1,
        ).map(tuple),
    ),
    max_size=1,
).map(tuple)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Well-formed streams of one choice; a thought's proof comes at its end."""
    events: list[Event] = [
        Started(
            id="glimt-1",
            model="m",
            created=5,
            provider="p",
            service_class=draw(st.sampled_from(["default", "flex", "priority"])),
            warnings=draw(st.sampled_from([(), ("top_k was not honoured: why",)])),
        )
    ]
    for _ in range(draw(st.integers(0, 2))):
        thoughts = draw(st.lists(SOME_TEXT, max_size=3))
        events += [ReasoningDelta(text=text) for text in thoughts]
        if thoughts and draw(st.booleans()):
            events.append(ReasoningDelta(text="", signature=draw(SOME_TEXT)))
        said = draw(st.lists(st.builds(TextDelta, text=SOME_TEXT, logprobs=TOKENS), max_size=3))
        events += said
        if thoughts and not said:
            break
    num_calls = draw(st.integers(0, 2))
    for index in range(num_calls):
        events += call_events(index, *draw(st.lists(SOME_TEXT, max_size=2)))
    reason = "tool_calls" if num_calls else draw(st.sampled_from(["stop", "length"]))
    usage = Usage(
        prompt_tokens=draw(st.integers(2, 9)),
        cached_tokens=draw(st.integers(0, 2)),
        completion_tokens=draw(st.integers(2, 9)),
        reasoning_tokens=draw(st.integers(0, 2)),
    )
    late = tuple(draw(st.lists(NAME, max_size=2, unique=True)))
    return [*events, ChoiceFinished(reason=reason), Finished(usage=usage, warnings=late)]


def asked(**fields: Any) -> ResponseCall:
    call = decode_request(json.dumps({"model": "asked", "input": "hi", **fields}).encode())
    assert call.warnings == ()
    return call


FORMS = {
    "content": {"include": ["message.output_text.logprobs"]},
    "summary": {
        "include": ["message.output_text.logprobs"],
        "reasoning": {"summary": "auto"},
    },
}


@pytest.mark.parametrize("form", FORMS)
@given(answers(), st.integers(1, 60))
def test_answers(form: str, events: list[Event], size: int):
    """An answer that we stream is the answer that we read, however the bytes are cut."""
    encoder = ResponseEncoder(asked(**FORMS[form]), None)
    data = b"".join(map(encoder.encode, events)) + encoder.end()
    sse, reader = EventDecoder(), EventReader(provider="p", model="?")
    read: list[Event] = []
    for start in range(0, len(data), size):
        for event in sse.feed(data[start : start + size]):
            read += reader.feed(event.data)
    read += reader.end()
    assert read == events


@pytest.mark.parametrize("form", FORMS)
@given(answers())
def test_whole_answers(form: str, events: list[Event]):
    """The same in one piece: parts, end and bill are those of the answer that was written."""
    answer = collected(events)
    body = json_object(encode_answer(asked(**FORMS[form]), answer, None))
    read = collected(EventReader(provider="p", model="?").whole(body))
    [ours], [theirs] = answer.choices, read.choices
    assert (theirs.parts, theirs.reason, read.usage) == (ours.parts, ours.reason, answer.usage)
    assert theirs.logprobs == ours.logprobs
    assert read.started.warnings == (*answer.started.warnings, *answer.warnings)


def collected(events: list[Event]) -> Answer:
    return asyncio.run(collect(alone(*events)))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, UpstreamError),
        ({"status": "in_progress"}, UpstreamError),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded"}}, RateLimited),
    ],
)
def test_what_is_no_whole_answer(body: dict[str, Any], kind: type[GlimtError]):
    """A response that is not over is none, and one that failed is its error."""
    with pytest.raises(kind):
        EventReader(provider="p", model="m").whole(json.dumps(body).encode())


def test_null_means_not_said():
    """What a server does not count is nothing."""
    details = {"cached_tokens": None, "reasoning_tokens": None}
    usage = {
        "input_tokens": 3,
        "output_tokens": 2,
        "input_tokens_details": details,
        "output_tokens_details": details,
    }
    item = {"type": "message", "content": [{"type": "output_text", "text": "a", "logprobs": None}]}
    body = {"status": "completed", "output": [item], "usage": usage, "error": None}
    read = EventReader(provider="p", model="m").whole(json.dumps(body).encode())
    assert read[1] == TextDelta(text="a")
    assert read[-1] == Finished(usage=Usage(prompt_tokens=3, completion_tokens=2))


def test_a_call_that_was_cut_off():
    """Who reads the end of a cut-off call reads that it was cut off: it has no end."""
    events: list[Event] = [
        Started(id="glimt-1", model="m", created=5, provider="p"),
        ToolCallStarted(index=0, id="c", name="f"),
        ToolCallDelta(index=0, arguments='{"a":'),
        ChoiceFinished(reason="length"),
        Finished(usage=Usage()),
    ]
    encoder = ResponseEncoder(asked(), None)
    data = b"".join(map(encoder.encode, events)) + encoder.end()
    reader = EventReader(provider="p", model="?")
    assert [e for found in EventDecoder().feed(data) for e in reader.feed(found.data)] == events


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimited("slow down"), RateLimited),
        (Overloaded("full"), RateLimited),
        (ContextLengthExceeded("too long"), ContextLengthExceeded),
        (EngineDied("gone"), Unavailable),
        (UpstreamError("nonsense"), UpstreamError),
        (InternalError("bug"), UpstreamError),
    ],
)
@pytest.mark.parametrize("started", [True, False])
def test_an_answer_that_breaks_off(error: GlimtError, kind: type[GlimtError], started: bool):
    """What ends a stream early is raised by who reads it, with its class and its words."""
    encoder = ResponseEncoder(asked(), None)
    data = b""
    if started:
        data = encoder.encode(Started(id="glimt-1", model="m", created=5, provider="p"))
        data += encoder.encode(TextDelta(text="half"))
    reader = EventReader(provider="p", model="m")
    found = EventDecoder().feed(data + encoder.fail(error))
    with pytest.raises(kind, match=error.message):
        _ = [reader.feed(event.data) for event in found]


def test_an_answer_that_just_stops():
    """A stream without its last event is an error, and no whole answer."""
    reader = EventReader(provider="p", model="m")
    reader.feed('{"type":"response.output_text.delta","delta":"half"}')
    with pytest.raises(UpstreamError, match="broke off"):
        reader.end()


def test_other_servers_events():
    """Items in one piece are read, every spelling of thoughts too, and the rest is named."""
    reader = EventReader(provider="p", model="m")
    created = {"type": "response.created", "response": {"id": "resp_x", "created_at": 1.0}}
    lines: list[dict[str, Any]] = [
        created,
        {"type": "response.reasoning.delta", "output_index": 0, "delta": "so"},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "again"},
        {"type": "response.reasoning_summary_text.delta", "output_index": 1, "delta": "a"},
        {
            "type": "response.reasoning_summary_part.added",
            "output_index": 1,
            "summary_index": 1,
            "part": {},
        },
        {"type": "response.refusal.delta", "output_index": 2, "delta": "no"},
        {
            "type": "response.output_item.added",
            "output_index": 3,
            "item": {"type": "web_search_call", "id": "ws"},
        },
        {
            "type": "response.output_item.done",
            "output_index": 4,
            "item": {
                "type": "function_call",
                "call_id": "c",
                "name": "f",
                "namespace": "ns",
                "arguments": "{}",
            },
        },
        {"type": "response.completed", "response": {"usage": {"input_tokens": 3}}},
    ]
    read = [event for line in lines for event in reader.feed(json.dumps(line))]
    assert read[1:] == [
        ReasoningDelta(text="so"),
        ReasoningDelta(text="a"),
        ReasoningDelta(text="\n\n"),
        TextDelta(text="no"),
        ToolCallStarted(index=0, id="c", name="ns__f"),
        ToolCallDelta(index=0, arguments="{}"),
        ToolCallFinished(index=0),
        ChoiceFinished(reason="tool_calls"),
        Finished(
            usage=Usage(prompt_tokens=3),
            warnings=("an item of type web_search_call was left out",),
        ),
    ]
