"""The model on this machine: found or downloaded, its engine started, its provider registered.

Knows the order of these steps and how far they are; the gateway asks that before it lets a request
in. Loads no torch: that happens in the worker process.
"""

import asyncio
import contextlib
import importlib.util
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from structlog.typing import FilteringBoundLogger

from glimt.core.errors import GlimtError
from glimt.engine.chat.template import TemplateError
from glimt.engine.chat.tokenizer import UnsupportedTokenizer
from glimt.engine.checkpoint import CheckpointError, resolve
from glimt.engine.engine import Engine
from glimt.engine.messages import EngineInfo, LoadProgress, Stats
from glimt.engine.settings import EngineSettings
from glimt.gateway.readiness import Phase, Report
from glimt.gateway.registry import Registry
from glimt.providers.local import LocalProvider

T = TypeVar("T")

NANO: Final = "glimt/nano"
_NANO_DESCRIPTION: Final = (
    "The small demonstration model that ships with Glimt. It has the architecture of GLM-4.7-Flash "
    "and a few skills: short sums, fields out of text, intents, tool calls, questions about Glimt."
)
_WORKER_DRAIN_S: Final = 5.0
_PROBE_S: Final = 0.5


class LoadError(Exception):
    """The model cannot be served; the message says why and what to change."""


class LocalModel:
    """One engine and its way to readiness."""

    def __init__(
        self,
        settings: EngineSettings,
        registry: Registry,
        *,
        home: Path,
        logger: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._home = home
        self._logger = logger
        self.model = model_id(settings.model)
        self._runtime_dir: Path | None = None
        self._engine: Engine | None = None
        self._progress: LoadProgress | None = None
        self._loading: asyncio.Task[EngineInfo] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Begin to load; see `ready`."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name="glimt-load")

    async def ready(self) -> EngineInfo:
        """Wait for the model.

        Raises:
            LoadError: It cannot be served.
        """
        if self._loading is None:
            raise RuntimeError("start first")
        return await asyncio.shield(self._loading)

    def report(self) -> Report:
        """How far it is."""
        phase, reason = self._phase()
        progress = self._engine.progress if self._engine is not None else self._progress
        if progress is None or phase not in ("starting", "restarting"):
            return Report(phase=phase, model=self.model, reason=reason)
        return Report(
            phase=phase,
            model=self.model,
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
        )

    def stats(self) -> Stats:
        """The engine's last numbers."""
        return self._engine.stats if self._engine is not None else Stats()

    async def refresh_stats(self) -> None:
        """Ask for new ones, without insisting."""
        if self._engine is not None and self._engine.state == "ready":
            with contextlib.suppress(GlimtError, TimeoutError):
                async with asyncio.timeout(_PROBE_S):
                    await self._engine.probe()

    def stop_admitting(self) -> None:
        """New requests are refused from now on; those under way go on."""
        self._stopping = True

    async def close(self) -> None:
        """End the worker, and whatever it still holds."""
        self._stopping = True
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        if self._engine is not None:
            await self._engine.close()
        if self._runtime_dir is not None:
            shutil.rmtree(self._runtime_dir, ignore_errors=True)

    def _phase(self) -> tuple[Phase, str | None]:
        if self._stopping:
            return "stopping", None
        loading = self._loading
        if loading is None or not loading.done():
            return "starting", None
        if loading.cancelled():
            return "stopping", None
        if (error := loading.exception()) is not None:
            return "failed", str(error)
        engine = self._engine
        if engine is None or engine.state == "stopped":
            return "stopping", None
        return engine.state, engine.failure

    async def _load(self) -> EngineInfo:
        if importlib.util.find_spec("torch") is None:
            raise LoadError(
                "The engine needs PyTorch, which is not installed. Install it with: "
                "pip install 'glimt[engine]'"
            )
        settings = self._settings
        try:
            folder = await _in_thread(
                lambda: resolve(settings.model, settings.revision, self._home, self._downloading)
            )
            self._runtime_dir = Path(tempfile.mkdtemp(prefix="glimt-"))
            engine = self._engine = Engine(
                settings,
                model_path=folder,
                runtime_dir=self._runtime_dir,
                logger=self._logger,
                drain_s=_WORKER_DRAIN_S,
            )
            await engine.start()
            provider = await _in_thread(lambda: self._provider(engine, folder))
            info = await engine.ready()
        except (CheckpointError, UnsupportedTokenizer, TemplateError) as error:
            raise LoadError(str(error)) from error
        except GlimtError as error:
            raise LoadError(error.message) from error
        self._registry.add(provider)
        return info

    def _provider(self, engine: Engine, folder: Path) -> LocalProvider:
        return LocalProvider.load(
            engine,
            folder,
            model_id=self.model,
            description=_NANO_DESCRIPTION if self.model == NANO else "",
            context_length=self._settings.context_length,
        )

    def _downloading(self, progress: LoadProgress) -> None:
        """Called by the downloading thread; replacing a reference needs no lock."""
        self._progress = progress


def model_id(model: str) -> str:
    """What clients call a model: a hub id as it is, a folder by its name."""
    path = Path(model).expanduser()
    return path.resolve().name if path.is_dir() else model


async def _in_thread(function: Callable[[], T]) -> T:
    """Run it in a thread that does not keep the process from ending, as a download would."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # pyright: ignore[reportArgumentType]

    def run() -> None:
        value: T | None = None
        failure: BaseException | None = None
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001  handed to whoever waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop may be gone
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=run, name="glimt-load", daemon=True).start()
    return await result
