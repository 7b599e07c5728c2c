"""What was seen of each deployment: speed, failures, uptime.

Here is the seam and its values; `gateway.history` keeps them in bounded memory. Knows no provider
and no HTTP: whoever attempts a request tells how it went.
"""

from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from glimt.core.errors import GlimtError, RateLimited, RequestError

RECENT_S: Final = 30.0
FIVE_MINUTES_S: Final = 300.0
QUARTER_S: Final = 900.0
HALF_HOUR_S: Final = 1800.0
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0

Fault: TypeAlias = Literal["none", "client", "rate_limited", "provider", "gone"]
"""Whose fault an attempt's end was.

"client" (400, 413, 422, refused content), "gone" (the client left) and "rate_limited" (429) say
nothing of a deployment's uptime; "provider" does: 401, 402, 403, 404, 408, 5xx, no connection, a
malformed or an empty answer, a stream that was cut, a time limit that passed.
"""


def fault_of(error: GlimtError | None) -> Fault:
    """Whose fault an error is; none at all is a client that left."""
    match error:
        case None:
            return "gone"
        case RequestError():
            return "client"
        case RateLimited():
            return "rate_limited"
        case _:
            return "provider"


def whole(model: str) -> str:
    """Under which name a model's answers are counted as the gateway's: after every fallback."""
    return f"model:{model}"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt at one deployment went. Recorded once, when it ended.

    Attributes:
        deployment: `Deployment.id`, or the name of `whole`.
        start_s: When it began, in Unix seconds.
        ttft_s: From then to the first output; `None` if there was none.
        duration_s: From then to the end.
        output_tokens: Of the answer, thinking included; counted or estimated when it was cut.
        fault: Why it ended.
        why: An error's code; empty when it finished.
        num_calls: Tool calls in the answer.
        num_bad_calls: Those of them whose name or arguments were not what was declared.
    """

    deployment: str
    start_s: float
    duration_s: float
    ttft_s: float | None = None
    output_tokens: int = 0
    fault: Fault = "none"
    why: str = ""
    num_calls: int = 0
    num_bad_calls: int = 0


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """`p90`: nine of ten were at least this good. So throughput's p99 is its smallest value."""

    p50: float
    p75: float
    p90: float
    p95: float
    p99: float

    def at(self, name: str) -> float:
        """By name ("p90")."""
        return getattr(self, name)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment over a window that ends now.

    Attributes:
        num_attempts: All, whatever became of them.
        num_ok: Finished answers.
        num_failed: Ended by the provider's fault.
        num_rate_limited: Refused with 429.
        ttft_s: Seconds to the first output; `None` when nothing was seen.
        throughput: Output tokens a second, of the whole time an attempt took.
    """

    num_attempts: int = 0
    num_ok: int = 0
    num_failed: int = 0
    num_rate_limited: int = 0
    num_calls: int = 0
    num_bad_calls: int = 0
    ttft_s: Percentiles | None = None
    throughput: Percentiles | None = None

    @property
    def uptime(self) -> float | None:
        """Successes of all that a provider could have answered, 0 to 1; `None`: nothing seen."""
        total = self.num_ok + self.num_failed
        return self.num_ok / total if total else None


class Numbers(Protocol):
    """What a plan reads."""

    def summary(self, deployment: str, window_s: float) -> Summary:
        """The last `window_s` seconds of a deployment; all zero for one that was never seen."""
        ...


class Stats(Numbers, Protocol):
    """What an attempt writes to."""

    def record(self, outcome: Outcome) -> None:
        """One attempt ended. Cheap, never blocks, never raises."""
        ...


class NoStats:
    """Nothing was seen; the double."""

    def summary(self, deployment: str, window_s: float) -> Summary:  # noqa: ARG002  nobody was seen
        return Summary()

    def record(self, outcome: Outcome) -> None:
        """Forgotten at once."""
