"""The arithmetic of a report."""

import math

import msgspec
import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from glimt.bench.load import Level, Sample
from glimt.bench.report import percentile, percentiles, summarize, table


def answered(started: float, arrivals: list[float], tokens: int, ended: float) -> Sample:
    """A request that went well."""
    return Sample(
        started_s=started,
        arrivals_s=arrivals,
        num_prompt=100,
        num_cached=64,
        num_output=tokens,
        is_counted=True,
        ended_s=ended,
    )


def test_percentiles_interpolate() -> None:
    """Between two values a percentile lies in proportion."""
    assert percentile([10.0, 20.0], 0.5) == 15.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(n) for n in range(101)], 0.99) == 99.0


def test_no_values_make_no_number() -> None:
    """Of nothing there is no percentile, and JSON says null."""
    points = percentiles([])
    assert math.isnan(points.p50)
    assert msgspec.json.encode(points) == b'{"p50":null,"p90":null,"p99":null,"mean":null}'


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_lies_among_its_values(values: list[float], share: float) -> None:
    """No percentile leaves the range of its values, and the ends are the extremes."""
    assert min(values) <= percentile(values, share) <= max(values)
    assert percentile(values, 0) == min(values)
    assert percentile(values, 1) == max(values)


def test_a_level_is_summed_up() -> None:
    """Latencies are per request from its own start; rates are over the level's wall time."""
    level = Level(
        2,
        10.0,
        12.0,
        [
            answered(10.0, [10.1, 10.2, 10.3], 3, 10.3),
            answered(10.0, [10.3, 10.7], 5, 10.7),
            Sample(started_s=10.0, ended_s=10.1, error="full"),
        ],
    )
    report = summarize(level)
    assert report.num_requests == 3
    assert report.num_errors == 1
    assert report.errors == {"full": 1}
    assert report.first_token_ms.p50 == pytest.approx(200)
    assert report.gap_ms.p50 == pytest.approx(100)
    assert report.gap_ms.p99 == pytest.approx(394)
    assert report.per_token_ms.mean == pytest.approx(100)
    assert report.output_tokens_per_s == pytest.approx(8 / 2)
    assert report.prompt_tokens_per_s == pytest.approx(200 / 2)
    assert report.requests_per_s == pytest.approx(1)
    assert report.cached_tokens == 64
    assert not report.tokens_are_estimated


def test_a_level_without_answers_has_no_rates() -> None:
    """When everything failed there is a report all the same: errors, and nulls for the rest."""
    report = summarize(Level(1, 0.0, 1.0, [Sample(started_s=0.0, ended_s=1.0, error="gone")]))
    assert report.num_errors == 1
    assert report.output_tokens_per_s == 0
    assert math.isnan(report.first_token_ms.p50)
    msgspec.json.decode(msgspec.json.encode(report))


def test_the_table_has_a_row_a_level() -> None:
    """A person sees one line for every concurrency."""
    level = Level(4, 0.0, 1.0, [answered(0.0, [0.25, 0.5], 2, 0.5)])
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table([summarize(level)]))
    row = capture.get().splitlines()[-1]
    assert row.split() == ["4", "0", "of", "1", "250", "250", "250", "250", "250", "250", "4", "2"]
