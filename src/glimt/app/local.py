"""The model on this machine, with its engine started by this process.

Knows the order of the steps: find or download the model, start the worker, read tokenizer and
template meanwhile. Loads no torch: that happens in the worker process.
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

from glimt.app.engine_model import EngineModel, LoadError
from glimt.engine.checkpoint import resolve
from glimt.engine.engine import Engine
from glimt.engine.messages import LoadProgress
from glimt.engine.settings import EngineSettings
from glimt.gateway.registry import Registry
from glimt.providers.local import LocalProvider

T = TypeVar("T")

_WORKER_DRAIN_S: Final = 5.0


class LocalModel(EngineModel):
    """An engine of our own.

    Attributes:
        folder: The checkpoint, once it was found.
        runtime_dir: Where the sockets of this server are, once it started.
    """

    def __init__(
        self,
        settings: EngineSettings,
        registry: Registry,
        *,
        home: Path,
        logger: FilteringBoundLogger,
    ) -> None:
        super().__init__(model_id(settings.model), registry)
        self._settings = settings
        self._home = home
        self._logger = logger
        self.folder: Path | None = None
        self.runtime_dir: Path | None = None

    async def close(self) -> None:
        """End the worker, and whatever it still holds."""
        await super().close()
        if self.runtime_dir is not None:
            shutil.rmtree(self.runtime_dir, ignore_errors=True)

    async def _prepare(self) -> tuple[Engine, LocalProvider]:
        if importlib.util.find_spec("torch") is None:
            raise LoadError(
                "The engine needs PyTorch, which is not installed. Install it with: "
                "pip install 'glimt[engine]'"
            )
        settings = self._settings
        folder = self.folder = await _in_thread(
            lambda: resolve(
                settings.model,
                settings.revision,
                self._home,
                self._downloading,
                weights=settings.load_format != "dummy",
            )
        )
        self.runtime_dir = Path(tempfile.mkdtemp(prefix="glimt-"))
        engine = self._engine = Engine(
            settings,
            model_path=folder,
            runtime_dir=self.runtime_dir,
            logger=self._logger,
            drain_s=_WORKER_DRAIN_S,
        )
        await engine.start()
        provider = await _in_thread(lambda: self._provider(engine, folder, settings))
        return engine, provider

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
