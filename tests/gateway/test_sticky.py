"""A conversation stays where its cache is, also where a failure has led it."""

import pytest

from glimt.catalog.available import available_deployments
from glimt.catalog.load import load
from glimt.catalog.settings import ProviderSettings
from glimt.core.clock import FakeClock
from glimt.core.errors import UpstreamError
from glimt.core.events import collect
from glimt.core.parts import Message, TextPart
from glimt.core.provider import Provider
from glimt.core.request import Request, Routing
from glimt.gateway.history import History
from glimt.gateway.registry import Registry
from glimt.gateway.roads import Roads
from glimt.gateway.sticky import IDLE_S, MOST_CONVERSATIONS, Moved
from glimt.providers.scripted import SCRIPTED_MODEL, Script, ScriptedProvider, say

pytestmark = pytest.mark.anyio

MODEL = "glm-4.7-flash"


class House:
    """Two equal places, one of which may fail, and perhaps an engine here."""

    def __init__(self, *, local: bool = False) -> None:
        self.clock = FakeClock()
        own = {
            name: ProviderSettings(base_url=f"http://{name}/v1", models={MODEL: "m"})
            for name in ("one", "two")
        }
        available = available_deployments(load(), own, {})
        self.failing: set[str] = set()

        def provider(name: str) -> Provider:
            def write(_: Request) -> Script:
                return [UpstreamError("no")] if name in self.failing else say("fine")

            return ScriptedProvider(write=write)

        providers = {name: provider(name) for name in own}
        self.roads = Roads(available, providers, stats=History(self.clock), clock=self.clock)
        self.registry = Registry()
        if local:
            flash = SCRIPTED_MODEL.__class__(
                id=MODEL, owned_by="z", created=0, context_length=9, max_output_tokens=9
            )

            def here(_: Request) -> Script:
                return [UpstreamError("no")] if "local" in self.failing else say("here")

            self.registry.add(ScriptedProvider(write=here, models=(flash,)))

    async def ask(self, text: str, **routing) -> str:
        request = Request(
            model=MODEL,
            messages=(Message(role="user", parts=(TextPart(text),)),),
            routing=Routing(**routing),
        )
        road = self.roads.find(request, self.registry)
        events = self.roads.attempts.answer(
            request,
            road.steps,
            start_s=self.clock.monotonic(),
            explain=road.explain,
            keep=road.keep,
        )
        answer = await collect(events)
        return answer.started.route[-1].partition("/")[0]


async def test_a_conversation_stays_where_a_failure_led_it():
    """It goes on there when its first place is well again; others are where they were."""
    house = House()
    home = await house.ask("hi")
    away = {"one": "two", "two": "one"}[home]
    others = [text for text in map(str, range(40)) if await house.ask(text) == home]
    house.failing = {home}
    assert await house.ask("hi") == away
    house.failing = set()
    for _ in range(5):
        house.clock.advance(IDLE_S - 1)
        assert await house.ask("hi") == away, "each turn keeps it there"
    assert {await house.ask(text) for text in others} == {home}
    house.clock.advance(IDLE_S + 1)
    assert await house.ask("hi") == home


async def test_it_moves_on_where_that_fails_too():
    """Where it stays is no prison: a failure there moves it again."""
    house = House()
    home = await house.ask("hi")
    away = {"one": "two", "two": "one"}[home]
    house.failing = {home}
    await house.ask("hi")
    house.failing = {away}
    assert await house.ask("hi") == home
    house.failing = set()
    assert await house.ask("hi") == home


async def test_an_order_is_an_order():
    """Who names an order moves nothing, and is not moved."""
    house = House()
    home = await house.ask("hi")
    away = {"one": "two", "two": "one"}[home]
    house.failing = {home}
    assert await house.ask("hi", order=(home, away)) == away
    house.failing = set()
    assert await house.ask("hi") == home


async def test_the_engine_here_comes_back():
    """What is free comes first again as soon as it can."""
    house = House(local=True)
    assert await house.ask("hi") == "local"
    house.failing = {"local"}
    assert await house.ask("hi") in ("one", "two")
    house.failing = set()
    assert await house.ask("hi") == "local"


def test_memory_is_bounded():
    """The oldest are forgotten first."""
    moved = Moved(FakeClock())
    for number in range(MOST_CONVERSATIONS + 10):
        moved.note(b"%d" % number, "x")
    assert (moved.place(b"9"), moved.place(b"10")) == ("", "x")
