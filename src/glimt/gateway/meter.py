"""What is counted, in Prometheus' terms: answers, tokens, latencies, and the engine's own numbers.

All names are in this file. Every server has its own registry, so that two of them in one process do
not meet. Knows nothing of HTTP but the route's name and status that it is told.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from glimt.core.clock import Clock
from glimt.core.errors import GlimtError
from glimt.core.events import (
    Batch,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from glimt.core.usage import Usage
from glimt.engine.messages import Stats
from glimt.gateway.closing import closing
from glimt.gateway.stats import Outcome

_LATENCY_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
_TOKEN_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0),
)
_ANSWER_S: Final = (*(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600),)
_OUTPUT: Final = (TextDelta, ReasoningDelta, ToolCallDelta)
"""A call's start is none: its first arguments come with it, and no time passes between them."""


class Meter:
    """The numbers of one server."""

    def __init__(self, clock: Clock, *, stats: Callable[[], Stats] = Stats) -> None:
        """`stats` gives the engine's last report."""
        self._clock = clock
        self._engine_registry = CollectorRegistry()
        self._engine_registry.register(_EngineCollector(stats))
        self._registry = registry = CollectorRegistry()
        self._http_requests = Counter(
            "glimt_http_requests",
            "HTTP requests by route, method and status",
            ["route", "method", "status"],
            registry=registry,
        )
        self._http_s = Histogram(
            "glimt_http_request_duration_seconds",
            "From the request's head to the response's end",
            ["route"],
            buckets=_ANSWER_S,
            registry=registry,
        )
        self._open = Gauge(
            "glimt_answers_open", "Answers under way, queued ones included", registry=registry
        )
        self._answers = Counter(
            "glimt_answers",
            "Answers by how they ended: finished, gone (the client left), or an error's code",
            ["model", "outcome"],
            registry=registry,
        )
        self._attempts, self._hedges = _place_counters(registry)
        self._tokens = Counter(
            "glimt_tokens",
            "Tokens of finished answers; cached is part of prompt, reasoning of completion",
            ["model", "kind"],
            registry=registry,
        )
        self._first_token_s = _histogram(
            "glimt_time_to_first_token_seconds", "Until the first output", _LATENCY_S, registry
        )
        self._next_token_s = _histogram(
            "glimt_inter_token_latency_seconds",
            "Between two pieces of one choice; tokens that come together count once",
            _TOKEN_S,
            registry,
        )
        self._answer_s = _histogram(
            "glimt_answer_duration_seconds", "Until the last output", _ANSWER_S, registry
        )
        self._queue_s = _histogram(
            "glimt_queue_time_seconds", "Waiting for the engine", _LATENCY_S, registry
        )

    def http(self, route: str, method: str, *, status: int, duration_s: float) -> None:
        """One HTTP request ended."""
        self._http_requests.labels(route, method, str(status)).inc()
        self._http_s.labels(route).observe(duration_s)

    def attempt(self, outcome: Outcome) -> None:
        """One attempt at a place ended."""
        how = "finished" if outcome.fault == "none" else outcome.why or "gone"
        self._attempts.labels(outcome.deployment, how).inc()

    def hedge(self, deployment: str, winner: str) -> None:
        """Another place was asked because this one was slow; `winner` is "first" or "spare"."""
        self._hedges.labels(deployment, winner).inc()

    async def watch(self, events: AsyncIterator[Batch], model: str) -> AsyncIterator[Batch]:
        """Pass on an answer's events and count them."""
        next_token_s = self._next_token_s.labels(model)
        start_s = self._clock.monotonic()
        last_s: dict[int, float] = {}
        outcome = "gone"
        self._open.inc()
        try:
            async with closing(events):
                async for batch in events:
                    now_s = self._clock.monotonic()
                    for choice in {event.choice for event in batch if isinstance(event, _OUTPUT)}:
                        if choice in last_s:
                            next_token_s.observe(now_s - last_s[choice])
                        elif not last_s:
                            self._first_token_s.labels(model).observe(now_s - start_s)
                        last_s[choice] = now_s
                    if batch and isinstance(end := batch[-1], Finished):
                        outcome = "finished"
                        self._finished(model, end, now_s - start_s)
                    yield batch
        except GlimtError as error:
            outcome = error.code
            raise
        finally:
            self._open.dec()
            self._answers.labels(model, outcome).inc()

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return self.render_gateway() + self.render_engine()

    def render_gateway(self) -> bytes:
        """What this process counted itself."""
        return generate_latest(self._registry)

    def render_engine(self) -> bytes:
        """What the engine says, the same to every process that shares it."""
        return generate_latest(self._engine_registry)

    def _finished(self, model: str, event: Finished, duration_s: float) -> None:
        self._answer_s.labels(model).observe(duration_s)
        self._queue_s.labels(model).observe(event.timing.queue_s)
        for kind, count in _kinds(event.usage):
            if count:
                self._tokens.labels(model, kind).inc(count)


def _place_counters(registry: CollectorRegistry) -> tuple[Counter, Counter]:
    attempts = Counter(
        "glimt_attempts",
        "Attempts by how they ended: finished, gone, given_up (overtaken), or an error's code",
        ["deployment", "outcome"],
        registry=registry,
    )
    hedges = Counter(
        "glimt_hedges",
        "Second places that were asked because the first was slow, by who answered",
        ["deployment", "winner"],
        registry=registry,
    )
    return attempts, hedges


def _kinds(usage: Usage) -> tuple[tuple[str, int], ...]:
    return (
        ("prompt", usage.prompt_tokens),
        ("cached", usage.cached_tokens),
        ("completion", usage.completion_tokens),
        ("reasoning", usage.reasoning_tokens),
    )


def _histogram(
    name: str, text: str, buckets: tuple[float, ...], registry: CollectorRegistry
) -> Histogram:
    return Histogram(name, text, ["model"], buckets=buckets, registry=registry)


_GAUGES: Final = {
    "running": "Sequences in the current batch",
    "waiting": "Sequences in the queue",
    "running_priority": "Those in the batch that are of class priority",
    "running_flex": "Those in the batch that are of class flex",
    "waiting_priority": "Those in the queue that are of class priority",
    "waiting_flex": "Those in the queue that are of class flex",
    "waiting_tokens": "Tokens of the sequences in the queue",
    "pages_total": "Pages of the KV cache",
    "pages_used": "Pages that running sequences hold",
    "pages_cached": "Pages that hold a reusable prefix and no running sequence",
    "connections": "Gateway processes that share this engine",
}
_COUNTERS: Final = {
    "steps_total": "Forward passes",
    "step_s_total": "Seconds spent in them",
    "prompt_tokens_total": "Prompt tokens taken in, cached ones included",
    "cached_tokens_total": "Prompt tokens that the prefix cache already held",
    "evicted_total": "Cached pages that made room, their prefixes forgotten",
    "generated_tokens_total": "Tokens drawn",
    "finished_total": "Sequences that ended by themselves",
    "aborted_total": "Sequences that were given up",
    "refused_total": "Requests that found the queue full",
    "preempted_total": "Sequences that had to make room and start again",
    "accepted_drafts_total": "Tokens that speculation guessed right",
    "rejected_drafts_total": "Guesses of speculation that were thrown away",
}


class _EngineCollector(Collector):
    """The engine's last report, read when Prometheus asks."""

    def __init__(self, stats: Callable[[], Stats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """The gauges and counters, and two ratios that are asked for most."""
        stats = self._stats()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"glimt_engine_{name}", text, value=getattr(stats, name))
        for name, text in _COUNTERS.items():
            plain = name.removesuffix("_total").replace("step_s", "step_seconds")
            yield CounterMetricFamily(f"glimt_engine_{plain}", text, value=getattr(stats, name))
        yield GaugeMetricFamily(
            "glimt_engine_kv_use_ratio",
            "Part of the KV cache that running sequences hold",
            value=_ratio(stats.pages_used, stats.pages_total),
        )
        yield GaugeMetricFamily(
            "glimt_engine_cache_hit_ratio",
            "Part of all prompt tokens that the prefix cache already held",
            value=_ratio(stats.cached_tokens_total, stats.prompt_tokens_total),
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
