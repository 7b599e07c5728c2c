"""Deadlines: the work ends when the time is over, and an error says so; nothing else changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from glimt.core.clock import FakeClock, SystemClock
from glimt.core.errors import DeadlineExceeded, EngineDied
from glimt.core.events import Batch, Event, Finished, TextDelta
from glimt.core.request import Request
from glimt.gateway.answer import Gateway
from glimt.gateway.deadline import Deadline
from glimt.gateway.meter import Meter
from glimt.gateway.readiness import Report
from glimt.gateway.registry import Registry
from glimt.providers.scripted import Pause, ScriptedProvider, say
from tests.batches import one_by_one

pytestmark = pytest.mark.anyio
FOREVER = Pause(float("inf"))
SOON_S = 0.02


class Ready:
    def report(self) -> Report:
        return Report(phase="ready", model="m")


def gateway(provider: ScriptedProvider, clock=None) -> tuple[Gateway, Meter]:
    registry = Registry()
    registry.add(provider)
    clock = clock or SystemClock()
    meter = Meter(clock)
    return Gateway(registry, Ready(), meter, clock=clock), meter


def ask(deadline_s: float | None) -> Request:
    return Request(model="scripted", prompt="a", deadline_s=deadline_s)


async def read(events: AsyncIterator[Batch]) -> list[Event]:
    return [event async for event in one_by_one(events)]


async def until_late(events: AsyncIterator[Batch]) -> list[Event]:
    """What came before the deadline, which has to pass."""
    seen: list[Event] = []

    async def read_on() -> None:
        async for event in one_by_one(events):
            seen.append(event)  # noqa: PERF401  what was read before the error counts

    with pytest.raises(DeadlineExceeded):
        await read_on()
    return seen


@pytest.mark.parametrize("num_said", [0, 2])
async def test_the_work_ends(num_said: int):
    """Before the first event or after some, the provider's answer is closed and counted as late."""
    provider = ScriptedProvider([*say("a")[:num_said], FOREVER])
    built, meter = gateway(provider)
    assert await until_late(built.answer_all([ask(SOON_S)])) == say("a")[:num_said]
    assert provider.endings == ["closed"]
    assert 'outcome="deadline_exceeded"} 1.0' in meter.render().decode()
    assert "glimt_answers_open 0.0" in meter.render().decode()


async def test_the_reading_task_lives_on():
    """Who reads gets an error and nothing of the interruption behind it."""
    built, _ = gateway(ScriptedProvider([FOREVER]))
    await until_late(built.answer(ask(SOON_S)))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_several_requests_end_together():
    """One deadline holds for all prompts of a call."""

    def script(request: Request):
        return [*say("a")[:2], FOREVER] if request.prompt == "a" else say("b")

    provider = ScriptedProvider(write=script)
    built, _ = gateway(provider)
    await until_late(built.answer_all([ask(SOON_S)] * 3))
    assert provider.endings == ["closed"] * 3


async def test_a_provider_that_never_waits():
    """The clock is asked at every event, so that no timer has to have its turn."""
    clock = FakeClock()

    async def passing(seconds: float) -> None:
        clock.advance(seconds)

    opening, *rest = say(*"abc")
    script = [opening]
    for event in rest:
        script += [Pause(1.0), event]
    provider = ScriptedProvider(script, sleep=passing)
    built, _ = gateway(provider, clock)
    seen = await until_late(built.answer(ask(2.5)))
    # What an event took to come counts when the next one is asked for.
    assert [event.text for event in seen if isinstance(event, TextDelta)] == ["a", "b", "c"]
    assert provider.endings == ["closed"]


async def test_it_counts_from_when_the_request_came():
    """Time that passed before the gateway was asked is part of it."""
    clock = FakeClock()
    built, _ = gateway(provider := ScriptedProvider(say("a")), clock)
    since_s = clock.monotonic()
    clock.advance(2.0)
    assert await read(built.answer(ask(2.5), since_s=since_s)) == say("a")
    assert await until_late(built.answer(ask(1.5), since_s=since_s)) == []
    assert provider.endings == ["finished"]


async def test_a_finished_answer_is_not_late():
    """However slowly the end is read, an answer that is whole stays one."""
    clock = FakeClock()
    built, meter = gateway(provider := ScriptedProvider(say("a")), clock)
    seen: list[Event] = []
    async for event in one_by_one(built.answer(ask(1.0))):
        seen.append(event)
        if isinstance(event, Finished):
            clock.advance(100.0)
    assert seen == say("a")
    assert provider.endings == ["finished"]
    assert 'outcome="finished"} 1.0' in meter.render().decode()


async def test_a_reader_that_does_not_read():
    """The work ends in time although nobody asks for the next event."""
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[Batch]:
        try:
            while True:
                yield [TextDelta(text="a")]
        finally:
            ended.set()

    clock = SystemClock()
    events = Deadline(endless(), SOON_S, start_s=clock.monotonic(), clock=clock)
    await anext(events)
    async with asyncio.timeout(10):
        await ended.wait()
    assert await until_late(events) == []
    await events.aclose()


async def test_no_deadline_costs_nothing():
    """Without one the provider's own iterator is read."""
    built, _ = gateway(ScriptedProvider(say("a")))
    assert await read(built.answer(ask(None))) == say("a")
    attempt = built._attempt(built._plan(ask(None)), ask(None), 0.0)
    assert not isinstance(attempt, Deadline)


async def test_leaving_early():
    """Closing an answer with a deadline closes the provider's, and no timer stays behind."""
    provider = ScriptedProvider([*say("a")[:2], FOREVER])
    built, _ = gateway(provider)
    events = built.answer(ask(60.0))
    await anext(events)
    await events.aclose()
    assert provider.endings == ["closed"]


async def test_cancelling_is_not_mistaken():
    """A reader that is cancelled is cancelled, deadline or not; and so when both come together."""
    provider = ScriptedProvider([FOREVER])
    built, _ = gateway(provider)
    reader = asyncio.create_task(read(built.answer(ask(60.0))))
    await asyncio.sleep(0.01)
    reader.cancel()
    await asyncio.wait([reader])
    assert reader.cancelled()
    clock = FakeClock()
    events = Deadline(provider.answer(ask(None)), 1.0, start_s=clock.monotonic(), clock=clock)
    reader = asyncio.create_task(read(events))
    await asyncio.sleep(0)
    clock.advance(2.0)
    events._ring()
    reader.cancel()
    await asyncio.wait([reader])
    assert reader.cancelled()
    await events.aclose()


async def test_failures_pass_through():
    """A provider's own error is that error."""
    built, _ = gateway(ScriptedProvider([*say("a")[:2], EngineDied("x")]))
    with pytest.raises(EngineDied):
        await read(built.answer(ask(60.0)))


async def test_interruption_that_becomes_another_error():
    """A provider that answers an interruption with an error of its own leaves no trace of it."""

    async def stubborn() -> AsyncIterator[Batch]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise EngineDied("x") from None
        yield [TextDelta(text="never")]

    clock = SystemClock()
    events = Deadline(stubborn(), SOON_S, start_s=clock.monotonic(), clock=clock)
    with contextlib.suppress(EngineDied, DeadlineExceeded):
        await anext(events)
    await events.aclose()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_deadlines_beyond_all_timers():
    """A deadline in a million years is one that never comes."""
    built, _ = gateway(ScriptedProvider(say("a")))
    assert await read(built.answer(ask(1e300))) == say("a")
