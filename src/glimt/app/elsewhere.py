"""Places elsewhere, from a configuration and the keys that are set.

A key is read here (`glimt.app.keys`) and handed to the provider that sends it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from glimt.app.config import Config, ConfigError
from glimt.app.keys import with_kept_keys
from glimt.catalog.available import Available, available_deployments
from glimt.catalog.load import CatalogError, load
from glimt.core.clock import Clock
from glimt.core.provider import ModelInfo
from glimt.data.measurements import MeasurementStore
from glimt.gateway.history import History
from glimt.gateway.keeping import HistoryKeeper
from glimt.gateway.meter import Meter
from glimt.gateway.probes import Probes
from glimt.gateway.roads import Roads
from glimt.providers.http import Http
from glimt.providers.remote import RemoteProvider


def read_available(config: Config, environ: Mapping[str, str]) -> Available:
    """What can be called; `environ` has the keys (`with_kept_keys`).

    Raises:
        ConfigError: The catalog's file or a provider's section cannot be used.
    """
    named = config.catalog.file
    file = None if named is None else config.home / Path(named).expanduser()
    try:
        return available_deployments(load(file), config.providers, environ)
    except CatalogError as error:
        raise ConfigError(str(error)) from error


class Elsewhere:
    """The providers of one process and what was seen of them.

    Attributes:
        roads: For the gateway.
    """

    def __init__(
        self,
        available: Available,
        config: Config,
        environ: Mapping[str, str],
        *,
        clock: Clock,
        measurements: MeasurementStore,
        meter: Meter,
    ) -> None:
        rows = available.providers
        self._http = Http(
            [row.base_url for row in rows.values()],
            connect_s=config.attempts.connect_s,
            idle_s=config.attempts.idle_s,
        )
        providers = {
            slug: RemoteProvider(
                row,
                self._http,
                clock=clock,
                keys=[key for name in row.key_env if (key := environ.get(name, "").strip())],
                models=_models(available, slug),
                limits=_limits(available, slug),
            )
            for slug, row in rows.items()
        }
        history = History(clock)
        self._keeper = HistoryKeeper(history, measurements)
        self.roads = Roads(
            available,
            providers,
            stats=history,
            clock=clock,
            policy=config.routing,
            settings=config.attempts,
            meter=meter,
        )
        every_s = config.attempts.probe_s
        self._probes = None if every_s is None else Probes(self.roads.probe, every_s)
        logger: Any = structlog.get_logger()
        logger.info("gateway.elsewhere", providers=sorted(rows))

    def start(self) -> None:
        """Remember what was seen of the places before, and go on to write it down."""
        self._keeper.start()
        if self._probes is not None:
            self._probes.start()

    async def close(self) -> None:
        """End the connections, and write down what was seen."""
        if self._probes is not None:
            await self._probes.close()
        await self._http.close()
        await self._keeper.close()


def _models(available: Available, slug: str) -> tuple[ModelInfo, ...]:
    """What a place serves, by its own names."""
    found = [d for d in available.deployments if d.provider == slug]
    models = [available.catalog.models[deployment.model] for deployment in found]
    return tuple(
        ModelInfo(
            id=deployment.upstream_model,
            owned_by=slug,
            created=0,
            context_length=deployment.context or model.context,
            max_output_tokens=deployment.max_output or model.max_output,
        )
        for deployment, model in zip(found, models, strict=True)
    )


def _limits(available: Available, provider: str) -> dict[str, int]:
    """The most requests at once for each key of a place, by its own names of models."""
    return {
        deployment.upstream_model: deployment.concurrency
        for deployment in available.deployments
        if deployment.provider == provider and deployment.concurrency is not None
    }


def elsewhere(
    config: Config,
    environ: Mapping[str, str],
    *,
    clock: Clock,
    measurements: MeasurementStore,
    meter: Meter,
) -> Elsewhere | None:
    """`None` where nothing elsewhere can be called.

    Raises:
        ConfigError: See `read_available` and `kept_keys`.
    """
    environ = with_kept_keys(config.home, environ)
    available = read_available(config, environ)
    if not available.deployments:
        return None
    return Elsewhere(
        available, config, environ, clock=clock, measurements=measurements, meter=meter
    )
