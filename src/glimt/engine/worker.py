"""The engine's worker process: `python -m glimt.engine.worker`.

Knows the command line, the signals, the order of starting (listen first, so that gateways see
the load proceed) and how the process ends. The loop itself is `glimt.engine.loop`.
Logs one JSON object a line on stderr, which the gateway that started it forwards.
"""

import argparse
import contextlib
import gc
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from glimt.core.errors import GlimtError
from glimt.engine.checkpoint import CheckpointError
from glimt.engine.grammar.matcher import GrammarError, Vocabulary
from glimt.engine.loop import (
    EXIT_CANNOT_LOAD,
    EXIT_CRASHED,
    STOP_SIGNAL,
    Loaded,
    ProgressReport,
    Worker,
)
from glimt.engine.messages import EngineInfo
from glimt.engine.settings import EngineSettings
from glimt.engine.transport import listen

CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use; holds "max" instead of a quota when there is no limit."""


def load_core(settings: EngineSettings, model_path: Path, report: ProgressReport) -> Loaded:
    """Load the model and make the real core. The first thing in this process to import torch."""
    # Read when torch loads its thread pool. Threads that spin while they wait are faster on an
    # idle machine, by microseconds; on a busy one they take the processor from the thread they
    # wait for, and a step takes a hundred times as long (docs/log.md, 2026-11-20).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Importing torch takes seconds; by now the socket listens and says that we are starting.
    import torch  # noqa: PLC0415

    from glimt.engine.core import EngineCore  # noqa: PLC0415
    from glimt.engine.runner import Runner  # noqa: PLC0415

    if settings.threads is None:
        # One processor is the gateway's, which has to keep up with every token.
        threads = max(1, min(torch.get_num_threads(), num_processors() - 1))
        settings = msgspec.structs.replace(settings, threads=threads)
    runner = Runner.load(settings, model_path, report)
    async_steps = "on" if runner.should_run_ahead else "off"
    settings = msgspec.structs.replace(settings, async_steps=async_steps)
    info = runner.info()
    core = EngineCore(
        runner,
        settings,
        context_length=runner.config.context_length,
        guesser=runner if runner.should_guess else None,
        vocabulary=_load_vocabulary(model_path, info),
        balanced_context=runner.config.balanced_context,
    )
    return Loaded(core, info)


def _load_vocabulary(model_path: Path, info: EngineInfo) -> Vocabulary | None:
    """What grammars need; without it answers are free, and requests for formats are refused."""
    try:
        return Vocabulary.load(
            model_path, vocab_size=info.vocab_size, stop_tokens=info.stop_token_ids
        )
    except (GrammarError, OSError) as error:
        structlog.get_logger().warning("worker.no_grammars", reason=str(error))
        return None


def num_processors() -> int:
    """Processors that this process may use: those of its affinity mask, within its cgroup's quota.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = CPU_QUOTA.read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def configure_logging() -> FilteringBoundLogger:
    """One JSON object a line on stderr."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    return structlog.get_logger()


def serve(
    listener: socket.socket,
    build: Callable[[ProgressReport], Loaded],
    *,
    logger: FilteringBoundLogger,
    drain_s: float,
    stop_signal: signal.Signals,
) -> int:
    """Load, run until `stop_signal`; the exit status.

    It ends a load at once; afterwards it drains. SIGINT is ignored: a Ctrl-C in the terminal is
    for the gateway, which decides what becomes of the requests. So is SIGTERM under a parent.
    """
    for other in {signal.SIGINT, signal.SIGTERM} - {stop_signal}:
        signal.signal(other, signal.SIG_IGN)
    wakeup, waker = socket.socketpair()
    with wakeup, waker:
        wakeup.settimeout(0)
        waker.settimeout(0)
        worker = Worker(listener, logger=logger, drain_s=drain_s, wakeup=wakeup)
        try:
            worker.load(build)
        except (CheckpointError, GlimtError) as error:
            logger.critical("worker.cannot_load", reason=str(error))
            return EXIT_CANNOT_LOAD
        except Exception:  # The process boundary: the gateway reads the log and decides.
            logger.exception("worker.load_failed")
            return EXIT_CRASHED

        def terminate(_signal: int, _frame: FrameType | None) -> None:
            worker.terminate()

        signal.set_wakeup_fd(waker.fileno())
        signal.signal(stop_signal, terminate)
        # What loading made stays for good: the collector need not look at it again.
        gc.freeze()
        return worker.run()


def die_with_parent(path: Path) -> None:
    """End this process as soon as stdin ends, that is, when the gateway that holds it is gone.

    A thread, because the loop may be in the middle of a long step; `os._exit`, because nobody is
    left to drain for.
    """

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        path.unlink(missing_ok=True)
        os._exit(EXIT_CRASHED)

    threading.Thread(target=watch, name="die-with-parent", daemon=True).start()


def main(
    arguments: Sequence[str] | None = None,
    *,
    load: Callable[[EngineSettings, Path, ProgressReport], Loaded] = load_core,
) -> int:
    """The command line of the worker process; its exit status. Tests pass another `load`."""
    parser = argparse.ArgumentParser(prog="python -m glimt.engine.worker", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument("--settings", required=True, help="EngineSettings as JSON")
    parser.add_argument("--model-path", type=Path, required=True, help="a Hugging Face folder")
    parser.add_argument("--drain-s", type=float, default=10.0, help="what a stop grants requests")
    parser.add_argument(
        "--die-with-stdin",
        action="store_true",
        help=f"end when stdin ends, and stop on {STOP_SIGNAL.name} instead of SIGTERM",
    )
    options = parser.parse_args(arguments)
    path: Path = options.socket
    logger = configure_logging()
    if options.die_with_stdin:
        die_with_parent(path)
    settings = msgspec.json.decode(options.settings, type=EngineSettings)

    def build(report: ProgressReport) -> Loaded:
        return load(settings, options.model_path, report)

    try:
        listener = listen(path)
    except GlimtError as error:
        logger.critical("worker.cannot_listen", reason=error.message)
        return EXIT_CANNOT_LOAD
    try:
        return serve(
            listener,
            build,
            logger=logger,
            drain_s=options.drain_s,
            stop_signal=STOP_SIGNAL if options.die_with_stdin else signal.SIGTERM,
        )
    finally:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
