"""The format read and written by the same house: what one side writes the other reads."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from glimt.core.errors import (
    EngineDied,
    GlimtError,
    InvalidRequest,
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
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TopLogprob,
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
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    Request,
    Sampling,
    TextFormat,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.core.usage import Timing, Usage
from glimt.wire.chat_completions.asking import encode_request
from glimt.wire.chat_completions.codec import ChatCompletionsCodec
from glimt.wire.chat_completions.reading import ChunkDecoder
from glimt.wire.chat_completions.request import decode_request
from glimt.wire.codec import Call
from glimt.wire.sse import EventDecoder

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SOME_TEXT = TEXT.filter(bool)
NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
CONTENT = st.one_of(
    st.builds(TextPart, TEXT),
    st.builds(ImagePart, url=st.just("https://a.b/c.png"), detail=st.none() | st.just("low")),
    st.builds(ImagePart, data=st.binary(max_size=5), media_type=st.just("image/png")),
    st.builds(FilePart, kind=st.just("audio"), data=st.binary(), media_type=st.just("audio/wav")),
    st.builds(FilePart, kind=st.just("file"), data=st.binary(), name=st.none() | NAME),
    st.builds(FilePart, kind=st.just("video"), url=st.just("https://a.b/c.mp4")),
)


def parts(*groups: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(*groups).map(lambda found: tuple(part for group in found for part in group))


THOUGHT = st.one_of(
    st.builds(ReasoningPart, text=SOME_TEXT),
    st.builds(ReasoningPart, text=SOME_TEXT, signature=TEXT, id=TEXT, format=NAME),
    st.builds(ReasoningPart, encrypted=TEXT, format=NAME),
    st.builds(ReasoningPart, summary=TEXT),
)
CALL = st.builds(ToolCallPart, id=SOME_TEXT, name=NAME, arguments=st.just('{"a": 1}'))
MESSAGES = st.one_of(
    st.builds(
        Message,
        role=st.sampled_from(["system", "user"]),
        parts=st.lists(CONTENT, min_size=1, max_size=3).map(tuple),
        name=st.none() | NAME,
    ),
    st.builds(
        Message,
        role=st.just("assistant"),
        parts=parts(
            st.lists(THOUGHT, max_size=2),
            st.lists(st.builds(TextPart, TEXT), max_size=2),
            st.lists(st.builds(RefusalPart, TEXT), max_size=1),
            st.lists(CALL, max_size=2),
        ),
    ),
    st.builds(
        ToolResultPart,
        call_id=SOME_TEXT,
        content=st.lists(CONTENT, min_size=1, max_size=2).map(tuple),
    ).map(lambda result: Message(role="tool", parts=(result,))),
)
NUMBER = st.floats(0, 1).map(lambda number: round(number, 3))
COUNT = st.none() | st.integers(1, 50)
REQUESTS = st.builds(
    Request,
    model=SOME_TEXT,
    messages=st.lists(MESSAGES, min_size=1, max_size=4).map(tuple),
    parallel_tool_calls=st.booleans(),
    response_format=st.one_of(
        st.just(TextFormat()),
        st.just(JsonObjectFormat()),
        st.builds(JsonSchemaFormat, schema=st.just({"type": "object"}), strict=st.booleans()),
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
        temperature=st.none() | NUMBER,
        top_p=st.none() | NUMBER,
        top_k=COUNT,
        min_p=st.none() | NUMBER,
        presence_penalty=st.none() | NUMBER,
        logit_bias=st.dictionaries(st.integers(0, 9), NUMBER, max_size=2),
        seed=COUNT,
        stop=st.lists(SOME_TEXT, max_size=2).map(tuple),
        stop_token_ids=st.lists(st.integers(0, 9), max_size=2).map(tuple),
        include_stop=st.booleans(),
        ignore_eos=st.booleans(),
        min_tokens=COUNT,
        max_tokens=COUNT,
        top_logprobs=st.none() | st.integers(0, 5),
    ),
    num_choices=st.integers(1, 4),
    service_class=st.sampled_from(["priority", "default", "flex"]),
    template_arguments=st.dictionaries(st.just("language"), TEXT, max_size=1),
    cache_key=st.none() | TEXT,
    cache_salt=st.none() | SOME_TEXT,
    deadline_s=st.none() | st.floats(0.001, 1e9),
    user=st.none() | TEXT,
    session=st.none() | TEXT,
    metadata=st.dictionaries(NAME, TEXT, max_size=2),
    extensions=st.dictionaries(st.just("frobnicate"), st.integers(), max_size=1),
)


@given(REQUESTS, st.booleans())
def test_requests(request: Request, stream: bool):
    """A request that we write is the request that we read."""
    call = decode_request(encode_request(request, stream=stream))
    assert call.request == request
    assert call.stream == call.include_usage == stream
    assert call.warnings == ()


@pytest.mark.parametrize(
    "choice",
    [
        ToolChoice(),
        ToolChoice(mode="none"),
        ToolChoice(mode="required"),
        ToolChoice(mode="required", names=("f",)),
        ToolChoice(mode="auto", names=("f", "g")),
        ToolChoice(mode="required", names=("f", "g")),
    ],
)
def test_tools(choice: ToolChoice):
    """Tools go out as they were declared, or in our own words, and the choice with them."""
    raw = {"type": "function", "function": {"name": "f", "x-own": 1}}
    tools = (
        Tool(name="f", raw=raw),
        Tool(name="g", description="d", parameters={"type": "object"}, strict=True),
    )
    messages = (Message(role="user", parts=(TextPart("hi"),)),)
    request = Request(model="m", messages=messages, tools=tools, tool_choice=choice)
    read = decode_request(encode_request(request)).request
    assert read.tool_choice == choice
    assert read.tools[0] == tools[0]
    second = read.tools[1]
    assert (second.name, second.description, second.strict) == ("g", "d", True)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Request(model="m", prompt="raw"), "prompt"),
        (
            Request(
                model="m",
                messages=(
                    Message(role="user", parts=(FilePart(kind="hologram", url="x"), TextPart(""))),
                ),
            ),
            "messages[0].content[0]",
        ),
    ],
)
def test_what_has_no_words(request_: Request, param: str):
    """What the format cannot say is refused by name, not left out."""
    with pytest.raises(UnsupportedParameter) as caught:
        encode_request(request_)
    assert caught.value.param == param


TOKEN = TokenLogprob(
    token="é",
    logprob=-0.5,
    token_bytes="é".encode(),
    top=(TopLogprob(token="e", logprob=-1.0, token_bytes=b"e"),),
)


def call_events(choice: int, index: int, *pieces: str) -> list[Event]:
    opening = ToolCallStarted(choice=choice, index=index, id=f"c{choice}{index}", name="f")
    deltas = [ToolCallDelta(choice=choice, index=index, arguments=piece) for piece in pieces]
    return [opening, *deltas, ToolCallFinished(choice=choice, index=index)]


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Well-formed streams of two choices."""
    service_class = draw(st.sampled_from(["default", "flex", "priority"]))
    events: list[Event] = [
        Started(id="glimt-1", model="m", created=5, provider="p", service_class=service_class)
    ]
    for choice in range(2):
        logprobs = draw(st.sampled_from([(), (TOKEN,)]))
        for kind in (ReasoningDelta, TextDelta):
            texts = draw(st.lists(SOME_TEXT, max_size=3))
            events += [kind(choice=choice, text=text, logprobs=logprobs) for text in texts]
        num_calls = draw(st.integers(0, 2))
        for index in range(num_calls):
            events += call_events(choice, index, *draw(st.lists(SOME_TEXT, max_size=2)))
        reason = "tool_calls" if num_calls else draw(st.sampled_from(["stop", "length"]))
        events.append(ChoiceFinished(choice=choice, reason=reason))
    usage = Usage(
        prompt_tokens=3,
        cached_tokens=1,
        completion_tokens=draw(st.integers(0, 9)),
        accepted_draft_tokens=draw(st.integers(0, 9)),
        rejected_draft_tokens=draw(st.integers(0, 9)),
    )
    timing = draw(st.sampled_from([Timing(), Timing(queue_s=0.5, completion_s=1.0, total_s=1.5)]))
    warnings = tuple(draw(st.lists(NAME, max_size=2, unique=True)))
    return [*events, Finished(usage=usage, timing=timing, warnings=warnings)]


@given(answers(), st.booleans(), st.integers(1, 40))
def test_answers(events: list[Event], include_usage: bool, size: int):
    """An answer that we stream is the answer that we read, however the bytes are cut."""
    request = Request(model="m", num_choices=2, sampling=Sampling(top_logprobs=1))
    encoder = ChatCompletionsCodec().stream(Call(requests=(request,), include_usage=include_usage))
    data = b"".join(map(encoder.encode, events)) + encoder.end()
    sse, decoder = EventDecoder(), ChunkDecoder(provider="p", model="?")
    read: list[Event] = []
    for start in range(0, len(data), size):
        for event in sse.feed(data[start : start + size]):
            read += decoder.feed(event.data)
    assert read == events
    assert decoder.end() == []


def test_cut_call_stays_open():
    """A call that the length limit cut off never looks finished."""
    decoder = ChunkDecoder(provider="p", model="m")
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "length"}]}
    kinds = [type(event) for event in decoder.feed(json.dumps(chunk))]
    assert kinds == [Started, ToolCallStarted, ToolCallDelta, ChoiceFinished]


def test_an_empty_reason_is_none():
    """Some servers send one in every chunk; the answer goes on."""
    decoder = ChunkDecoder(provider="p", model="m")
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": ""}
    events = decoder.feed(json.dumps({"id": "1", "choices": [choice]}))
    assert events[1:] == [TextDelta(text="a")]


def test_other_dialects():
    """Thoughts under another name, nulls, and reasons of Z.ai's own are understood."""
    decoder = ChunkDecoder(provider="p", model="asked")
    first = {"choices": [{"delta": {"role": "assistant", "reasoning": "hm", "content": None}}]}
    events = decoder.feed(json.dumps({**first, "usage": None, "created": 5.0}))
    assert [type(event) for event in events] == [Started, ReasoningDelta]
    assert events[0].model == "asked"
    last = {"choices": [{"index": 0, "finish_reason": "sensitive"}], "usage": {"prompt_tokens": 2}}
    assert decoder.feed(json.dumps(last)) == [ChoiceFinished(reason="content_filter")]
    assert decoder.feed("[DONE]") == [Finished(usage=Usage(prompt_tokens=2))]


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (RateLimited("a"), RateLimited),
        (InvalidRequest("a"), InvalidRequest),
        (EngineDied("a"), Unavailable),
        (UpstreamError("a"), UpstreamError),
    ],
)
def test_errors(sent: GlimtError, kind: type[GlimtError]):
    """An error in the middle of a stream is an error of the same kind where it is read."""
    encoder = ChatCompletionsCodec().stream(Call(requests=(Request(model="m"),)))
    (event,) = EventDecoder().feed(encoder.fail(sent))
    with pytest.raises(kind) as caught:
        ChunkDecoder(provider="p", model="m").feed(event.data)
    assert caught.value.message == "a"
    assert caught.value.retryable == sent.retryable


@pytest.mark.parametrize("data", ["{", "[]", '{"choices": 3}', "[DONE]"])
def test_nonsense(data: str):
    """What is no answer is the provider's mistake."""
    with pytest.raises(UpstreamError):
        ChunkDecoder(provider="p", model="m").feed(data)
