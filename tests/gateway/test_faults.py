"""What becomes of every fault of a place elsewhere: docs/concepts/fallbacks.md's table, as it says.

Real sockets; only the times are shorter than anybody would set them.
"""

import asyncio
import re
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from glimt.catalog.available import available_deployments
from glimt.catalog.load import load
from glimt.catalog.settings import ProviderSettings
from glimt.catalog.types import Wire
from glimt.core.clock import SystemClock
from glimt.core.errors import GlimtError, RateLimited, UnsupportedParameter
from glimt.core.events import collect
from glimt.core.parts import Message, TextPart
from glimt.core.request import Request, Routing
from glimt.gateway.answer import Gateway
from glimt.gateway.attempt import AttemptSettings
from glimt.gateway.history import History
from glimt.gateway.meter import Meter
from glimt.gateway.readiness import Report
from glimt.gateway.registry import Registry
from glimt.gateway.roads import Roads
from glimt.providers.http import Http
from glimt.providers.reading import MAX_EVENT
from glimt.providers.remote import RemoteProvider
from glimt.providers.scripted import SCRIPTED_MODEL, ScriptedProvider, say
from tests.gateway.faulty import (
    Behaviour,
    Exchange,
    Server,
    answer,
    chunk,
    fine,
    self_signed,
    serving,
)

pytestmark = pytest.mark.anyio

TABLE = Path(__file__).parents[2] / "docs" / "concepts" / "fallbacks.md"
TIMES = AttemptSettings(connect_s=2.0, first_token_s=0.4, idle_s=0.5, total_s=1.2)
KEY = "sk-secret-of-the-house"
PAGE = "<html><body>502 Bad Gateway</body></html>"


async def forever(_: Exchange) -> None:
    await asyncio.sleep(60)


def status(number: int, *, code: str | None = None) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        error = {"message": f"no, and your key is {KEY}", "code": code}
        await exchange.document(number, {"error": error})

    return behave


def says(*data: bytes, kind="text/event-stream", then: Behaviour | None = None) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.open(kind)
        for piece in data:
            await exchange.send(piece)
        if then is not None:
            await asyncio.sleep(0.05)
            await then(exchange)

    return behave


def document(body: object, *, number=200, kind="application/json") -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.document(number, body, kind=kind)

    return behave


def endless(data: bytes) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.open()
        while True:
            await exchange.send(data)
            await asyncio.sleep(0.01)

    return behave


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def drip(exchange: Exchange) -> None:
    await exchange.open()
    for byte in answer("late"):
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0.02)


HELLO = chunk({"content": "hello"})
FAULTS: dict[str, Behaviour] = {
    "hang before headers": forever,
    "hang after headers": says(then=forever),
    "hang mid-stream": says(HELLO, then=forever),
    "slow drip": drip,
    "reset before headers": reset,
    "reset before output": says(b": hello\n\n", then=reset),
    "reset mid-stream": says(HELLO, then=reset),
    "end mid-stream": says(HELLO),
    "end before output": says(chunk({"role": "assistant"})),
    "truncated JSON": document('{"id": "1", "choices": [{"mess'),
    "truncated JSON in a stream": says(HELLO[:40] + b"\n\n"),
    "truncated JSON mid-stream": says(HELLO, HELLO[:40] + b"\n\n"),
    "HTML error page": document(PAGE, number=502, kind="text/html"),
    "HTML page with status 200": document(PAGE, kind="text/html"),
    "200 with an error body": document({"error": {"message": "busy", "code": "1305"}}),
    "200 with an error body that blames the request": document(
        {"message": "bad", "type": "invalid_request_error", "param": "x", "code": "wrong"}
    ),
    "error in place of a stream": says(b'data: {"error": {"message": "x", "code": 503}}\n\n'),
    "error mid-stream": says(HELLO, b'data: {"error": {"message": "x", "code": 429}}\n\n'),
    "finish reason error": says(chunk(finish="network_error"), b"data: [DONE]\n\n"),
    "empty answer": says(answer()),
    "wrong content type": document("hello", kind="text/plain"),
    "oversize line": says(b"data: " + b"x" * (MAX_EVENT + 2**17), then=forever),
    "endless stream of comments": endless(b": waiting\n\n"),
    "endless stream": endless(HELLO),
    "no HTTP": says(),
    "redirect": document("", number=302),
    "prompt too long": status(400, code="context_length_exceeded"),
    "429 of an empty account": status(429, code="1113"),
    **{str(n): status(n) for n in (400, 401, 402, 403, 404, 408, 413, 422, 429)},
    **{str(n): status(n) for n in (500, 502, 503, 504, 529)},
}
ELSEWHERE = ("connection refused", "DNS failure", "TLS failure")


async def no_http(exchange: Exchange) -> None:
    await exchange.send(b"220 mail.example ESMTP\r\n\r\n")


FAULTS["no HTTP"] = no_http


def rows() -> dict[str, tuple[str, str, int]]:
    """The table: fault, what another place is asked for, the error's code and status."""
    row = re.compile(r"^\| (.+?) \| (yes|no|goes on) \| `(\w+)` \| (\d+) \|", re.MULTILINE)
    found = row.findall(TABLE.read_text(encoding="utf-8"))
    return {name: (asked, code, int(number)) for name, asked, code, number in found}


class House:
    """A gateway with places `first`, `second` … in that order, and what the registry has."""

    def __init__(
        self,
        urls: list[str],
        settings: AttemptSettings = TIMES,
        *,
        kind: str | None = None,
        wire: Wire | None = None,
        registry: Registry | None = None,
    ) -> None:
        clock = SystemClock()
        names = ["first", "second", "third"][: len(urls)]
        models = {"glm-4.7-flash": "up/flash"}
        available = available_deployments(
            load(),
            {
                name: ProviderSettings(
                    base_url=url, models=models, key_env=("KEY",), kind=kind, wire=wire
                )
                for name, url in zip(names, urls, strict=True)
            },
            {"KEY": KEY},
        )
        self.http = Http(urls, connect_s=settings.connect_s, idle_s=settings.idle_s)
        providers = {
            name: RemoteProvider(available.providers[name], self.http, clock=clock, keys=[KEY])
            for name in names
        }
        self.history = History(clock)
        self.roads = Roads(available, providers, stats=self.history, clock=clock, settings=settings)
        self.gateway = Gateway(
            registry or Registry(), self, Meter(clock), clock=clock, roads=self.roads
        )
        self.request = Request(
            model="glm-4.7-flash",
            messages=(Message(role="user", parts=(TextPart("hi"),)),),
            routing=Routing(order=tuple(names)),
        )

    def report(self) -> Report:
        return Report(phase="starting", model="m")

    async def ask(self) -> tuple[str, tuple[str, ...]]:
        events = self.gateway.answer(self.request)
        try:
            result = await collect(events)
        finally:
            await events.aclose()
        return result.choices[0].text, result.started.route

    async def fail(self) -> GlimtError:
        with pytest.raises(GlimtError) as caught:
            await self.ask()
        return caught.value


async def place(stack: AsyncExitStack, name: str, folder: Path) -> str:
    """The address of a place with this fault."""
    if name == "connection refused":
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{held.getsockname()[1]}/v1"
    if name == "DNS failure":
        return "http://nobody.invalid/v1"
    tls = self_signed(folder) if name == "TLS failure" else None
    behaviour = FAULTS.get(name, fine)
    return (await stack.enter_async_context(serving(behaviour, tls=tls))).url


def test_the_table_has_every_fault():
    """The document's table and the faults that are tried here are the same."""
    assert set(rows()) == {*FAULTS, *ELSEWHERE}


@pytest.mark.parametrize("name", [*ELSEWHERE, *FAULTS])
async def test_fault(name: str, tmp_path: Path):
    """Each fault moves on to the next place or ends, and ends in the error that the table says."""
    asked, code, number = rows()[name]
    async with AsyncExitStack() as stack:
        spare = await stack.enter_async_context(serving(fine))
        bad = await place(stack, name, tmp_path)
        house = House([bad, spare.url])
        stack.push_async_callback(house.http.close)
        if asked == "yes":
            text, route = await house.ask()
            assert text == "fine"
            assert route == (f"first/glm-4.7-flash {code}", "second/glm-4.7-flash")
        else:
            error = await house.fail()
            assert (error.code, error.status) == (code, number)
            assert spare.requests == []
        if asked == "goes on":
            able = House([bad, spare.url], kind="vllm")
            stack.push_async_callback(able.http.close)
            text, route = await able.ask()
            assert text == "hellofine"
            assert route == (f"first/glm-4.7-flash {code} mid-answer", "second/glm-4.7-flash")
            assert b'"continue_final_message":true' in spare.requests[-1].body
        alone = House([bad])
        stack.push_async_callback(alone.http.close)
        error = await alone.fail()
        assert (error.code, error.status) == (code, number)
        assert error.route == (f"first/glm-4.7-flash {code}",)
        assert KEY not in error.message
        assert "127.0.0.1" not in error.message


async def one_piece(exchange: Exchange) -> None:
    message = {"content": "whole", "reasoning_content": "hm"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    await exchange.document(200, {"id": "1", "choices": [choice], "usage": usage})


async def test_a_whole_answer_is_understood_too():
    """A place that does not stream is read all the same; the key is sent, the route told."""
    async with serving(one_piece) as server:
        house = House([server.url])
        assert await house.ask() == ("whole", ("first/glm-4.7-flash",))
        await house.http.close()
        assert f"authorization: bearer {KEY}" in server.requests[0].head.decode().lower()
        assert b'"model":"up/flash"' in server.requests[0].body
        assert b"first" not in server.requests[0].body


async def test_what_only_the_engine_here_does_is_not_asked_elsewhere():
    """A raw prompt is continued here alone, and several choices are not asked of vendors."""
    async with serving(fine) as server:
        house = House([server.url])
        for asked in ({"prompt": "x", "messages": ()}, {"num_choices": 2}):
            request = msgspec.structs.replace(house.request, **asked)
            with pytest.raises(UnsupportedParameter, match=r"prompt|num_choices"):
                await collect(house.gateway.answer(request))
        await house.http.close()
        assert server.requests == []


async def test_tokens_are_counted_by_whoever_can():
    """A place that cannot count is passed over for the engine here; without one, it is said."""
    flash = msgspec.structs.replace(SCRIPTED_MODEL, id="glm-4.7-flash")
    registry = Registry()
    registry.add(ScriptedProvider(say("here"), models=(flash,)))
    async with serving(fine) as server:
        house = House([server.url], registry=registry)
        assert house.request.routing.order == ("first",)
        assert await house.gateway.count_tokens(house.request) == 1
        alone = House([server.url])
        with pytest.raises(UnsupportedParameter, match=r"glm-4\.7-flash.*runs here.*wire"):
            await alone.gateway.count_tokens(alone.request)
        assert server.requests == []


async def limited(exchange: Exchange) -> None:
    await exchange.document(429, {"error": {"message": "slow"}}, extra="retry-after: 30\r\n")


async def test_retry_after_is_honoured():
    """Whoever says when to come back is not asked before, and the client hears the time."""
    async with serving(limited) as first, serving(fine) as second:
        house = House([first.url, second.url])
        assert (await house.ask())[1][0] == "first/glm-4.7-flash upstream_rate_limited"
        assert (await house.ask())[1] == ("second/glm-4.7-flash",)
        await house.http.close()
        alone = House([first.url])
        for _ in range(2):
            error = await alone.fail()
            assert isinstance(error, RateLimited)
            assert error.retry_after_s == pytest.approx(30, abs=1)
        await alone.http.close()
        assert len(first.requests) == 2


async def test_a_circuit_opens():
    """After three failures a place is the last resort, and still asked when it is the only one."""
    async with serving(status(500)) as first, serving(fine) as second:
        house = House([first.url, second.url])
        for number in range(30):
            # Another conversation each time, which draws anew who comes first.
            house.request = Request(model="glm-4.7-flash", session=str(number))
            assert (await house.ask())[0] == "fine"
        await house.http.close()
        assert len(first.requests) == 3
        alone = House([first.url])
        for _ in range(5):
            await alone.fail()
        await alone.http.close()
        assert len(first.requests) == 3 + 5
        summary = alone.history.summary("first/glm-4.7-flash", 300)
        assert (summary.num_failed, summary.num_ok) == (5, 0)


async def left(server: Server) -> None:
    async with asyncio.timeout(2):
        await server.left.wait()


@pytest.mark.parametrize("behaviour", [forever, endless(HELLO)])
async def test_a_client_that_leaves_ends_the_work(behaviour: Behaviour):
    """When nobody reads any more, the connection to the place is cut; that is no downtime."""
    async with serving(behaviour) as server:
        house = House([server.url], AttemptSettings())
        events = house.gateway.answer(house.request)
        reader = asyncio.create_task(collect(events))
        await asyncio.wait([reader], timeout=0.1)
        reader.cancel()
        await asyncio.wait([reader])
        await left(server)
        await house.http.close()
        assert house.history.summary("first/glm-4.7-flash", 300).uptime is None
