"""What is counted, in Prometheus' terms: answers, tokens, latencies, and the engine's own numbers.

All names are in this file. Every server has its own registry, so that two of them in one process do
not meet. Knows nothing of HTTP but the route's name and status that it is told.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
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
        self._of_model: dict[str, _Counters] = {}
        self._of_route: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def http(self, route: str, method: str, *, status: int, duration_s: float) -> None:
        """One HTTP request ended."""
        found = self._of_route.get((route, method, status))
        if found is None:
            labelled = self._http_requests.labels(route, method, str(status))
            found = labelled, self._http_s.labels(route)
            self._of_route[route, method, status] = found
        count, seconds = found
        count.inc()
        seconds.observe(duration_s)

    def attempt(self, outcome: Outcome) -> None:
        """One attempt at a place ended."""
        how = "finished" if outcome.fault == "none" else outcome.why or "gone"
        self._attempts.labels(outcome.deployment, how).inc()

    def hedge(self, deployment: str, winner: str) -> None:
        """Another place was asked because this one was slow; `winner` is "first" or "spare"."""
        self._hedges.labels(deployment, winner).inc()

    def answer(self, model: str) -> "AnswerCount":
        """An answer begins."""
        self._open.inc()
        counters = self._of_model.get(model)
        if counters is None:
            counters = self._of_model[model] = self._counters(model)
        return AnswerCount(counters, self._clock)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return self.render_gateway() + self.render_engine()

    def render_gateway(self) -> bytes:
        """What this process counted itself."""
        return generate_latest(self._registry)

    def render_engine(self) -> bytes:
        """What the engine says, the same to every process that shares it."""
        return generate_latest(self._engine_registry)

    def _counters(self, model: str) -> "_Counters":
        @functools.cache
        def tokens(kind: str) -> Counter:
            return self._tokens.labels(model, kind)

        @functools.cache
        def outcome(word: str) -> Counter:
            return self._answers.labels(model, word)

        return _Counters(
            open=self._open,
            first_token_s=self._first_token_s.labels(model),
            next_token_s=self._next_token_s.labels(model),
            answer_s=self._answer_s.labels(model),
            queue_s=self._queue_s.labels(model),
            tokens=tokens,
            outcome=outcome,
        )


class _Counters(msgspec.Struct, frozen=True, kw_only=True):
    """A model's: looked up once, since that costs more than to count."""

    open: Gauge
    first_token_s: Histogram
    next_token_s: Histogram
    answer_s: Histogram
    queue_s: Histogram
    tokens: Callable[[str], Counter]
    outcome: Callable[[str], Counter]


class AnswerCount:
    """One answer's share of the numbers. Whoever begins it ends it."""

    def __init__(self, counters: _Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock
        self._start_s = clock.monotonic()
        self._last_s: dict[int, float] = {}
        self._finished = False

    def see(self, batch: Batch) -> None:
        """Count what came."""
        now_s = self._clock.monotonic()
        counters, last_s = self._counters, self._last_s
        for choice in {event.choice for event in batch if isinstance(event, _OUTPUT)}:
            if choice in last_s:
                counters.next_token_s.observe(now_s - last_s[choice])
            elif not last_s:
                counters.first_token_s.observe(now_s - self._start_s)
            last_s[choice] = now_s
        if batch and isinstance(end := batch[-1], Finished):
            self._finished = True
            counters.answer_s.observe(now_s - self._start_s)
            counters.queue_s.observe(end.timing.queue_s)
            for kind, count in _kinds(end.usage):
                if count:
                    counters.tokens(kind).inc(count)

    def end(self, failure: GlimtError | None) -> None:
        """It is over: finished, failed, or left by its reader."""
        outcome = failure.code if failure is not None else "gone"
        self._counters.open.dec()
        self._counters.outcome("finished" if self._finished else outcome).inc()


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
