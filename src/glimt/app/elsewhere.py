"""Places elsewhere, from a configuration and the keys that are set.

A key is read from its variable here, handed to the provider that sends it, and kept nowhere else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from glimt.app.config import Config, ConfigError
from glimt.catalog.available import Available, available_deployments
from glimt.catalog.load import CatalogError, load
from glimt.core.clock import Clock
from glimt.gateway.history import History, restore, store
from glimt.gateway.roads import Roads
from glimt.providers.http import Http
from glimt.providers.remote import RemoteProvider

HISTORY_NAME: Final = "history.json"


def read_available(config: Config, environ: Mapping[str, str]) -> Available:
    """What can be called.

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
        keeps_history: bool,
    ) -> None:
        """`keeps_history`: one process of a server writes down what it saw."""
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
            )
            for slug, row in rows.items()
        }
        self._history = History(clock)
        self._file = config.home / HISTORY_NAME if keeps_history else None
        if self._file is not None:
            restore(self._history, self._file)
        self.roads = Roads(
            available,
            providers,
            stats=self._history,
            clock=clock,
            policy=config.routing,
            settings=config.attempts,
        )
        logger: Any = structlog.get_logger()
        logger.info("gateway.elsewhere", providers=sorted(rows))

    async def close(self) -> None:
        """End the connections, and write down what was seen."""
        await self._http.close()
        if self._file is not None:
            try:
                store(self._history, self._file)
            except OSError as error:
                logger: Any = structlog.get_logger()
                logger.warning("gateway.history_not_kept", error=str(error))


def elsewhere(
    config: Config, environ: Mapping[str, str], *, clock: Clock, keeps_history: bool
) -> Elsewhere | None:
    """`None` where nothing elsewhere can be called.

    Raises:
        ConfigError: See `read_available`.
    """
    available = read_available(config, environ)
    if not available.deployments:
        return None
    return Elsewhere(available, config, environ, clock=clock, keeps_history=keeps_history)
