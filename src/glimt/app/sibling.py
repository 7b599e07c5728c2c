"""A further process of a server: `python -m glimt.app.sibling`, started by `glimt.app.siblings`.

Takes its orders from the first line of stdin, says "ready" on stdout, takes requests at the socket
that it inherited, and ends on SIGTERM or when the process that started it is gone.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import msgspec
import uvloop

from glimt.app.build import House
from glimt.app.garbage import settle
from glimt.app.http_server import HttpServer
from glimt.app.log import configure_logging
from glimt.app.peers import Peers
from glimt.app.siblings import SiblingOrders


def main() -> None:
    """Run to the end."""
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=SiblingOrders, dec_hook=_decoded)
    configure_logging(orders.config.log)
    # Ctrl-C in the terminal is for the process that started us; it tells us what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_parent, name="glimt-parent", daemon=True).start()
    with (
        socket.socket(fileno=orders.listener) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(orders, listener))


def _decoded(kind: type, value: object) -> object:
    return Path(str(value)) if kind is Path else value


def _watch_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


async def _serve(orders: SiblingOrders, listener: socket.socket) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    house = House(orders.config, share=orders.share)
    await house.start()
    await house.ready()
    peers = Peers(orders.share.runtime_dir, house.meter.render_gateway)
    await peers.start()
    house.peers = peers
    server = HttpServer(house.app, drain_s=orders.config.drain_s)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    settle()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    house.stop_admitting()
    server.should_exit = True
    await serving
    stopping.cancel()
    await peers.close()
    await house.close()


if __name__ == "__main__":
    main()
