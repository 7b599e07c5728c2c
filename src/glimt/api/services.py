"""What the endpoints share, handed to them when the application is built."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from glimt.api.settings import HttpSettings
from glimt.core.clock import Clock
from glimt.data.responses import ResponseStore
from glimt.gateway.answer import Gateway
from glimt.gateway.meter import Meter
from glimt.gateway.readiness import Readiness
from glimt.gateway.thoughts import ThoughtKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that HTTP needs of the house below.

    Attributes:
        api_keys: Who may ask; empty lets everybody in.
        thoughts: Signs thoughts, and tells ours when they come back.
        metrics: Makes the text for `/metrics`.
        access_log: Whether each request is logged.
        responses: Where responses are kept; None keeps none.
    """

    gateway: Gateway
    readiness: Readiness
    meter: Meter
    clock: Clock
    settings: HttpSettings
    thoughts: ThoughtKey
    metrics: Callable[[], Awaitable[bytes]]
    api_keys: tuple[str, ...] = ()
    access_log: bool = True
    responses: ResponseStore | None = None
