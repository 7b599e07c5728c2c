"""What is remembered of deployments, for how long, and how exactly."""

import statistics

import pytest
from hypothesis import given, strategies as st

from glimt.core.clock import FakeClock
from glimt.gateway.history import MOST_DEPLOYMENTS, History
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
    assert seen.p50 <= seen.p75 <= seen.p90 <= seen.p95 <= seen.p99


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
    assert (history.num_slices, history.num_deployments) == (0, 0)


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
    assert history.num_slices <= 73 + 61 + 97
    [minutes] = history.news().values()
    assert len(minutes) <= 61
    for number in range(2000):
        history.record(Outcome(deployment=str(number), start_s=0, duration_s=1))
    assert history.num_deployments <= MOST_DEPLOYMENTS
    assert len(history.news()) <= MOST_DEPLOYMENTS


def test_what_others_saw_adds_up():
    """What one history saw, another counts too, in the windows in which it happened; once."""
    clock = FakeClock(60 * 100)
    one, other = History(clock), History(clock)
    other.record(outcome(ttft_s=1.0))
    for ttft_s in (0.1, 0.2):
        one.record(outcome(ttft_s=ttft_s))
        clock.advance(600)
    news = one.news()
    assert one.news() == {}
    one.put_back(news)
    for deployment, minutes in one.news().items():
        other.merge(deployment, minutes)
    day, half = other.summary(ID, DAY_S), other.summary(ID, HALF_HOUR_S)
    assert (day.num_ok, half.num_ok, other.summary(ID, FIVE_MINUTES_S).num_ok) == (3, 3, 0)
    assert day.ttft_s is not None
    assert day.ttft_s.p50 == pytest.approx(0.2, rel=0.05)
    assert one.summary(ID, DAY_S).num_ok == 2
    clock.advance(DAY_S)
    other.merge(ID, news[ID])
    assert other.summary(ID, DAY_S).num_ok == 0
    other.merge(ID, {int(clock.now() // 60) + 5: news[ID].popitem()[1]})
    assert other.summary(ID, DAY_S).num_ok == 0, "nobody has seen the future"
