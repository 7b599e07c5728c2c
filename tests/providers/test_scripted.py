"""Laws of the scripted provider: it plays what it was given, and remembers."""

import asyncio

import pytest

from glimt.core.errors import RateLimited, Unavailable
from glimt.core.events import collect
from glimt.core.parts import ToolCallPart
from glimt.core.provider import Provider
from glimt.core.request import Request
from glimt.providers.scripted import Pause, ScriptedProvider, say

pytestmark = pytest.mark.anyio
REQUEST = Request(model="scripted", prompt="hi")


async def test_scripts_in_order():
    """The first request gets the first script, later ones the last; requests are remembered."""
    provider: Provider = ScriptedProvider(say("a"), say("b", "c", reasoning=["r"]))
    answers = [await collect(provider.answer(REQUEST)) for _ in range(3)]
    assert [answer.choices[0].text for answer in answers] == ["a", "bc", "bc"]
    assert answers[1].choices[0].reasoning == "r"
    assert answers[1].usage.reasoning_tokens == 1
    assert isinstance(provider, ScriptedProvider)
    assert provider.requests == [REQUEST] * 3
    assert provider.endings == ["finished"] * 3


async def test_calls():
    """A script may hold calls; its reason is then `tool_calls`."""
    call = ToolCallPart(id="1", name="f", arguments="{}")
    answer = await collect(ScriptedProvider(say(calls=[call])).answer(REQUEST))
    assert answer.choices[0].tool_calls == (call,)
    assert answer.choices[0].reason == "tool_calls"


async def test_errors():
    """An error in a script is raised where it stands."""
    provider = ScriptedProvider([*say("a")[:2], RateLimited("slow down")])
    events = aiter(provider.answer(REQUEST))
    assert len([await anext(events), await anext(events)]) == 2
    with pytest.raises(RateLimited):
        await anext(events)
    assert provider.endings == ["failed"]


async def test_pauses():
    """A pause sleeps by the injected clock."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await collect(ScriptedProvider([Pause(2.5), *say("a")], sleep=sleep).answer(REQUEST))
    assert slept == [2.5]


async def test_closing_an_answer():
    """An answer that nobody reads on is known to have been closed."""
    provider = ScriptedProvider(say("a", "b"))
    answer = provider.answer(REQUEST)
    await anext(answer)
    assert provider.num_open == 1
    await answer.aclose()
    assert provider.num_open == 0
    assert provider.endings == ["closed"]


async def test_closing_the_provider():
    """A closed provider ends answers that wait for ever, and refuses new ones."""
    provider = ScriptedProvider([Pause(float("inf")), *say("a")])
    task = asyncio.create_task(collect(provider.answer(REQUEST)))
    await asyncio.sleep(0)
    await provider.close()
    with pytest.raises(Unavailable):
        await task
    with pytest.raises(Unavailable):
        await collect(provider.answer(REQUEST))


async def test_a_function_writes():
    """A function may write the script for a request."""
    provider = ScriptedProvider(write=lambda request: say(f"you said {request.prompt}"))
    assert (await collect(provider.answer(REQUEST))).choices[0].text == "you said hi"
    with pytest.raises(ValueError, match="script"):
        ScriptedProvider()
