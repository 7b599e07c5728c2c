"""Several keys of one place: who is used, who rests, and how many requests each carries."""

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest

from glimt.catalog.types import ProviderRow
from glimt.core.clock import FakeClock, SystemClock
from glimt.core.errors import GlimtError, RateLimited, UpstreamError
from glimt.core.events import collect
from glimt.core.parts import Message, TextPart
from glimt.core.request import Request
from glimt.providers import keys as module
from glimt.providers.http import Http
from glimt.providers.keys import ACCOUNT_REST_S, LIMIT_REST_S, Keys
from glimt.providers.remote import RemoteProvider
from tests.gateway.faulty import Exchange, fine, serving

pytestmark = pytest.mark.anyio

LIMITED = RateLimited("slow", code="upstream_rate_limited")
REFUSED = UpstreamError("no", code="upstream_key_refused")


def ring(*secrets: str, clock=None, **limits: int) -> Keys:
    return Keys("zai", secrets, clock=clock or FakeClock(), limits=limits)


async def used(keys: Keys, number: int, model: str = "m") -> list[str | None]:
    """Whose turn it was, one after the other."""
    turns = []
    for _ in range(number):
        key = await keys.take(model)
        turns.append(key.secret)
        keys.give_back(key, model)
    return turns


async def test_turns():
    """Keys are used alike, and at the same time the one with the fewest requests is next."""
    assert Counter(await used(ring("a", "b", "c"), 9)) == {"a": 3, "b": 3, "c": 3}
    keys = ring("a", "b")
    held = [await keys.take("m") for _ in range(4)]
    assert Counter(key.secret for key in held) == {"a": 2, "b": 2}
    assert await used(ring(), 2) == [None, None]


@pytest.mark.parametrize(
    ("error", "rest_s"),
    [
        (REFUSED, ACCOUNT_REST_S),
        (UpstreamError("no", code="upstream_quota"), ACCOUNT_REST_S),
        (LIMITED, LIMIT_REST_S),
        (RateLimited("slow", retry_after_s=30), 30),
    ],
)
async def test_a_key_rests_by_itself(error: GlimtError, rest_s: float):
    """While one rests the others are used, and after its time it is used again."""
    clock = FakeClock()
    keys = ring("a", "b", clock=clock)
    key = await keys.take("m")
    assert keys.failed(key, "m", error), "another key may be asked at once"
    keys.give_back(key, "m")
    assert set(await used(keys, 4)) == {"b"}
    clock.advance(rest_s - 0.1)
    assert set(await used(keys, 4)) == {"b"}
    clock.advance(0.2)
    assert "a" in await used(keys, 8)


async def test_a_limit_is_of_a_model():
    """A rate limit of one model says nothing of others; a refused key is refused for all."""
    keys = ring("a", "b")
    key = await keys.take("m")
    keys.failed(key, "m", LIMITED)
    assert set(await used(keys, 4, "other")) == {"a", "b"}
    keys.failed(key, "m", REFUSED)
    assert set(await used(keys, 4, "other")) == {"b"}


async def test_what_is_not_the_keys_fault():
    """A place that is down, or a key that is alone, is for whoever plans."""
    for keys, error in ((ring("a", "b"), UpstreamError("down")), (ring("a"), LIMITED)):
        key = await keys.take("m")
        assert not keys.failed(key, "m", error)
        keys.give_back(key, "m")
    assert set(await used(ring("a", "b"), 4)) == {"a", "b"}


async def test_all_of_them_rest():
    """Then the error says when the first is up, and the first to be up is asked all the same."""
    clock = FakeClock()
    keys = ring("a", "b", clock=clock)
    first, second = await keys.take("m"), await keys.take("m")
    assert keys.failed(first, "m", RateLimited("slow", retry_after_s=20))
    clock.advance(5)
    error = RateLimited("slow", retry_after_s=60)
    assert not keys.failed(second, "m", error)
    assert error.retry_after_s == pytest.approx(15)
    keys.give_back(first, "m")
    keys.give_back(second, "m")
    assert await used(keys, 2) == ["a", "a"]


async def test_requests_at_once():
    """No key carries more than its limit, whoever waits is served in turn, and nobody is lost."""
    keys = ring("a", "b", m=2)
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    served: list[int] = []

    async def ask(number: int) -> None:
        key = await keys.take("m")
        name = str(key.secret)
        served.append(number)
        running[name] += 1
        most[name] = max(most[name], running[name])
        await asyncio.sleep(0)
        running[name] -= 1
        keys.give_back(key, "m")

    async with asyncio.timeout(5):
        await asyncio.gather(*map(ask, range(50)))
    assert most == {"a": 2, "b": 2}
    assert served == list(range(50))
    assert (await keys.take("other")).secret == "a"


async def test_who_gives_up_waiting_holds_nobody_up():
    """A client that leaves while it waits passes its turn on."""
    keys = ring("a", m=1)
    held = await keys.take("m")
    waiting = [asyncio.create_task(keys.take("m")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    keys.give_back(held, "m")
    waiting[1].cancel()
    async with asyncio.timeout(5):
        assert (await waiting[2]).secret == "a"


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch):
    """A place that stays full is a rate limit of ours, which another place can mend."""
    monkeypatch.setattr(module, "QUEUE_S", 0.01)
    keys = ring("a", m=1)
    held = await keys.take("m")
    with pytest.raises(RateLimited, match=r"zai.*concurrency") as caught:
        await keys.take("m")
    assert (caught.value.code, caught.value.retryable) == ("upstream_busy", True)
    keys.give_back(held, "m")
    assert (await keys.take("m")).secret == "a"


ASKED = Request(model="m", messages=(Message(role="user", parts=(TextPart("hi"),)),))


def by_key(statuses: Mapping[str, int]):
    """A place that refuses some keys."""

    async def behave(exchange: Exchange) -> None:
        head = exchange.head.decode()
        status = next((status for key, status in statuses.items() if key in head), None)
        if status is None:
            await fine(exchange)
        else:
            await exchange.document(status, {"error": {"message": "no"}})

    return behave


@pytest.mark.parametrize("status", [401, 402, 403, 429])
async def test_a_refused_key_costs_no_answer(status: int):
    """The next key is asked in the same attempt, and the refused one is left alone after that."""
    async with serving(by_key({"sk-first": status})) as server:
        http = Http([server.url])
        row = ProviderRow(slug="zai", name="Z", base_url=server.url, key_env=("K",))
        place = RemoteProvider(row, http, clock=SystemClock(), keys=["sk-first", "sk-second"])
        for _ in range(4):
            answer = await collect(place.answer(ASKED))
            assert answer.choices[0].text == "fine"
        await http.close()
        heads = b"".join(exchange.head for exchange in server.requests)
        assert (heads.count(b"sk-first"), heads.count(b"sk-second")) == (1, 4)


async def test_keys_that_are_all_refused():
    """Each is asked once, the error is the last one's and quotes none of them."""
    async with serving(by_key({"sk-first": 401, "sk-second": 429})) as server:
        http = Http([server.url])
        row = ProviderRow(slug="zai", name="Z", base_url=server.url, key_env=("K",))
        place = RemoteProvider(row, http, clock=SystemClock(), keys=["sk-first", "sk-second"])
        with pytest.raises(GlimtError) as caught:
            await collect(place.answer(ASKED))
        await http.close()
        assert caught.value.code == "upstream_rate_limited"
        assert len(server.requests) == 2
        assert "sk-" not in caught.value.message
