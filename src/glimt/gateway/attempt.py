"""A plan's steps, one after the other, until one answers.

Nothing of a step is passed on before its first real output, so a step that fails before it was
never there. What fails later is gone on with by another step (`gateway.resume`), or is the answer's
own failure. Which failures another place can mend is told by `GlimtError.retryable`. Knows
deadlines and what is recorded, and no wire format.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
import structlog

from glimt.catalog.types import Deployment
from glimt.core.clock import Clock
from glimt.core.errors import DeadlineExceeded, GlimtError, RateLimited, RequestError
from glimt.core.events import (
    Event,
    Finished,
    KeepAlive,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from glimt.core.provider import Provider
from glimt.core.request import Request
from glimt.gateway.circuit import Circuits
from glimt.gateway.closing import closing
from glimt.gateway.deadline import Deadline
from glimt.gateway.resume import Resumable, SaidOtherwise
from glimt.gateway.stats import Fault, Outcome, Stats

_OUTPUT: Final = frozenset({TextDelta, ReasoningDelta, ToolCallStarted, ToolCallDelta})


class AttemptSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long places elsewhere may take; all in seconds. `[attempts]` in the configuration.

    Attributes:
        connect_s: Until there is a connection, its name and TLS included.
        first_token_s: Until the first output; then the next place is asked.
        idle_s: Between two signs of life of an answer that has begun.
        total_s: For all attempts of one answer together.
    """

    connect_s: float = 5.0
    first_token_s: float = 60.0
    idle_s: float = 90.0
    total_s: float = 1800.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment and whoever speaks to it. The engine here has no deadline but the request's.

    `continues` says that it can go on with text that another place began, `thinks_on` with a
    thought.
    """

    deployment: Deployment
    provider: Provider
    local: bool = False
    continues: bool = False
    thinks_on: bool = False


class Attempts:
    """Tries, records, and remembers who is better left alone."""

    def __init__(
        self, stats: Stats, circuits: Circuits, settings: AttemptSettings, *, clock: Clock
    ) -> None:
        self._stats = stats
        self._circuits = circuits
        self._settings = settings
        self._clock = clock
        self._logger: Any = structlog.get_logger()

    async def answer(
        self, request: Request, steps: Sequence[Step], *, start_s: float
    ) -> AsyncIterator[Event]:
        """The answer of the first step that gives one; `Started.route` tells who was tried.

        What breaks off in the middle is gone on with by a later step that can (`gateway.resume`);
        `Finished.route` tells so.

        Raises:
            GlimtError: The last step's failure, or the first that no other place could mend; its
                `route` tells who was tried.
        """
        tried: tuple[str, ...] = ()
        said = Resumable(request)
        left = list(steps)
        cut: GlimtError | None = None
        while left:
            step = left.pop(0)
            resumed, num_before = cut is not None, said.num_tokens
            try:
                events = self._passed(said, step, left, start_s)
                async with closing(events):
                    async for event in events:
                        said.note(event)
                        yield _routed(event, (*tried, step.deployment.id), resumed=resumed)
            except GlimtError as error:
                tried = (*tried, f"{step.deployment.id} {error.code}")
                # Why an answer broke off is not told by whoever was only to go on with it.
                if said.begun and (cut is None or said.num_tokens > num_before):
                    cut = error
                failure = cut or error
                failure.route = tried
                late = self._clock.monotonic() - start_s >= self._settings.total_s
                if late or not failure.retryable:
                    raise failure from None
                if said.begun:
                    left = _able(said, left, step)
                if not left and not said.complete:
                    raise failure from None
                self._logger.info(
                    "gateway.next", failed=step.deployment.id, code=error.code, error=error.message
                )
                if cut is error:
                    tried = (*tried[:-1], f"{tried[-1]} mid-answer")
                if said.complete:
                    break
            else:
                return
        for event in said.finish(tried):
            yield event

    async def _passed(
        self, said: Resumable, step: Step, left: Sequence[Step], start_s: float
    ) -> AsyncIterator[Event]:
        """One step's events from its first output on; `left` are those that may follow it."""
        # What cannot be taken back need not be held back.
        passing = said.begun or (not left and step.local)
        held: list[Event] = []
        events = self._joined(said, step, start_s, holds=bool(_followers(left, step)))
        async with closing(events):
            async for event in events:
                if passing or isinstance(event, KeepAlive):
                    yield event
                    continue
                held.append(event)
                if type(event) in _OUTPUT:
                    passing = True
                    for waiting in held:
                        yield waiting
        if not passing:
            for waiting in held:
                yield waiting

    async def _joined(
        self, said: Resumable, step: Step, start_s: float, *, holds: bool
    ) -> AsyncIterator[Event]:
        """One step's events, joined to what was said before it.

        A place that would say another word than the last one is asked again, behind that word.
        """
        for exact in (False, True):
            said.exact = exact
            request = said.request(
                thinks_on=step.thinks_on, anew=said.begun and not _goes_on(said, step)
            )
            events = said.events(self._attempt(request, step, start_s), holds=holds)
            try:
                async with closing(events):
                    async for event in events:
                        yield event
            except SaidOtherwise:
                continue
            return

    async def _attempt(self, request: Request, step: Step, start_s: float) -> AsyncIterator[Event]:
        """One step, recorded when it ends."""
        seen = _Seen(request, self._clock, step.deployment.id)
        if not step.local:
            self._circuits.begin(step.deployment)
        try:
            events = self._events(request, step, seen, start_s)
            async with closing(events):
                async for event in events:
                    seen.see(event)
                    yield event
            if not step.local:
                self._circuits.succeeded(step.deployment)
        except GlimtError as error:
            seen.failed(error)
            if not step.local:
                self._circuits.failed(step.deployment, error)
            raise
        finally:
            if not step.local:
                self._circuits.end(step.deployment)
            self._stats.record(seen.outcome())

    async def _events(
        self, request: Request, step: Step, seen: "_Seen", start_s: float
    ) -> AsyncIterator[Event]:
        """A provider's events; elsewhere, the first output has a deadline of its own."""
        asked = msgspec.structs.replace(request, model=step.deployment.upstream_model)
        events = step.provider.answer(asked)
        if not step.local:
            limit_s = self._settings.total_s
            events = Deadline(events, limit_s, start_s=start_s, clock=self._clock)
        limit_s = self._settings.first_token_s
        end_s = asyncio.get_running_loop().time() + limit_s
        async with closing(events):
            while not step.local and seen.first_s is None:
                try:
                    async with asyncio.timeout_at(end_s):
                        event = await anext(events, None)
                except TimeoutError:
                    raise DeadlineExceeded(
                        f"{step.deployment.provider} said nothing within {limit_s:g} s.",
                        code="first_token_timeout",
                    ) from None
                if event is None:
                    return
                yield event
            async for event in events:
                yield event


def _followers(steps: Sequence[Step], step: Step) -> list[Step]:
    """Who can go on with what this one began. Another model would go on in another voice."""
    model = step.deployment.model
    return [other for other in steps if other.continues and other.deployment.model == model]


def _goes_on(said: Resumable, step: Step) -> bool:
    """Whether this one can go on from where it is."""
    return step.continues and said.resumable and (step.thinks_on or not said.thinking)


def _able(said: Resumable, steps: Sequence[Step], failed: Step) -> list[Step]:
    """Who of those after it can go on; then, where it helps, who can say all of it again."""
    model = failed.deployment.model
    same = [step for step in steps if step.deployment.model == model]
    able = [step for step in same if _goes_on(said, step)]
    return able + [step for step in same if said.repeatable and step not in able]


def _routed(event: Event, route: tuple[str, ...], *, resumed: bool) -> Event:
    """Say who was tried: at the beginning, and at the end where that was wrong by then."""
    match event:
        case Started():
            return msgspec.structs.replace(event, route=route)
        case Finished() if resumed:
            warning = f"the answer broke off and was gone on with elsewhere: {', '.join(route)}"
            warnings = (warning, *event.warnings)
            return msgspec.structs.replace(event, route=route, warnings=warnings)
        case _:
            return event


class _Seen:
    """What is recorded of one attempt."""

    def __init__(self, request: Request, clock: Clock, deployment: str) -> None:
        self._names = {tool.name for tool in request.tools}
        self._clock = clock
        self._deployment = deployment
        self._start_s = clock.now()
        self._began_s = clock.monotonic()
        self.first_s: float | None = None
        self._num_deltas = 0
        self._num_tokens: int | None = None
        self._num_calls = self._num_bad_calls = 0
        self._fault: Fault = "gone"
        self._why = ""

    def see(self, event: Event) -> None:
        """Count it."""
        if type(event) in _OUTPUT:
            self._num_deltas += 1
            if self.first_s is None:
                self.first_s = self._clock.monotonic() - self._began_s
            if isinstance(event, ToolCallStarted):
                self._num_calls += 1
                self._num_bad_calls += event.name not in self._names
        elif isinstance(event, Finished):
            self._fault = "none"
            self._num_tokens = event.usage.completion_tokens or None

    def failed(self, error: GlimtError) -> None:
        """It ended in an error."""
        self._why = error.code
        match error:
            case RequestError():
                self._fault = "client"
            case RateLimited():
                self._fault = "rate_limited"
            case _:
                self._fault = "provider"

    def outcome(self) -> Outcome:
        """The record. Where the bill did not come, each delta counts as a token."""
        return Outcome(
            deployment=self._deployment,
            start_s=self._start_s,
            duration_s=self._clock.monotonic() - self._began_s,
            ttft_s=self.first_s,
            output_tokens=self._num_tokens or self._num_deltas,
            fault=self._fault,
            why=self._why,
            num_calls=self._num_calls,
            num_bad_calls=self._num_bad_calls,
        )
