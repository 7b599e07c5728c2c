"""The engine as the gateway sees it: starts the worker process, watches it, starts it again.

Knows processes: how the worker is spawned, why it ended, when to give up. Requests are the
client's business (`glimt.engine.client`), which this extends; other gateway processes on the same
machine share the worker through a plain `EngineClient` on the same socket. Torch-free.
"""

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger

from glimt.engine.client import EngineClient
from glimt.engine.loop import EXIT_CANNOT_LOAD, STOP_SIGNAL
from glimt.engine.settings import EngineSettings
from glimt.engine.worker_log import WorkerLog

WORKER_COMMAND: Final = (sys.executable, "-m", "glimt.engine.worker")

MAX_DEATHS_UNREADY: Final = 3
"""A worker that dies this often in a row without having been ready will not do better next time."""
QUICK_DEATH_S: Final = 60.0
"""A worker that lived longer is restarted at once; one that did not, after a growing pause."""
PAUSE_S: Final = 0.1
PAUSE_MAX_S: Final = 10.0
KILL_AFTER_S: Final = 2.0
LAST_WORDS_S: Final = 1.0
NUM_LAST_WORDS: Final = 5
MAX_SILENCE_GPU_S: Final = 120.0
MAX_SILENCE_CPU_S: Final = 900.0
NUM_SILENT_LOOKS: Final = 8
"""So often in a row, evenly over the longest silence. Not once at its end: this process may have
been the one that was held up, with everything that the worker said still unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnd:
    """How a worker ended that nobody told to.

    Attributes:
        status: The exit status; minus the signal's number when one killed it.
        reason: What it named as the reason itself.
        last_words: The end of its output.
        was_ready: Whether it ever served.
        silence_s: How long it had said nothing, if we killed it for that.
    """

    status: int
    reason: str | None
    last_words: str
    was_ready: bool
    silence_s: float | None = None

    @property
    def hopeless(self) -> bool:
        """Whether the next worker would end the same way."""
        return self.status == EXIT_CANNOT_LOAD

    @property
    def cause(self) -> str:
        """What happened, to follow "The engine's worker"."""
        if self.silence_s is not None:
            return f"said nothing for {self.silence_s:g} s and was killed"
        if self.status >= 0:
            because = f" ({self.reason})" if self.reason else ""
            return f"ended with status {self.status}{because}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            name = f"signal {-self.status}"
        hint = " (out of memory?)" if self.status == -signal.SIGKILL else ""
        return f"was killed by {name}{hint}"

    @property
    def failure(self) -> str:
        """Why no further worker is started."""
        if self.hopeless and self.reason:
            return self.reason
        last_words = "\n".join(self.last_words.splitlines()[-NUM_LAST_WORDS:])
        text = f"its worker {self.cause} {MAX_DEATHS_UNREADY} times before it was ready."
        return f"{text} Its last words:\n{last_words}" if last_words else text


class Engine(EngineClient):
    """One worker process and the requests to it.

    A worker that dies is started again, after a pause that grows when it happens often. When
    `MAX_DEATHS_UNREADY` workers in a row die before they were ready, or when one says that the
    model or the settings are at fault, the state becomes "failed" and every request is told why.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        model_path: Path,
        runtime_dir: Path,
        logger: FilteringBoundLogger | None = None,
        wait_s: float = 30.0,
        drain_s: float = 10.0,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        """Nothing starts yet.

        Args:
            settings: How the worker runs the model.
            model_path: The checkpoint's folder, already on this machine.
            runtime_dir: Where the socket is made; created when missing, for this user only.
            logger: Gets our own lines and, forwarded, the worker's.
            wait_s: How long a request waits for a worker that is not ready.
            drain_s: How long a worker that is told to end may finish what runs.
            command: What to run as the worker; its options are added.
        """
        super().__init__(runtime_dir / "engine.sock", wait_s=wait_s, logger=logger)
        self._command = (
            *command,
            "--socket",
            str(self.socket_path),
            "--settings",
            msgspec.json.encode(settings).decode(),
            "--model-path",
            str(model_path),
            "--drain-s",
            f"{drain_s:g}",
            "--die-with-stdin",
        )
        self._drain_s = drain_s
        self._max_silence_s = settings.max_silence_s
        self._silence_s: float | None = None
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._num_deaths = 0
        self._end: WorkerEnd | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def num_deaths(self) -> int:
        """How many workers ended that were not told to."""
        return self._num_deaths

    async def start(self) -> None:
        """Spawn the worker and begin to watch it. Does not wait for the model: see `ready`."""
        if self._supervisor is not None:
            return
        self.socket_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._supervisor = asyncio.create_task(self._supervise(), name="glimt-engine-supervisor")
        await super().start()

    async def close(self) -> None:
        """End the worker: politely, then not. Requests that are still under way fail."""
        await super().close()
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
        self.socket_path.unlink(missing_ok=True)

    async def _explain_loss(self, reason: str) -> str:
        """The connection ends a moment before the process does: wait for the better answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                while self._end is None:
                    await self._next_change()
        if self._end is None:
            return await super()._explain_loss(reason)
        return f"The engine's worker {self._end.cause}"

    async def _supervise(self) -> None:
        """Run workers, one after the other, until told to stop or until it makes no sense."""
        num_unready = num_quick = 0
        while True:
            started_s = time.monotonic()
            try:
                end = await self._run_worker()
            except OSError as error:
                self._fail(f"no worker process could be started ({error}).")
                return
            self._num_deaths += 1
            if self._ending:
                self._logger.error("engine.worker_died", cause=end.cause, reason=end.reason)
                self._set_state("stopped")
                return
            num_unready = 0 if end.was_ready else num_unready + 1
            num_quick = num_quick + 1 if time.monotonic() - started_s < QUICK_DEATH_S else 0
            if end.hopeless or num_unready >= MAX_DEATHS_UNREADY:
                self._fail(end.failure)
                return
            pause_s = min(PAUSE_S * 2**num_quick, PAUSE_MAX_S)
            self._logger.error(
                "engine.worker_died",
                cause=end.cause,
                reason=end.reason,
                last_words=end.last_words,
                restart_in_s=pause_s,
            )
            self._set_state("restarting")
            await asyncio.sleep(pause_s)

    def _fail(self, reason: str) -> None:
        """Give up: requests that wait and those to come are told why."""
        self._logger.error("engine.failed", reason=reason)
        self._set_state("failed", failure=reason)

    async def _run_worker(self) -> WorkerEnd:
        """One worker, from its start to its end. Cancelling this ends the worker."""
        num_ready_before = self._num_ready
        self._end = self._silence_s = None
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            # Its own session: a Ctrl-C in the terminal must not reach it before we have drained.
            start_new_session=True,
        )
        self._process = process
        self._logger.info("engine.worker_started", pid=process.pid)
        log = WorkerLog(self._logger)
        forwarder = asyncio.create_task(log.forward(process), name="glimt-engine-worker-log")
        watchdog = asyncio.create_task(self._watch(process), name="glimt-engine-watchdog")
        try:
            status = await process.wait()
        finally:
            watchdog.cancel()
            await self._stop(process)
            # A child of the worker may hold its output open; what counts has arrived by now.
            await asyncio.wait([forwarder], timeout=LAST_WORDS_S)
            forwarder.cancel()
            self._process = None
        self._end = WorkerEnd(
            status=status,
            reason=log.reason,
            last_words=log.last_words,
            was_ready=self._num_ready > num_ready_before,
            silence_s=self._silence_s,
        )
        self._notify()
        return self._end

    async def _watch(self, process: Process) -> None:
        """Kill a worker that has work and says nothing: between steps it speaks every second."""
        limit_s = 0.0
        num_silent = num_received = 0
        while num_silent < NUM_SILENT_LOOKS:
            limit_s = self._silence_limit_s()
            await asyncio.sleep(limit_s / NUM_SILENT_LOOKS)
            has_work = self._streams or self.stats.running or self.stats.waiting
            silent = self._num_received == num_received and has_work and self._state == "ready"
            num_silent = num_silent + 1 if silent else 0
            num_received = self._num_received
        self._silence_s = limit_s
        self._logger.error("engine.worker_hangs", pid=process.pid, silence_s=limit_s)
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    def _silence_limit_s(self) -> float:
        if self._max_silence_s is not None:
            return self._max_silence_s
        on_cpu = self.info is None or self.info.device == "cpu"
        return MAX_SILENCE_CPU_S if on_cpu else MAX_SILENCE_GPU_S

    async def _stop(self, process: Process) -> None:
        """The stop signal, the time to drain, SIGKILL. Returns once the process is reaped."""
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(STOP_SIGNAL)
        try:
            async with asyncio.timeout(self._drain_s + KILL_AFTER_S):
                await process.wait()
        except TimeoutError:
            self._logger.warning("engine.worker_killed", pid=process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
