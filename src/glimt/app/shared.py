"""The model on this machine, with an engine that another process of this server started."""

import asyncio
from pathlib import Path

import msgspec

from glimt.app.engine_model import EngineModel
from glimt.engine.client import EngineClient
from glimt.engine.settings import EngineSettings
from glimt.gateway.registry import Registry
from glimt.providers.local import LocalProvider


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What a sibling needs to know of the process that owns the engine.

    Attributes:
        model: What clients call the model.
        folder: Its checkpoint.
        runtime_dir: Where the sockets of this server are.
    """

    model: str
    folder: Path
    runtime_dir: Path


class SharedModel(EngineModel):
    """A connection to a sibling's engine."""

    def __init__(self, share: Share, registry: Registry, settings: EngineSettings) -> None:
        super().__init__(share.model, registry)
        self._share = share
        self._settings = settings

    async def _prepare(self) -> tuple[EngineClient, LocalProvider]:
        engine = self._engine = EngineClient(self._share.runtime_dir / "engine.sock")
        await engine.start()
        provider = await asyncio.to_thread(
            self._provider, engine, self._share.folder, self._settings
        )
        return engine, provider
