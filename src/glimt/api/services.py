"""What the endpoints share, handed to them when the application is built."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from glimt.api.settings import HttpSettings
from glimt.core.clock import Clock
from glimt.gateway.answer import Gateway
from glimt.gateway.meter import Meter
from glimt.gateway.readiness import Readiness


async def _nothing_to_refresh() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that HTTP needs of the house below.

    Attributes:
        api_keys: Who may ask; empty lets everybody in.
        refresh_stats: Fetches the engine's numbers of this moment, for `/metrics`.
        access_log: Whether each request is logged.
    """

    gateway: Gateway
    readiness: Readiness
    meter: Meter
    clock: Clock
    settings: HttpSettings
    api_keys: tuple[str, ...] = ()
    access_log: bool = True
    refresh_stats: Callable[[], Awaitable[None]] = _nothing_to_refresh
