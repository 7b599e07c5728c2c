"""In which order candidates are tried: a key for each, from itself alone.

Since no key looks at another candidate, taking one away never moves the others. The default order
is a draw without replacement in which a place's chance falls with the square of its price
(https://openrouter.ai/docs/guides/routing/provider-selection): each conversation draws once and for
all, so it stays where its cache is, while conversations spread.
"""

import hashlib
import math
from typing import Final

import msgspec

from glimt.catalog.price import blended
from glimt.catalog.types import Candidate
from glimt.gateway.filters import named_by
from glimt.gateway.needs import Needs
from glimt.gateway.policy import Policy
from glimt.gateway.preferences import Percentile, Preferences, Sort
from glimt.gateway.stats import FIVE_MINUTES_S, HALF_HOUR_S, RECENT_S, Numbers, Percentiles

_LEAST_PRICE: Final = 0.01
"""Dollars per million: what is free is not infinitely better than what is cheap."""
_USUAL_SPEED: Final = 50.0
_LEAST_ATTEMPTS: Final = 10
_LEAST_CALLS: Final = 20
_OUTAGE: Final = 3
_DEGRADED, _FAILING = 0.95, 0.80
_PRECISE: Final = {"fp32": 0, "bf16": 0, "fp16": 0, "fp8": 1, "mxfp8": 1, "int8": 1, None: 2}

Key = tuple[float | str, ...]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a candidate stands. Keys compare; `note` says what made this one."""

    key: Key
    note: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the order of one request.

    Attributes:
        conversation: Names the draw.
        sticky: The deployment that holds the conversation's cache or signatures, if one does.
    """

    wishes: Preferences
    needs: Needs
    policy: Policy
    stats: Numbers
    conversation: bytes
    sticky: str = ""

    @property
    def sort(self) -> Sort:
        """What it goes by."""
        return self.wishes.sort or self.policy.sort

    @property
    def strategy(self) -> str:
        """In a few words."""
        parts = ["the order given"] if self.wishes.order else []
        parts.append(f"sorted by {self.sort}" if self.sort else "price, weighted, by conversation")
        return ", then ".join(parts)

    def standing(self, candidate: Candidate) -> Standing:
        """A candidate's place."""
        notes: list[str] = []
        place = named_by(self.wishes.order, candidate)
        if place is not None:
            notes.append(f"number {place + 1} of routing.order")
        is_sticky = candidate.id == self.sticky and not self.wishes.order and not self.sort
        health = self._health(candidate, notes)
        if is_sticky and not health:
            notes.append("it holds this conversation")
        is_first = self.policy.prefer_local and candidate.local and not self.sort
        if is_first:
            notes.append("on this machine")
        key = (
            0 if self.wishes.joint else candidate.rank,
            candidate.stands_in,
            len(self.wishes.order) if place is None else place,
            health,
            *self._missed(candidate, notes),
            not is_sticky,
            not is_first,
            *self._measure(candidate, notes),
            self._draw(candidate),
            candidate.id,
        )
        return Standing(key=key, note="; ".join(notes))

    def _health(self, candidate: Candidate, notes: list[str]) -> int:
        """0 is well, 1 degraded, 2 failing, 3 not to be asked unless nobody else is left."""
        if candidate.cooling:
            notes.append(candidate.cooling)
            return 3
        recent = self.stats.summary(candidate.id, RECENT_S)
        if recent.num_failed >= _OUTAGE and not recent.num_ok:
            notes.append(f"{recent.num_failed} failures in {RECENT_S:.0f} s")
            return 2
        seen = self.stats.summary(candidate.id, FIVE_MINUTES_S)
        uptime = seen.uptime
        if uptime is None or seen.num_ok + seen.num_failed < _LEAST_ATTEMPTS:
            return 0
        if uptime >= _DEGRADED:
            return 0
        notes.append(f"{uptime:.0%} answered in 5 minutes")
        return 1 if uptime >= _FAILING else 2

    def _missed(self, candidate: Candidate, notes: list[str]) -> tuple[int, int, int]:
        """Wishes that are no filters: whoever misses them comes later."""
        too_long = not candidate.local and self.needs.tokens > candidate.context
        if too_long:
            notes.append("the prompt may not fit")
        unable = [wish for wish in self.needs.wishes if wish not in candidate.capabilities]
        notes.extend(f"no {wish}" for wish in unable)
        slow = 0
        if self.wishes.throughput is not None or self.wishes.latency is not None:
            seen = self.stats.summary(candidate.id, FIVE_MINUTES_S)
            slow = max(
                _misses(self.wishes.throughput, seen.throughput, higher=True),
                _misses(self.wishes.latency, seen.ttft_s, higher=False),
            )
            if slow:
                notes.append("not measured" if slow == 1 else "slower than preferred")
        return int(too_long), len(unable), slow

    def _measure(self, candidate: Candidate, notes: list[str]) -> tuple[float, ...]:
        match self.sort:
            case "price":
                price = _price(candidate, self.needs)
                notes.append("price unknown" if price is None else f"${price:g} per million")
                return (math.inf if price is None else price,)
            case "throughput":
                seen = self.stats.summary(candidate.id, HALF_HOUR_S).throughput
                notes.append(f"{seen.p50:.0f} tokens/s" if seen else "speed not measured")
                return (-seen.p50 if seen else math.inf,)
            case "latency":
                seen = self.stats.summary(candidate.id, HALF_HOUR_S).ttft_s
                notes.append(f"{seen.p50:.2f} s to first token" if seen else "not measured")
                return (seen.p50 if seen else math.inf,)
            case "exacto":
                return self._exactness(candidate, notes)
            case "":
                return ()

    def _exactness(self, candidate: Candidate, notes: list[str]) -> tuple[float, ...]:
        """Good tool calls, then precise weights, then speed."""
        seen = self.stats.summary(candidate.id, HALF_HOUR_S)
        bad = 0.0
        if seen.num_calls >= _LEAST_CALLS:
            bad = round(seen.num_bad_calls / seen.num_calls, 2)
            notes.append(f"{1 - bad:.0%} of its tool calls were good")
        form = candidate.deployment.quantization
        speed = seen.throughput.p50 if seen.throughput else 0.0
        return bad, _PRECISE.get(form, 3), -speed

    def _draw(self, candidate: Candidate) -> float:
        """Its turn in this conversation's draw; smaller is earlier (Efraimidis and Spirakis)."""
        price = _price(candidate, self.needs)
        weight = candidate.deployment.weight or 1.0
        if price is not None:
            weight /= max(price, _LEAST_PRICE) ** 2
        weight *= self._speed(candidate)
        digest = hashlib.blake2b(
            candidate.id.encode(), key=self.conversation, digest_size=8
        ).digest()
        chance = (int.from_bytes(digest) + 1) / 2**64
        return -math.log(chance) / weight

    def _speed(self, candidate: Candidate) -> float:
        """A quarter to four times the weight, in powers of two: small changes move nobody."""
        seen = self.stats.summary(candidate.id, HALF_HOUR_S).throughput
        if seen is None or seen.p50 <= 0:
            return 1.0
        return 2.0 ** max(-2, min(2, round(math.log2(seen.p50 / _USUAL_SPEED))))


def _price(candidate: Candidate, needs: Needs) -> float | None:
    prices = candidate.prices
    return None if prices is None else float(blended(prices, needs.tokens))


def _misses(bound: Percentile | None, seen: Percentiles | None, *, higher: bool) -> int:
    """0 is met, 1 not known, 2 missed."""
    if bound is None:
        return 0
    if seen is None:
        return 1
    for name in bound.__struct_fields__:
        limit: float | None = getattr(bound, name)
        if limit is None:
            continue
        value = seen.at(name)
        if (value < limit) if higher else (value > limit):
            return 2
    return 0
