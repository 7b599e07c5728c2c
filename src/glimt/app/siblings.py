"""More processes that take requests at the same address and share this one's engine.

Knows how they are started, watched and ended. The listening socket is inherited, so the system
hands each connection to whichever process is free. What a sibling does is `glimt.app.sibling`.
"""

import asyncio
import contextlib
import socket
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any, Final

import msgspec
import structlog

from glimt.app.config import Config
from glimt.app.shared import Share

PAUSE_S: Final = 1.0
"""Before one that ended by itself is replaced."""
KILL_AFTER_S: Final = 5.0


class SiblingOrders(msgspec.Struct, frozen=True, kw_only=True):
    """What a sibling is told on its first line of input. `listener` is an inherited descriptor."""

    config: Config
    share: Share
    listener: int


class Siblings:
    """`config.processes` less this one."""

    def __init__(self, config: Config, share: Share, listener: socket.socket) -> None:
        self._num = config.processes - 1
        self._orders = SiblingOrders(config=config, share=share, listener=listener.fileno())
        self._drain_s = config.drain_s
        self._watchers: list[asyncio.Task[None]] = []
        self._processes: set[Process] = set()
        self._num_ready = asyncio.Semaphore(0)
        self._logger: Any = structlog.get_logger()

    async def start(self) -> None:
        """Start all of them and wait until they take requests."""
        self._watchers = [
            asyncio.create_task(self._watch(), name=f"glimt-sibling-{number}")
            for number in range(self._num)
        ]
        for _ in self._watchers:
            await self._num_ready.acquire()

    def drain(self) -> None:
        """Let them finish what they have and end."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    async def close(self) -> None:
        """Wait for their end, or bring it about."""
        for watcher in self._watchers:
            watcher.cancel()
        self.drain()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            status = await self._run()
            self._logger.error("server.sibling_ended", status=status, restart_in_s=PAUSE_S)
            await asyncio.sleep(PAUSE_S)

    async def _run(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "glimt.app.sibling"),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[self._orders.listener],
            start_new_session=True,
        )
        self._processes.add(process)
        try:
            if process.stdin is not None and process.stdout is not None:
                # Kept open: its end tells a sibling that we are gone.
                process.stdin.write(msgspec.json.encode(self._orders, enc_hook=str) + b"\n")
                if await process.stdout.readline():
                    self._num_ready.release()
            return await process.wait()
        except asyncio.CancelledError:
            await self._end(process)
            raise
        finally:
            self._processes.discard(process)

    async def _end(self, process: Process) -> None:
        try:
            async with asyncio.timeout(self._drain_s + KILL_AFTER_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
