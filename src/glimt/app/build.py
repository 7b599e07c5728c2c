"""From a configuration to a running house: every object is made and joined here, nowhere else."""

from typing import Any

import structlog

from glimt.api.edge import Edge
from glimt.api.routes import create_app
from glimt.api.services import Services
from glimt.app.config import Config
from glimt.app.local import LocalModel
from glimt.core.clock import SystemClock
from glimt.core.provider import Provider
from glimt.engine.messages import EngineInfo
from glimt.gateway.answer import Gateway
from glimt.gateway.meter import Meter
from glimt.gateway.registry import Registry


class House:
    """The object graph of one server process.

    Attributes:
        app: The ASGI application.
        model: The model on this machine.
    """

    def __init__(self, config: Config, *, providers: tuple[Provider, ...] = ()) -> None:
        """Nothing starts yet. `providers` are asked before the model on this machine."""
        logger: Any = structlog.get_logger()
        clock = SystemClock()
        registry = Registry()
        for provider in providers:
            registry.add(provider)
        self.model = LocalModel(config.engine, registry, home=config.home, logger=logger)
        meter = Meter(clock, stats=self.model.stats)
        self.app: Edge = create_app(
            Services(
                gateway=Gateway(registry, self.model, meter),
                readiness=self.model,
                meter=meter,
                clock=clock,
                settings=config.http,
                api_keys=config.api_keys,
                access_log=config.log.access,
                refresh_stats=self.model.refresh_stats,
            )
        )

    async def start(self) -> None:
        """Begin to load the model. Requests are refused, with the progress, until it is there."""
        await self.model.start()

    async def ready(self) -> EngineInfo:
        """Wait for the model. Raises `LoadError` when it cannot be served."""
        return await self.model.ready()

    def stop_admitting(self) -> None:
        """Refuse new requests; the first step of a drain."""
        self.model.stop_admitting()

    async def close(self) -> None:
        """End everything; the last step."""
        await self.model.close()
