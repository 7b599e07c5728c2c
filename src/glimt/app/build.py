"""From a configuration to a running house: every object is made and joined here, nowhere else."""

import os
from typing import Any, Final

import structlog

from glimt.api.edge import Edge
from glimt.api.routes import create_app
from glimt.api.services import Services
from glimt.app.config import Config
from glimt.app.elsewhere import elsewhere
from glimt.app.engine_model import EngineModel
from glimt.app.local import LocalModel
from glimt.app.peers import Peers
from glimt.app.secret import thought_secret
from glimt.app.shared import Share, SharedModel
from glimt.core.clock import Clock, SystemClock
from glimt.data.database import Database
from glimt.data.measurements import MeasurementStore
from glimt.data.responses import ResponseStore
from glimt.engine.messages import EngineInfo
from glimt.gateway.answer import Gateway
from glimt.gateway.meter import Meter
from glimt.gateway.naming import Naming
from glimt.gateway.registry import Registry
from glimt.gateway.thoughts import ThoughtKey

DATABASE: Final = "glimt.db"
"""The file in the home folder, where no other database is named."""


class House:
    """The object graph of one server process.

    Attributes:
        app: The ASGI application.
        model: The model on this machine.
        meter: What this process counted.
        peers: The other processes of this server, where there are some.
        database: What outlives the process; opened when it is first needed.
    """

    def __init__(self, config: Config, *, share: Share | None = None) -> None:
        """Nothing starts yet. `share` is another process's engine, in place of one of our own.

        Raises ConfigError when a place elsewhere is described in a way that cannot be used.
        """
        logger: Any = structlog.get_logger()
        clock = SystemClock()
        registry = Registry()
        self.model: EngineModel
        if share is None:
            self.model = LocalModel(config.engine, registry, home=config.home, logger=logger)
        else:
            self.model = SharedModel(share, registry, config.engine)
        self.meter = Meter(clock, stats=self.model.stats)
        self.peers: Peers | None = None
        self.database = Database(config.data.url or f"sqlite:///{config.home / DATABASE}")
        measurements = MeasurementStore(self.database, clock)
        self._elsewhere = elsewhere(
            config, os.environ, clock=clock, measurements=measurements, meter=self.meter
        )
        roads = None if self._elsewhere is None else self._elsewhere.roads
        self.app: Edge = create_app(
            Services(
                gateway=Gateway(
                    registry,
                    self.model,
                    self.meter,
                    clock=clock,
                    roads=roads,
                    naming=Naming(config.rules, config.presets),
                ),
                readiness=self.model,
                meter=self.meter,
                clock=clock,
                settings=config.http,
                thoughts=ThoughtKey(lambda: thought_secret(config.home)),
                metrics=self._metrics,
                api_keys=config.api_keys,
                access_log=config.log.access,
                responses=self._responses(config, clock),
            )
        )

    async def start(self) -> None:
        """Begin to load the model. Requests are refused, with the progress, until it is there."""
        await self.model.start()
        if self._elsewhere is not None:
            self._elsewhere.start()

    async def ready(self) -> EngineInfo:
        """Wait for the model. Raises `LoadError` when it cannot be served."""
        return await self.model.ready()

    def share(self) -> Share:
        """What another process needs to use our engine; known once it is ready."""
        model = self.model
        if not isinstance(model, LocalModel) or model.folder is None or model.runtime_dir is None:
            raise RuntimeError("there is no engine of our own to share")
        return Share(model=model.model, folder=model.folder, runtime_dir=model.runtime_dir)

    def stop_admitting(self) -> None:
        """Refuse new requests; the first step of a drain."""
        self.model.stop_admitting()

    async def close(self) -> None:
        """End everything; the last step."""
        await self.model.close()
        if self._elsewhere is not None:
            await self._elsewhere.close()
        await self.database.close()

    def _responses(self, config: Config, clock: Clock) -> ResponseStore | None:
        days = config.data.responses_days
        return ResponseStore(self.database, clock, days=days) if days else None

    async def _metrics(self) -> bytes:
        await self.model.refresh_stats()
        own = self.meter.render_gateway() if self.peers is None else await self.peers.render()
        return own + self.meter.render_engine()
