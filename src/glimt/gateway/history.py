"""What was seen of each deployment, kept in bounded memory.

Time is cut into slices of three widths, for windows of minutes, of an hour and of a day; a slice
counts outcomes, and durations in buckets that grow by a fixed ratio, so a percentile is right to
within that ratio. Everything adds: slices to windows, snapshots to each other, which is how
processes and restarts are joined. Knows no provider.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

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
_MOST_DEPLOYMENTS: Final = 1000
_COUNTS: Final = (
    *("num_attempts", "num_ok", "num_failed", "num_rate_limited", "num_calls", "num_bad_calls"),
)


class Slice(msgspec.Struct, kw_only=True):
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


class Snapshot(msgspec.Struct, kw_only=True):
    """Everything, to be stored: deployment → width's index → number of the slice → slice."""

    version: int = 1
    deployments: dict[str, list[dict[int, Slice]]] = {}


class History:
    """`gateway.stats.Stats`, in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, list[dict[int, Slice]]] = {}
        self._summaries: dict[str, dict[float, tuple[float, Summary]]] = {}

    def record(self, outcome: Outcome) -> None:
        """One attempt ended, now. A fault is seen at once, a success within a second."""
        seen = _slice_of(outcome)
        now_s = self._clock.now()
        self._add(outcome.deployment, [{int(now_s // width): seen} for width, _ in _WIDTHS])
        if not seen.num_ok:
            self._summaries.pop(outcome.deployment, None)

    def summary(self, deployment: str, window_s: float) -> Summary:
        """The last `window_s` seconds, to a second, and to the width of a slice."""
        now_s = self._clock.now()
        known = self._summaries.get(deployment, {}).get(window_s)
        if known is not None and 0 <= now_s - known[0] < _FRESH_S:
            return known[1]
        summary = self._summed(deployment, window_s, now_s)
        if deployment in self._kept:
            self._summaries.setdefault(deployment, {})[window_s] = (now_s, summary)
        return summary

    def snapshot(self) -> Snapshot:
        """A copy of everything that still counts."""
        self._forget()
        return msgspec.convert(
            msgspec.to_builtins(Snapshot(deployments=self._kept)), Snapshot, strict=False
        )

    def merge(self, snapshot: Snapshot) -> None:
        """Count what another process, or an earlier run, saw."""
        for deployment, widths in snapshot.deployments.items():
            if len(widths) == len(_WIDTHS):
                self._add(deployment, widths)
                self._summaries.pop(deployment, None)
        self._forget()

    def _add(self, deployment: str, widths: Iterable[dict[int, Slice]]) -> None:
        if deployment not in self._kept and len(self._kept) >= _MOST_DEPLOYMENTS:
            self._forget()
            if len(self._kept) >= _MOST_DEPLOYMENTS:
                return
        kept = self._kept.setdefault(deployment, [{} for _ in _WIDTHS])
        for mine, theirs, (width, lifetime_s) in zip(kept, widths, _WIDTHS, strict=True):
            for number, seen in theirs.items():
                if number not in mine:
                    mine[number] = Slice(ttft={}, throughput={})
                    _drop_old(mine, self._clock.now() - lifetime_s, width)
                if number in mine:
                    mine[number].add(seen)

    def _forget(self) -> None:
        now_s = self._clock.now()
        for deployment, widths in list(self._kept.items()):
            for slices, (width, lifetime_s) in zip(widths, _WIDTHS, strict=True):
                _drop_old(slices, now_s - lifetime_s, width)
            if not any(widths):
                del self._kept[deployment]

    def _summed(self, deployment: str, window_s: float, now_s: float) -> Summary:
        total = Slice(ttft={}, throughput={})
        index = next(
            (at for at, (_, life) in enumerate(_WIDTHS) if window_s <= life), len(_WIDTHS) - 1
        )
        width = _WIDTHS[index][0]
        first = int((now_s - window_s) // width) + 1
        for number, seen in self._kept.get(deployment, [{} for _ in _WIDTHS])[index].items():
            if first <= number <= now_s // width:
                total.add(seen)
        counts = {name: getattr(total, name) for name in _COUNTS}
        return Summary(
            **counts,
            ttft_s=_percentiles(total.ttft, best_is_least=True),
            throughput=_percentiles(total.throughput, best_is_least=False),
        )


def store(history: History, file: Path) -> None:
    """Write a snapshot; whoever reads sees the old one or the new one, whole."""
    draft = file.with_suffix(".part")
    draft.write_bytes(msgspec.json.encode(history.snapshot()))
    draft.replace(file)


def restore(history: History, file: Path) -> bool:
    """Read a snapshot back. False when there is none that can be read: history starts anew."""
    try:
        snapshot = msgspec.json.decode(file.read_bytes(), type=Snapshot)
    except (OSError, msgspec.DecodeError):
        return False
    if snapshot.version != Snapshot().version:
        return False
    history.merge(snapshot)
    return True


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

    return Percentiles(p50=at(0.5), p75=at(0.75), p90=at(0.9), p99=at(0.99))


def _drop_old(slices: dict[int, Slice], oldest_s: float, width: float) -> None:
    for number in [number for number in slices if number < oldest_s // width]:
        del slices[number]
