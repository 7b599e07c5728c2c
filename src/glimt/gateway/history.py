"""What was seen of each deployment, kept in bounded memory.

Time is cut into slices of three widths, for windows of minutes, of an hour and of a day; a slice
counts outcomes, and durations in buckets that grow by a fixed ratio, so a percentile is right to
within that ratio. Everything adds: slices to windows, and what other processes and earlier runs saw
to what was seen here, a minute at a time (`gateway.keeping`). Knows no provider.
"""

import math
from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from glimt.core.clock import Clock
from glimt.gateway.stats import Outcome, Percentiles, Summary

_WIDTHS: Final = ((5.0, 360.0), (60.0, 3600.0), (900.0, 86_400.0))
"""Seconds of a slice, and for how long slices of this width are kept."""
_GROWTH: Final = 1.05
_LOG_GROWTH: Final = math.log(_GROWTH)
_LEAST: Final = 1e-4
_MOST: Final = 1e6
_FRESH_S: Final = 1.0
MOST_DEPLOYMENTS: Final = 1000
MINUTE_S: Final = 60.0
_NOTHING: Final = Summary()
_UNSAVED_S: Final = 3600.0
"""How long what was recorded waits to be taken on, where nobody takes it."""
_COUNTS: Final = (
    *("num_attempts", "num_ok", "num_failed", "num_rate_limited", "num_calls", "num_bad_calls"),
)


class Slice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What ended within one slice of time. Buckets hold how often a value fell into them."""

    num_attempts: int = 0
    num_ok: int = 0
    num_failed: int = 0
    num_rate_limited: int = 0
    num_calls: int = 0
    num_bad_calls: int = 0
    ttft: dict[int, int] = {}
    throughput: dict[int, int] = {}

    def add(self, other: "Slice") -> None:
        """Count everything of another slice too."""
        # Spelled out: this runs for every attempt, and names looked up cost four times as much.
        self.num_attempts += other.num_attempts
        self.num_ok += other.num_ok
        self.num_failed += other.num_failed
        self.num_rate_limited += other.num_rate_limited
        self.num_calls += other.num_calls
        self.num_bad_calls += other.num_bad_calls
        for mine, theirs in ((self.ttft, other.ttft), (self.throughput, other.throughput)):
            for bucket, count in theirs.items():
                mine[bucket] = mine.get(bucket, 0) + count


Minutes: TypeAlias = dict[int, Slice]
"""Slices by the minute, counted from 1970: what is passed on to other processes and later runs."""


class History:
    """`gateway.stats.Stats`, in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, list[dict[int, Slice]]] = {}
        self._summaries: dict[str, dict[float, tuple[float, Summary]]] = {}
        self._news: dict[str, Minutes] = {}

    def record(self, outcome: Outcome) -> None:
        """One attempt ended, now. A fault is seen at once, a success within a second."""
        seen = _slice_of(outcome)
        now_s = self._clock.now()
        if not self._add(outcome.deployment, seen, now_s):
            return
        self._note(outcome.deployment, int(now_s // MINUTE_S), seen)
        if not seen.num_ok:
            self._summaries.pop(outcome.deployment, None)

    def summary(self, deployment: str, window_s: float) -> Summary:
        """The last `window_s` seconds, to a second, and to the width of a slice."""
        if deployment not in self._kept:
            return _NOTHING
        now_s = self._clock.now()
        known = self._summaries.get(deployment, {}).get(window_s)
        if known is not None and 0 <= now_s - known[0] < _FRESH_S:
            return known[1]
        summary = self._summed(deployment, window_s, now_s)
        self._summaries.setdefault(deployment, {})[window_s] = (now_s, summary)
        return summary

    def news(self) -> dict[str, Minutes]:
        """What was recorded here since this was last asked, by deployment; an hour's at most."""
        news, self._news = self._news, {}
        return news

    def put_back(self, news: Mapping[str, Minutes]) -> None:
        """What `news` gave could not be written down; it is new still."""
        for deployment, minutes in news.items():
            for minute, seen in minutes.items():
                self._note(deployment, minute, seen)

    def merge(self, deployment: str, minutes: Mapping[int, Slice]) -> None:
        """Count what another process, or an earlier run, saw: as if at the end of each minute."""
        now_s = self._clock.now()
        for minute, seen in minutes.items():
            begin_s = minute * MINUTE_S
            if begin_s <= now_s:
                self._add(deployment, seen, min(begin_s + MINUTE_S - 1, now_s))
        self._summaries.pop(deployment, None)

    @property
    def num_slices(self) -> int:
        """All that are held; those that no longer count are dropped first."""
        self._forget()
        return sum(len(slices) for widths in self._kept.values() for slices in widths)

    @property
    def num_deployments(self) -> int:
        """Those that something is known of; `MOST_DEPLOYMENTS` at most."""
        return len(self._kept)

    def _note(self, deployment: str, minute: int, seen: Slice) -> None:
        news = self._news.setdefault(deployment, {})
        if minute in news:
            news[minute].add(seen)
        else:
            news[minute] = seen
            _drop_old(news, self._clock.now() - _UNSAVED_S, MINUTE_S)

    def _add(self, deployment: str, seen: Slice, at_s: float) -> bool:
        """Count it in the slices of its time; whether there was room."""
        if deployment not in self._kept and len(self._kept) >= MOST_DEPLOYMENTS:
            self._forget()
            if len(self._kept) >= MOST_DEPLOYMENTS:
                return False
        kept = self._kept.setdefault(deployment, [{} for _ in _WIDTHS])
        for slices, (width, lifetime_s) in zip(kept, _WIDTHS, strict=True):
            number = int(at_s // width)
            if number not in slices:
                slices[number] = Slice(ttft={}, throughput={})
                _drop_old(slices, self._clock.now() - lifetime_s, width)
            if number in slices:
                slices[number].add(seen)
        return True

    def _forget(self) -> None:
        now_s = self._clock.now()
        for deployment, widths in list(self._kept.items()):
            for slices, (width, lifetime_s) in zip(widths, _WIDTHS, strict=True):
                _drop_old(slices, now_s - lifetime_s, width)
            if not any(widths):
                del self._kept[deployment]
                self._summaries.pop(deployment, None)

    def _summed(self, deployment: str, window_s: float, now_s: float) -> Summary:
        total = Slice(ttft={}, throughput={})
        index = next(
            (at for at, (_, life) in enumerate(_WIDTHS) if window_s <= life), len(_WIDTHS) - 1
        )
        width = _WIDTHS[index][0]
        first = int((now_s - window_s) // width) + 1
        for number, seen in self._kept[deployment][index].items():
            if first <= number <= now_s // width:
                total.add(seen)
        counts = {name: getattr(total, name) for name in _COUNTS}
        return Summary(
            **counts,
            ttft_s=_percentiles(total.ttft, best_is_least=True),
            throughput=_percentiles(total.throughput, best_is_least=False),
        )


def _slice_of(outcome: Outcome) -> Slice:
    ok = outcome.fault == "none"
    ttft = {} if outcome.ttft_s is None else {_bucket(outcome.ttft_s): 1}
    throughput: dict[int, int] = {}
    if ok and outcome.output_tokens and outcome.duration_s > 0:
        throughput = {_bucket(outcome.output_tokens / outcome.duration_s): 1}
    return Slice(
        num_attempts=1,
        num_ok=int(ok),
        num_failed=int(outcome.fault == "provider"),
        num_rate_limited=int(outcome.fault == "rate_limited"),
        num_calls=outcome.num_calls,
        num_bad_calls=outcome.num_bad_calls,
        ttft=ttft,
        throughput=throughput,
    )


def _bucket(value: float) -> int:
    return math.floor(math.log(min(max(value, _LEAST), _MOST)) / _LOG_GROWTH)


def _percentiles(buckets: dict[int, int], *, best_is_least: bool) -> Percentiles | None:
    total = sum(buckets.values())
    if not total:
        return None
    ordered = sorted(buckets.items(), reverse=not best_is_least)

    def at(share: float) -> float:
        left = math.ceil(share * total)
        for bucket, count in ordered:
            left -= count
            if left <= 0:
                return _GROWTH ** (bucket + 0.5)
        return _GROWTH ** (ordered[-1][0] + 0.5)

    return Percentiles(p50=at(0.5), p75=at(0.75), p90=at(0.9), p95=at(0.95), p99=at(0.99))


def _drop_old(slices: dict[int, Slice], oldest_s: float, width: float) -> None:
    for number in [number for number in slices if number < oldest_s // width]:
        del slices[number]
