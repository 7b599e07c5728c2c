"""What is noted while an answer's steps are tried: its trace, and whether there was one in the end.

Knows steps and outcomes; how they are shown is for the wire formats.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from glimt.catalog.price import cost
from glimt.catalog.types import Prices
from glimt.core.errors import GlimtError
from glimt.core.events import Batch, Finished
from glimt.core.request import Request
from glimt.core.trace import Attempt, Target, Trace
from glimt.core.usage import Usage
from glimt.gateway.stats import Outcome, fault_of, whole


class Trail:
    """One answer's.

    Args:
        planned: Who may be asked, best first.
        start_s: When the request came, on the clock of whoever tries.
        explain: Why in this order.

    Attributes:
        failure: What the answer failed with, once it has.
        given_up: Deployments whose answers are not needed any more.
    """

    def __init__(
        self,
        request: Request,
        planned: Sequence[Target],
        *,
        start_s: float,
        explain: Callable[[], str],
    ) -> None:
        self.start_s = start_s
        self._pinned = bool(request.routing.only)
        self._planned = tuple(planned)
        self._explain = explain
        self._attempts: list[Attempt] = []
        self._finished = False
        self.failure: GlimtError | None = None
        self.given_up: set[str] = set()

    @property
    def answered(self) -> str:
        """The deployment that finished it, if one did."""
        last = self._attempts[-1] if self._finished else None
        return "" if last is None or last.code else last.target.deployment

    def add(self, target: Target, outcome: Outcome, error: GlimtError | None) -> None:
        """An attempt is over."""
        if outcome.fault != "none":
            self._attempts.append(_attempt(target, outcome, error))

    def finished(
        self, batch: Batch, target: Target, outcome: Outcome, prices: Prices | None
    ) -> Batch:
        """An attempt's last batch, which is the answer's: its end says how it came about."""
        end = batch[-1]
        assert isinstance(end, Finished)
        self._finished = True
        self._attempts.append(_attempt(target, outcome, None))
        trace = self.trace(None if prices is None else self._cost(prices, end.usage))
        return [*batch[:-1], msgspec.structs.replace(end, trace=trace)]

    def ended(self, batch: Batch) -> Batch:
        """The answer's last batch where no attempt came to its end; what it costs nobody knows."""
        end = batch[-1]
        assert isinstance(end, Finished)
        self._finished = True
        return [*batch[:-1], msgspec.structs.replace(end, trace=self.trace())]

    def trace(self, price: Decimal | None = None) -> Trace:
        """So far."""
        return Trace(
            planned=self._planned,
            attempts=tuple(self._attempts),
            cost=price,
            explain=self._explain,
        )

    def outcome(self) -> Outcome | None:
        """How the whole went, for the model's own numbers; `None` where one place had to do it.

        Who names the places that may answer has taken the gateway's means away.
        """
        if self._pinned or not self._attempts:
            return None
        first, last = self._attempts[0], self._attempts[-1]
        ttft_s = next(
            (a.start_s - first.start_s + a.ttft_s for a in self._attempts if a.ttft_s is not None),
            None,
        )
        answered = self._finished and self.failure is None
        return Outcome(
            deployment=whole(self._planned[0].model),
            start_s=first.start_s,
            duration_s=last.start_s + last.duration_s - first.start_s,
            ttft_s=ttft_s,
            fault="none" if answered else fault_of(self.failure),
            why="" if self.failure is None else self.failure.code,
        )

    def _cost(self, prices: Prices, usage: Usage) -> Decimal | None:
        """Of an answer by one place; what a place that broke off charges, nobody says."""
        if any(attempt.broke_off for attempt in self._attempts):
            return None
        return cost(prices, usage)


def _attempt(target: Target, outcome: Outcome, error: GlimtError | None) -> Attempt:
    code, status = outcome.why, 200
    if error is not None:
        status = error.status
    elif outcome.fault == "gone":
        code, status = code or "gone", 499
    return Attempt(
        target=target,
        code=code,
        status=status,
        start_s=outcome.start_s,
        # How long it was waited for says nothing of when it would have spoken.
        ttft_s=None if outcome.fault == "gone" else outcome.ttft_s,
        duration_s=outcome.duration_s,
    )
