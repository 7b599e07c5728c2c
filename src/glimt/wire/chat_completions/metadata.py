"""`openrouter_metadata`: how an answer came about, for whoever asks by header.

https://openrouter.ai/docs/guides/features/router-metadata. What decides, and why nobody else, is in
the summary's words; an attempt's status is the one that we would have answered with.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from glimt.core.events import Started
from glimt.core.trace import Trace
from glimt.wire.codec import Call

HEADER: Final = "x-openrouter-metadata"
_OLDER_HEADER: Final = "x-openrouter-experimental-metadata"


class EndpointInfo(msgspec.Struct):
    """Somebody who could have answered, or did."""

    provider: str
    model: str
    selected: bool


class EndpointsInfo(msgspec.Struct):
    """All of them."""

    total: int
    available: list[EndpointInfo]


class AttemptInfo(msgspec.Struct):
    """Somebody who was asked; `status` 200 answered."""

    provider: str
    model: str
    status: int


class RouterMetadata(msgspec.Struct, kw_only=True):
    """The whole of it.

    Attributes:
        requested: The name that was asked for.
        strategy: "fallback" where further models were named, else "direct".
        attempt: The number of the attempt that gave the end, from 1.
        generation_time: Milliseconds that it took.
    """

    requested: str
    strategy: str
    region: str | None = None
    summary: str
    attempt: int
    is_byok: bool = False
    endpoints: EndpointsInfo
    attempts: list[AttemptInfo]
    generation_time: int | UnsetType = UNSET


def is_asked(headers: Mapping[str, str]) -> bool:
    """Whether a request wants it."""
    return "enabled" in (headers.get(HEADER), headers.get(_OLDER_HEADER))


def router_metadata(
    call: Call, started: Started | None, trace: Trace | None
) -> RouterMetadata | UnsetType:
    """What is asked for; where there was no choice, one place that answered."""
    if not call.router_metadata or (trace is None and started is None):
        return UNSET
    strategy = "fallback" if call.request.routing.models else "direct"
    requested = call.request.model
    if trace is None:
        assert started is not None
        info = EndpointInfo(provider=started.provider, model=started.model, selected=True)
        return RouterMetadata(
            requested=requested,
            strategy=strategy,
            summary=f"{started.model} is what answers to {requested} here",
            attempt=1,
            endpoints=EndpointsInfo(total=1, available=[info]),
            attempts=[AttemptInfo(provider=info.provider, model=info.model, status=200)],
        )
    last = trace.attempts[-1] if trace.attempts else None
    answered = None if last is None or last.code else last.target.deployment
    return RouterMetadata(
        requested=requested,
        strategy=strategy,
        summary=trace.explain(),
        attempt=max(1, len(trace.attempts)),
        endpoints=EndpointsInfo(
            total=len(trace.planned),
            available=[
                EndpointInfo(
                    provider=target.name,
                    model=target.model,
                    selected=target.deployment == answered,
                )
                for target in trace.planned
            ],
        ),
        attempts=[
            AttemptInfo(provider=one.target.name, model=one.target.model, status=one.status)
            for one in trace.attempts
        ],
        generation_time=UNSET if last is None else round(1000 * last.duration_s),
    )
