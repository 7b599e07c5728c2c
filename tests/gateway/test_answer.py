"""One request's life: admitted, planned, attempted, metered, ended when its reader leaves."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from glimt.core.clock import FakeClock
from glimt.core.errors import EngineDied, ModelNotFound, Unavailable, UnsupportedParameter
from glimt.core.events import Batch, Event, Finished, Started, TextDelta
from glimt.core.parts import ToolCallPart
from glimt.core.provider import ModelInfo
from glimt.core.request import Request
from glimt.core.usage import Timing
from glimt.gateway.answer import Gateway
from glimt.gateway.merge import merged
from glimt.gateway.meter import Meter
from glimt.gateway.readiness import Report
from glimt.gateway.registry import Registry
from glimt.providers.scripted import Pause, ScriptedProvider, say
from tests.batches import one_by_one

pytestmark = pytest.mark.anyio
NANO = ModelInfo(
    id="glimt/nano", owned_by="glimt", created=0, context_length=1, max_output_tokens=1
)


class Fixed:
    def __init__(self, phase="ready") -> None:
        self.phase = phase

    def report(self) -> Report:
        return Report(phase=self.phase, model="m", reason="broken")


def gateway(provider: ScriptedProvider, *, phase="ready", clock=None) -> tuple[Gateway, Meter]:
    registry = Registry()
    registry.add(provider)
    meter = Meter(clock or FakeClock())
    return Gateway(registry, Fixed(phase), meter), meter


async def read(events: AsyncIterator[Batch]) -> list[Event]:
    return [event async for event in one_by_one(events)]


async def test_answer_passes_through():
    """A provider's events reach the reader as they are; it is asked by the model's own name."""
    script = say("a", reasoning=["b"])
    provider = ScriptedProvider(script)
    built, _ = gateway(provider)
    assert await read(built.answer(Request(model="SCRIPTED"))) == script
    assert provider.requests[0].model == "scripted"


async def test_a_suffix_that_cannot_be_met_is_refused():
    """Who asks for a search of the web gets no answer without one."""
    built, _ = gateway(ScriptedProvider(say("a")))
    with pytest.raises(UnsupportedParameter, match="search the web"):
        await read(built.answer(Request(model="scripted:online")))


async def test_stand_in_is_marked():
    """An answer in another model's place says so in its warnings."""
    built, _ = gateway(ScriptedProvider(say("a"), models=(NANO,)))
    started = (await read(built.answer(Request(model="glm-4.7"))))[0]
    assert isinstance(started, Started)
    assert "'glm-4.7' is not configured here" in started.warnings[0]
    assert (await read(built.answer(Request(model="glimt/nano"))))[0] == say("a")[0]


@pytest.mark.parametrize("phase", ["starting", "failed", "stopping"])
async def test_not_ready(phase: str):
    """Nobody is asked while nobody can answer."""
    provider = ScriptedProvider(say("a"))
    built, _ = gateway(provider, phase=phase)
    with pytest.raises(Unavailable) as caught:
        await read(built.answer(Request(model="scripted")))
    assert caught.value.code == "not_ready"
    assert (caught.value.retry_after_s is not None) == (phase == "starting")
    assert provider.requests == []


async def test_unknown_model():
    """A name that nobody answers to is an error before anybody is asked."""
    built, _ = gateway(ScriptedProvider(say("a")))
    with pytest.raises(ModelNotFound):
        await read(built.answer(Request(model="gpt-9")))


async def test_metering():
    """Time to the first output, time between outputs, tokens and endings are counted."""
    clock = FakeClock()

    async def passing(seconds: float) -> None:
        clock.advance(seconds)

    opening, first, second, *rest = say("a", "b")
    script = [opening, Pause(0.03), first, Pause(0.002), second, *rest]
    built, meter = gateway(ScriptedProvider(script, sleep=passing), clock=clock)
    await read(built.answer(Request(model="scripted")))
    text = meter.render().decode()
    labels = 'model="scripted"'
    for name, seconds in (
        ("time_to_first_token_seconds", 0.03),
        ("inter_token_latency_seconds", 0.002),
        ("answer_duration_seconds", 0.032),
    ):
        line = next(x for x in text.splitlines() if x.startswith(f"glimt_{name}_sum{{{labels}}}"))
        assert float(line.split()[1]) == pytest.approx(seconds, abs=1e-6)
    assert f'glimt_tokens_total{{kind="completion",{labels}}} 2.0' in text
    assert f'glimt_answers_total{{{labels},outcome="finished"}} 1.0' in text
    assert "glimt_answers_open 0.0" in text


async def test_a_call_is_one_piece():
    """A call's start and its first arguments are no two outputs with no time between them."""
    call = ToolCallPart(id="1", name="f", arguments="{}")
    built, meter = gateway(ScriptedProvider(say("a", calls=[call])))
    await read(built.answer(Request(model="scripted")))
    count = 'glimt_inter_token_latency_seconds_count{model="scripted"} 1.0'
    assert count in meter.render().decode()


@pytest.mark.parametrize(
    ("script", "outcome"),
    [([*say("a")[:2], EngineDied("x")], "engine_died"), ([*say("a")[:2], Pause(9e9)], "gone")],
)
async def test_endings_are_told_apart(script, outcome: str):
    """A failure is counted under its code, a reader that left as gone."""
    provider = ScriptedProvider(script)
    built, meter = gateway(provider)
    reader = asyncio.create_task(read(built.answer(Request(model="scripted"))))
    await asyncio.wait([reader], timeout=0.05)
    reader.cancel()
    await asyncio.wait([reader])
    assert provider.num_open == 0
    assert f'outcome="{outcome}"}} 1.0' in meter.render().decode()
    assert "glimt_answers_open 0.0" in meter.render().decode()


async def test_closing_reaches_the_provider():
    """Closing the answer closes the provider's, without waiting for the garbage collector."""
    provider = ScriptedProvider([*say("a")[:2], Pause(float("inf"))])
    built, _ = gateway(provider)
    for requests in ([Request(model="scripted")], [Request(model="scripted")] * 3):
        provider.endings.clear()
        events = one_by_one(built.answer_all(requests))
        assert isinstance(await anext(events), Started)
        assert isinstance(await anext(events), TextDelta)
        await events.aclose()
        assert provider.endings == ["closed"] * len(requests)


async def test_several_requests_are_numbered_through():
    """Choices of several requests are numbered in their order; the bill is the sum."""
    provider = ScriptedProvider(write=lambda request: say(str(request.prompt)))
    built, _ = gateway(provider)
    requests = [Request(model="scripted", prompt=name, num_choices=2) for name in "abc"]
    events = await read(built.answer_all(requests))
    texts = {e.choice: e.text for e in events if isinstance(e, TextDelta)}
    assert texts == {0: "a", 2: "b", 4: "c"}
    assert sum(isinstance(event, Started) for event in events) == 1
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.prompt_tokens == 30


async def test_several_requests_warn_together():
    """What each of several answers warned about is said once, at the start or at the end."""

    def script(request: Request):
        started = Started(
            id="1",
            model="scripted",
            created=1,
            provider="s",
            warnings=("all", f"early {request.prompt}"),
        )
        *events, finished = say("x", started=started)
        assert isinstance(finished, Finished)
        timing = Timing(total_s=len(str(request.prompt)))
        late = ("late", f"late {request.prompt}")
        return [*events, Finished(usage=finished.usage, timing=timing, warnings=late)]

    built, _ = gateway(ScriptedProvider(write=script))
    requests = [Request(model="scripted", prompt=name) for name in ("a", "bbb", "cc")]
    started, *_, finished = await read(built.answer_all(requests))
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert finished.timing == Timing(total_s=3)
    said = {*started.warnings, *finished.warnings}
    assert said == {
        "all",
        "late",
        *(f"{when} {r.prompt}" for when in ("early", "late") for r in requests),
    }
    assert len(finished.warnings) == len(set(finished.warnings))


async def test_merged_reads_all_and_stops_at_the_first_failure():
    """Streams are read together; what fails is raised and the others are closed."""
    closed = []

    async def counting(name: str, number: int) -> AsyncIterator[str]:
        try:
            for index in range(number):
                await asyncio.sleep(0)
                yield f"{name}{index}"
            if number == 2:
                raise EngineDied("x")
            await asyncio.Event().wait()
        finally:
            closed.append(name)

    seen = []

    async def read_on() -> None:
        async for item in merged([counting("a", 2), counting("b", 3)]):
            seen.append(item)  # noqa: PERF401  what was read before the failure counts

    with pytest.raises(EngineDied):
        await read_on()
    assert {(0, "a0"), (0, "a1")} <= set(seen)
    assert sorted(closed) == ["a", "b"]
