"""One Glimt behind another, in each format: clients get what they would get without the first.

Two whole servers with nano; the gateway asks the other in chat completions, Messages or Responses,
whatever its own client speaks.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import msgspec
import pytest
from anthropic import Anthropic
from openai import OpenAI

from glimt.core.events import Event, ReasoningDelta, TextDelta
from glimt.core.parts import Message, TextPart
from glimt.core.request import Request, Routing, Sampling, Thinking, Tool
from glimt.wire.formats import FORMATS, Format
from glimt.wire.sse import EventDecoder
from tests.e2e.asking import CITY, FORCED, PARAMETERS, QUESTION, SUM_FORMAT, SUM_SCHEMA, WEATHER
from tests.e2e.conftest import serving

WIRES = ("chat_completions", "messages", "responses")
MODEL = "glm-4.7-flash"


@pytest.fixture(scope="module")
def gateway(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Glimt that knows the other by a name for each format."""
    places = {
        f"providers.{wire}.{field}": value
        for wire in WIRES
        for field, value in {
            "kind": "glimt",
            "wire": wire,
            "base_url": f"{server}/v1",
            "models": {MODEL: "glimt/nano"},
        }.items()
    }
    with serving(tmp_path_factory.mktemp("gateway"), **places) as address:
        yield address


@pytest.fixture(scope="module")
def openai(gateway: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def claude(gateway: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=gateway, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def by(wire: str, **fields: Any) -> dict[str, Any]:
    """The question goes to the other one in this format, and nowhere else."""
    return {**fields, "provider": {"only": [wire]}}


def chat(wire: str, **fields: Any) -> dict[str, Any]:
    usual = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 200}
    off = {"thinking": {"type": "disabled"}}
    return {**usual, "extra_body": by(wire, **off), **fields}


@pytest.fixture(scope="module")
def direct(client: OpenAI) -> Any:
    """What the other one says by itself."""
    asked = {**chat(""), "model": "glimt/nano", "extra_body": {"thinking": {"type": "disabled"}}}
    return client.chat.completions.create(**asked)


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer(openai: OpenAI, direct: Any, wire: str):
    """Streamed or whole, text, end and bill are the other one's own; the route says which."""
    raw = openai.chat.completions.with_raw_response.create(**chat(wire))
    assert raw.headers["x-glimt-route"] == f"{wire}/{MODEL}"
    assert "x-glimt-warnings" not in raw.headers
    answer = raw.parse()
    assert answer.choices[0].message.content == direct.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == direct.usage.prompt_tokens
    assert answer.usage.completion_tokens == direct.usage.completion_tokens
    chunks = list(openai.chat.completions.create(**chat(wire), stream=True))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == direct.choices[0].message.content


@pytest.mark.parametrize("wire", WIRES)
def test_a_limit_and_a_stop_text(openai: OpenAI, wire: str):
    """An answer that is cut off says so, and a stop text stops there."""
    thinks = by(wire, thinking={"type": "enabled"})
    answer = openai.chat.completions.create(**chat(wire, max_tokens=16, extra_body=thinks))
    assert answer.choices[0].finish_reason == "length"
    stopped = openai.chat.completions.create(**chat(wire, stop=["9"]))
    text = stopped.choices[0].message.content or ""
    assert "1" in text
    assert "9" not in text


@pytest.mark.parametrize("wire", WIRES)
def test_a_call_and_its_result(openai: OpenAI, wire: str):
    """A forced call comes through, and what its tool said goes the same way."""
    fields = chat(wire, messages=CITY, tools=[WEATHER], tool_choice=FORCED)
    answer = openai.chat.completions.create(**fields)
    [call] = answer.choices[0].message.tool_calls or []
    assert answer.choices[0].finish_reason == "tool_calls"
    assert "city" in json.loads(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'}
    turn = [*CITY, answer.choices[0].message.model_dump(exclude_none=True), result]
    later = openai.chat.completions.create(**chat(wire, messages=turn, tools=[WEATHER]))
    assert later.choices[0].message.content


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_of_a_form(openai: OpenAI, wire: str):
    """A schema holds behind any format."""
    answer = openai.chat.completions.create(**chat(wire, response_format=SUM_FORMAT))
    assert json.loads(answer.choices[0].message.content or "").keys() == {"sum"}


@pytest.mark.parametrize("wire", WIRES)
def test_a_thought_of_a_client_of_messages(claude: Anthropic, wire: str):
    """A thought comes through, with a proof; in the next turn it is taken back without a word."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "messages": QUESTION,
        "max_tokens": 1500,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "extra_body": by(wire, temperature=0),
    }
    message = claude.messages.create(**fields)
    thought = message.content[0]
    assert thought.type == "thinking"
    assert thought.thinking
    assert thought.signature.startswith("glimt1." if wire == "chat_completions" else f"{wire}:")
    turn = [block.model_dump(exclude_none=True) for block in message.content]
    later = [*QUESTION, {"role": "assistant", "content": turn}, {"role": "user", "content": "Why?"}]
    raw = claude.messages.with_raw_response.create(**{**fields, "messages": later})
    assert raw.headers["x-glimt-route"] == f"{wire}/{MODEL}"
    assert "x-glimt-warnings" not in raw.headers
    with claude.messages.stream(**fields) as stream:
        blocks = stream.get_final_message().content
    assert blocks[0].type == "thinking"
    assert blocks[0].thinking == thought.thinking
    assert blocks[0].signature


@pytest.mark.parametrize("wire", WIRES)
def test_a_client_of_responses(openai: OpenAI, wire: str):
    """Thought, text, call and schema of the third format, whatever is spoken behind it."""
    usual: dict[str, Any] = {
        "model": MODEL,
        "temperature": 0,
        "max_output_tokens": 1500,
        "store": False,
    }
    fields = {**usual, "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
    response = openai.responses.create(**fields, input="What is 12 + 7?", extra_body=by(wire))
    kinds = [item.type for item in response.output]
    assert kinds == ["reasoning", "message"]
    turn = [
        {"role": "user", "content": "What is 12 + 7?"},
        *(item.model_dump(exclude_none=True) for item in response.output),
        {"role": "user", "content": "Why?"},
    ]
    raw = openai.responses.with_raw_response.create(**fields, input=turn, extra_body=by(wire))
    assert "x-glimt-warnings" not in raw.headers
    weather = {"type": "function", "name": "get_weather", "parameters": PARAMETERS}
    called = openai.responses.create(
        **usual,
        reasoning={"effort": "none"},
        input=CITY[0]["content"],
        tools=[weather],
        tool_choice="required",
        extra_body=by(wire),
    )
    assert [item.type for item in called.output] == ["function_call"]
    form = {"type": "json_schema", "name": "sum", "schema": SUM_SCHEMA, "strict": True}
    shaped = openai.responses.create(
        **usual,
        reasoning={"effort": "none"},
        input="What is 12 + 7?",
        text={"format": form},
        extra_body=by(wire),
    )
    assert json.loads(shaped.output_text).keys() == {"sum"}


def test_tokens_are_counted(claude: Anthropic, server: str):
    """Where Messages are spoken, the other one counts."""
    asked: dict[str, Any] = {"messages": QUESTION, "thinking": {"type": "disabled"}}
    there = claude.messages.count_tokens(model=MODEL, extra_body=by("messages"), **asked)
    with Anthropic(base_url=server, api_key="none") as other:
        assert there == other.messages.count_tokens(model="glimt/nano", **asked)


PATHS = {
    "chat_completions": "/v1/chat/completions",
    "ai_sdk": "/v4/ai/language-model",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}
TURN = Message(role="user", parts=(TextPart("What is 12 + 7?"),))
TOOL = Tool(name="get_weather", description="The weather in a city", parameters=PARAMETERS)


@pytest.mark.parametrize("found", FORMATS, ids=lambda found: found.name)
def test_every_format_through_every_other(gateway: str, found: Format):
    """The same events reach a client of any format, whatever is spoken behind the gateway."""
    asked = Request(
        model=MODEL,
        messages=(TURN,),
        tools=(TOOL,),
        thinking=Thinking(enabled=True),
        sampling=Sampling(temperature=0.0, max_tokens=600),
    )
    answers = {wire: answered(gateway, found, asked, wire) for wire in WIRES}
    thought, text = answers["chat_completions"]
    assert thought
    assert text
    assert set(answers.values()) == {(thought, text)}


def answered(gateway: str, found: Format, asked: Request, wire: str) -> tuple[str, str]:
    """Thought and text."""
    headers, body = found.ask(msgspec.structs.replace(asked, routing=Routing(only=(wire,))))
    response = httpx.post(
        gateway + PATHS[found.name],
        content=body,
        headers={"content-type": "application/json", **headers},
        timeout=60,
    )
    assert response.status_code == 200, response.text
    assert response.headers["x-glimt-route"] == f"{wire}/{MODEL}"
    reader, events = found.reader(), list[Event]()
    for event in EventDecoder().feed(response.content):
        events += reader.feed(event.data)
    events += reader.end()
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    return thought, "".join(event.text for event in events if isinstance(event, TextDelta))
