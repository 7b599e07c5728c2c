"""Laws of answers that break off in the middle: another place goes on, and nobody sees the seam."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from glimt.catalog.types import Deployment
from glimt.core.clock import FakeClock
from glimt.core.errors import GlimtError, InvalidRequest, UpstreamError
from glimt.core.events import Answer, Finished, Started, ToolCallStarted, collect
from glimt.core.parts import Message, ReasoningPart, TextPart, ToolCallPart
from glimt.core.request import (
    JsonObjectFormat,
    Request,
    Routing,
    Sampling,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.core.usage import Usage
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.gateway.attempt import Attempts, AttemptSettings, Step
from glimt.gateway.circuit import Circuits
from glimt.gateway.history import History
from glimt.gateway.registry import Registry
from glimt.providers.local import LocalModel, LocalProvider
from glimt.providers.scripted import ScriptedProvider, Step as Said, say
from tests.batches import one_by_one
from tests.gateway.faulty import Behaviour, Exchange, chunk, serving
from tests.gateway.test_faults import House, reset
from tests.providers.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio

NANO = Path(__file__).parents[2] / "src/glimt/models/nano"
FULL = "Seen from  here,\n\n it is ENormous.\nThe ENd: say E EN END and then more"
STOPS = ((), ("END",), ("\n\n it", "END"), ("E EN END",))
ASKED = Request(model="m", messages=(Message(role="user", parts=(TextPart("hi"),)),))
CUT = UpstreamError("it broke off", code="upstream_cut")
TOOL = Tool(name="now")


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def begun(request: Request) -> str:
    """The text that is to be gone on with, as a template renders it."""
    last = request.messages[-1]
    return "".join(p.text for p in last.parts if isinstance(p, TextPart)).strip()


def speaks(size: int, *, cut: int | None = None) -> ScriptedProvider:
    """A place whose model knows one text, and says what is left of it up to a stop text.

    If it breaks off after `cut` pieces, it was a careless one: what might have become a stop text
    was sent before that was known.
    """

    def write(request: Request) -> list[Said]:
        rest = FULL
        if request.continues:
            assert FULL.startswith(begun(request))
            rest = FULL.removeprefix(begun(request))
        whole = len(rest)
        ends = [(at, stop) for stop in request.sampling.stop if (at := rest.find(stop)) >= 0]
        end, found = min(ends, default=(whole, ""))
        if cut is not None and cut * size < min(whole, end + len(found)):
            return [*say(*pieces(rest, size))[: cut + 1], CUT]
        return say(*pieces(rest[:end], size))

    return ScriptedProvider(write=write)


def steps(*providers: ScriptedProvider, continues: bool = True) -> list[Step]:
    return [
        Step(
            deployment=Deployment(provider=f"p{n}", model="m", upstream_model="m"),
            provider=provider,
            continues=continues,
            thinks_on=continues,
        )
        for n, provider in enumerate(providers)
    ]


async def ask(way: Sequence[Step], request: Request = ASKED) -> Answer:
    clock = FakeClock()
    attempts = Attempts(History(clock), Circuits(clock), AttemptSettings(), clock=clock)
    return await collect(attempts.answer(request, way, start_s=clock.monotonic()))


async def fail(way: Sequence[Step], request: Request = ASKED) -> GlimtError:
    with pytest.raises(GlimtError) as caught:
        await ask(way, request)
    return caught.value


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_every_cut(size: int, stop: tuple[str, ...]):
    """Wherever it is cut, once or twice, text and end are those of an answer that was not."""
    request = msgspec.structs.replace(ASKED, sampling=Sampling(stop=stop))
    whole = await ask(steps(speaks(size)), request)
    for cut in range(len(FULL) // size + 1):
        way = steps(speaks(size, cut=cut), speaks(2, cut=4), speaks(4))
        answer = await ask(way, request)
        assert answer.choices[0].text == whole.choices[0].text
        assert answer.choices[0].reason == whole.choices[0].reason


THOUGHT = "Is it  so?\n\nIt END is"


def thinks(size: int, *, cut: int | None = None) -> ScriptedProvider:
    """As `speaks`, with a thought before the text, of which it goes on wherever it is."""

    def write(request: Request) -> list[Said]:
        thought, text = THOUGHT, FULL
        if request.continues:
            parts = request.messages[-1].parts
            before = "".join(part.text for part in parts if isinstance(part, ReasoningPart))
            assert THOUGHT.startswith(before)
            thought, text = THOUGHT.removeprefix(before), FULL.removeprefix(begun(request))
            thought = "" if text != FULL else thought
        script = say(*pieces(text, size), reasoning=pieces(thought, size))
        return script if cut is None or cut + 2 >= len(script) else [*script[: cut + 1], CUT]

    return ScriptedProvider(write=write)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_every_cut_of_a_thought(size: int):
    """Wherever a thought or what follows it is cut, both are those of an answer that was not."""
    for cut in range((len(THOUGHT) + len(FULL)) // size + 2):
        way = steps(thinks(size, cut=cut), thinks(2, cut=4), thinks(4))
        answer = await ask(way)
        assert (answer.choices[0].reasoning, answer.choices[0].text) == (THOUGHT, FULL)


async def test_who_thinks_on():
    """A thought is gone on with by those alone who can; its budget is what is left of it."""
    request = msgspec.structs.replace(ASKED, thinking=Thinking(budget_tokens=5))
    able = thinks(3)
    spare = msgspec.structs.replace(steps(thinks(3))[0], thinks_on=False)
    way = [steps(thinks(2, cut=3))[0], spare, steps(able)[0]]
    assert (await ask(way, request)).choices[0].reasoning == THOUGHT
    assert able.requests[0].thinking == Thinking(budget_tokens=2)
    assert (await fail(way[:2], request)).code == "upstream_cut"


async def test_the_bill():
    """The prompt counts once, the completion is what all places said; the route tells of it."""
    first = ScriptedProvider([*say("a", " b", reasoning=["hm"])[:4], CUT])
    second = ScriptedProvider(say(" b", " c", usage=Usage(prompt_tokens=12, completion_tokens=2)))
    answer = await ask(steps(first, second))
    assert answer.choices[0].text == "a b c"
    assert answer.usage == Usage(prompt_tokens=10, completion_tokens=4, reasoning_tokens=1)
    assert answer.started.route == ("p0/m upstream_cut mid-answer", "p1/m")
    assert answer.warnings == (
        "the answer broke off and was gone on with elsewhere: p0/m upstream_cut mid-answer, p1/m",
    )
    assert second.requests[0].messages[-1] == Message(
        role="assistant", parts=(ReasoningPart(text="hm"), TextPart("a"))
    )


async def test_a_prompt_that_nobody_counted_before():
    """Where only the last place counts, what was said before is taken out of its prompt."""
    opening = Started(id="1", model="m", created=1, provider="p0")
    first = ScriptedProvider([*say("a", "b", started=opening)[:3], CUT])
    second = ScriptedProvider(say("c", usage=Usage(prompt_tokens=12, completion_tokens=1)))
    answer = await ask(steps(first, second))
    assert answer.usage == Usage(prompt_tokens=10, completion_tokens=3)


async def test_the_limit_is_what_is_left():
    """`max_tokens` holds for the answer as a whole; where nothing is left nobody is asked."""
    request = msgspec.structs.replace(ASKED, sampling=Sampling(max_tokens=4, min_tokens=1))
    first = ScriptedProvider([*say("a", " b", " c")[:4], CUT])
    second = ScriptedProvider(say(" c", " d"), say(" d"))
    answer = await ask(steps(first, second), request)
    assert second.requests[0].sampling == Sampling(max_tokens=2)
    assert (answer.choices[0].text, answer.usage.completion_tokens) == ("a b c d", 4)
    await ask(steps(first, second), request)
    assert second.requests[-1].sampling == Sampling(max_tokens=1)
    full = ScriptedProvider([*say("a", "b", "c", "d")[:5], CUT])
    answer = await ask(steps(full, second), request)
    assert (answer.choices[0].text, answer.choices[0].reason) == ("abcd", "length")
    assert answer.usage == Usage(prompt_tokens=10, completion_tokens=4)
    assert len(second.requests) == 3


async def test_only_the_bill_is_missing():
    """What ended before it broke off is whole; the bill is counted, and says so."""
    answer = await ask(steps(ScriptedProvider([*say("a", "b")[:-1], CUT])))
    assert (answer.choices[0].text, answer.choices[0].reason) == ("ab", "stop")
    assert answer.usage == Usage(prompt_tokens=10, completion_tokens=2)
    assert len(answer.warnings) == 1


@pytest.mark.parametrize(
    ("script", "changes"),
    [
        (say("a", "b"), {"response_format": JsonObjectFormat()}),
        (say("a", "b"), {"tools": (TOOL,), "tool_choice": ToolChoice(mode="required")}),
        (say("a", "b"), {"num_choices": 2}),
        (say("a", "b"), {"messages": (), "prompt": "x"}),
        (say("b", reasoning=[" "]), {}),
        (say("\n", "b"), {}),
        ([*say("a")[:2], ToolCallStarted(index=0, id="1", name="now")], {"tools": (TOOL,)}),
        (say("a", calls=[ToolCallPart(id="1", name="now", arguments="{}")]), {"tools": (TOOL,)}),
    ],
)
async def test_what_is_not_gone_on_with(script: list[Said], changes: dict[str, object]):
    """Where there is no text to go on with, or its form is promised, the break is an error."""
    position = 3 if any(isinstance(event, ToolCallStarted) for event in script) else 2
    spare = ScriptedProvider(say("no"))
    way = steps(ScriptedProvider([*script[:position], CUT]), spare)
    error = await fail(way, msgspec.structs.replace(ASKED, **changes))
    assert (error.code, error.route) == ("upstream_cut", ("p0/m upstream_cut",))
    assert spare.requests == []


async def test_nobody_can():
    """Whoever cannot continue, or has another model, is not asked; the break is an error."""
    spare = ScriptedProvider(say("no"))
    other = msgspec.structs.replace(
        steps(spare)[0], deployment=Deployment(provider="q", model="other", upstream_model="o")
    )
    first = steps(speaks(2, cut=2))[0]
    for way in ([first, other], [first, *steps(spare, continues=False)], [first]):
        assert (await fail(way)).code == "upstream_cut"
    assert spare.requests == []


async def test_who_fails_to_go_on():
    """Whoever refuses or thinks anew is passed over; where nobody is left the break is told."""
    anew = ScriptedProvider(say("no", reasoning=["hm"]))
    refuses = ScriptedProvider([InvalidRequest("not like this")])
    answer = await ask(steps(speaks(2, cut=5), refuses, anew, speaks(3)))
    assert answer.choices[0].text == FULL
    assert answer.started.route == (
        "p0/m upstream_cut mid-answer",
        "p1/m invalid_value",
        "p2/m upstream_began_anew",
        "p3/m",
    )
    error = await fail(steps(speaks(2, cut=5), refuses, anew))
    assert (error.code, len(error.route)) == ("upstream_cut", 3)


WORDS = "Glimt 是一个推理引擎和网关，兼容 OpenAI 的 HTTP 接口：/v1/chat/completions, /v1/models."


@pytest.mark.parametrize("thought", ["", "Is it  so?"])
async def test_a_word_that_was_cut(thought: str):
    """Wherever text or thought is cut, a place that reads words alone goes on as if it was not."""
    tokenizer = Tokenizer.load(NANO)
    whole = tokenizer.encode_untrusted(WORDS)

    def write(request: Request) -> list[Said]:
        """A model that is at a loss where its tokens are not those that it would have said."""
        if not request.continues:
            return say(*pieces(WORDS, 7), reasoning=[thought] if thought else [])
        assert begun(request) == request.messages[-1].parts[-1].text
        ids = tokenizer.encode_untrusted(begun(request))
        if whole[: len(ids)] != ids:
            return say(" lost")
        return say(*pieces(tokenizer.decode(whole[len(ids) :]), 7))

    start = int(bool(thought))
    for cut in range(1, len(WORDS)):
        script = say(*pieces(WORDS, 1), reasoning=[thought] if thought else [])
        first = ScriptedProvider([*script[: start + cut + 1], CUT])
        answer = await ask(steps(first, ScriptedProvider(write=write)))
        assert (answer.choices[0].reasoning, answer.choices[0].text) == (thought, WORDS)


async def test_another_word():
    """Who would say another word than the last one is asked again, behind it, and nobody else."""
    first = ScriptedProvider([*say("It", " is", " so")[:4], CUT])
    for again in (say(" not"), say(" s"), say(reasoning=["hm"])):
        second = ScriptedProvider(again, say(", yes"))
        answer = await ask(steps(first, second))
        assert answer.choices[0].text == "It is so, yes"
        assert [begun(request) for request in second.requests] == ["It is", "It is so"]
        assert answer.usage == Usage(prompt_tokens=10, completion_tokens=4)
        assert answer.started.route == ("p0/m upstream_cut mid-answer", "p1/m")


def says(number: int) -> Behaviour:
    """A place that breaks off after so many pieces."""

    async def behave(exchange: Exchange) -> None:
        await exchange.open()
        for piece in pieces(FULL, 6)[:number]:
            await exchange.chunk({"content": piece})
        await asyncio.sleep(0.02)  # A reset throws away what was not read.
        await reset(exchange)

    return behave


async def vllm(exchange: Exchange) -> None:
    """A server that renders the last message, trimmed, and goes on behind it."""
    asked = json.loads(exchange.body)
    rest = FULL
    if asked.get("continue_final_message"):
        assert asked["add_generation_prompt"] is False
        rest = FULL.removeprefix(asked["messages"][-1]["content"].strip())
    await exchange.open()
    for piece in pieces(rest, 5):
        await exchange.chunk({"content": piece})
    usage = {"prompt_tokens": 30, "completion_tokens": 2}
    await exchange.send(chunk(finish="stop", usage=usage) + b"data: [DONE]\n\n")


async def test_real_servers():
    """A reset anywhere in a real stream is made good by a real server of vLLM's kind."""
    for number in range(len(pieces(FULL, 6))):
        async with serving(says(number)) as first, serving(vllm) as second:
            house = House([first.url, second.url], kind="vllm")
            text, route = await house.ask()
            await house.http.close()
            assert text == FULL
            assert route[-1] == "second/glm-4.7-flash"


async def test_the_end_of_a_stream_tells():
    """A client whose headers are long gone reads in the last event who finished the answer."""
    async with serving(says(3)) as first, serving(vllm) as second:
        house = House([first.url, second.url], kind="vllm")
        events = [event async for event in one_by_one(house.gateway.answer(house.request))]
        await house.http.close()
    assert [type(event) for event in events].count(Started) == 1
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.route[0] == "first/glm-4.7-flash upstream_cut mid-answer"
    assert "second/glm-4.7-flash" in end.warnings[0]


@pytest.mark.parametrize(
    ("said", "rest", "prompt"),
    [
        ({"content": "It is"}, " is so.<|user|>", "<think></think>It"),
        ({"content": "It i"}, " is so.<|user|>", "<think></think>It"),
        ({"reasoning_content": "Hm, y"}, " yes</think>It is so.<|user|>", "<think>Hm,"),
        ({"reasoning_content": "H"}, "Hm, yes</think>It is so.<|user|>", "<think>"),
        (
            {"reasoning_content": "Hm, yes", "content": "I"},
            "It is so.<|user|>",
            "<think>Hm, yes</think>",
        ),
    ],
)
async def test_the_engine_here_goes_on(said: dict[str, str], rest: str, prompt: str):
    """What a real server broke off, text or thought, this machine's own model finishes."""

    async def breaks_off(exchange: Exchange) -> None:
        await exchange.open()
        await exchange.chunk(said)

    tokenizer = Tokenizer.load(NANO)
    engine = FakeEngine(tokenizer, (rest,))
    registry = Registry()
    registry.add(LocalProvider.load(engine, NANO, model=LocalModel(id="glm-4.7-flash")))
    async with serving(breaks_off) as first:
        house = House([first.url], registry=registry)
        request = msgspec.structs.replace(house.request, routing=Routing(order=("first", "local")))
        answer = await collect(house.gateway.answer(request))
        await house.http.close()
    [choice] = answer.choices
    assert choice.text == "It is so."
    assert choice.reasoning in ("", "Hm, yes")
    assert answer.started.route == (
        "first/glm-4.7-flash upstream_cut mid-answer",
        "local/glm-4.7-flash",
    )
    assert tokenizer.decode(engine.submitted[0].prompt).endswith(prompt)
