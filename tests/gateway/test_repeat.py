"""Laws of answers that nobody can go on with: asked anew, and only what is new is shown."""

from collections.abc import Sequence

import msgspec
import pytest

from glimt.core.errors import GlimtError
from glimt.core.events import (
    Answer,
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
from glimt.core.parts import ToolCallPart
from glimt.core.request import JsonObjectFormat, Sampling
from glimt.core.usage import Usage
from glimt.providers.scripted import ScriptedProvider, Step as Said, say
from tests.gateway.test_resume import ASKED, CUT, TOOL, ask, fail, pieces, steps

pytestmark = pytest.mark.anyio

GREEDY = msgspec.structs.replace(ASKED, sampling=Sampling(temperature=0), tools=(TOOL,))
THOUGHT, TEXT = "Is it so? ", "It is, and I ask."
CALLS = (("now", '{"zone": "Oslo"}'), ("now", "{}"))
OPENING = Started(id="1", model="m", created=1, provider="p", prompt_tokens=10)


def script(size: int, *, name="now", text=TEXT) -> list[Said]:
    """Thought, text and two calls, in pieces of this size."""
    calls: list[Event] = []
    for index, (_, arguments) in enumerate(CALLS):
        calls.append(ToolCallStarted(index=index, id=f"{size}-{index}", name=name))
        calls += [ToolCallDelta(index=index, arguments=a) for a in pieces(arguments, size)]
        calls.append(ToolCallFinished(index=index))
    return [
        OPENING,
        *(ReasoningDelta(text=piece) for piece in pieces(THOUGHT, size)),
        *(TextDelta(text=piece) for piece in pieces(text, size)),
        *calls,
        ChoiceFinished(reason="tool_calls"),
        Finished(usage=Usage(prompt_tokens=10, completion_tokens=30, reasoning_tokens=5)),
    ]


def words(answer: Answer) -> tuple[object, ...]:
    [choice] = answer.choices
    calls = [(p.name, p.arguments) for p in choice.parts if isinstance(p, ToolCallPart)]
    return choice.reasoning, choice.text, calls, choice.reason


WHOLE = (THOUGHT, TEXT, list(CALLS), "tool_calls")


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_every_cut(size: int):
    """Wherever it breaks off, twice, the whole is what it would have been, and so is its bill."""
    whole = script(size)
    for cut in range(2, len(whole) - 2):
        first = ScriptedProvider([*whole[:cut], CUT])
        second = ScriptedProvider([*script(2)[: min(cut + 3, len(script(2)) - 2)], CUT])
        answer = await ask(
            steps(first, second, ScriptedProvider(script(4)), continues=False), GREEDY
        )
        assert words(answer) == WHOLE
        assert answer.usage == Usage(prompt_tokens=10, completion_tokens=30, reasoning_tokens=5)
        assert "p0/m upstream_cut mid-answer" in answer.started.route


async def test_a_call_keeps_its_name():
    """The id of a call that was begun is the first place's; later ones are the last place's."""
    whole = script(3)
    begun = next(n for n, event in enumerate(whole) if isinstance(event, ToolCallStarted))
    way = steps(ScriptedProvider([*whole[: begun + 2], CUT]), ScriptedProvider(script(4)))
    [choice] = (await ask(way, GREEDY)).choices
    assert [p.id for p in choice.parts if isinstance(p, ToolCallPart)] == ["3-0", "4-1"]


async def test_json_is_asked_anew():
    """An answer that is held to a form is not gone on with, but said again."""
    request = msgspec.structs.replace(GREEDY, tools=(), response_format=JsonObjectFormat())
    second = ScriptedProvider(say('{"a', '": 1}'))
    answer = await ask(steps(ScriptedProvider([*say('{"', 'a": ')[:3], CUT]), second), request)
    assert answer.choices[0].text == '{"a": 1}'
    assert second.requests == [msgspec.structs.replace(request, model="m")]


@pytest.mark.parametrize(
    "other",
    [
        script(3, text="It is not, and I ask."),
        script(3, name="then"),
        [*script(3)[: len(script(3)) // 2], *script(3)[-2:]],
        say(TEXT, reasoning=[THOUGHT]),
        say(TEXT),
        say(TEXT, reasoning=[THOUGHT + "No."]),
    ],
)
async def test_another_answer(other: Sequence[Said]):
    """Whoever says another answer than the one begun is passed over; else the break is told."""
    begun = ScriptedProvider([*script(3)[:-4], CUT])
    able = ScriptedProvider(script(5))
    answer = await ask(steps(begun, ScriptedProvider(other), able, continues=False), GREEDY)
    assert words(answer) == WHOLE
    error: GlimtError = await fail(steps(begun, ScriptedProvider(other)), GREEDY)
    assert error.code == "upstream_cut"


async def test_only_what_is_the_same_each_time():
    """An answer that is drawn is not asked anew."""
    spare = ScriptedProvider(script(3))
    for sampling in (Sampling(), Sampling(temperature=0.1)):
        request = msgspec.structs.replace(GREEDY, sampling=sampling)
        error = await fail(steps(ScriptedProvider([*script(3)[:-6], CUT]), spare), request)
        assert error.code == "upstream_cut"
    assert spare.requests == []


async def test_whoever_can_goes_on():
    """Text is asked anew only of those that cannot go on with it, after those that can."""
    anew = ScriptedProvider(say("It is", " so."))
    able = ScriptedProvider(say(" is", " so."))
    cut = steps(ScriptedProvider([*say("It", " is")[:3], CUT]))
    way = [*cut, *steps(anew, continues=False), *steps(able)]
    assert (await ask(way, GREEDY)).choices[0].text == "It is so."
    assert (anew.requests, len(able.requests)) == ([], 1)
    assert (await ask(way[:2], GREEDY)).choices[0].text == "It is so."
    assert not anew.requests[0].continues


async def test_only_the_bill_is_missing():
    """Calls whose end came are whole without it."""
    answer = await ask(steps(ScriptedProvider([*script(100)[:-1], CUT])), GREEDY)
    assert words(answer) == WHOLE
    assert len(answer.warnings) == 1
