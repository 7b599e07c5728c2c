"""The protocol read and written by the same house: what one side writes the other reads."""

import pytest
from hypothesis import given, strategies as st

from glimt.core.errors import (
    EngineDied,
    GlimtError,
    RateLimited,
    Unavailable,
    UnsupportedParameter,
    UpstreamError,
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
    RegexFormat,
    Request,
    Routing,
    Sampling,
    TextFormat,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.core.usage import Timing, Usage
from glimt.wire.ai_sdk.asking import encode_request
from glimt.wire.ai_sdk.codec import AiSdkCodec
from glimt.wire.ai_sdk.generation import GENERATIONS, V4, Generation
from glimt.wire.ai_sdk.reading import PartDecoder
from glimt.wire.codec import Call
from glimt.wire.sse import EventDecoder

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SOME_TEXT = TEXT.filter(bool)
NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
FILE = st.one_of(
    st.builds(ImagePart, url=st.just("https://a.b/c.png"), media_type=st.just("image/png")),
    st.builds(ImagePart, data=st.binary(max_size=5), media_type=st.just("image/png")),
    st.builds(FilePart, kind=st.just("audio"), data=st.binary(), media_type=st.just("audio/wav")),
    st.builds(
        FilePart,
        kind=st.just("file"),
        url=st.just("https://a.b/c.pdf"),
        media_type=st.just("application/pdf"),
        name=st.none() | NAME,
    ),
)
THOUGHT = st.one_of(
    st.builds(ReasoningPart, text=TEXT),
    st.builds(ReasoningPart, text=TEXT, signature=TEXT, id=TEXT, format=NAME),
    st.builds(ReasoningPart, encrypted=TEXT, summary=TEXT),
)
CALL = st.builds(
    ToolCallPart,
    id=SOME_TEXT,
    name=NAME,
    arguments=st.sampled_from(["{}", '{"a": 1}', '{"a":1.50,"b":"\\u00e9"}']),
)
RESULT = st.one_of(
    st.builds(
        ToolResultPart,
        call_id=SOME_TEXT,
        content=st.builds(TextPart, TEXT).map(lambda part: (part,)),
        is_error=st.booleans(),
    ),
    st.builds(
        ToolResultPart,
        call_id=SOME_TEXT,
        content=st.lists(st.one_of(st.builds(TextPart, TEXT), FILE), min_size=2, max_size=3).map(
            tuple
        ),
    ),
)


def message(role: str, *kinds: st.SearchStrategy) -> st.SearchStrategy[Message]:
    parts = st.lists(st.one_of(*kinds), max_size=3).map(tuple)
    return st.builds(Message, role=st.just(role), parts=parts)


MESSAGES = st.one_of(
    st.builds(TextPart, TEXT).map(lambda part: Message(role="system", parts=(part,))),
    message("user", st.builds(TextPart, TEXT), FILE),
    message("assistant", st.builds(TextPart, TEXT), THOUGHT, CALL),
    message("tool", RESULT),
)
NUMBER = st.none() | st.floats(0, 1).map(lambda number: round(number, 3))
COUNT = st.none() | st.integers(1, 50)
TOOLS = (
    Tool(name="f"),
    Tool(name="g", description="d", parameters={"type": "object"}, strict=True),
)
REQUESTS = st.builds(
    Request,
    model=SOME_TEXT,
    messages=st.lists(MESSAGES, min_size=1, max_size=4).map(tuple),
    tools=st.just(TOOLS),
    tool_choice=st.sampled_from(
        [
            ToolChoice(),
            ToolChoice(mode="none"),
            ToolChoice(mode="required"),
            ToolChoice(mode="required", names=("g",)),
        ]
    ),
    response_format=st.one_of(
        st.just(TextFormat()),
        st.just(JsonObjectFormat()),
        st.builds(
            JsonSchemaFormat,
            schema=st.just({"type": "object"}),
            name=NAME,
            description=st.none() | SOME_TEXT,
        ),
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
        presence_penalty=NUMBER,
        frequency_penalty=NUMBER,
        seed=COUNT,
        stop=st.lists(SOME_TEXT, max_size=2).map(tuple),
        max_tokens=COUNT,
    ),
    routing=st.builds(
        Routing,
        models=st.lists(NAME, max_size=2).map(tuple),
        order=st.lists(NAME, max_size=2).map(tuple),
        only=st.lists(NAME, max_size=2).map(tuple),
        options=st.dictionaries(st.sampled_from(["sort", "tags"]), NAME, max_size=2),
    ),
    service_class=st.sampled_from(["priority", "default", "flex"]),
    user=st.none() | TEXT,
    extensions=st.dictionaries(
        st.just("providerOptions.openrouter.frobnicate"), st.integers(), max_size=1
    ),
)


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda found: f"v{found.version}")
@given(REQUESTS, st.booleans())
def test_requests(generation: Generation, request_: Request, stream: bool):
    """A call that we write is the call that we read, in every generation."""
    headers, body = encode_request(request_, generation, stream=stream)
    call = AiSdkCodec(generation, headers).decode(body)
    assert call.request == request_
    assert call.stream == stream
    assert call.warnings == ()


USER = (Message(role="user", parts=(TextPart("hi"),)),)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": (), "prompt": "raw"}, "prompt"),
        ({"num_choices": 2}, "num_choices"),
        ({"cache_salt": "s"}, "cache_salt"),
        ({"sampling": Sampling(min_p=0.5)}, "sampling.min_p"),
        ({"response_format": RegexFormat("a")}, "response_format"),
        ({"tool_choice": ToolChoice(mode="auto", names=("f",))}, "tool_choice"),
        ({"routing": Routing(ignore=("p",))}, "routing.ignore"),
        ({"extensions": {"frobnicate": 1}}, "frobnicate"),
        (
            {"messages": (Message(role="assistant", parts=(RefusalPart("no"),)),)},
            "messages[0].parts[0]",
        ),
    ],
)
def test_what_has_no_words(fields: dict, param: str):
    """What the protocol cannot say is refused by name, not left out."""
    with pytest.raises(UnsupportedParameter) as caught:
        encode_request(Request(model="m", **{"messages": USER, **fields}), V4)
    assert (caught.value.param or "") in (param, "messages[0]")
    assert param in caught.value.message


def call_events(index: int, *pieces: str) -> list[Event]:
    deltas = [ToolCallDelta(index=index, arguments=piece) for piece in pieces]
    return [
        ToolCallStarted(index=index, id=f"c{index}", name="f"),
        *deltas,
        ToolCallFinished(index=index),
    ]


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Well-formed streams of one choice."""
    warning = draw(st.sampled_from([(), ("top_k was not honoured: why",), ("all is well",)]))
    events: list[Event] = [
        Started(id="glimt-1", model="m", created=5, provider="p", warnings=warning)
    ]
    for _ in range(draw(st.integers(0, 2))):
        thoughts = draw(st.lists(SOME_TEXT, max_size=3))
        events += [
            ReasoningDelta(text=text, signature=draw(st.none() | SOME_TEXT)) for text in thoughts
        ]
        events += [TextDelta(text=text) for text in draw(st.lists(SOME_TEXT, max_size=3))]
    num_calls = draw(st.integers(0, 2))
    for index in range(num_calls):
        events += call_events(index, *draw(st.lists(SOME_TEXT, max_size=2)))
    reason = "tool_calls" if num_calls else draw(st.sampled_from(["stop", "length"]))
    usage = Usage(
        prompt_tokens=draw(st.integers(2, 9)),
        cached_tokens=draw(st.integers(0, 2)),
        completion_tokens=draw(st.integers(2, 9)),
        reasoning_tokens=draw(st.integers(0, 2)),
        accepted_draft_tokens=draw(st.integers(0, 9)),
        rejected_draft_tokens=draw(st.integers(0, 9)),
    )
    timing = draw(st.sampled_from([Timing(), Timing(queue_s=0.5, completion_s=1.0, total_s=1.5)]))
    late = tuple(draw(st.lists(NAME, max_size=2, unique=True)))
    bill = Finished(usage=usage, timing=timing, warnings=late)
    return [*events, ChoiceFinished(reason=reason), bill]


def encoded(events: list[Event], generation: Generation) -> bytes:
    encoder = AiSdkCodec(generation, {}).stream(Call(requests=(Request(model="asked"),)))
    return b"".join(map(encoder.encode, events)) + encoder.end()


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda found: f"v{found.version}")
@given(answers(), st.integers(1, 60))
def test_answers(generation: Generation, events: list[Event], size: int):
    """An answer that we stream is the answer that we read, however the bytes are cut."""
    data = encoded(events, generation)
    sse, decoder = EventDecoder(), PartDecoder(provider="p", model="?")
    read: list[Event] = []
    for start in range(0, len(data), size):
        for event in sse.feed(data[start : start + size]):
            read += decoder.feed(event.data)
    read += decoder.end()
    assert read == events


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimited("slow down"), RateLimited),
        (EngineDied("gone"), Unavailable),
        (UpstreamError("nonsense"), UpstreamError),
    ],
)
def test_an_answer_that_breaks_off(error: GlimtError, kind: type[GlimtError]):
    """What ends a stream early is raised by who reads it, with its class and its words."""
    encoder = AiSdkCodec(V4, {}).stream(Call(requests=(Request(model="m"),)))
    [event] = EventDecoder().feed(encoder.fail(error))
    with pytest.raises(kind, match=error.message):
        PartDecoder(provider="p", model="m").feed(event.data)


def test_an_answer_that_just_stops():
    """A stream without `finish` or `error` is an error, and no whole answer."""
    decoder = PartDecoder(provider="p", model="m")
    decoder.feed('{"type":"text-delta","id":"1","delta":"half"}')
    with pytest.raises(UpstreamError, match="broke off"):
        decoder.end()


def test_other_servers_parts():
    """Calls in one piece are read, and parts without a meaning here are named at the end."""
    decoder = PartDecoder(provider="p", model="m")
    read = decoder.feed(
        '{"type":"tool-call","toolCallId":"c","toolName":"f","input":"{\\"a\\":1}"}'
    )
    assert isinstance(read[0], Started)
    assert read[1:] == [
        ToolCallStarted(index=0, id="c", name="f"),
        ToolCallDelta(index=0, arguments='{"a":1}'),
        ToolCallFinished(index=0),
    ]
    assert decoder.feed('{"type":"source","sourceType":"url"}') == []
    assert decoder.feed('{"type":"ping"}') == []
    end = decoder.feed('{"type":"finish","finishReason":"tool-calls","usage":{"inputTokens":3}}')
    assert end[0] == ChoiceFinished(reason="tool_calls")
    assert isinstance(end[1], Finished)
    assert end[1].usage.prompt_tokens == 3
    assert end[1].warnings == ("a part of type source was left out",)
