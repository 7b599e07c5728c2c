"""The worker's loop: receive, step, report; one thread.

Knows when to read, when to compute, when to report and when to end. Knows nothing of batching or
of tensors (that is the core it is given), of bytes and sockets (that is the hub), or of signals
and command lines (that is the worker process around it).
"""

import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

import msgspec
from structlog.typing import FilteringBoundLogger

from glimt.engine.hub import MAX_BUFFERED_BYTES, Hub
from glimt.engine.messages import (
    Abort,
    Admitted,
    EngineInfo,
    FromWorker,
    LoadProgress,
    Output,
    Probe,
    Refused,
    Stats,
    Step,
    Submit,
    ToWorker,
)

STOP_SIGNAL: Final = signal.SIGUSR1
"""How a worker's parent tells it to drain. Not SIGTERM: a service manager sends that to every
process of a service at once, and the gateway grants answers more time than we would."""

EXIT_DRAINED: Final = 0
EXIT_CRASHED: Final = 70
"""The state may be half changed: start a fresh process."""
EXIT_CANNOT_LOAD: Final = 78
"""The model or the settings are at fault: a fresh process would fail the same way."""

BUSY_REPORT_S: Final = 1.0
IDLE_REPORT_S: Final = 0.1
PROGRESS_REPORT_S: Final = 0.1
FLUSH_S: Final = 2.0

ProgressReport = Callable[[LoadProgress], None]


class Core(Protocol):
    """What the loop drives; `glimt.engine.core.EngineCore` is the real one."""

    def add(self, connection: int, submit: Submit) -> Refused | None:
        """Queue a sequence, or say why not."""
        ...

    def abort(self, connection: int, ids: Iterable[int] | None = None) -> None:
        """Forget these sequences (None: all) of a connection; unknown ids are ignored."""
        ...

    def has_work(self) -> bool:
        """Whether a step would do something."""
        ...

    def step(self) -> list[tuple[int, Admitted | Output | Refused]]:
        """Compute one step: for each connection concerned, what to tell it."""
        ...

    def stats(self) -> Stats:
        """Counters and gauges of this moment."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A core that is ready to step, and what to tell gateways about it."""

    core: Core
    info: EngineInfo


class Worker:
    """The loop around a core. `load`, then `run`, then the process ends."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        logger: FilteringBoundLogger,
        drain_s: float = 10.0,
        wakeup: socket.socket | None = None,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        """`wakeup` gets a byte when a signal arrives; see `signal.set_wakeup_fd`."""
        self._logger = logger
        self._drain_s = drain_s
        self._loaded: Loaded | None = None
        self._progress = LoadProgress(stage="start", done=0, total=0)
        self._live: dict[int, set[int]] = {}
        self._reported_s = 0.0
        self._changed = False
        self._terminating = False
        self._drain_until_s: float | None = None
        self._hub = Hub(
            listener,
            handler=self,
            logger=logger,
            wakeup=wakeup,
            max_buffered_bytes=max_buffered_bytes,
        )

    def load(self, build: Callable[[ProgressReport], Loaded]) -> None:
        """Make the core, telling every connection how far it is."""
        self._hub.poll(0)
        self._loaded = build(self._report_progress)
        self._hub.broadcast(self._loaded.info)
        self._changed = True

    def run(self) -> int:
        """Serve until told to end; the exit status. `load` comes first."""
        if self._loaded is None:
            raise RuntimeError("Worker.load comes before Worker.run.")
        core = self._loaded.core
        try:
            while not self._is_drained(core):
                self._hub.poll(self._patience_s(core))
                if core.has_work():
                    self._dispatch(core.step())
                    self._changed = True
                self._report(core)
        except Exception as error:  # The process boundary: what failed may be half changed.
            # No word to the requests: they learn from the lost connection that the engine died,
            # which is a reason to try again, and the gateway tells them why.
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self._logger.critical("worker.step_failed", reason=reason, exc_info=True)
            self._loaded = None
            self._terminating = True
            return EXIT_CRASHED
        finally:
            self._hub.flush(FLUSH_S)
            self._hub.close()
        return EXIT_DRAINED

    def terminate(self) -> None:
        """Finish what runs, take nothing new, end. Safe to call from a signal handler."""
        self._terminating = True

    def opened(self, connection: int) -> None:
        """Greet a new gateway process."""
        self._live[connection] = set()
        if self._loaded is None:
            self._hub.send(connection, (self._progress,))
        else:
            self._hub.send(connection, (self._loaded.info, self._stats(self._loaded.core)))

    def received(self, connection: int, message: ToWorker) -> None:
        """Do what a gateway process asks for."""
        core = self._loaded.core if self._loaded is not None else None
        match message:
            case Submit():
                refused = self._submit(core, connection, message)
                if refused is not None:
                    self._hub.send(connection, (refused,))
            case Abort():
                self._live[connection].difference_update(message.ids)
                if core is not None:
                    core.abort(connection, message.ids)
                    self._changed = True
            case Probe():
                if core is not None:
                    self._hub.send(connection, (self._stats(core),))
            case _:
                assert_never(message)

    def closed(self, connection: int) -> None:
        """Abort everything that a departed gateway process had asked for."""
        num_aborted = len(self._live.pop(connection))
        if self._loaded is not None:
            self._loaded.core.abort(connection)
            self._changed = True
        if num_aborted:
            self._logger.info(
                "worker.connection_closed", connection=connection, num_aborted=num_aborted
            )

    def _submit(self, core: Core | None, connection: int, submit: Submit) -> Refused | None:
        if core is None or self._terminating:
            state = "shutting down" if self._terminating else "still loading"
            return Refused(id=submit.id, code="overloaded", message=f"The engine is {state}.")
        refused = core.add(connection, submit)
        if refused is None:
            self._live[connection].add(submit.id)
        return refused

    def _is_drained(self, core: Core) -> bool:
        if not self._terminating:
            return False
        if self._drain_until_s is None:
            self._hub.stop_accepting()
            self._drain_until_s = time.monotonic() + self._drain_s
            self._logger.info("worker.draining", num_requests=self._num_live())
        if not core.has_work():
            return True
        if time.monotonic() < self._drain_until_s:
            return False
        self._logger.warning("worker.drain_cut_short", num_requests=self._num_live())
        return True

    def _patience_s(self, core: Core) -> float | None:
        """How long the next poll may block: not at all, until the next report, for ever."""
        if core.has_work() or self._terminating:
            return 0.0
        if self._changed:
            return max(0.0, self._reported_s + IDLE_REPORT_S - time.monotonic())
        return None

    def _dispatch(self, outputs: list[tuple[int, Admitted | Output | Refused]]) -> None:
        """Send what a step brought: one write, and at most one `Step`, for each connection."""
        messages: dict[int, list[FromWorker]] = {}
        steps: dict[int, list[Output]] = {}
        for connection, output in outputs:
            match output:
                case Output():
                    steps.setdefault(connection, []).append(output)
                    if output.finish is not None:
                        self._live[connection].discard(output.id)
                case Admitted():
                    messages.setdefault(connection, []).append(output)
                case Refused():
                    messages.setdefault(connection, []).append(output)
                    self._live[connection].discard(output.id)
                case _:
                    assert_never(output)
        for connection, step in steps.items():
            messages.setdefault(connection, []).append(Step(step))
        for connection, batch in messages.items():
            self._hub.send(connection, batch)

    def _report(self, core: Core) -> None:
        """Send `Stats` once a second while work is done, and once when it is done."""
        if not self._changed:
            return
        interval_s = BUSY_REPORT_S if core.has_work() else IDLE_REPORT_S
        now = time.monotonic()
        if now - self._reported_s >= interval_s:
            self._reported_s = now
            self._changed = False
            self._hub.broadcast(self._stats(core))

    def _report_progress(self, progress: LoadProgress) -> None:
        self._progress = progress
        now = time.monotonic()
        if now - self._reported_s >= PROGRESS_REPORT_S or progress.done >= progress.total:
            self._reported_s = now
            self._hub.broadcast(progress)
            self._hub.poll(0)

    def _stats(self, core: Core) -> Stats:
        return msgspec.structs.replace(core.stats(), connections=len(self._hub))

    def _num_live(self) -> int:
        return sum(map(len, self._live.values()))
