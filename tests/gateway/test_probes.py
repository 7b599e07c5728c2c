"""Places that nobody asked are asked; what that finds is theirs alone."""

import asyncio
import json

import pytest

from glimt.gateway.probes import MAX_TOKENS, Probes
from glimt.gateway.stats import HALF_HOUR_S, whole
from tests.gateway.faulty import Exchange, fine, serving
from tests.gateway.test_faults import House, status

pytestmark = pytest.mark.anyio
MODEL = "glm-4.7-flash"


def seen(house: House, place: str):
    """What is known of a place of the house."""
    return house.history.summary(f"{place}/{MODEL}", HALF_HOUR_S)


async def test_a_quiet_place_is_asked_once():
    """Its numbers are there before a client comes; whoever was asked lately is left alone."""
    async with serving(fine) as good, serving(status(500)) as broken:
        house = House([good.url, broken.url])
        await house.roads.probe(HALF_HOUR_S)
        assert (seen(house, "first").num_ok, seen(house, "second").num_failed) == (1, 1)
        assert seen(house, "first").ttft_s is not None
        await house.roads.probe(HALF_HOUR_S)
        assert (len(good.requests), len(broken.requests)) == (1, 1)
        # It is nobody's answer.
        assert house.history.summary(whole(MODEL), HALF_HOUR_S).num_attempts == 0
        await house.http.close()


async def test_a_probe_is_cheap():
    """A few tokens, and no thought."""
    async with serving(fine) as server:
        house = House([server.url])
        await house.roads.probe(HALF_HOUR_S)
        body = json.loads(server.requests[0].body)
        assert body["max_tokens"] == MAX_TOKENS
        assert len(body["messages"]) == 1
        await house.http.close()


async def test_who_told_us_to_wait_is_left_alone():
    """`Retry-After` holds for probes too, however quiet the place is."""

    async def limits(exchange: Exchange) -> None:
        await exchange.document(429, {"error": {}}, extra="Retry-After: 60\r\n")

    async with serving(limits) as server:
        house = House([server.url])
        await house.roads.probe(0.0)
        await house.roads.probe(0.0)
        assert len(server.requests) == 1
        await house.http.close()


async def test_probes_go_on_until_they_are_closed():
    """Each interval asks for its own quiet time; nothing runs after the end."""
    asked: list[float] = []
    twice = asyncio.Event()

    async def ask(quiet_s: float) -> None:
        asked.append(quiet_s)
        if len(asked) == 2:
            twice.set()

    probes = Probes(ask, 0.01)
    probes.start()
    await asyncio.wait_for(twice.wait(), 5)
    await probes.close()
    num_asked = len(asked)
    await asyncio.sleep(0.03)
    assert asked == [0.01] * num_asked
