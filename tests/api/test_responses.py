"""`/v1/responses` at a real server, asked by OpenAI's own client; scripts answer."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from glimt.core.errors import EngineDied, InternalError, RateLimited
from glimt.core.events import (
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    TopLogprob,
)
from glimt.core.ids import new_id
from glimt.core.parts import (
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.core.request import Request
from glimt.core.usage import Usage
from glimt.providers.scripted import Pause, ScriptedProvider, Step, say
from tests.api.serving import Served
from tests.api.waiting import eventually

USAGE = Usage(prompt_tokens=12, cached_tokens=8, completion_tokens=7, reasoning_tokens=3)
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = ToolCallPart(id="call_1", name="weather", arguments='{"city":"Oslo"}')


def started() -> Started:
    return Started(id=new_id("glimt-"), model="scripted", created=1_700_000_000, provider="p")


def answering(*steps: Step, ending: str = "stop") -> ScriptedProvider:
    """A provider that gives every request the same answer under an id of its own."""

    def write(_: Request) -> Sequence[Step]:
        return [started(), *steps, ChoiceFinished(reason=ending), Finished(usage=USAGE)]

    return ScriptedProvider(write=write)


def saying(**options: Any) -> ScriptedProvider:
    texts = options.pop("texts", ("Hello", " there"))
    return ScriptedProvider(write=lambda _: say(*texts, started=started(), **options))


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/glimt.db"


@pytest.fixture
def ask(serve: Callable[..., Served], url: str) -> Iterator[Callable[..., OpenAI]]:
    """OpenAI's client at a server with these providers; it tries once."""
    clients: list[OpenAI] = []

    def start(*providers: ScriptedProvider, key: str = "none", **options: Any) -> OpenAI:
        served = serve(*providers, **{"database_url": url, **options})
        client = OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0, timeout=20)
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.close()


def test_an_answer(ask: Callable[..., OpenAI]):
    """An answer has its text, thought, bill and what was asked; its members are all there."""
    client = ask(saying(reasoning=("So", " be it"), usage=USAGE))
    response = client.responses.create(
        model="scripted",
        input="hi",
        instructions="Be brief.",
        temperature=0.5,
        max_output_tokens=99,
        metadata={"a": "b"},
        safety_identifier="me",
        prompt_cache_key="k",
    )
    assert response.id.startswith("resp_")
    assert response.status == "completed"
    assert response.output_text == "Hello there"
    thought, message = response.output
    assert thought.type == "reasoning"
    assert [part.text for part in thought.content or []] == ["So be it"]
    assert thought.summary == []
    assert message.type == "message"
    assert message.status == "completed"
    usage = response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (12, 7, 19)
    assert usage.input_tokens_details.cached_tokens == 8
    assert usage.output_tokens_details.reasoning_tokens == 3
    assert response.instructions == "Be brief."
    assert (response.temperature, response.max_output_tokens) == (0.5, 99)
    assert (response.metadata, response.safety_identifier) == ({"a": "b"}, "me")
    assert response.prompt_cache_key == "k"
    assert response.model == "scripted"
    assert response.store is True  # pyright: ignore[reportAttributeAccessIssue]


OPEN_RESPONSES = {
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
}


def test_every_member_of_open_responses(ask: Callable[..., OpenAI]):
    """Open Responses wants all 31 members in every response, null or not."""
    client = ask(saying())
    raw = client.responses.with_raw_response.create(model="scripted", input="hi")
    document = json.loads(raw.text)
    assert len(OPEN_RESPONSES) == 31
    assert set(OPEN_RESPONSES) <= document.keys()


def events_of(client: OpenAI, **fields: Any) -> list[Any]:
    with client.responses.create(
        **{"model": "scripted", "input": "hi", **fields}, stream=True
    ) as stream:
        return list(stream)


def test_the_life_of_a_stream(ask: Callable[..., OpenAI]):
    """Items are added, grow and are done, one after another; events are numbered through."""
    client = ask(saying(reasoning=("So",), calls=(CALL,), usage=USAGE))
    events = events_of(client, tools=[WEATHER])
    assert [event.type.removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert events[-1].response.output == done
    assert [event.output_index for event in events if "item." in event.type] == [0, 0, 1, 1, 2, 2]
    ids = {event.item_id for event in events if hasattr(event, "item_id")}
    assert ids == {item.id for item in done}
    assert events[-1].response.usage.total_tokens == 19


@pytest.mark.parametrize("stream", [False, True])
def test_streamed_and_whole_are_the_same(ask: Callable[..., OpenAI], stream: bool):
    """The last event of a stream has what an unstreamed answer is."""
    client = ask(saying(reasoning=("So",), calls=(CALL,), usage=USAGE))
    if stream:
        response = events_of(client, tools=[WEATHER])[-1].response
    else:
        response = client.responses.create(model="scripted", input="hi", tools=[WEATHER])
    found = response.to_dict()
    number = found["id"].removeprefix("resp_")
    assert json.loads(json.dumps(found["output"]).replace(number, "N")) == [
        {
            "type": "reasoning",
            "id": "rs_N_0",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "So"}],
        },
        {
            "type": "message",
            "id": "msg_N_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {
                    "type": "output_text",
                    "text": "Hello there",
                    "annotations": [],
                    "logprobs": [],
                }
            ],
        },
        {
            "type": "function_call",
            "id": "fc_N_2",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city":"Oslo"}',
            "status": "completed",
        },
    ]


def test_the_clients_own_accumulation(ask: Callable[..., OpenAI]):
    """OpenAI's stream helper, which folds events itself, ends with the same response."""
    client = ask(saying(reasoning=("So",), calls=(CALL,), usage=USAGE))
    with client.responses.stream(model="scripted", input="hi", tools=[WEATHER]) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert texts == ["Hello", " there"]
    assert final.output_text == "Hello there"
    assert final.output[2].type == "function_call"


def test_thoughts_as_summaries(ask: Callable[..., OpenAI]):
    """A client that asks for a summary, as those do that show thoughts, gets them as one."""
    client = ask(saying(reasoning=("So", " be it")))
    events = events_of(client, reasoning={"summary": "auto"})
    kinds = [event.type.removeprefix("response.") for event in events[2:9]]
    assert kinds == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    item = events[8].item
    assert [part.text for part in item.summary] == ["So be it"]
    assert item.content is None


def test_hidden_thoughts(ask: Callable[..., OpenAI]):
    """Who wants no thoughts gets none, streamed or not, but is told what they cost."""
    client = ask(saying(reasoning=("So",), usage=USAGE))
    extra = {"reasoning": {"exclude": True}}
    response = client.responses.create(model="scripted", input="hi", extra_body=extra)
    assert [item.type for item in response.output] == ["message"]
    events = events_of(client, extra_body=extra)
    assert [item.type for item in events[-1].response.output] == ["message"]
    assert not any("reasoning" in event.type for event in events)
    assert events[-1].response.usage.output_tokens_details.reasoning_tokens == 3


def test_a_call_that_was_cut_off(ask: Callable[..., OpenAI]):
    """Clients run calls that are done: one that was cut off never is."""
    client = ask(
        answering(
            ToolCallStarted(index=0, id="call_1", name="weather"),
            ToolCallDelta(index=0, arguments='{"ci'),
            ending="length",
        )
    )
    events = events_of(client, tools=[WEATHER])
    assert [event.type for event in events[2:]] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.incomplete",
    ]
    response = events[-1].response
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert [item.status for item in response.output] == ["incomplete"]
    assert response.completed_at is None
    whole = client.responses.create(model="scripted", input="hi", tools=[WEATHER])
    assert whole.status == "incomplete"
    assert whole.output == []
    # It is kept, and who goes on from it does not meet half of a call.
    again = client.responses.create(
        model="scripted", input="go on", tools=[WEATHER], previous_response_id=response.id
    )
    assert again.previous_response_id == response.id


def test_a_text_that_was_cut_off(ask: Callable[..., OpenAI]):
    """A message that the limit cuts off is done, and says that it is not whole."""
    client = ask(saying(reason="length"))
    for response in (
        events_of(client)[-1].response,
        client.responses.create(model="scripted", input="hi"),
    ):
        assert response.status == "incomplete"
        assert response.output[0].status == "incomplete"
        assert response.output_text == "Hello there"


def test_logprobs(ask: Callable[..., OpenAI]):
    """The tokens of an answer are reported where they are asked for, and only there."""
    token = TokenLogprob(
        token="Hello",
        logprob=-0.5,
        token_bytes=b"Hello",
        top=(TopLogprob(token="Hi", logprob=-1.5, token_bytes=b"Hi"),),
    )
    provider = answering(TextDelta(text="Hello", logprobs=(token,)))
    client = ask(provider)
    wish: dict[str, Any] = {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
    response = client.responses.create(model="scripted", input="hi", **wish)
    [found] = response.output[0].content[0].logprobs
    assert (found.token, found.logprob, found.bytes) == ("Hello", -0.5, list(b"Hello"))
    assert found.top_logprobs[0].token == "Hi"
    events = events_of(client, **wish)
    [delta] = [event for event in events if event.type == "response.output_text.delta"]
    assert delta.logprobs[0].token == "Hello"
    assert provider.requests[0].sampling.top_logprobs == 1
    plain = client.responses.create(model="scripted", input="hi")
    assert plain.output[0].content[0].logprobs == []
    assert provider.requests[-1].sampling.top_logprobs is None


def test_a_conversation_by_its_last_response(ask: Callable[..., OpenAI]):
    """The next request has the items of all before, oldest first, but not their instructions."""
    provider = saying(texts=("A",), reasoning=("T",))
    client = ask(provider)
    first = client.responses.create(model="scripted", input="one", instructions="old")
    stream = events_of(client, input="two", previous_response_id=first.id)
    second = stream[-1].response
    client.responses.create(
        model="scripted", input="three", instructions="new", previous_response_id=second.id
    )

    def user(text: str) -> Message:
        return Message(role="user", parts=(TextPart(text),))

    def turn(response) -> Message:
        thought = ReasoningPart(text="T", id=response.output[0].id)
        return Message(role="assistant", parts=(thought, TextPart("A")))

    assert provider.requests[-1].messages == (
        Message(role="system", parts=(TextPart("new"),)),
        user("one"),
        turn(first),
        user("two"),
        turn(second),
        user("three"),
    )


def test_a_tool_loop_by_its_last_response(ask: Callable[..., OpenAI]):
    """A result answers the call of the response before."""
    provider = saying(texts=(), calls=(CALL,))
    client = ask(provider)
    first = client.responses.create(model="scripted", input="weather?", tools=[WEATHER])
    call = first.output[0]
    assert call.type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    client.responses.create(
        model="scripted", input=[result], tools=[WEATHER], previous_response_id=first.id
    )
    assert provider.requests[-1].messages[1:] == (
        Message(role="assistant", parts=(CALL,)),
        Message(
            role="tool", parts=(ToolResultPart(call_id="call_1", content=(TextPart("rain"),)),)
        ),
    )


def test_items_by_their_ids(ask: Callable[..., OpenAI]):
    """A kept item can be named instead of sent."""
    provider = saying(texts=("A",))
    client = ask(provider)
    first = client.responses.create(model="scripted", input="one")
    reference: Any = {"type": "item_reference", "id": first.output[0].id}
    asked: Any = [reference, {"role": "user", "content": "two"}]
    second = client.responses.create(model="scripted", input=asked)
    assert [message.role for message in provider.requests[-1].messages] == ["assistant", "user"]
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == ["message", "message"]
    missing: Any = [{"type": "item_reference", "id": "msg_nope"}]
    with pytest.raises(openai.BadRequestError, match="msg_nope") as caught:
        client.responses.create(model="scripted", input=missing)
    assert caught.value.param == "input[0].id"


def test_kept_responses(ask: Callable[..., OpenAI]):
    """A kept response is read as it was sent, and is gone when it was deleted."""
    client = ask(saying(reasoning=("T",), calls=(CALL,)))
    for response in (
        client.responses.create(model="scripted", input="hi", tools=[WEATHER]),
        events_of(client, tools=[WEATHER])[-1].response,
    ):
        assert client.responses.retrieve(response.id).to_dict() == response.to_dict()
        client.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError, match=response.id):
            client.responses.retrieve(response.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.delete(response.id)
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="scripted", input="hi", previous_response_id=response.id)
        assert caught.value.code == "previous_response_not_found"
        assert caught.value.param == "previous_response_id"


def test_pages_of_input_items(ask: Callable[..., OpenAI]):
    """The input comes newest first or in order, page by page; every item has a type and an id."""
    client = ask(saying())
    asked: Any = [{"role": "user", "content": f"{n}"} for n in range(5)]
    response = client.responses.create(model="scripted", input=asked)

    def texts(**options: Any) -> list[str]:
        pages = client.responses.input_items.list(response.id, **options)
        return [item.content[0].text for item in pages]

    assert texts() == ["4", "3", "2", "1", "0"]
    assert texts(order="asc", limit=2) == ["0", "1", "2", "3", "4"]
    page = client.responses.input_items.list(response.id, limit=2)
    assert page.has_more
    for bad in ({"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "nope"}):
        with pytest.raises(openai.BadRequestError):
            client.responses.input_items.list(response.id, **bad)
    with pytest.raises(openai.NotFoundError):
        client.responses.input_items.list("resp_nope")


@pytest.mark.parametrize("stream", [False, True])
def test_store_false(ask: Callable[..., OpenAI], stream: bool):
    """What is not to be kept is not kept."""
    client = ask(saying())
    if stream:
        response = events_of(client, store=False)[-1].response
    else:
        response = client.responses.create(model="scripted", input="hi", store=False)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_server_that_keeps_nothing(ask: Callable[..., OpenAI]):
    """It answers, says that nothing is kept, and refuses what needs what it does not have."""
    client = ask(saying(), database_url=None)
    raw = client.responses.with_raw_response.create(model="scripted", input="hi", store=True)
    assert "store was not honoured" in raw.headers["x-glimt-warnings"]
    response = raw.parse()
    assert response.store is False
    with pytest.raises(openai.NotFoundError, match="keeps no responses"):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError, match="keeps no responses"):
        client.responses.create(model="scripted", input="hi", previous_response_id="resp_1")


@pytest.mark.parametrize(
    "wish", [{"zdr": True}, {"data_collection": "deny"}, {"zeroDataRetention": True}]
)
def test_who_forbids_keeping_is_not_kept(ask: Callable[..., OpenAI], wish):
    """Who wants nothing to be retained elsewhere wants it here no more; `store` cannot overrule."""
    client = ask(saying())
    response = client.responses.create(model="scripted", input="hi", extra_body={"provider": wish})
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


@pytest.mark.parametrize("stream", [False, True])
def test_a_database_that_fails(ask: Callable[..., OpenAI], stream: bool, tmp_path):
    """An answer that cannot be kept is given all the same, and says so."""
    (tmp_path / "file").touch()
    client = ask(saying(), database_url=f"sqlite:///{tmp_path}/file/glimt.db")
    if stream:
        response = events_of(client)[-1].response
    else:
        response = client.responses.create(model="scripted", input="hi")
    assert response.output_text == "Hello there"
    assert response.store is False
    assert "database" in response.glimt["warnings"][0]
    with pytest.raises(openai.InternalServerError, match=r"data\.url"):
        client.responses.retrieve(response.id)


def test_tenants(ask: Callable[..., OpenAI]):
    """A response belongs to the key that asked for it; to others it does not exist."""
    client = ask(saying(), api_keys=("mine", "yours"), key="mine")
    response = client.responses.create(model="scripted", input="secret")
    other = client.with_options(api_key="yours")
    for attempt in (
        lambda: other.responses.retrieve(response.id),
        lambda: other.responses.delete(response.id),
        lambda: other.responses.input_items.list(response.id),
        lambda: other.responses.cancel(response.id),
    ):
        with pytest.raises(openai.NotFoundError):
            attempt()
    with pytest.raises(openai.BadRequestError, match="continued"):
        other.responses.create(model="scripted", input="x", previous_response_id=response.id)
    reference: Any = [{"type": "item_reference", "id": response.output[0].id}]
    with pytest.raises(openai.BadRequestError, match="no item"):
        other.responses.create(model="scripted", input=reference)
    assert client.responses.retrieve(response.id).id == response.id
    stranger = client.with_options(api_key="nobody")
    with pytest.raises(openai.AuthenticationError):
        stranger.responses.retrieve(response.id)


def test_processes_share_what_is_kept(ask: Callable[..., OpenAI]):
    """A response that one process kept is continued by another, as soon as its end was seen."""
    one, two = ask(saying()), ask(saying())
    previous = None
    for turn in range(6):
        client = (one, two)[turn % 2]
        events = events_of(client, previous_response_id=previous)
        previous = events[-1].response.id
    assert one.responses.retrieve(previous).status == "completed"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (EngineDied("gone"), "engine_died"),
        (RateLimited("slow down"), "rate_limit_exceeded"),
        (InternalError("bug"), "server_error"),
    ],
)
def test_a_stream_that_breaks_off(ask: Callable[..., OpenAI], failure, code: str):
    """It ends with `response.failed`, the error, and what there was; and is not kept."""
    client = ask(ScriptedProvider(write=lambda _: [started(), TextDelta(text="half"), failure]))
    events = events_of(client)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.failed"
    response = events[-1].response
    assert (response.status, response.error.code) == ("failed", code)
    assert response.error.message == failure.message
    assert response.output_text == "half"
    assert response.output[0].status == "incomplete"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


@pytest.mark.parametrize("stream", [False, True])
def test_errors_before_anything(ask: Callable[..., OpenAI], stream: bool):
    """An error that comes before any of the answer has its status, in OpenAI's shape."""
    client = ask(ScriptedProvider([RateLimited("slow down", retry_after_s=2)]))
    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        client.responses.create(model="scripted", input="hi", stream=stream)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "x", "content": ""}]}, "input[0].role"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, None),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1]"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": {"verbosity": "x"}}, "text.verbosity"),
        ({"reasoning": {"effort": "x"}}, "reasoning.effort"),
        ({"truncation": "x"}, "truncation"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"messages": []}, "messages"),
    ],
)
def test_refusals(ask: Callable[..., OpenAI], fields: dict[str, Any], param: str | None):
    """What is malformed or not done here is a 400 that names the field."""
    client = ask(saying())
    body: dict[str, Any] = {"model": "scripted", "input": "hi", **fields}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/responses", body=body, cast_to=object)
    if param is not None:
        assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_tools_that_are_not_run_here(ask: Callable[..., OpenAI]):
    """Tools of the server are left out and named; the others count, at their places."""
    provider = saying()
    client = ask(provider)
    tools: Any = [{"type": "web_search"}, WEATHER, {"type": "local_shell"}]
    raw = client.responses.with_raw_response.create(model="scripted", input="hi", tools=tools)
    assert [tool.name for tool in provider.requests[0].tools] == ["weather"]
    warnings = json.loads(raw.headers["x-glimt-warnings"])
    assert [warning.split()[0] for warning in warnings] == ["tools[0]", "tools[2]"]
    assert [tool.type for tool in raw.parse().tools] == ["function"]


def test_tools_of_a_namespace_and_of_text(ask: Callable[..., OpenAI]):
    """The model sees functions; the client gets calls in its own words, and sends them back."""
    calls = (
        ToolCallPart(id="c1", name="team__spawn", arguments='{"n":1}'),
        ToolCallPart(id="c2", name="patch", arguments='{"input":"*** Begin"}'),
    )
    provider = saying(texts=(), calls=calls)
    client = ask(provider)
    tools: Any = [
        {
            "type": "namespace",
            "name": "team",
            "description": "d",
            "tools": [{"type": "function", "name": "spawn", "parameters": {}}],
        },
        {"type": "custom", "name": "patch", "description": "d"},
    ]
    response = client.responses.create(model="scripted", input="hi", tools=tools)
    spawn, patch = response.output
    assert (spawn.type, spawn.name, spawn.namespace) == ("function_call", "spawn", "team")
    assert (patch.type, patch.name, patch.input) == ("custom_tool_call", "patch", "*** Begin")
    events = events_of(client, tools=tools)
    kinds = [event.type for event in events]
    assert "response.custom_tool_call_input.delta" in kinds
    assert [item.type for item in events[-1].response.output] == [spawn.type, patch.type]
    back: Any = [
        spawn.to_dict(),
        patch.to_dict(),
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"},
    ]
    client.responses.create(model="scripted", input=back, tools=tools)
    turn, result = provider.requests[-1].messages
    assert turn.parts == calls
    assert result.parts[0].call_id == "c2"


def test_every_kind_of_content(ask: Callable[..., OpenAI]):
    """Images, files and what an answer held are read; kinds that are unknown here are named."""
    provider = saying()
    client = ask(provider)
    asked: Any = [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "https://a.b/c.png", "detail": "low"},
            ],
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "refusal", "refusal": "no"}],
        },
        {"role": "developer", "content": "now"},
    ]
    raw = client.responses.with_raw_response.create(model="scripted", input=asked)
    messages = provider.requests[0].messages
    assert [message.role for message in messages] == ["user", "assistant", "system"]
    assert messages[0].parts[1] == ImagePart(url="https://a.b/c.png", detail="low")
    warnings = json.loads(raw.headers["x-glimt-warnings"])
    assert warnings == ["input[0] was not honoured: items of type web_search_call are unknown here"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves(ask: Callable[..., OpenAI], stream: bool):
    """Who hangs up ends the work behind the answer, and nothing of it is kept."""
    provider = ScriptedProvider(
        write=lambda _: [started(), TextDelta(text="half"), Pause(float("inf"))]
    )
    client = ask(provider)
    if stream:
        with client.responses.create(model="scripted", input="hi", stream=True) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    break
    else:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.3).responses.create(model="scripted", input="hi")
    eventually(lambda: provider.endings == ["closed"])


def test_the_bytes_of_a_stream(serve: Callable[..., Served], http: httpx2.Client):
    """Each event has its name beside its data, and the marker of Open Responses ends them."""
    served = serve(saying())
    body = {"model": "scripted", "input": "hi", "stream": True}
    text = http.post(f"{served.url}/v1/responses", json=body).text
    *events, last = text.removesuffix("\n\n").split("\n\n")
    assert last == "data: [DONE]"
    for event in events:
        name, data = event.split("\n")
        assert name.removeprefix("event: ") == json.loads(data.removeprefix("data: "))["type"]


def test_reading_a_kept_stream(ask: Callable[..., OpenAI]):
    """A kept response is not streamed again, and says so; nor can it be cancelled."""
    client = ask(saying())
    response = client.responses.create(model="scripted", input="hi")
    with pytest.raises(openai.BadRequestError, match="read whole"):
        client.responses.retrieve(response.id, stream=True)
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(response.id)


def test_many_at_once(ask: Callable[..., OpenAI]):
    """Answers that end together are all kept."""
    client = ask(saying())
    ids: list[str] = []

    def work() -> None:
        ids.extend(client.responses.create(model="scripted", input="hi").id for _ in range(8))

    threads = [threading.Thread(target=work) for _ in range(8)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 64
    assert all(client.responses.retrieve(found).id == found for found in ids[::9])
    assert time.monotonic() - start < 20
    assert all(re.fullmatch(r"resp_\w+", found) for found in ids)


def test_thoughts_come_back(ask: Callable[..., OpenAI]):
    """A thought that is sent back is a thought again, from either form."""
    provider = saying(reasoning=("T",))
    client = ask(provider)
    for wish in ({}, {"reasoning": {"summary": "auto"}}):
        response = client.responses.create(model="scripted", input="one", store=False, **wish)
        items: Any = [
            {"role": "user", "content": "one"},
            *(item.to_dict() for item in response.output),
            {"role": "user", "content": "two"},
        ]
        client.responses.create(model="scripted", input=items, store=False)
        thought = provider.requests[-1].messages[1].parts[0]
        assert isinstance(thought, ReasoningPart)
        assert "T" in (thought.text, thought.summary)


def test_a_thought_alone(ask: Callable[..., OpenAI]):
    """An answer that was all thought has no message, and says why it ended."""
    client = ask(answering(ReasoningDelta(text="hm"), ending="length"))
    response = client.responses.create(model="scripted", input="hi")
    assert [item.type for item in response.output] == ["reasoning"]
    assert response.status == "incomplete"


def test_ids_of_the_clients_own(ask: Callable[..., OpenAI]):
    """An item keeps the id that it came with, unless no database could hold it."""
    client = ask(saying())
    item: dict[str, Any] = {"type": "message", "role": "user", "content": "hi"}
    given = [{**item, "id": name} for name in ("msg_mine", "a\0b", "x" * 300)]
    response = client.responses.create(model="scripted", input=given)
    first, *others = client.responses.input_items.list(response.id, order="asc")
    assert first.id == "msg_mine"
    assert [found.id[:4] for found in others] == ["msg_", "msg_"]
