"""Real servers for tests: an application on a free loopback port, in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvloop

from glimt.api.routes import create_app
from glimt.api.services import Services
from glimt.api.settings import HttpSettings
from glimt.app.config import Config
from glimt.app.http_server import HttpServer
from glimt.app.listen import address_of, bind
from glimt.core.clock import SystemClock
from glimt.core.provider import Provider
from glimt.data.database import Database
from glimt.data.responses import ResponseStore
from glimt.gateway.answer import Gateway
from glimt.gateway.meter import Meter
from glimt.gateway.readiness import Report
from glimt.gateway.registry import Registry
from glimt.gateway.roads import Roads
from glimt.gateway.thoughts import ThoughtKey


@dataclass
class FixedReadiness:
    """Says what it is told to."""

    current: Report

    def report(self) -> Report:
        return self.current


READY = Report(phase="ready", model="scripted")


@dataclass
class Served:
    """A server under test.

    `meter` counts what it did; `readiness.current` can be changed while it runs.
    """

    url: str
    meter: Meter
    readiness: FixedReadiness


def services(
    *providers: Provider,
    settings: HttpSettings | None = None,
    api_keys: tuple[str, ...] = (),
    database: Database | None = None,
    days: float = 30,
    roads: Roads | None = None,
) -> tuple[Services, FixedReadiness]:
    """What endpoints need, around providers that a test brings along."""
    registry = Registry()
    for provider in providers:
        registry.add(provider)
    readiness = FixedReadiness(READY)
    clock = SystemClock()
    meter = Meter(clock)

    async def metrics() -> bytes:
        return meter.render()

    built = Services(
        gateway=Gateway(registry, readiness, meter, roads=roads),
        readiness=readiness,
        meter=meter,
        clock=clock,
        metrics=metrics,
        settings=settings or HttpSettings(),
        thoughts=ThoughtKey(lambda: b"a secret of tests, and of 32 bytes"),
        api_keys=api_keys,
        responses=None if database is None else ResponseStore(database, clock, days=days),
    )
    return built, readiness


@contextmanager
def serving(
    *providers: Provider,
    settings: HttpSettings | None = None,
    api_keys: tuple[str, ...] = (),
    database_url: str | None = None,
    roads: Roads | None = None,
) -> Iterator[Served]:
    """An HTTP server that answers from `providers` until the block ends."""
    database = None if database_url is None else Database(database_url)
    built, readiness = services(
        *providers, settings=settings, api_keys=api_keys, database=database, roads=roads
    )
    listener = bind(Config(port=0))
    server = HttpServer(create_app(built), drain_s=2)
    thread = threading.Thread(target=_run, args=(server, listener), name="server-under-test")
    thread.start()
    try:
        yield Served(url=address_of(listener), meter=built.meter, readiness=readiness)
    finally:
        server.should_exit = True
        thread.join()
        if database is not None:
            asyncio.run(database.close())


def _run(server: HttpServer, listener: socket.socket) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[listener]))
