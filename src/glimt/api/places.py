"""Where a model runs, as OpenRouter and Vercel tell it, with what was measured at each place.

https://openrouter.ai/docs/api-reference/list-endpoints-for-a-model, and Vercel's page of the same
form with numbers of its own. What neither has a word for (data policy, limits, where a row comes
from) is under `glimt`.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from glimt.api.catalogue import Architecture, architecture, display_name
from glimt.api.pricing import Pricing, pricing, vercel_pricing
from glimt.catalog.types import Candidate
from glimt.gateway.places import Offer, Place
from glimt.gateway.stats import (
    DAY_S,
    FIVE_MINUTES_S,
    HALF_HOUR_S,
    HOUR_S,
    QUARTER_S,
    Percentiles,
    Summary,
)

WORKS: Final = 0
LEFT_ALONE: Final = -5
REFUSES: Final = -10
_SHARES: Final = ("p50", "p75", "p90", "p99")
_VERCEL_SHARES: Final = ("p50", "p95")
_WINDOWS: Final = {"last_5m": FIVE_MINUTES_S, "last_30m": HALF_HOUR_S, "last_1d": DAY_S}


class DataPolicy(msgspec.Struct, kw_only=True):
    """What becomes of prompts there. Null is not known, and plans take it for yes.

    Attributes:
        trains: They may be trained on.
        retains: They are kept.
        zdr: Nothing at all is kept, by contract or by construction.
        headquarters: ISO 3166 alpha-2.
        privacy_url: Where it says so.
    """

    trains: bool | None
    retains: bool | None
    zdr: bool
    headquarters: str | None
    regions: list[str]
    privacy_url: str | None


class Window(msgspec.Struct, kw_only=True):
    """What was measured in a window that ends now.

    Attributes:
        num_attempts: All that were asked of the place, whatever became of them.
        num_rate_limited: Those refused with 429; they are no downtime.
        uptime: In per cent, of those that the place could have answered.
        ttft_ms: Until the first output, by the share of answers that were at least as fast.
        tokens_per_s: Output tokens by the whole time an answer took.
    """

    num_attempts: int
    num_ok: int
    num_failed: int
    num_rate_limited: int
    uptime: float | None
    ttft_ms: dict[str, float] | None
    tokens_per_s: dict[str, float] | None


class PlaceFacts(msgspec.Struct, kw_only=True):
    """What the vendors' shapes have no word for.

    Attributes:
        deployment: Its id in traces, in headers and in `glimt route`.
        local: It is the engine on this machine.
        state: Why it is not asked, or asked last, at the moment; empty where it is asked.
        rpm: Requests a minute, for each key.
        concurrency: Requests at once, for each key.
        source: Where the row comes from, and when it was read.
        uncertain: Fields that the source leaves in doubt.
    """

    deployment: str
    local: bool
    state: str
    data_policy: DataPolicy
    rpm: int | None
    concurrency: int | None
    measured: dict[str, Window]
    source: str
    date: str
    uncertain: list[str]


class Endpoint(msgspec.Struct, kw_only=True):
    """A place where a model runs.

    Attributes:
        pricing: In dollars a token, as text; -1 is not known.
        tag: What a request's `provider.only` calls it.
        status: 0 where it is asked, -5 where it is left alone, -10 until it may be asked again.
        uptime_last_5m: In per cent, as all of them; null where nothing was seen.
        latency_last_30m: Milliseconds to the first output, by share.
        throughput_last_30m: Output tokens a second, by the share of answers that had more.
        uptime_last_15m: From here on Vercel's windows.
    """

    name: str
    model_id: str
    model_name: str
    context_length: int
    pricing: Pricing
    provider_name: str
    tag: str
    quantization: str | None = None
    max_completion_tokens: int
    max_prompt_tokens: int
    supported_parameters: list[str]
    supports_implicit_caching: bool = True
    supports_tool_choice: dict[str, bool]
    supports_diarization: bool = False
    native_tools: dict[str, Any] = {}
    service_tier: str | None = None
    status: int = WORKS
    uptime_last_5m: float | None = None
    uptime_last_30m: float | None = None
    uptime_last_1d: float | None = None
    latency_last_30m: dict[str, float] | None = None
    throughput_last_30m: dict[str, float] | None = None
    uptime_last_15m: float | UnsetType | None = UNSET
    uptime_last_1h: float | UnsetType | None = UNSET
    latency_last_1h: dict[str, float] | UnsetType | None = UNSET
    throughput_last_1h: dict[str, float] | UnsetType | None = UNSET
    glimt: PlaceFacts | UnsetType = UNSET


class ModelFacts(msgspec.Struct, kw_only=True):
    """How a model's answers went as a whole, after every fallback.

    Requests that named who may answer are not among them.
    """

    measured: dict[str, Window]


class EndpointsRow(msgspec.Struct, kw_only=True):
    """A model and every place where it runs."""

    id: str
    name: str
    created: int
    released: int
    description: str
    architecture: Architecture
    endpoints: list[Endpoint]
    glimt: ModelFacts | UnsetType = UNSET


def endpoints(offer: Offer) -> EndpointsRow:
    """Every place that serves a model."""
    model = offer.info
    return EndpointsRow(
        id=model.id,
        name=display_name(offer),
        created=model.created,
        released=model.created,
        description=model.description,
        architecture=architecture(model),
        endpoints=[_endpoint(offer, place) for place in offer.places],
        glimt=UNSET if offer.seen is None else ModelFacts(measured=_windows(offer.seen)),
    )


def _endpoint(offer: Offer, place: Place) -> Endpoint:
    candidate = place.candidate
    able = candidate.capabilities
    caching = candidate.deployment.implicit_caching
    calls, forced = "tools" in able, "forced_tools" in able
    endpoint = Endpoint(
        name=f"{place.name} | {offer.info.id}",
        model_id=offer.info.id,
        model_name=display_name(offer),
        context_length=candidate.context,
        pricing=pricing(candidate) | vercel_pricing(candidate),
        provider_name=place.name,
        tag=place.slug,
        quantization=candidate.deployment.quantization,
        max_completion_tokens=candidate.max_output,
        max_prompt_tokens=candidate.context,
        supported_parameters=list(candidate.parameters),
        supports_implicit_caching="implicit_caching" in able if caching is None else caching,
        supports_tool_choice={
            "auto": calls,
            "none": calls,
            "required": forced,
            "function": forced,
        },
        status=REFUSES if candidate.exhausted else LEFT_ALONE if candidate.cooling else WORKS,
    )
    if place.seen is not None:
        _add_numbers(endpoint, place)
    return endpoint


def _add_numbers(endpoint: Endpoint, place: Place) -> None:
    seen = place.seen
    assert seen is not None
    half, hour, day = seen(HALF_HOUR_S), seen(HOUR_S), seen(DAY_S)
    endpoint.uptime_last_5m = _per_cent(seen(FIVE_MINUTES_S))
    endpoint.uptime_last_30m = _per_cent(half)
    endpoint.uptime_last_1d = _per_cent(day)
    endpoint.latency_last_30m = _milliseconds(half.ttft_s, _SHARES)
    endpoint.throughput_last_30m = _rounded(half.throughput, _SHARES)
    endpoint.uptime_last_15m = _per_cent(seen(QUARTER_S))
    endpoint.uptime_last_1h = _per_cent(hour)
    endpoint.latency_last_1h = _milliseconds(hour.ttft_s, _VERCEL_SHARES)
    endpoint.throughput_last_1h = _rounded(hour.throughput, _VERCEL_SHARES)
    endpoint.glimt = _facts(place.candidate, _windows(seen))


def _facts(candidate: Candidate, measured: dict[str, Window]) -> PlaceFacts:
    provider, deployment = candidate.provider, candidate.deployment
    return PlaceFacts(
        deployment=deployment.id,
        local=candidate.local,
        state=candidate.exhausted or candidate.cooling,
        data_policy=DataPolicy(
            trains=provider.trains,
            retains=provider.retains,
            zdr=provider.zdr,
            headquarters=provider.headquarters,
            regions=list(deployment.regions or provider.regions),
            privacy_url=provider.privacy_url,
        ),
        rpm=deployment.rpm,
        concurrency=deployment.concurrency,
        measured=measured,
        source=deployment.source,
        date=deployment.date,
        uncertain=list(deployment.uncertain),
    )


def _windows(seen: Callable[[float], Summary]) -> dict[str, Window]:
    return {name: _window(seen(window_s)) for name, window_s in _WINDOWS.items()}


def _window(seen: Summary) -> Window:
    return Window(
        num_attempts=seen.num_attempts,
        num_ok=seen.num_ok,
        num_failed=seen.num_failed,
        num_rate_limited=seen.num_rate_limited,
        uptime=_per_cent(seen),
        ttft_ms=_milliseconds(seen.ttft_s, Percentiles.__struct_fields__),
        tokens_per_s=_rounded(seen.throughput, Percentiles.__struct_fields__),
    )


def _per_cent(seen: Summary) -> float | None:
    return None if seen.uptime is None else round(100 * seen.uptime, 2)


def _milliseconds(seconds: Percentiles | None, shares: tuple[str, ...]) -> dict[str, float] | None:
    if seconds is None:
        return None
    return {share: round(1000 * seconds.at(share), 1) for share in shares}


def _rounded(values: Percentiles | None, shares: tuple[str, ...]) -> dict[str, float] | None:
    if values is None:
        return None
    return {share: round(values.at(share), 2) for share in shares}
