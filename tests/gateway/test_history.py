"""What is remembered of deployments, for how long, and how exactly."""

import statistics
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from glimt.core.clock import FakeClock
from glimt.gateway.history import History, restore, store
from glimt.gateway.stats import DAY_S, FIVE_MINUTES_S, HALF_HOUR_S, RECENT_S, Fault, Outcome

ID = "zai/glm-4.7-flash"


def outcome(*, ttft_s: float | None = 0.2, tokens: int = 100, fault: Fault = "none") -> Outcome:
    return Outcome(
        deployment=ID,
        start_s=0,
        ttft_s=ttft_s,
        duration_s=2.0,
        output_tokens=tokens,
        fault=fault,
    )


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=60))
def test_percentiles_are_right_to_within_a_bucket(values: list[float]):
    """The median lies within five per cent of a value between the two middle ones."""
    history = History(FakeClock())
    for value in values:
        history.record(outcome(ttft_s=value))
    seen = history.summary(ID, FIVE_MINUTES_S).ttft_s
    assert seen is not None
    assert statistics.median_low(values) / 1.05 <= seen.p50 <= statistics.median_high(values) * 1.05
    assert max(values) / 1.05 <= seen.p99 <= max(values) * 1.05
    assert seen.p50 <= seen.p75 <= seen.p90 <= seen.p99


def test_throughput_reads_from_the_best_down():
    """p99 of throughput is what nearly everybody reached."""
    history = History(FakeClock())
    for tokens in range(2, 202, 2):
        history.record(outcome(tokens=tokens))
    seen = history.summary(ID, FIVE_MINUTES_S).throughput
    assert seen is not None
    assert seen.p50 == pytest.approx(51, rel=0.06)
    assert seen.p90 == pytest.approx(11, rel=0.1)
    assert seen.p99 < seen.p90 < seen.p75 < seen.p50


def test_windows_end_now():
    """What happened leaves one window after the other, and in the end all memory."""
    clock = FakeClock()
    history = History(clock)
    history.record(outcome())
    for window_s in (RECENT_S, FIVE_MINUTES_S, HALF_HOUR_S, DAY_S):
        assert history.summary(ID, window_s).num_ok == 1
        clock.advance(window_s + 1)
        assert history.summary(ID, window_s).num_ok == 0
    clock.advance(DAY_S)
    assert history.snapshot().deployments == {}


def test_a_fault_is_seen_at_once():
    """A success may be a second old before a summary has it, a fault never."""
    clock = FakeClock()
    history = History(clock)
    history.record(outcome())
    assert history.summary(ID, RECENT_S).num_ok == 1
    history.record(outcome())
    history.record(outcome(fault="provider"))
    seen = history.summary(ID, RECENT_S)
    assert (seen.num_ok, seen.num_failed) == (2, 1)
    history.record(outcome())
    clock.advance(1)
    assert history.summary(ID, RECENT_S).num_ok == 3


def test_only_the_providers_fault_counts_against_it():
    """Clients' mistakes, clients that leave and rate limits are no downtime."""
    history = History(FakeClock())
    faults: list[Fault] = ["none", "none", "none", "provider", "client", "gone", "rate_limited"]
    for fault in faults:
        history.record(outcome(fault=fault))
    seen = history.summary(ID, FIVE_MINUTES_S)
    assert (seen.num_attempts, seen.num_rate_limited, seen.uptime) == (7, 1, 0.75)
    assert history.summary("nobody", DAY_S).uptime is None


def test_memory_is_bounded():
    """A busy week takes no more slices than a day has, and a thousand names are the most."""
    clock = FakeClock()
    history = History(clock)
    for _ in range(7 * 24 * 60):
        clock.advance(60)
        history.record(outcome())
    [widths] = history.snapshot().deployments.values()
    assert sum(map(len, widths)) <= 73 + 61 + 97
    for number in range(2000):
        history.record(Outcome(deployment=str(number), start_s=0, duration_s=1))
    assert len(history.snapshot().deployments) <= 1000


def test_processes_and_restarts_add_up(tmp_path: Path):
    """What one process stored, another one counts too; a broken file is no history."""
    clock = FakeClock()
    one, other = History(clock), History(clock)
    file = tmp_path / "stats.json"
    assert not restore(one, file)
    for history in (one, other):
        history.record(outcome())
    store(one, file)
    assert restore(other, file)
    assert other.summary(ID, DAY_S).num_ok == 2
    assert one.summary(ID, DAY_S).num_ok == 1
    file.write_text("{")
    assert not restore(other, file)
