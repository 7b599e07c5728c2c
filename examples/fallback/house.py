"""The processes: three upstreams, each behind a wire, and the gateway that knows the wires."""

import asyncio
import os
import random
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from wire import Wire

MODEL: Final = "glimt/nano"
START_S: Final = 120.0
GLIMT: Final = (sys.executable, "-m", "glimt.cli", "serve")
ENGINE: Final = "[engine]\ncache_gb = 0.1\n[log]\naccess = false\n"
ATTEMPTS: Final = "[attempts]\nconnect_s = 1\nfirst_token_s = 3\nidle_s = 2\ntotal_s = 30\n"
PLACE: Final = """
[providers.{name}]
kind = "{kind}"
base_url = "http://127.0.0.1:{port}/v1"
models = {{ "{model}" = "{model}" }}
"""


class NotStartedError(Exception):
    """A process did not come up; the message has what it said."""


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server in a process of its own; killed, it can be started again at the same port."""

    def __init__(self, name: str, folder: Path, command: Sequence[str], port: int) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._log = folder / f"{name}.log"
        self._home = folder / name
        self._home.mkdir(exist_ok=True)
        self._process: asyncio.subprocess.Process | None = None

    def configure(self, text: str) -> None:
        """Its config.toml, for a Glimt."""
        (self._home / "config.toml").write_text(text, encoding="utf-8")

    async def start(self) -> None:
        """Start it and wait until it answers. Raises NotStartedError."""
        with self._log.open("a", encoding="utf-8") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment(), stdout=log, stderr=log
            )
        async with aiohttp.ClientSession() as session, asyncio.timeout(START_S):
            while self._process.returncode is None:
                try:
                    async with session.get(f"{self.url}/ready") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        said = self._log.read_text(encoding="utf-8")[-2000:]
        raise NotStartedError(f"{self.name} did not start:\n{said}")

    async def kill(self) -> None:
        """As a machine dies: at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """As one ends a server."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(15):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()

    def _environment(self) -> Mapping[str, str]:
        """No keys and no settings but ours."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GLIMT_") and not name.endswith("_API_KEY")
        }
        return {**kept, "GLIMT_HOME": str(self._home), "GLIMT_PORT": str(self.port)}


class House:
    """Three upstreams and a gateway.

    Attributes:
        real: A Glimt with nano; what it says is what everybody says.
        wires: By the upstream's name.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.script = folder / "answers.json"
        self.real = Process("real", folder, GLIMT, free_port())
        self.real.configure(ENGINE)
        self.upstreams = [self.real]
        for name in ("first", "second"):
            port = free_port()
            file = str(Path(__file__).with_name("upstream.py"))
            command = (sys.executable, file, "--port", str(port), "--script", str(self.script))
            self.upstreams.append(Process(name, folder, command, port))
        self.wires = {
            one.name: Wire(one.url, free_port(), random.Random(f"{seed}-{one.name}"))
            for one in self.upstreams
        }
        self.gateway = Process("gateway", folder, GLIMT, free_port())
        self.gateway.configure(
            ENGINE
            + ATTEMPTS
            + "".join(
                PLACE.format(
                    name=name,
                    kind="glimt" if name == "real" else "vllm",
                    port=wire.port,
                    model=MODEL,
                )
                for name, wire in self.wires.items()
            )
        )

    async def start(self) -> None:
        """The wires, then everything that does not wait for the script."""
        await asyncio.gather(*(wire.start() for wire in self.wires.values()))
        await asyncio.gather(self.real.start(), self.gateway.start())

    async def start_scripted(self) -> None:
        """The others, once `script` is written."""
        await asyncio.gather(*(one.start() for one in self.upstreams if one is not self.real))

    async def close(self) -> None:
        """End everything."""
        await self.gateway.stop()
        await asyncio.gather(*(wire.close() for wire in self.wires.values()))
        await asyncio.gather(*(one.stop() for one in self.upstreams))
