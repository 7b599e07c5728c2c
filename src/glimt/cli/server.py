"""Where a command finds its server: the one that runs, or one started for as long as it is needed.

Knows addresses and processes; knows nothing of what is asked there.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import aiohttp
import msgspec
from rich.console import Console
from rich.status import Status

from glimt.app import config as settings
from glimt.bench.client import ChatServer, base_url
from glimt.cli.terminal import CommandError

_COMMAND: Final = (sys.executable, "-m", "glimt.cli", "serve")
_PROBE_S: Final = 2.0
_POLL_S: Final = 0.1
_STOP_S: Final = 10.0
_SHOWN_LOG_LINES: Final = 12

_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where to look, not to listen


def configured_url() -> str:
    """Where a server with this machine's settings listens."""
    config = settings.load()
    return url_of(config.host, config.port)


def url_of(host: str, port: int) -> str:
    """The address to call for a server that listens on `host` and `port`."""
    host = _ANY_HOST.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def running_server(url: str | None) -> AsyncGenerator[str]:
    """The base address ("…/v1") of a server that answers.

    `url` names one; otherwise it is the configured one if that runs, otherwise a new process with
    the same settings on a free port, stopped on the way out.

    Raises:
        CommandError: The new process ended before it was ready.
    """
    if url is not None:
        yield base_url(url)
        return
    configured = configured_url()
    answer = await _probe(configured)
    if answer is None:
        async with _started() as own:
            yield base_url(own)
        return
    if answer.status != "ready":
        with _spinner(f"Waiting for the server at {configured} …") as status:
            await _until_ready(configured, status)
    yield base_url(configured)


async def first_model(server: ChatServer) -> str:
    """The model to ask when none was named.

    Raises:
        CommandError: The server offers none.
    """
    offered = await server.models()
    if not offered:
        raise CommandError(f"The server offers no model: {server.url}")
    return offered[0].id


class _Answer(msgspec.Struct):
    """The body of `/ready`; a server of another make may send anything."""

    status: str = "ready"
    message: str = ""


async def _probe(url: str) -> _Answer | None:
    """How a server's start stands; `None` when nobody answers."""
    timeout = aiohttp.ClientTimeout(total=_PROBE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url}/ready") as response,
        ):
            return msgspec.json.decode(await response.read(), type=_Answer)
    except (aiohttp.ClientError, TimeoutError):
        return None
    except msgspec.DecodeError:
        return _Answer()


async def _until_ready(url: str, status: Status) -> None:
    """Wait, and say what is waited for.

    Raises:
        CommandError: The server cannot become ready.
    """
    while (answer := await _probe(url)) is None or answer.status != "ready":
        if answer is not None and answer.status in {"failed", "stopping"}:
            raise CommandError(answer.message)
        if answer is not None:
            status.update(answer.message)
        await asyncio.sleep(_POLL_S)


def _spinner(why: str) -> Status:
    return Console(stderr=True).status(why)


@asynccontextmanager
async def _started() -> AsyncGenerator[str]:
    port = _free_port()
    url = url_of("127.0.0.1", port)
    with tempfile.NamedTemporaryFile(prefix="glimt-", suffix=".log") as log:
        # A session of its own: Ctrl-C in the terminal is for the command, not for its server.
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            *("--host", "127.0.0.1", "--port", str(port)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        signal.signal(signal.SIGTERM, _leave)
        try:
            with _spinner("Starting a server for this session …") as status:
                await _ready_or_over(url, status, process, Path(log.name))
            yield url
        finally:
            await _stop(process)


async def _ready_or_over(
    url: str, status: Status, process: asyncio.subprocess.Process, log: Path
) -> None:
    ready = asyncio.ensure_future(_until_ready(url, status))
    over = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait((ready, over), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            raise CommandError(_obituary(log))
        ready.result()
    finally:
        ready.cancel()
        over.cancel()


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind, so that the server is stopped too."""
    raise SystemExit(128 + number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _obituary(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_SHOWN_LOG_LINES:]
    said = "\n".join(f"  {line}" for line in lines)
    return f"The server that was started for this ended before it was ready:\n{said}"
