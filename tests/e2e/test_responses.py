"""`/v1/responses` of a whole Glimt with nano, as the official openai package asks for it."""

import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel, Field

from tests.e2e.asking import PARAMETERS

MODEL = "glimt/nano"
QUESTION = "What is 12 + 7?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": PARAMETERS,
}
FORCED: Any = {"type": "function", "name": "get_weather"}
OFF: Any = {"effort": "none"}
ON: Any = {"effort": "low"}


class Sum(BaseModel):
    sum: int = Field(ge=0, le=99)


def ask(client: OpenAI, asked: Any = QUESTION, **fields: Any) -> Any:
    wishes = {"reasoning": OFF, "temperature": 0, "max_output_tokens": 300, **fields}
    return client.responses.create(model=MODEL, input=asked, **wishes)


def call_of(response: Any) -> Any:
    """The one call of an answer, held to its schema."""
    [call] = [item for item in response.output if item.type == "function_call"]
    assert call.name == "get_weather"
    assert isinstance(json.loads(call.arguments)["city"], str)
    return call


def result(call: Any) -> Any:
    return {"type": "function_call_output", "call_id": call.call_id, "output": '{"sky": "clear"}'}


def test_an_answer(client: OpenAI):
    """Text, its end, and a bill that adds up."""
    response = ask(client)
    assert "19" in response.output_text
    assert (response.status, response.model, response.error) == ("completed", MODEL, None)
    assert [item.type for item in response.output] == ["message"]
    usage = response.usage
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.output_tokens_details.reasoning_tokens == 0
    again = ask(client)
    assert again.output_text == response.output_text
    assert again.usage.input_tokens_details.cached_tokens <= usage.input_tokens


def test_a_stream(client: OpenAI):
    """The package puts events together to the answer that it gets whole."""
    wishes: Any = {"reasoning": ON, "temperature": 0, "max_output_tokens": 300}
    with client.responses.stream(model=MODEL, input=QUESTION, **wishes) as stream:
        events = list(stream)
        streamed = stream.get_final_response()
    whole = ask(client, reasoning=ON)
    assert streamed.output_text == whole.output_text
    assert streamed.usage == whole.usage
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert kinds.index("response.reasoning_text.delta") < kinds.index("response.output_text.delta")


def test_thinking(client: OpenAI):
    """A thought is an item of its own, or a summary where one is asked for, or there is none."""
    thought, message = ask(client, reasoning=ON).output
    assert (thought.type, message.type) == ("reasoning", "message")
    assert thought.content[0].text
    assert thought.summary == []
    shown = ask(client, reasoning={"effort": "low", "summary": "auto"}).output[0]
    assert shown.summary[0].text == thought.content[0].text
    assert shown.content is None
    assert (
        ask(client, extra_body={"enable_thinking": False}, reasoning={}).output[0].type
        != "reasoning"
    )


def test_a_sealed_thought_goes_out_and_comes_back(client: OpenAI):
    """Nothing is kept: the client carries the thought, sealed, and the prompt has it again."""
    wishes: Any = {
        "reasoning": {"effort": "low", "context": "all_turns"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    first = ask(client, **wishes)
    assert first.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    thought = first.output[0]
    assert thought.encrypted_content
    assert thought.content[0].text not in thought.encrypted_content
    question = {"role": "user", "content": QUESTION}
    more = {"role": "user", "content": "What is 1 + 1?"}
    # As agents send it: the seal alone.
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": thought.encrypted_content}
    rest = [item.model_dump(exclude_none=True) for item in first.output[1:]]
    said = [question, sealed, *rest, more]
    second = client.responses.with_raw_response.create(
        model=MODEL, input=said, temperature=0, max_output_tokens=300, **wishes
    )
    assert "x-glimt-warnings" not in second.headers
    without = ask(client, [question, *rest, more], **wishes)
    used = second.parse().usage.input_tokens
    assert used > without.usage.input_tokens
    broken = {**sealed, "encrypted_content": sealed["encrypted_content"][:-4] + "AAAA"}
    tampered = client.responses.with_raw_response.create(
        model=MODEL, input=[question, broken, *rest, more], max_output_tokens=16, **wishes
    )
    assert "encrypted reasoning was left out" in tampered.headers["x-glimt-warnings"]
    assert tampered.parse().usage.input_tokens == without.usage.input_tokens


def test_a_structured_answer(client: OpenAI):
    """The package's own `parse` gets an object of the class that it sent the schema of."""
    parsed = client.responses.parse(
        model=MODEL, input=QUESTION, text_format=Sum, reasoning=OFF, max_output_tokens=100
    )
    assert isinstance(parsed.output_parsed, Sum)
    schema = {"type": "object", "properties": {"a": {"$ref": "https://else.where"}}}
    wanted: Any = {"type": "json_schema", "name": "a", "schema": schema, "strict": True}
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, text={"format": wanted})
    assert caught.value.param is not None
    assert caught.value.param.startswith("text.format.schema")


def test_a_forced_call_and_what_comes_of_it(client: OpenAI):
    """A tool loop in two steps, each sent whole."""
    first = ask(client, "What is the weather in Oslo?", tools=[WEATHER], tool_choice=FORCED)
    call = call_of(first)
    said = [{"role": "user", "content": "What is the weather in Oslo?"}, *first.output]
    second = ask(client, [*said, result(call)], tools=[WEATHER], tool_choice="none")
    assert second.output_text


def test_a_streamed_call(client: OpenAI):
    """Its arguments come as they form, and are whole at the end."""
    wishes: Any = {"tools": [WEATHER], "tool_choice": FORCED, "reasoning": OFF, "stream": True}
    events: Any = list(
        client.responses.create(model=MODEL, input="Weather in Oslo?", temperature=0, **wishes)
    )
    call = call_of(events[-1].response)
    pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(pieces) == call.arguments
    assert len(pieces) > 1


def test_a_conversation_by_its_last_response(client: OpenAI):
    """A response is continued by its id alone: the prompt, and its cache, are those before."""
    first = ask(client, "What is the weather in Oslo?", tools=[WEATHER], tool_choice=FORCED)
    wishes: Any = {"previous_response_id": first.id, "tools": [WEATHER]}
    second = ask(client, [result(call_of(first))], **wishes)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens
    third = ask(client, QUESTION, **{**wishes, "previous_response_id": second.id})
    assert third.usage.input_tokens > second.usage.input_tokens
    assert third.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens - 64
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, previous_response_id="resp_nothing")
    assert caught.value.code == "previous_response_not_found"


def test_what_is_kept(client: OpenAI):
    """It is read as it was answered, has its input, and is gone once deleted."""
    response = ask(client, [{"role": "user", "content": QUESTION}])
    assert client.responses.retrieve(response.id) == response
    [item] = client.responses.input_items.list(response.id)
    assert (item.type, item.content[0].text) == ("message", QUESTION)
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(response.id)
    client.responses.delete(response.id)
    for act in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            act(response.id)


def test_tokens_are_counted_exactly(client: OpenAI):
    """The count is what an answer is billed for, tools, instructions and history included."""
    first = ask(client, store=True)
    wishes: Any = {
        "instructions": "Be brief.",
        "tools": [WEATHER],
        "reasoning": OFF,
        "previous_response_id": first.id,
    }
    counted = client.responses.input_tokens.count(model=MODEL, input="Weather in Oslo?", **wishes)
    assert counted.object == "response.input_tokens"
    answered = ask(client, "Weather in Oslo?", **wishes)
    assert counted.input_tokens == answered.usage.input_tokens


def test_errors(client: OpenAI):
    """Each has its class, and names the field."""
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="gpt-9", input="hi")
    for fields, param in (
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"asked": [{"role": "nobody", "content": "a"}]}, "input[0].role"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
        ({"background": True}, "background"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, **fields)
        assert caught.value.param is not None
        assert caught.value.param.startswith(param)


def test_a_client_that_leaves(client: OpenAI):
    """A stream that is closed frees the engine, and nothing of it is kept."""
    digits = {"type": "array", "items": {"type": "integer"}, "minItems": 3000}
    schema = {"type": "object", "properties": {"d": digits}, "required": ["d"]}
    wanted: Any = {"type": "json_schema", "name": "a", "schema": schema, "strict": True}
    stream = ask(client, stream=True, max_output_tokens=20_000, text={"format": wanted})
    response_id = ""
    for event in stream:
        if event.type == "response.created":
            response_id = event.response.id
        if event.type == "response.output_text.delta":
            break
    stream.close()
    start_s = time.monotonic()
    assert ask(client).status == "completed"
    assert time.monotonic() - start_s < 20
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response_id)


KEYS = ("one", "another")


@pytest.fixture(scope="module")
def tenants(serve: Any) -> Iterator[list[OpenAI]]:
    """Two owners of keys at one server."""
    with serve(api_keys=[*KEYS]) as server:
        yield [OpenAI(base_url=f"{server}/v1", api_key=key, max_retries=0) for key in KEYS]


def test_tenants(tenants: list[OpenAI]):
    """What one keeps does not exist for the other, by whichever way."""
    one, another = tenants
    response = ask(one)
    assert one.responses.retrieve(response.id).id == response.id
    for act in (
        another.responses.retrieve,
        another.responses.delete,
        another.responses.cancel,
        lambda found: list(another.responses.input_items.list(found)),
    ):
        with pytest.raises(openai.NotFoundError):
            act(response.id)
    with pytest.raises(openai.BadRequestError):
        ask(another, previous_response_id=response.id)
    item: Any = {"type": "item_reference", "id": response.output[0].id}
    with pytest.raises(openai.BadRequestError):
        ask(another, [item, {"role": "user", "content": "Go on."}])
    with pytest.raises(openai.AuthenticationError):
        ask(one.with_options(api_key="none"))
