"""The format read and written by the same house: what one side writes the other reads."""

import asyncio
import json

import msgspec
import pytest
from anthropic.types import Message as SdkMessage, RawMessageStreamEvent
from hypothesis import given, strategies as st
from pydantic import TypeAdapter

from glimt.core.errors import (
    DeadlineExceeded,
    EngineDied,
    GlimtError,
    InvalidRequest,
    Overloaded,
    RateLimited,
    UnsupportedParameter,
    UpstreamError,
)
from glimt.core.events import (
    Answer,
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
    JsonObjectFormat,
    JsonSchemaFormat,
    Request,
    Routing,
    Sampling,
    TextFormat,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.core.usage import Usage
from glimt.wire.codec import Call
from glimt.wire.messages.asking import MAX_TOKENS, encode_request
from glimt.wire.messages.codec import MessagesCodec
from glimt.wire.messages.content import goes_on
from glimt.wire.messages.reading import MessageDecoder
from glimt.wire.sse import EventDecoder
from tests.batches import alone

EVENTS = TypeAdapter(RawMessageStreamEvent)
"""The official SDK's own types."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SOME_TEXT = TEXT.filter(bool)
NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
FILE = st.one_of(
    st.builds(ImagePart, url=st.just("https://a.b/c.png")),
    st.builds(ImagePart, data=st.binary(max_size=5), media_type=st.just("image/png")),
    st.builds(
        FilePart,
        kind=st.just("file"),
        data=st.binary(max_size=5),
        media_type=st.just("application/pdf"),
        name=st.none() | NAME,
    ),
    st.builds(
        FilePart,
        kind=st.just("file"),
        url=st.just("https://a.b/c.pdf"),
        media_type=st.just("application/pdf"),
        name=st.none() | NAME,
    ),
)
THOUGHT = st.one_of(
    st.builds(ReasoningPart, text=TEXT, signature=st.none() | SOME_TEXT),
    st.builds(ReasoningPart, encrypted=TEXT),
)
CALL = st.builds(
    ToolCallPart,
    id=SOME_TEXT,
    name=NAME,
    arguments=st.sampled_from(["{}", '{"a": 1}', '{"a":1.50,"b":"\\u00e9"}']),
)
SAID = st.builds(TextPart, TEXT)
RESULT = st.builds(
    ToolResultPart,
    call_id=SOME_TEXT,
    content=st.lists(st.one_of(SAID, FILE), max_size=3).map(tuple),
    is_error=st.booleans(),
)


def message(role: str, *kinds: st.SearchStrategy) -> st.SearchStrategy[Message]:
    parts = st.lists(st.one_of(*kinds), max_size=3).map(tuple)
    return st.builds(Message, role=st.just(role), parts=parts)


def instructions(parts: st.SearchStrategy[list[TextPart]]) -> st.SearchStrategy[Message]:
    return parts.map(lambda found: Message(role="system", parts=tuple(found)))


OPENING = st.one_of(
    instructions(st.builds(TextPart, SOME_TEXT).map(lambda part: [part])),
    instructions(st.lists(SAID, min_size=2, max_size=3)),
)
MESSAGES = st.one_of(
    instructions(st.lists(st.builds(TextPart, SOME_TEXT), min_size=1, max_size=2)),
    message("user", SAID, FILE),
    message("assistant", SAID, THOUGHT, CALL),
    RESULT.map(lambda part: Message(role="tool", parts=(part,))),
)
NUMBER = st.none() | st.floats(0, 1).map(lambda number: round(number, 3))
COUNT = st.none() | st.integers(1, 50)
TOOLS = (
    Tool(name="f", parameters={"type": "object", "properties": {}}),
    Tool(name="g", description="d", parameters={"type": "object"}, strict=True),
)
EFFORT = st.none() | st.sampled_from(["low", "high", "max"])
CLEAR = st.none() | st.booleans()
REQUESTS = st.builds(
    Request,
    model=SOME_TEXT,
    messages=st.tuples(
        st.lists(OPENING, max_size=1),
        message("user", SAID, FILE),
        st.lists(MESSAGES, max_size=5),
    ).map(lambda found: (*found[0], found[1], *found[2])),
    tools=st.just(TOOLS),
    tool_choice=st.sampled_from(
        [ToolChoice(), ToolChoice(mode="required"), ToolChoice(mode="required", names=("g",))]
    ),
    parallel_tool_calls=st.booleans(),
    response_format=st.sampled_from(
        [TextFormat(), JsonSchemaFormat(schema={"type": "object"}, strict=True)]
    ),
    thinking=st.one_of(
        st.builds(Thinking, clear=CLEAR, effort=EFFORT),
        st.builds(Thinking, enabled=st.just(False), clear=CLEAR),
        st.builds(
            Thinking,
            enabled=st.just(True),
            budget_tokens=COUNT,
            effort=EFFORT,
            clear=CLEAR,
            hidden=st.booleans(),
        ),
    ),
    sampling=st.builds(
        Sampling,
        temperature=NUMBER,
        top_p=NUMBER,
        top_k=COUNT,
        stop=st.lists(SOME_TEXT, max_size=2).map(tuple),
        max_tokens=st.integers(1, 50),
    ),
    routing=st.builds(
        Routing,
        models=st.lists(NAME, max_size=2).map(tuple),
        order=st.lists(NAME, max_size=2).map(tuple),
    ),
    service_class=st.sampled_from(["priority", "default", "flex"]),
    cache_key=st.none() | TEXT,
    cache_salt=st.none() | SOME_TEXT,
    deadline_s=st.none() | st.just(2.5),
    user=st.none() | SOME_TEXT,
    session=st.none() | SOME_TEXT,
    metadata=st.dictionaries(st.just("team"), TEXT, max_size=1),
    extensions=st.dictionaries(st.just("frobnicate"), st.integers(), max_size=1),
).map(lambda made: msgspec.structs.replace(made, continues=goes_on(made.messages)))


@given(REQUESTS, st.booleans())
def test_requests(request_: Request, stream: bool):
    """A body that we write is the request that we read, message by message and part by part."""
    body = encode_request(request_, stream=stream)
    call = MessagesCodec({}, signatures=None).decode(body)
    assert call.request == request_
    assert call.stream == stream
    assert call.warnings == ()


USER = (Message(role="user", parts=(TextPart("hi"),)),)


def test_results_that_follow_each_other_are_one_message():
    """Anthropic wants the results of parallel calls together; here they are apart again."""
    results = tuple(
        Message(role="tool", parts=(ToolResultPart(call_id=name, content=()),)) for name in "ab"
    )
    body = json.loads(encode_request(Request(model="m", messages=(*USER, *results))))
    assert [found["role"] for found in body["messages"]] == ["user", "user"]
    assert [block["tool_use_id"] for block in body["messages"][1]["content"]] == ["a", "b"]


def test_what_the_format_wants_and_a_request_need_not_have():
    """A limit, and a schema of a tool without arguments."""
    body = json.loads(encode_request(Request(model="m", messages=USER, tools=(Tool(name="f"),))))
    assert body["max_tokens"] == MAX_TOKENS
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": (), "prompt": "raw"}, "prompt"),
        ({"num_choices": 2}, "num_choices"),
        ({"template_arguments": {"a": 1}}, "template_arguments"),
        ({"sampling": Sampling(min_p=0.5)}, "sampling.min_p"),
        ({"continues": True}, "continues"),
        ({"messages": (Message(role="assistant", parts=(TextPart("a"),)),)}, "continues"),
        ({"sampling": Sampling(seed=5)}, "sampling.seed"),
        ({"response_format": JsonObjectFormat()}, "response_format"),
        ({"tool_choice": ToolChoice(mode="auto", names=("f",))}, "tool_choice"),
        (
            {"messages": (Message(role="assistant", parts=(RefusalPart("no"),)),)},
            "messages[0].parts[0]",
        ),
        (
            {"messages": (Message(role="user", parts=(ImagePart(data=b"x"),)),)},
            "messages[0].parts[0]",
        ),
    ],
)
def test_what_has_no_words(fields: dict, param: str):
    """What the format cannot say is refused by name, not left out."""
    with pytest.raises(UnsupportedParameter) as caught:
        encode_request(Request(model="m", **{"messages": USER, **fields}))
    assert caught.value.param == param


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Well-formed streams of one choice."""
    prompt, cached = draw(st.integers(2, 9)), draw(st.integers(0, 2))
    started = Started(
        id="msg_1",
        model="m",
        created=5,
        provider="p",
        prompt_tokens=prompt,
        cached_tokens=cached,
        service_class=draw(st.sampled_from(["default", "priority"])),
        warnings=draw(st.sampled_from([(), ("top_k was not honoured: why",)])),
    )
    events: list[Event] = [started]
    for _ in range(draw(st.integers(0, 2))):
        thoughts = draw(st.lists(SOME_TEXT, max_size=3))
        events += [ReasoningDelta(text=text) for text in thoughts]
        if thoughts and draw(st.booleans()):
            events.append(ReasoningDelta(text="", signature=draw(SOME_TEXT)))
        events += [TextDelta(text=text) for text in draw(st.lists(SOME_TEXT, max_size=3))]
    num_calls = draw(st.integers(0, 2))
    for index in range(num_calls):
        pieces = draw(st.sampled_from([["{}"], ['{"a"', ': "', "b", '"}']]))
        events.append(ToolCallStarted(index=index, id=f"c{index}", name="f"))
        events += [ToolCallDelta(index=index, arguments=piece) for piece in pieces]
        events.append(ToolCallFinished(index=index))
    ending = draw(st.sampled_from(["whole", "cut", "cut in a call", "stopped"]))
    if ending == "cut in a call":
        events.append(ToolCallStarted(index=num_calls, id="cut", name="f"))
        events.append(ToolCallDelta(index=num_calls, arguments='{"a": "b'))
    if ending.startswith("cut"):
        events.append(ChoiceFinished(reason="length"))
    elif ending == "stopped":
        events.append(ChoiceFinished(reason="stop", stop=draw(TEXT)))
    else:
        events.append(ChoiceFinished(reason="tool_calls" if num_calls else "stop"))
    usage = Usage(
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=draw(st.integers(2, 9)),
        reasoning_tokens=draw(st.integers(0, 2)),
    )
    return [*events, Finished(usage=usage, warnings=tuple(draw(st.lists(NAME, max_size=1))))]


def encoded(events: list[Event]) -> bytes:
    encoder = MessagesCodec({}, signatures=None).stream(Call(requests=(Request(model="asked"),)))
    return b"".join(map(encoder.encode, events)) + encoder.end()


@given(answers(), st.integers(1, 60))
def test_answers(events: list[Event], size: int):
    """An answer that we stream is the answer that we read, however the bytes are cut.

    Anthropic's own types read it too, every event.
    """
    data = encoded(events)
    sse, decoder = EventDecoder(), MessageDecoder(provider="p", model="?")
    read: list[Event] = []
    for start in range(0, len(data), size):
        for event in sse.feed(data[start : start + size]):
            assert EVENTS.validate_json(event.data).type == event.event
            read += decoder.feed(event.data)
    read += decoder.end()
    started = read[0]
    assert isinstance(started, Started)
    assert [Started(**{**_fields(started), "created": 5}), *read[1:]] == events


@given(answers())
def test_whole_answers(events: list[Event]):
    """The same in one piece: parts, end and bill are those of the answer that was written."""
    call = Call(requests=(Request(model="asked"),))
    answer = collected(events)
    read = collected(
        MessageDecoder(provider="p", model="?").whole(
            MessagesCodec({}, signatures=None).unary(call, answer)
        )
    )
    assert (read.choices, read.usage) == (answer.choices, answer.usage)
    assert read.started.warnings == (*answer.started.warnings, *answer.warnings)


def collected(events: list[Event]) -> Answer:
    return asyncio.run(collect(alone(*events)))


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"content": [{"type": "text", "text": "a"}]}'])
def test_what_is_no_whole_answer(body: bytes):
    """A document without an end is none."""
    with pytest.raises(UpstreamError):
        MessageDecoder(provider="p", model="m").whole(body)


def test_null_means_not_said():
    """Servers that are made of other ones fill in what they do not know."""
    nothing = {"signature": None, "thinking": None, "text": None, "citations": None}
    content = [
        {**nothing, "type": "thinking", "thinking": "hm"},
        {**nothing, "type": "text", "text": "yes"},
    ]
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": None}
    body = {"id": None, "content": content, "stop_reason": "end_turn", "usage": usage}
    read = MessageDecoder(provider="p", model="m").whole(json.dumps(body).encode())
    assert read[1:3] == [ReasoningDelta(text="hm"), TextDelta(text="yes")]


def test_a_whole_error():
    """An error in place of an answer is raised with its class."""
    body = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}'
    with pytest.raises(RateLimited, match="slow down"):
        MessageDecoder(provider="p", model="m").whole(body)


def _fields(started: Started) -> dict[str, object]:
    return {name: getattr(started, name) for name in Started.__struct_fields__}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimited("slow down"), RateLimited),
        (EngineDied("gone"), Overloaded),
        (InvalidRequest("no"), InvalidRequest),
        (DeadlineExceeded("late"), DeadlineExceeded),
        (UpstreamError("nonsense"), UpstreamError),
    ],
)
def test_an_answer_that_breaks_off(error: GlimtError, kind: type[GlimtError]):
    """What ends a stream early is raised by who reads it, with its class and its words."""
    encoder = MessagesCodec({}, signatures=None).stream(Call(requests=(Request(model="m"),)))
    [event] = EventDecoder().feed(encoder.fail(error))
    assert event.event == "error"
    with pytest.raises(kind, match=error.message):
        MessageDecoder(provider="p", model="m").feed(event.data)


def test_an_answer_that_just_stops():
    """A stream without `message_stop` or `error` is an error, and no whole answer."""
    decoder = MessageDecoder(provider="p", model="m")
    decoder.feed('{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}')
    with pytest.raises(UpstreamError, match="broke off"):
        decoder.end()


def test_other_servers_events():
    """Arguments in one piece are read, pings too; what has no meaning here is named at the end."""
    decoder = MessageDecoder(provider="p", model="m")
    read: list[Event] = []
    for event in (
        {"type": "message_start", "message": {"id": "msg_x", "usage": {"input_tokens": 3}}},
        {"type": "ping"},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "redacted_thinking", "data": "x"},
        },
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 7},
        },
        {"type": "message_stop"},
    ):
        read += decoder.feed(json.dumps(event))
    usage = Usage(prompt_tokens=3, completion_tokens=7)
    assert read[1:] == [
        KeepAlive(),
        ToolCallStarted(index=0, id="c", name="f"),
        ToolCallDelta(index=0, arguments='{"a": 1}'),
        ToolCallFinished(index=0),
        ChoiceFinished(reason="tool_calls"),
        Finished(usage=usage, warnings=("a block of type redacted_thinking was left out",)),
    ]


def test_the_sdks_types_are_strict():
    """They refuse what is no message, so that reading by them shows something."""
    with pytest.raises(ValueError, match="stop_reason"):
        TypeAdapter(SdkMessage).validate_python({"id": "x", "stop_reason": "because"})
