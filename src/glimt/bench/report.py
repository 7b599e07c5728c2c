"""What a measurement means: percentiles, rates, a table and one JSON line.

Pure arithmetic over `load.Level`. Definitions, all seen from the client:

    time to first token   from sending the request to the first piece that holds output
    gap                   between two such pieces of one answer; a piece may hold several tokens
    per token             (last piece - first piece) / (tokens - 1) of one answer
    tokens per second     all generated tokens of a level over its wall time
"""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec
from rich.table import Table

from glimt.bench.load import Level, Sample


class Percentiles(msgspec.Struct, frozen=True):
    """Three points of a distribution, and its mean. `nan` becomes null in JSON."""

    p50: float
    p90: float
    p99: float
    mean: float


class LevelReport(msgspec.Struct, frozen=True, kw_only=True):
    """One concurrency. Rates are over its wall time; failed requests count only as errors."""

    concurrency: int
    num_requests: int
    num_errors: int
    errors: dict[str, int]
    wall_s: float
    prompt_tokens: float
    cached_tokens: float
    output_tokens: float
    tokens_are_estimated: bool
    first_token_ms: Percentiles
    gap_ms: Percentiles
    per_token_ms: Percentiles
    request_s: Percentiles
    output_tokens_per_s: float
    prompt_tokens_per_s: float
    requests_per_s: float


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of `values` lie, interpolated; nan for none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def percentiles(values: Sequence[float]) -> Percentiles:
    """The three that a reader asks for, and the mean."""
    mean = math.fsum(values) / len(values) if values else math.nan
    p50, p90, p99 = (percentile(values, share) for share in (0.5, 0.9, 0.99))
    return Percentiles(p50, p90, p99, mean)


def summarize(level: Level) -> LevelReport:
    """The report of one level."""
    good = [sample for sample in level.samples if sample.error is None]
    failed = Counter(sample.error for sample in level.samples if sample.error is not None)
    wall_s = level.ended_s - level.started_s
    num_good = len(good)
    output = sum(sample.num_output for sample in good)
    prompt = sum(sample.num_prompt for sample in good)
    cached = sum(sample.num_cached for sample in good)
    return LevelReport(
        concurrency=level.concurrency,
        num_requests=len(level.samples),
        num_errors=len(level.samples) - num_good,
        errors=dict(failed),
        wall_s=wall_s,
        prompt_tokens=_ratio(prompt, num_good),
        cached_tokens=_ratio(cached, num_good),
        output_tokens=_ratio(output, num_good),
        tokens_are_estimated=not all(sample.is_counted for sample in good),
        first_token_ms=percentiles(
            [1e3 * (s.arrivals_s[0] - s.started_s) for s in good if s.arrivals_s]
        ),
        gap_ms=percentiles([gap for sample in good for gap in _gaps_ms(sample)]),
        per_token_ms=percentiles([each for sample in good for each in _per_token_ms(sample)]),
        request_s=percentiles([sample.ended_s - sample.started_s for sample in good]),
        output_tokens_per_s=_ratio(output, wall_s),
        prompt_tokens_per_s=_ratio(prompt, wall_s),
        requests_per_s=_ratio(num_good, wall_s),
    )


def table(reports: Sequence[LevelReport]) -> Table:
    """The reports for a person, one row a level."""
    result = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in (
        "clients", "failed", "first ms\np50", "\np90", "\np99", "gap ms\np50", "\np99",
        "token ms\np50", "tokens/s\none", "tokens/s\nall",
    ):  # fmt: skip
        least = max(map(len, heading.split("\n")))
        result.add_column(heading, justify="right", no_wrap=True, min_width=least)
    for report in reports:
        first, gap, each = report.first_token_ms, report.gap_ms, report.per_token_ms
        numbers = (first.p50, first.p90, first.p99, gap.p50, gap.p99, each.p50)
        result.add_row(
            str(report.concurrency),
            f"{report.num_errors} of {report.num_requests}",
            *(_number(value) for value in numbers),
            _number(_ratio(1e3, each.p50)),
            _number(report.output_tokens_per_s),
        )
    return result


def _gaps_ms(sample: Sample) -> list[float]:
    pairs = zip(sample.arrivals_s, sample.arrivals_s[1:], strict=False)
    return [1e3 * (later - earlier) for earlier, later in pairs]


def _per_token_ms(sample: Sample) -> list[float]:
    if sample.num_output < 2 or len(sample.arrivals_s) < 2:
        return []
    span = sample.arrivals_s[-1] - sample.arrivals_s[0]
    return [1e3 * span / (sample.num_output - 1)]


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
