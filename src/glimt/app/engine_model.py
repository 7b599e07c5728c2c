"""The model on this machine as the gateway sees it, whoever started its engine.

Knows an engine's state and how to say it; how the engine and the provider come to be is for
`glimt.app.local` (this process starts the engine) and `glimt.app.shared` (another one did).
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from glimt.core.errors import GlimtError
from glimt.engine.chat.template import TemplateError
from glimt.engine.chat.tokenizer import UnsupportedTokenizer
from glimt.engine.checkpoint import CheckpointError
from glimt.engine.client import EngineClient
from glimt.engine.messages import EngineInfo, LoadProgress, Stats
from glimt.engine.settings import EngineSettings
from glimt.gateway.readiness import Phase, Report
from glimt.gateway.registry import Registry
from glimt.providers.local import LocalModel as LentModel, LocalProvider

NANO: Final = "glimt/nano"
_NANO_DESCRIPTION: Final = (
    "The small demonstration model that ships with Glimt. It has the architecture of GLM-4.7-Flash "
    "and a few skills: short sums, fields out of text, intents, tool calls, questions about Glimt."
)
_PROBE_S: Final = 0.5


class LoadError(Exception):
    """The model cannot be served; the message says why and what to change."""


class EngineModel(ABC):
    """One engine and its way to readiness.

    Attributes:
        model: What clients call it.
    """

    def __init__(self, model: str, registry: Registry) -> None:
        self.model = model
        self._registry = registry
        self._engine: EngineClient | None = None
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
        if self._engine is not None:
            self._engine.expect_end()

    async def close(self) -> None:
        """End the engine, or our connection to it."""
        self._stopping = True
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        if self._engine is not None:
            await self._engine.close()

    @abstractmethod
    async def _prepare(self) -> tuple[EngineClient, LocalProvider]:
        """Find the model, start or join its engine, read what the gateway needs of it."""

    async def _load(self) -> EngineInfo:
        try:
            engine, provider = await self._prepare()
            info = await engine.ready()
        except (CheckpointError, UnsupportedTokenizer, TemplateError) as error:
            raise LoadError(str(error)) from error
        except GlimtError as error:
            raise LoadError(error.message) from error
        self._registry.add(provider)
        return info

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

    def _provider(
        self, engine: EngineClient, folder: Path, settings: EngineSettings
    ) -> LocalProvider:
        return LocalProvider.load(
            engine,
            folder,
            model=LentModel(
                id=self.model,
                description=_NANO_DESCRIPTION if self.model == NANO else "",
                context_length=settings.context_length,
                allows_priority=settings.priority_tier,
                shares_cache=settings.cache_isolation == "shared",
            ),
        )
