"""Whatever is killed, cut off or piled up: nothing leaks, and the server answers again.

Through the real HTTP server, on a real worker with the model that ships. The server runs in this
process, so that its tasks and connections can be counted; the worker's pages and slots are what
it reports itself.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from glimt.app.build import House
from glimt.app.config import Config, LogSettings
from glimt.app.listen import address_of, bind
from glimt.app.server import HttpServer
from glimt.engine.engine import Engine
from glimt.engine.messages import Stats
from glimt.engine.settings import EngineSettings

NUM_SLOTS = 16
NUM_QUEUED = 500
PATIENCE_S = 30.0

pytestmark = pytest.mark.anyio


@dataclass
class Served:
    """A running server, seen from inside and, through `session`, from outside."""

    url: str
    house: House
    http: HttpServer
    session: aiohttp.ClientSession
    tasks: Counter[str]

    @property
    def engine(self) -> Engine:
        engine = self.house.model._engine
        assert engine is not None
        return engine

    async def stats(self) -> Stats:
        """What the worker says now."""
        await self.house.model.refresh_stats()
        return self.house.model.stats()

    async def until(self, condition: Callable[[Stats], bool]) -> Stats:
        """The first report of the worker that satisfies `condition`."""
        async with asyncio.timeout(PATIENCE_S):
            # Numbers come from another process: no event can be set for them.
            while not condition(stats := await self.stats()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return stats

    def post(self, num_tokens: int, *, stream: bool = False) -> Any:
        """A request that takes `num_tokens` steps, no fewer."""
        body = {
            "model": "glimt/nano",
            "messages": [{"role": "user", "content": "What is 17 + 25?"}],
            "max_tokens": num_tokens,
            "ignore_eos": True,
            "stream": stream,
        }
        return self.session.post(f"{self.url}/v1/chat/completions", json=body)

    async def answers(self) -> bool:
        """Whether a request is answered as it should be."""
        async with self.post(4) as response:
            return (
                response.status == 200
                and (await response.json())["usage"]["completion_tokens"] == 4
            )

    async def leaves_nothing(self) -> Stats:
        """Wait until no slot, page, stream, connection or task is in use.

        A page that only keeps a prefix for reuse is not in use.
        """
        stats = await self.until(
            lambda stats: stats.running == stats.waiting == stats.pages_used == 0
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while self.leftovers():  # noqa: ASYNC110  tasks of others cannot be joined
                    await asyncio.sleep(0.01)
        assert self.leftovers() == []
        return stats

    def leftovers(self) -> list[str]:
        """What the server still holds for requests."""
        return [
            *(tasks_by_name() - self.tasks).elements(),
            *(f"server task {task}" for task in self.http.server_state.tasks),
            *(f"connection {protocol}" for protocol in self.http.server_state.connections),
            *["engine request"] * self.engine.num_requests,
        ]


def tasks_by_name() -> Counter[str]:
    """How many tasks run each coroutine, but for those of the test runner.

    Names, because a restarted worker is watched by new tasks of the same kind.
    """
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return Counter(name for name in names if not name.startswith("TestRunner"))


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One server for all tests here: each leaves it as it was, which is what they assert."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    home: Path = tmp_path_factory.mktemp("home")
    config = Config(
        port=0,
        home=home,
        engine=EngineSettings(max_sequences=NUM_SLOTS, cache_gb=0.2, threads=1),
        log=LogSettings(access=False),
    )
    house = House(config)
    http = HttpServer(house.app, drain_s=5.0)
    with bind(config) as listener:
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        await house.start()
        await house.ready()
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            served = Served(address_of(listener), house, http, session, Counter())
            assert await served.answers()
            served.tasks = tasks_by_name()
            yield served
        http.should_exit = True
        await serving
        await house.close()
    assert house.model._engine is not None
    assert house.model._engine.pid is None


@contextlib.asynccontextmanager
async def streaming(served: Served, count: int) -> AsyncIterator[list[aiohttp.ClientResponse]]:
    """`count` streams in the middle of a long answer."""
    async with contextlib.AsyncExitStack() as stack:
        requests = [served.post(4000, stream=True) for _ in range(count)]
        responses = await asyncio.gather(*(stack.enter_async_context(r) for r in requests))
        for response in responses:
            assert response.status == 200
            assert (await response.content.readline()).startswith(b"data: {")
        yield responses


async def last_event(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The last document of a stream, whose end is waited for."""
    lines = [line async for line in response.content if line.startswith(b"data: {")]
    return json.loads(lines[-1].removeprefix(b"data: "))


async def statuses(requests: list[asyncio.Task[int]]) -> list[int]:
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.gather(*requests)


def start_unary(served: Served, count: int, *, num_tokens: int) -> list[asyncio.Task[int]]:
    """Requests without streaming, each in a task that gives the status."""

    async def ask() -> int:
        async with served.post(num_tokens) as response:
            await response.read()
            return response.status

    return [asyncio.create_task(ask()) for _ in range(count)]


async def test_a_worker_killed_under_load_costs_its_requests_and_nothing_else(served: Served):
    """Streams end with an error that says why, other requests get 503, the next ones an answer."""
    async with streaming(served, NUM_SLOTS) as responses:
        queued = start_unary(served, 20, num_tokens=4000)
        await served.until(lambda stats: (stats.running, stats.waiting) == (NUM_SLOTS, 20))
        assert served.engine.pid is not None
        os.kill(served.engine.pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            ends = await asyncio.gather(*map(last_event, responses))
        assert {end["error"]["code"] for end in ends} == {"engine_died"}
        assert "killed by SIGKILL" in ends[0]["error"]["message"]
        assert await statuses(queued) == [503] * 20
    await served.engine.ready()
    assert await served.answers()
    stats = await served.leaves_nothing()
    assert stats.finished_total == 1


async def test_clients_that_leave_in_the_middle_free_what_they_held(served: Served):
    """Every stream that is cut off is aborted in the engine, not computed to its end."""
    before = await served.stats()
    async with streaming(served, NUM_SLOTS) as responses:
        await served.until(lambda stats: stats.running == NUM_SLOTS and stats.pages_used > 0)
        for response in responses:
            response.close()
    after = await served.leaves_nothing()
    assert after.aborted_total == before.aborted_total + NUM_SLOTS
    assert after.finished_total == before.finished_total
    assert await served.answers()


async def test_hundreds_in_the_queue_are_answered_or_forgotten(served: Served):
    """With every slot taken 500 requests wait; half of them leave; the rest are all answered."""
    before = await served.stats()
    async with streaming(served, NUM_SLOTS) as responses:
        queued = start_unary(served, NUM_QUEUED, num_tokens=2)
        await served.until(lambda stats: stats.waiting == NUM_QUEUED)
        leaving, staying = queued[::2], queued[1::2]
        for request in leaving:
            request.cancel()
        await asyncio.wait(leaving)
        await served.until(lambda stats: stats.waiting == NUM_QUEUED // 2)
        for response in responses:
            response.close()
        assert await statuses(staying) == [200] * (NUM_QUEUED // 2)
    after = await served.leaves_nothing()
    assert after.finished_total == before.finished_total + NUM_QUEUED // 2
    assert after.aborted_total == before.aborted_total + NUM_QUEUED // 2 + NUM_SLOTS
    assert await served.answers()


async def test_everything_at_once(served: Served):
    """A worker that dies while hundreds wait and others leave: still nothing is left."""
    async with streaming(served, NUM_SLOTS) as responses:
        queued = start_unary(served, 100, num_tokens=50)
        await served.until(lambda stats: stats.waiting == 100)
        for request in queued[::4]:
            request.cancel()
        for response in responses[::2]:
            response.close()
        assert served.engine.pid is not None
        os.kill(served.engine.pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            ends = await asyncio.gather(*queued, return_exceptions=True)
    for position, end in enumerate(ends):
        if position % 4 == 0:
            assert isinstance(end, asyncio.CancelledError)
        else:
            assert end in (200, 503)
    await served.engine.ready()
    assert await served.answers()
    await served.leaves_nothing()
