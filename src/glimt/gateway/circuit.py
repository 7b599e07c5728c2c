"""Who is left alone for a while: broken places, those that said when to come back, full ones.

A place that failed three times in a row, or that will not take our key or account, is asked only
when nobody else is left ("cooling"); one that named a time is not asked before it ("exhausted").
Knows what attempts report and nothing else; the engine on this machine has no circuit, since it
knows its own state.
"""

from typing import Final

import msgspec

from glimt.catalog.types import Candidate, Deployment
from glimt.core.clock import Clock
from glimt.core.errors import GlimtError, RateLimited, RequestError

NUM_FAILURES: Final = 3
FIRST_PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 300.0
ACCOUNT_PAUSE_S: Final = 60.0
"""A refused key or an empty account is for a person to mend."""
LIMIT_PAUSE_S: Final = 5.0
LONGEST_WAIT_S: Final = 3600.0
"""Whoever asks for more is asked again after it."""
_ACCOUNT: Final = frozenset({"upstream_key_refused", "upstream_quota", "upstream_not_found"})


class _State(msgspec.Struct):
    num_failures: int = 0
    open_until_s: float = 0.0
    wait_until_s: float = 0.0
    reason: str = ""
    num_running: int = 0


class Circuits:
    """The state of every deployment that was tried; times are monotonic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}

    def marked(self, candidate: Candidate) -> Candidate:
        """The candidate with what is known of it now."""
        state = self._states.get(candidate.id)
        if state is None:
            return candidate
        now_s = self._clock.monotonic()
        if state.wait_until_s > now_s:
            why = f"it asked to wait for {state.wait_until_s - now_s:.0f} s more"
            return msgspec.structs.replace(candidate, exhausted=why)
        if state.open_until_s > now_s:
            return msgspec.structs.replace(candidate, cooling=state.reason)
        limit = candidate.deployment.concurrency
        if limit is not None and state.num_running >= limit * max(
            1, len(candidate.deployment.key_names)
        ):
            return msgspec.structs.replace(candidate, cooling=f"{state.num_running} are under way")
        return candidate

    def wait_s(self, ids: frozenset[str]) -> float | None:
        """When the first of these may be asked again, in seconds; `None` if none has to wait."""
        now_s = self._clock.monotonic()
        waits = [self._states[key].wait_until_s - now_s for key in ids if key in self._states]
        return min((wait for wait in waits if wait > 0), default=None)

    def begin(self, deployment: Deployment) -> None:
        """An attempt is under way."""
        self._states.setdefault(deployment.id, _State()).num_running += 1

    def end(self, deployment: Deployment) -> None:
        """It is over, however."""
        self._states[deployment.id].num_running -= 1

    def succeeded(self, deployment: Deployment) -> None:
        """It answered: everything before is forgiven."""
        state = self._states[deployment.id]
        state.num_failures, state.open_until_s = 0, 0.0

    def failed(self, deployment: Deployment, error: GlimtError) -> None:
        """It did not. What is wrong with the request says nothing of the place."""
        if isinstance(error, RequestError):
            return
        state = self._states[deployment.id]
        now_s = self._clock.monotonic()
        if error.retry_after_s is not None:
            state.wait_until_s = now_s + min(error.retry_after_s, LONGEST_WAIT_S)
        if isinstance(error, RateLimited):
            state.open_until_s = max(state.open_until_s, now_s + LIMIT_PAUSE_S)
            state.reason = "it is at its limit"
            return
        state.num_failures += 1
        if error.code in _ACCOUNT:
            state.open_until_s = now_s + ACCOUNT_PAUSE_S
            state.reason = f"it answered {error.code}"
        elif state.num_failures >= NUM_FAILURES:
            pause_s = FIRST_PAUSE_S * 2 ** min(state.num_failures - NUM_FAILURES, 10)
            state.open_until_s = now_s + min(pause_s, LONGEST_PAUSE_S)
            state.reason = f"{state.num_failures} failures in a row, the last {error.code}"
