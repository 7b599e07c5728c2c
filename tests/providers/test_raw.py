"""Laws of `transformers serve`: text that is all that the model wrote, and fields not listened to.

The shapes are those that transformers 5.23.0 sent; `tests/e2e/test_transformers.py` asks it itself.
"""

import msgspec
import pytest

from glimt.catalog.load import load
from glimt.core.clock import SystemClock
from glimt.core.errors import InvalidRequest
from glimt.core.events import Answer, collect
from glimt.core.parts import Message, TextPart, ToolCallPart
from glimt.core.request import JsonObjectFormat, Request, Sampling, Thinking, Tool, ToolChoice
from glimt.providers.http import Http
from glimt.providers.remote import RemoteProvider
from glimt.providers.spelling import spelled
from tests.gateway.faulty import Behaviour, Exchange, chunk, serving

pytestmark = pytest.mark.anyio

ROW = load().providers["transformers"]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = Tool(name="get_weather", parameters=CITY)
ASKED = Request(
    model="/nano", messages=(Message(role="user", parts=(TextPart("hi"),)),), tools=(TOOL,)
)
CALL = "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>"
BILL = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def writes(*deltas: dict[str, str], finish="stop") -> Behaviour:
    """A stream as it sends one: the bill with the end, and nothing after it."""

    async def behave(exchange: Exchange) -> None:
        await exchange.open("text/event-stream; charset=utf-8")
        await exchange.chunk({"role": "assistant"})
        for delta in deltas:
            await exchange.chunk(delta)
        await exchange.send(chunk(finish=finish, usage=BILL))

    return behave


async def ask(behaviour: Behaviour, request: Request = ASKED) -> Answer:
    async with serving(behaviour) as server:
        http = Http([server.url])
        row = msgspec.structs.replace(ROW, base_url=server.url)
        try:
            return await collect(RemoteProvider(row, http, clock=SystemClock()).answer(request))
        finally:
            await http.close()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_what_the_model_wrote_is_told_apart(size: int):
    """Thought, text and call are those of the engine's own reader, however they are cut."""
    wrote = f"Hm, a < b.</think>It is:{CALL}"
    pieces = [{"content": wrote[at : at + size]} for at in range(0, len(wrote), size)]
    answer = await ask(writes(*pieces))
    [choice] = answer.choices
    [call] = [part for part in choice.parts if isinstance(part, ToolCallPart)]
    assert (choice.reasoning, choice.text, choice.reason) == ("Hm, a < b.", "It is:", "tool_calls")
    assert (call.name, call.arguments) == ("get_weather", '{"city": "Oslo"}')
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (10, 4)


async def test_a_whole_answer_is_told_apart():
    """So is one that came in one piece."""

    async def behave(exchange: Exchange) -> None:
        message = {"role": "assistant", "content": "Hm</think>It is so."}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        await exchange.document(200, {"id": "1", "choices": [choice], "usage": BILL})

    [choice] = (await ask(behave)).choices
    assert (choice.reasoning, choice.text) == ("Hm", "It is so.")


async def test_an_answer_without_a_thought():
    """Where thinking is switched off, text is text from its first letter on."""
    off = msgspec.structs.replace(ASKED, thinking=Thinking(enabled=False))
    [choice] = (await ask(writes({"content": "It is"}, {"content": " so."}), off)).choices
    assert (choice.reasoning, choice.text, choice.reason) == ("", "It is so.", "stop")


async def test_a_thought_that_was_cut_off():
    """At the limit of tokens an open thought is a thought, and held text is not lost."""
    [choice] = (await ask(writes({"content": "Hm, a <"}, finish="length"))).choices
    assert (choice.reasoning, choice.text, choice.reason) == ("Hm, a <", "", "length")


async def test_who_tells_thoughts_apart_itself():
    """A server that has a reader for the model's format is taken at its word."""
    told = writes({"reasoning_content": "Hm"}, {"content": "a </think> b"})
    [choice] = (await ask(told)).choices
    assert (choice.reasoning, choice.text) == ("Hm", "a </think> b")


async def test_what_it_says_of_a_mistake():
    """FastAPI's `detail` reaches the client."""

    async def behave(exchange: Exchange) -> None:
        await exchange.document(422, {"detail": "Unexpected fields in the request: {'x'}"})

    with pytest.raises(InvalidRequest, match="Unexpected fields"):
        await ask(behave)


def test_what_it_does_not_listen_to():
    """Fields that it would refuse, or pass over in silence, are taken out and named."""
    asked = msgspec.structs.replace(
        ASKED,
        sampling=Sampling(temperature=0.5, top_k=3, stop=("x",), min_tokens=2),
        thinking=Thinking(enabled=True),
        tool_choice=ToolChoice(names=("get_weather",)),
        parallel_tool_calls=False,
        response_format=JsonObjectFormat(),
    )
    sent, warnings = spelled(asked, ROW)
    assert sent.sampling == Sampling(temperature=0.5)
    assert sent.template_arguments == {"enable_thinking": True}
    blank = Request(model="")
    for name in ("tool_choice", "parallel_tool_calls", "response_format", "thinking"):
        assert getattr(sent, name) == getattr(blank, name)
    named = {warning.split()[0] for warning in warnings}
    assert named == {
        *("sampling.top_k", "sampling.stop", "sampling.min_tokens"),
        *("tool_choice", "parallel_tool_calls", "response_format"),
    }
    no_calls = msgspec.structs.replace(ASKED, tool_choice=ToolChoice(mode="none"))
    assert spelled(no_calls, ROW)[0].tools == ()
