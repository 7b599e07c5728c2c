"""Every number that /metrics has."""

import itertools

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from glimt.core.clock import SystemClock
from glimt.gateway.meter import Meter


def metrics() -> str:
    """Every number that /metrics has."""
    meter = Meter(SystemClock())
    labels = {
        metric._name: metric._labelnames
        for metric in vars(meter).values()
        if isinstance(metric, MetricWrapperBase)
    }
    rows: list[str] = []
    registries = [value for value in vars(meter).values() if isinstance(value, CollectorRegistry)]
    for metric in itertools.chain.from_iterable(map(CollectorRegistry.collect, registries)):
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        by = ", ".join(f"`{label}`" for label in labels.get(metric.name, ()))
        rows.append(f"| `{name}` | {metric.type} | {by} | {metric.documentation} |")
    return "\n".join(
        [
            "# Metrics",
            "",
            "What `GET /metrics` has, for Prometheus. Times are in seconds, seen from the server.",
            "",
            "| name | kind | by | |",
            "|---|---|---|---|",
            *rows,
        ]
    )
