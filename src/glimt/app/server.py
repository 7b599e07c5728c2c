"""The server as a process: bind, load, say when it is ready, serve, drain, end.

The first SIGTERM or SIGINT stops taking requests and lets those under way finish; the second SIGINT
ends at once. The ready line goes to stdout, everything else to stderr.
"""

import asyncio
import json
import signal
import socket
import sys
from typing import Any

import structlog
import uvicorn
import uvloop

from glimt import __version__
from glimt.app.build import House
from glimt.app.config import Config, ConfigError
from glimt.app.engine_model import LoadError
from glimt.app.garbage import settle
from glimt.app.http_server import HttpServer
from glimt.app.listen import ListenError, address_of, bind
from glimt.app.log import configure_logging
from glimt.app.peers import Peers
from glimt.app.progress import show_progress
from glimt.app.siblings import Siblings
from glimt.engine.messages import EngineInfo


class ServeError(ConfigError):
    """The server cannot run; the message says why and what to change."""


def serve(config: Config) -> None:
    """Run until told to stop; returns after a clean drain.

    Raises:
        ServeError: The address is taken, or the model cannot be served.
    """
    configure_logging(config.log)
    try:
        listener = bind(config)
    except ListenError as error:
        raise ServeError(str(error)) from error
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(config, listener))
        except LoadError as error:
            raise ServeError(str(error)) from error


async def _serve(config: Config, listener: socket.socket) -> None:
    house = House(config)
    fleet: list[Siblings | Peers] = []
    server = HttpServer(house.app, drain_s=config.drain_s)
    stop = asyncio.Event()
    _on_signals(stop, server)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="glimt-serve")
    progress = asyncio.create_task(show_progress(house.model), name="glimt-progress")
    stopping = asyncio.create_task(stop.wait(), name="glimt-stop")
    await house.start()
    ready = asyncio.create_task(house.ready(), name="glimt-ready")
    try:
        await asyncio.wait({serving, ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(progress)
        if ready.done() and not stop.is_set():
            info = ready.result()
            if config.processes > 1:
                await _multiply(config, house, listener, fleet)
            settle()
            _announce(address_of(listener), house, info)
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(progress, stopping, ready)
        house.stop_admitting()
        server.should_exit = True
        for part in fleet:
            part.drain()
        await serving
        for part in fleet:
            await part.close()
        await house.close()


async def _multiply(
    config: Config, house: House, listener: socket.socket, fleet: list[Siblings | Peers]
) -> None:
    """Start the other processes; each of them answers for all when it is asked for numbers."""
    share = house.share()
    peers = Peers(share.runtime_dir, house.meter.render_gateway)
    siblings = Siblings(config, share, listener)
    fleet += [siblings, peers]
    await peers.start()
    house.peers = peers
    await siblings.start()


def _on_signals(stop: asyncio.Event, server: uvicorn.Server) -> None:
    logger: Any = structlog.get_logger()

    def told(number: int) -> None:
        name = signal.Signals(number).name
        if not stop.is_set():
            stop.set()
            logger.info("server.draining", signal=name)
        elif number == signal.SIGINT:
            logger.warning("server.stopping_at_once", signal=name)
            server.force_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told, number)
    # The terminal was closed; nohup asks that this be ignored.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, told, signal.SIGHUP)


def _announce(address: str, house: House, info: EngineInfo) -> None:
    """The one thing on stdout: where it is, what it is, and a first question."""
    model = house.model.model
    body = {"model": model, "messages": [{"role": "user", "content": "What is 17 + 25?"}]}
    sys.stdout.write(
        f"Glimt {__version__} is ready: {model} on {info.device} ({info.dtype}, "
        f"context {info.context_length}, loaded in {info.load_s:.1f} s)\n\n"
        f"  {address}\n\n"
        f"  curl {address}/v1/chat/completions -d '{json.dumps(body)}'\n\n"
    )
    sys.stdout.flush()


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
