"""The load generator against a scripted server and a clock that moves only when told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from glimt.bench.load import Bench, Shape
from glimt.bench.prompts import Prompts
from glimt.core.clock import FakeClock
from glimt.core.errors import Overloaded
from glimt.core.events import ChoiceFinished, Event, Finished, Started, TextDelta
from glimt.core.request import Request
from glimt.core.usage import Usage

pytestmark = pytest.mark.anyio


class Scripted:
    """Counts two tokens a word and nine for the template; each piece takes 10 ms."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.requests: list[Request] = []
        self.at_once = 0
        self.most_at_once = 0
        self.refuses = False

    async def answer(self, request: Request) -> AsyncIterator[Event]:
        self.requests.append(request)
        if self.refuses:
            raise Overloaded("The queue is full.")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        yield Started(id="1", model="scripted/one", created=0, provider="scripted")
        for _ in range(3):
            await asyncio.sleep(0)
            self.clock.advance(0.01)
            yield TextDelta(text="word ")
        yield ChoiceFinished(reason="stop")
        num_words = len(request.messages[0].parts[0].text.split())
        yield Finished(usage=Usage(prompt_tokens=9 + 2 * num_words, completion_tokens=3))
        self.at_once -= 1


async def prepared(server: Scripted, **shape: object) -> Bench:
    bench = await Bench.prepare(server, Shape(model="scripted/one", **shape), server.clock)
    server.requests.clear()
    server.most_at_once = 0
    return bench


async def test_every_request_is_made_and_never_more_than_allowed_at_once() -> None:
    """`concurrency` clients share `num_requests` requests."""
    server = Scripted(FakeClock())
    bench = await prepared(server)
    done: list[None] = []
    level = await bench.run(3, 10, lambda: done.append(None))
    assert len(level.samples) == len(server.requests) == len(done) == 10
    assert server.most_at_once == 3


async def test_times_are_the_clock_s() -> None:
    """Arrivals are stamped as pieces with output come; the event with the model's name is none."""
    server = Scripted(FakeClock(start=100.0))
    bench = await prepared(server)
    start = server.clock.monotonic()
    [sample] = (await bench.run(1, 1)).samples
    assert sample.started_s == start
    assert sample.arrivals_s == pytest.approx([start + 0.01, start + 0.02, start + 0.03])
    assert (sample.num_output, sample.is_counted, sample.model) == (3, True, "scripted/one")


async def test_prompts_have_the_length_that_was_asked_for() -> None:
    """A trial tells how many tokens a word makes; prompts are cut to it."""
    server = Scripted(FakeClock())
    bench = await prepared(server, prompt_tokens=400)
    assert bench.words_per_token == 0.5
    [sample] = (await bench.run(1, 1)).samples
    assert sample.num_prompt == pytest.approx(400, abs=30)


async def test_a_failure_is_counted_not_raised() -> None:
    """One refused request does not end the measurement."""
    server = Scripted(FakeClock())
    bench = await prepared(server)
    server.refuses = True
    level = await bench.run(2, 4)
    assert [sample.error for sample in level.samples] == ["The queue is full."] * 4


async def test_exact_lengths_are_asked_for_by_name() -> None:
    """`exact` sends what keeps a model going; without it nothing unusual is sent."""
    server = Scripted(FakeClock())
    await (await prepared(server, output_tokens=77)).run(1, 1)
    await (await Bench.prepare(server, Shape(model="m", exact=False), server.clock)).run(1, 1)
    first, last = server.requests[0].sampling, server.requests[-1].sampling
    assert (first.min_tokens, first.max_tokens, first.ignore_eos) == (77, 77, True)
    assert (last.min_tokens, last.ignore_eos) == (None, False)


def test_prompts_are_reproducible_and_differ() -> None:
    """The same seed gives the same prompts, and no two of them open alike."""
    assert Prompts(seed=1).make(20) == Prompts(seed=1).make(20)
    supply = Prompts(seed=1)
    assert len({supply.make(20)[:30] for _ in range(50)}) == 50


def test_prompts_share_what_they_are_told_to() -> None:
    """The shared opening is the same in every prompt, and the rest is not."""
    supply = Prompts(seed=1, shared_words=10)
    one, two = supply.make(20), supply.make(20)
    assert one.split()[:10] == two.split()[:10]
    assert one.split()[10:20] != two.split()[10:20]
