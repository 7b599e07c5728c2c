"""The second place is asked when the first is slow; the answer is one, whole, and somebody's."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from glimt.catalog.types import Deployment
from glimt.core.clock import SystemClock
from glimt.core.errors import GlimtError, InvalidRequest, UpstreamError
from glimt.core.events import Answer, collect
from glimt.core.parts import Message, ReasoningPart, TextPart
from glimt.core.request import Request
from glimt.gateway.attempt import Attempts, AttemptSettings, Step
from glimt.gateway.circuit import Circuits
from glimt.gateway.hedge import MIN_ANSWERS
from glimt.gateway.history import History
from glimt.gateway.meter import Meter
from glimt.gateway.stats import HALF_HOUR_S, Outcome
from glimt.providers.scripted import Pause, ScriptedProvider, Step as Said, say
from tests.gateway.faulty import Exchange, answer, fine, serving
from tests.gateway.test_faults import House

pytestmark = pytest.mark.anyio

ASKED = Request(model="m", messages=(Message(role="user", parts=(TextPart("hi"),)),))
SLOW = Pause(0)
"""Until the place's gate is opened."""
CUT = UpstreamError("cut", code="upstream_cut")
BROKEN = UpstreamError("no", code="upstream_error")


class Place(ScriptedProvider):
    """Says its script, and waits at its gate where that says so."""

    def __init__(self, *script: Said) -> None:
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        super().__init__(script, sleep=self._wait)

    async def _wait(self, _: float) -> None:
        self.asked.set()
        await self.gate.wait()


class Track:
    """Places p0, p1 … of one model, of which the first is known to be fast."""

    def __init__(
        self, *places: ScriptedProvider, hedge: bool = True, num_known: int = MIN_ANSWERS
    ) -> None:
        clock = SystemClock()
        self.places = places
        self.history = History(clock)
        self.meter = Meter(clock)
        self.attempts = Attempts(
            self.history,
            Circuits(clock),
            AttemptSettings(hedge=hedge),
            clock=clock,
            meter=self.meter,
        )
        self.steps = [
            Step(
                deployment=Deployment(provider=f"p{n}", model="m", upstream_model="m"),
                provider=place,
                continues=True,
                thinks_on=True,
            )
            for n, place in enumerate(places)
        ]
        for _ in range(num_known):
            self.history.record(
                Outcome(
                    deployment="p0/m", start_s=0, ttft_s=0.001, duration_s=0.01, output_tokens=1
                )
            )

    async def ask(self, request: Request = ASKED, steps: Sequence[Step] | None = None) -> Answer:
        way = self.steps if steps is None else steps
        events = self.attempts.answer(request, way, start_s=SystemClock().monotonic())
        async with asyncio.timeout(5):
            return await collect(events)

    @property
    def endings(self) -> list[list[str]]:
        return [list(place.endings) for place in self.places]


def text(answer: Answer) -> str:
    return answer.choices[0].text


async def test_the_spare_answers_for_a_slow_place():
    """The answer is the spare's alone; the slow place is ended, named, counted, and not blamed."""
    first, spare = Place(SLOW, *say("late")), Place(*say("fi", "ne"))
    track = Track(first, spare)
    given = await track.ask()
    assert text(given) == "fine"
    assert given.started.route == ("p0/m given_up", "p1/m")
    assert track.endings == [["closed"], ["finished"]]
    assert given.trace is not None
    slow, fast = given.trace.attempts
    assert (slow.code, slow.ttft_s, fast.code) == ("given_up", None, "")
    numbers = track.meter.render().decode()
    assert 'glimt_hedges_total{deployment="p0/m",winner="spare"} 1.0' in numbers
    assert 'glimt_attempts_total{deployment="p0/m",outcome="given_up"} 1.0' in numbers
    assert track.history.summary("p0/m", HALF_HOUR_S).uptime == 1


async def test_hedging_does_not_hide_how_slow_a_place_is():
    """What was given up took at least so long: the limit is not measured ever shorter."""
    track = Track(Place(SLOW), Place(*say("fine")))
    seen = track.history.summary("p0/m", HALF_HOUR_S).ttft_s
    assert seen is not None
    for _ in range(10):
        await track.ask()
    after = track.history.summary("p0/m", HALF_HOUR_S).ttft_s
    assert after is not None
    assert after.p50 == seen.p50
    assert after.p90 > seen.p90


async def test_a_place_in_time_is_alone():
    """Whoever answers as fast as ever has no rival."""
    track = Track(Place(*say("fine")), Place(*say("never")))
    for _ in range(MIN_ANSWERS):
        track.history.record(Outcome(deployment="p0/m", start_s=0, ttft_s=60, duration_s=60))
    given = await track.ask()
    assert (text(given), given.started.route) == ("fine", ("p0/m",))
    assert track.places[1].requests == []


async def test_the_first_may_still_win():
    """A slow place that speaks before the spare answers, and the spare is ended."""
    first, spare = Place(SLOW, *say("slow")), Place(SLOW, *say("never"))
    track = Track(first, spare)
    asking = asyncio.create_task(track.ask())
    await spare.asked.wait()
    first.gate.set()
    given = await asking
    assert (text(given), given.started.route) == ("slow", ("p1/m given_up", "p0/m"))
    assert track.endings == [["finished"], ["closed"]]
    assert 'glimt_hedges_total{deployment="p0/m",winner="first"} 1.0' in (
        track.meter.render().decode()
    )


REPLY = Message(role="assistant", parts=(ReasoningPart(text="hm", signature="zai:proof"),))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_choices": 2},
        {"service_class": "flex"},
        {"continues": True},
        {"extensions": {"background": True}},
        {"messages": (*ASKED.messages, REPLY, *ASKED.messages)},
    ],
)
async def test_what_cannot_be_repeated_is_not(changes: dict):
    """Choices, flex, a message that is gone on with, a proof, a field that may do things."""
    first, spare = Place(SLOW, *say("fine")), Place(*say("never"))
    track = Track(first, spare)
    asking = asyncio.create_task(track.ask(msgspec.structs.replace(ASKED, **changes)))
    await first.asked.wait()
    await asyncio.sleep(0.02)
    first.gate.set()
    assert text(await asking) == "fine"
    assert spare.requests == []


@pytest.mark.parametrize("why", ["off", "unknown", "another model", "nobody else"])
async def test_who_is_not_hedged(why: str):
    """Nobody is, unless it is wanted, the place is known, and another one serves the same model."""
    first, spare = Place(SLOW, *say("fine")), Place(*say("never"))
    track = Track(
        first,
        spare,
        hedge=why != "off",
        num_known=MIN_ANSWERS - 1 if why == "unknown" else MIN_ANSWERS,
    )
    steps = track.steps
    if why == "another model":
        other = Deployment(provider="p1", model="other", upstream_model="m")
        steps[1] = msgspec.structs.replace(steps[1], deployment=other)
    if why == "nobody else":
        del steps[1]
    asking = asyncio.create_task(track.ask())
    await first.asked.wait()
    await asyncio.sleep(0.02)
    first.gate.set()
    assert text(await asking) == "fine"
    assert spare.requests == []
    assert AttemptSettings().hedge is False


async def test_a_failure_leaves_the_other():
    """Either of them may fail: the other answers, and whoever failed is named."""
    first, spare = Place(SLOW, BROKEN), Place(SLOW, *say("fine"))
    track = Track(first, spare)
    asking = asyncio.create_task(track.ask())
    await spare.asked.wait()
    first.gate.set()
    await asyncio.sleep(0.02)
    spare.gate.set()
    given = await asking
    assert (text(given), given.started.route) == ("fine", ("p0/m upstream_error", "p1/m"))
    first, spare = Place(SLOW, *say("fine")), Place(BROKEN)
    track = Track(first, spare)
    asking = asyncio.create_task(track.ask())
    await asyncio.sleep(0.05)
    first.gate.set()
    given = await asking
    assert (text(given), given.started.route) == ("fine", ("p1/m upstream_error", "p0/m"))


async def test_both_may_fail():
    """Then a third is asked; without one the error is the last one's, and names both."""

    def places() -> list[Place]:
        return [Place(SLOW, CUT), Place(BROKEN), Place(*say("fine"))]

    first, *others = places()
    track = Track(first, *others)
    asking = asyncio.create_task(track.ask())
    await asyncio.sleep(0.05)
    first.gate.set()
    given = await asking
    route = ("p1/m upstream_error", "p0/m upstream_cut")
    assert (text(given), given.started.route) == ("fine", (*route, "p2/m"))
    first, spare, _ = places()
    track = Track(first, spare)
    asking = asyncio.create_task(track.ask())
    await asyncio.sleep(0.05)
    first.gate.set()
    with pytest.raises(UpstreamError) as caught:
        await asking
    assert (caught.value.code, caught.value.route) == ("upstream_cut", route)


async def test_a_wrong_request_ends_the_race():
    """What is wrong with the request is said at once by the first, and the spare is ended."""
    first, spare = Place(SLOW, InvalidRequest("bad")), Place(SLOW)
    track = Track(first, spare)
    asking = asyncio.create_task(track.ask())
    await spare.asked.wait()
    first.gate.set()
    with pytest.raises(GlimtError, match="bad"):
        await asking
    assert track.endings == [["failed"], ["closed"]]


async def test_a_client_that_leaves_ends_both():
    """Nobody works for nobody."""
    first, spare = Place(SLOW), Place(SLOW)
    track = Track(first, spare)
    asking = asyncio.create_task(track.ask())
    await spare.asked.wait()
    asking.cancel()
    await asyncio.wait([asking])
    assert track.endings == [["closed"], ["closed"]]


async def test_the_slow_place_goes_on_where_the_fast_one_broke_off():
    """A race is over when somebody speaks; the other is a place like any other after that."""
    first = ScriptedProvider([Pause(60)], say("b"))
    spare = Place(*say("a ", "b")[:2], CUT)
    track = Track(first, spare)
    given = await track.ask()
    assert text(given) == "a b"
    route = ("p0/m given_up", "p1/m upstream_cut mid-answer", "p0/m")
    assert given.started.route == route
    assert given.trace is not None
    assert [one.code for one in given.trace.attempts] == ["given_up", "upstream_cut", ""]


async def slow(exchange: Exchange) -> None:
    await exchange.open()
    await asyncio.sleep(60)
    await exchange.send(answer("late"))


async def test_a_real_connection_is_cut():
    """The slow server sees its client leave, and the next one's answer arrives."""
    async with serving(slow) as first, serving(fine) as second:
        house = House([first.url, second.url], AttemptSettings(hedge=True))
        for _ in range(MIN_ANSWERS):
            house.history.record(
                Outcome(deployment="first/glm-4.7-flash", start_s=0, ttft_s=0.01, duration_s=1)
            )
        route = ("first/glm-4.7-flash given_up", "second/glm-4.7-flash")
        assert await house.ask() == ("fine", route)
        async with asyncio.timeout(2):
            await first.left.wait()
        await house.http.close()
