"""What the official anthropic package gets from a whole Glimt that runs nano."""

import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import jsonschema
import pytest
from anthropic import Anthropic

from tests.e2e.asking import CITY, PARAMETERS, QUESTION, SUM_SCHEMA

MODEL = "glimt/nano"
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": PARAMETERS,
}
OFF: Any = {"type": "disabled"}
ON: Any = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture(scope="module")
def claude(server: str) -> Iterator[Anthropic]:
    """The official client; it tries once, so that every failure is seen."""
    with Anthropic(base_url=server, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def asking(**fields: Any) -> dict[str, Any]:
    """A short greedy request without thinking, unless the test says otherwise."""
    usual = {"model": MODEL, "messages": QUESTION, "max_tokens": 64, "thinking": OFF}
    # The package has no word for it any more; servers still read it.
    return {**usual, "extra_body": {"temperature": 0}, **fields}


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def engine_numbers(server: str) -> dict[str, float]:
    lines = httpx.get(f"{server}/metrics").text.splitlines()
    pairs = [line.split() for line in lines if line.startswith("glimt_engine_")]
    return {name: float(value) for name, value in pairs}


def call_of(message: Any) -> Any:
    (call,) = [block for block in message.content if block.type == "tool_use"]
    return call


def test_an_answer(claude: Anthropic):
    """It has Anthropic's shape, says who gave it, and its bill is there."""
    message = claude.messages.create(**asking())
    assert message.type == "message"
    assert message.role == "assistant"
    assert message.id.startswith("msg_")
    assert message.model == MODEL
    assert "19" in text_of(message)
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0
    assert message._request_id


def test_a_stream_adds_up_to_the_same(claude: Anthropic):
    """Its first event has the prompt's tokens already; the package checks its grammar."""
    whole = claude.messages.create(**asking())
    with claude.messages.stream(**asking()) as stream:
        events = list(stream)
        summed = stream.get_final_message()
    starts = [event for event in events if event.type == "message_start"]
    assert len(starts) == 1
    given = starts[0].message.usage
    assert given.input_tokens + (given.cache_read_input_tokens or 0) > 0
    assert events[-1].type == "message_stop"
    assert text_of(summed) == text_of(whole)
    assert summed.stop_reason == whole.stop_reason
    assert summed.usage.output_tokens == whole.usage.output_tokens


def test_a_thought_is_signed_and_comes_back(claude: Anthropic):
    """It is a block of its own; sent back it is taken, and one that was altered is named."""
    fields = asking(thinking=ON, max_tokens=1500)
    whole = claude.messages.create(**fields)
    with claude.messages.stream(**fields) as stream:
        summed = stream.get_final_message()
    for message in (whole, summed):
        thought = message.content[0]
        assert thought.type == "thinking"
        assert thought.thinking
        assert thought.signature
    assert summed.content[0] == whole.content[0]
    turn = [block.model_dump(exclude_none=True) for block in whole.content]
    later = [*QUESTION, {"role": "assistant", "content": turn}, {"role": "user", "content": "Why?"}]
    raw = claude.messages.with_raw_response.create(**asking(messages=later))
    assert "signature" not in raw.headers.get("x-glimt-warnings", "")
    turn[0]["thinking"] += " And more."
    raw = claude.messages.with_raw_response.create(**asking(messages=later))
    assert "messages[1]: a thought's signature is not" in raw.headers["x-glimt-warnings"]


def test_no_thought_where_none_is_wanted(claude: Anthropic):
    """Off is off, for plain answers and for streams."""
    whole = claude.messages.create(**asking())
    assert {block.type for block in whole.content} == {"text"}


def test_a_forced_call_and_its_result(claude: Anthropic):
    """A call is a block with its input as an object; its result leads to an answer."""
    fields = asking(
        messages=CITY, tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"}
    )
    whole = claude.messages.create(**fields)
    with claude.messages.stream(**fields) as stream:
        summed = stream.get_final_message()
    assert whole.stop_reason == summed.stop_reason == "tool_use"
    call = call_of(whole)
    assert call.name == "get_weather"
    assert isinstance(call.input["city"], str)
    assert call_of(summed).input == call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "clear, 12 degrees"}
    turn = [block.model_dump(exclude_none=True) for block in whole.content]
    messages = [
        *CITY,
        {"role": "assistant", "content": turn},
        {"role": "user", "content": [result]},
    ]
    answer = claude.messages.create(**asking(messages=messages, tools=[WEATHER]))
    assert answer.stop_reason in ("end_turn", "tool_use", "max_tokens")
    assert answer.content


def test_one_call_at_most(claude: Anthropic):
    """`disable_parallel_tool_use` holds whatever the model would like."""
    choice = {"type": "any", "disable_parallel_tool_use": True}
    message = claude.messages.create(**asking(messages=CITY, tools=[WEATHER], tool_choice=choice))
    assert len([block for block in message.content if block.type == "tool_use"]) == 1


@pytest.mark.parametrize("thinking", [OFF, ON], ids=["plain", "after thinking"])
def test_a_schema_is_kept(claude: Anthropic, thinking: Any):
    """`output_config.format` binds the answer."""
    config = {"format": {"type": "json_schema", "schema": SUM_SCHEMA}}
    message = claude.messages.create(
        **asking(thinking=thinking, max_tokens=1500, output_config=config)
    )
    jsonschema.validate(json.loads(text_of(message)), SUM_SCHEMA)


def test_a_stop_text_is_named(claude: Anthropic):
    """It ends the answer, and is not part of it."""
    whole = text_of(claude.messages.create(**asking()))
    stop = whole[len(whole) // 2 :][:2]
    cut = claude.messages.create(**asking(stop_sequences=[stop]))
    assert text_of(cut) == whole[: whole.index(stop)]
    assert (cut.stop_reason, cut.stop_sequence) == ("stop_sequence", stop)


def test_length(claude: Anthropic):
    """What is cut off says so."""
    cut = claude.messages.create(**asking(max_tokens=2))
    assert cut.stop_reason == "max_tokens"
    assert cut.usage.output_tokens == 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": "Be brief."},
        {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        {"tools": [WEATHER], "messages": CITY},
        {"thinking": ON},
    ],
)
def test_tokens_are_counted_as_they_are_billed(claude: Anthropic, fields: dict[str, Any]):
    """Template, system and tools included; what the cache held is billed apart."""
    asked = {"model": MODEL, "messages": QUESTION, "thinking": OFF, **fields}
    counted = claude.messages.count_tokens(**asked).input_tokens
    usage = claude.messages.create(**asking(**fields, max_tokens=1100)).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_what_the_cache_held_is_told(claude: Anthropic):
    """`input_tokens` leaves it out, as at Anthropic."""
    long = [{"role": "user", "content": "Count these words: " + "red green blue " * 60}]
    first = claude.messages.create(**asking(messages=long, max_tokens=1)).usage
    again = claude.messages.create(**asking(messages=long, max_tokens=1)).usage
    assert again.cache_read_input_tokens
    total = first.input_tokens + (first.cache_read_input_tokens or 0)
    assert again.input_tokens + again.cache_read_input_tokens == total


def test_errors_have_their_classes(claude: Anthropic):
    """The package tells them apart, and finds Anthropic's document in each."""
    with pytest.raises(anthropic.NotFoundError, match="glimt/nano"):
        claude.messages.create(**asking(model="gpt-9"))
    for fields, named in [
        ({"extra_body": {"temperature": 9}}, "temperature"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice"),
    ]:
        with pytest.raises(anthropic.BadRequestError, match=named) as caught:
            claude.messages.create(**asking(**fields))
        body: Any = caught.value.body
        assert body["type"] == "error"
        assert body["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_refused_before_it_is_read_has_the_same_shape(server: str):
    """Unknown paths below this one, and bodies that are no JSON."""
    for path, status in [("/v1/messages/nowhere", 404), ("/v1/messages", 400)]:
        asked = httpx.post(f"{server}{path}", content=b"{")
        assert asked.status_code == status
        assert asked.json()["type"] == "error"
        assert asked.headers["request-id"]


def test_keys_are_told_either_way(serve: Any):
    """`x-api-key` or a bearer token; a stranger is refused with the class that says so."""
    with serve(api_keys=["sesame"]) as address:
        for who in ({"api_key": "sesame"}, {"auth_token": "sesame"}):
            with Anthropic(base_url=address, max_retries=0, **who) as client:
                assert client.messages.create(**asking(max_tokens=1)).content is not None
        with (
            Anthropic(base_url=address, api_key="wrong", max_retries=0) as stranger,
            pytest.raises(anthropic.AuthenticationError),
        ):
            stranger.messages.create(**asking())


def test_a_reader_that_leaves_frees_the_engine(claude: Anthropic, server: str):
    """The answer it did not want to the end is not generated to the end."""
    words = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 2000}
    schema = {"type": "object", "properties": {"words": words}, "required": ["words"]}
    config = {"format": {"type": "json_schema", "schema": schema}}
    fields = asking(messages=CITY, output_config=config, max_tokens=5000)
    before = engine_numbers(server)["glimt_engine_aborted_total"]
    with claude.messages.stream(**fields) as stream:
        for number, _ in enumerate(stream):
            if number == 5:
                break
    until = time.monotonic() + 20
    while (numbers := engine_numbers(server))["glimt_engine_aborted_total"] == before:
        assert time.monotonic() < until
    assert numbers["glimt_engine_running"] == 0


def test_models_are_listed(claude: Anthropic):
    """In Anthropic's shape, for Anthropic's client."""
    listed = list(claude.models.list())
    assert MODEL in {model.id for model in listed}
    assert claude.models.retrieve(MODEL).display_name
