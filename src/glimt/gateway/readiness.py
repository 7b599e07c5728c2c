"""Whether requests can be answered at the moment, and if not, how far we are."""

from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from glimt.core.errors import Unavailable

Phase: TypeAlias = Literal["starting", "ready", "restarting", "failed", "stopping"]

RETRY_AFTER_S: Final = 2.0


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a server is in its life.

    Attributes:
        phase: "restarting" means that a worker died and another one is on its way.
        model: What is being served, or will be.
        stage: What loading is at ("download", "weights", "cache"), `done` of `total` bytes of it.
        reason: Why it failed.
    """

    phase: Phase
    model: str = ""
    stage: str | None = None
    done: int = 0
    total: int = 0
    reason: str | None = None

    @property
    def percent(self) -> int | None:
        """How much of the stage is done, where that is known."""
        return 100 * self.done // self.total if self.total else None

    @property
    def sentence(self) -> str:
        """The same for people."""
        match self.phase:
            case "ready":
                return f"{self.model} is ready."
            case "failed":
                return f"{self.model} does not run: {self.reason}"
            case "stopping":
                return "The server is shutting down."
            case "restarting":
                opening = f"The engine of {self.model} is being started again"
            case "starting":
                opening = f"{self.model} is still loading"
        if self.stage is None:
            return f"{opening}."
        percent = "" if self.percent is None else f" at {self.percent} %"
        return f"{opening}: {self.stage}{percent}."


class Readiness(Protocol):
    """Whoever knows how far the start is."""

    def report(self) -> Report:
        """Now."""
        ...


def require_ready(report: Report) -> None:
    """Let a request in, or say when to come back.

    While a worker is being replaced requests are let in: the engine lets them wait for it.

    Raises:
        Unavailable: Nobody can answer yet, or nobody will.
    """
    if report.phase not in ("ready", "restarting"):
        retry_after_s = RETRY_AFTER_S if report.phase == "starting" else None
        raise Unavailable(report.sentence, code="not_ready", retry_after_s=retry_after_s)
