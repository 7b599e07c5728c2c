"""A plan's steps, one after the other, until one answers.

Nothing of a step is passed on before its first real output, so a step that fails before it was
never there. What fails later is gone on with by another step (`gateway.resume`), or is the answer's
own failure. Which failures another place can mend is told by `GlimtError.retryable`. Knows
deadlines and what is recorded, and no wire format.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import structlog

from glimt.catalog.types import Deployment, Prices
from glimt.core.clock import Clock
from glimt.core.errors import GlimtError
from glimt.core.events import (
    Batch,
    Event,
    Finished,
    KeepAlive,
    Started,
    has_output,
)
from glimt.core.provider import Provider
from glimt.core.request import Request
from glimt.core.trace import Target
from glimt.gateway.circuit import Circuits
from glimt.gateway.closing import closing
from glimt.gateway.deadline import Deadline
from glimt.gateway.hedge import Race, repeatable, spare_of, usual_wait_s
from glimt.gateway.meter import Meter
from glimt.gateway.resume import Resumable, SaidOtherwise
from glimt.gateway.seen import Seen
from glimt.gateway.stats import Stats
from glimt.gateway.trail import Trail


class AttemptSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long places elsewhere may take, in seconds. `[attempts]` in the configuration.

    Attributes:
        connect_s: Until there is a connection, its name and TLS included.
        first_token_s: Until the first output; then the next place is asked.
        idle_s: Between two signs of life of an answer that has begun.
        total_s: For all attempts of one answer together.
        hedge: Whether the next place is asked too when the first takes longer to its first output
            than nineteen of twenty of its answers did; the first to say something answers.
        probe_s: A place that nobody asked for so long is asked a question of a few tokens; without
            this none is.
    """

    connect_s: float = 5.0
    first_token_s: float = 60.0
    idle_s: float = 90.0
    total_s: float = 1800.0
    hedge: bool = False
    probe_s: float | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment and whoever speaks to it. The engine here has no deadline but the request's.

    `continues` says that it can go on with text that another place began, `thinks_on` with a
    thought. `name` is what people call the place, `prices` what it charges, if that is known.
    """

    deployment: Deployment
    provider: Provider
    name: str = ""
    prices: Prices | None = None
    local: bool = False
    continues: bool = False
    thinks_on: bool = False

    @property
    def target(self) -> Target:
        """As traces have it."""
        deployment = self.deployment
        return Target(
            provider=deployment.provider,
            name=self.name or deployment.provider,
            deployment=deployment.id,
            model=deployment.model,
            upstream_model=deployment.upstream_model,
        )


class Attempts:
    """Tries, records, and remembers who is better left alone."""

    def __init__(
        self,
        stats: Stats,
        circuits: Circuits,
        settings: AttemptSettings,
        *,
        clock: Clock,
        meter: Meter | None = None,
    ) -> None:
        self._stats = stats
        self._circuits = circuits
        self._settings = settings
        self._clock = clock
        self._meter = meter
        self._logger: Any = structlog.get_logger()

    async def answer(
        self,
        request: Request,
        steps: Sequence[Step],
        *,
        start_s: float,
        explain: Callable[[], str] = str,
        keep: Callable[[str], None] | None = None,
    ) -> AsyncIterator[Batch]:
        """The answer of the first step that gives one; `Started.route` tells who was tried.

        What breaks off in the middle is gone on with by a later step that can (`gateway.resume`);
        `Finished.route` tells so. `Finished.trace` has all of it, with the words of `explain`;
        `keep` hears whose answer it was.

        Raises:
            GlimtError: The last step's failure, or the first that no other place could mend; its
                `route` and `trace` tell who was tried.
        """
        trail = Trail(request, [step.target for step in steps], start_s=start_s, explain=explain)
        try:
            events = self._answer(request, steps, trail)
            async with closing(events):
                async for batch in events:
                    yield batch
            if keep is not None and trail.answered:
                keep(trail.answered)
        except GlimtError as error:
            trail.failure = error
            error.trace = trail.trace()
            raise
        finally:
            if (outcome := trail.outcome()) is not None:
                self._stats.record(outcome)

    async def probe(self, request: Request, step: Step) -> None:
        """Ask one place for nobody, and record how it went."""
        trail = Trail(request, [step.target], start_s=self._clock.monotonic(), explain=str)
        events = self._attempt(request, step, trail)
        try:
            async with closing(events):
                async for _ in events:
                    pass
        except GlimtError as error:
            self._logger.info("gateway.probe_failed", place=step.deployment.id, code=error.code)

    async def _answer(
        self, request: Request, steps: Sequence[Step], trail: Trail
    ) -> AsyncIterator[Batch]:
        tried: tuple[str, ...] = ()
        said = Resumable(request)
        left = list(steps)
        cut: GlimtError | None = None
        while left:
            step = left.pop(0)
            resumed, num_before = cut is not None, said.num_tokens
            race = self._race(said, step, left, trail)
            try:
                events = self._passed(said, step, left, trail) if race is None else race.batches()
                async with closing(events):
                    async for batch in events:
                        step, tried = _settled(race, step, tried)
                        said.note(batch)
                        yield _routed(batch, (*tried, step.deployment.id), resumed=resumed)
            except GlimtError as error:
                step, tried = _settled(race, step, tried)
                tried = (*tried, f"{step.deployment.id} {error.code}")
                # Why an answer broke off is not told by whoever was only to go on with it.
                if said.begun and (cut is None or said.num_tokens > num_before):
                    cut = error
                failure = cut or error
                failure.route = tried
                late = self._clock.monotonic() - trail.start_s >= self._settings.total_s
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
        yield trail.ended(said.finish(tried))

    def _race(self, said: Resumable, step: Step, left: list[Step], trail: Trail) -> Race | None:
        """Against the next place, where one may be asked at the same time."""
        if not self._settings.hedge or said.begun or not repeatable(said.request()):
            return None
        spare = spare_of(step, left)
        if spare is None:
            return None
        wait_s = usual_wait_s(step, self._stats)
        if wait_s is None:
            return None
        return Race(
            step,
            spare,
            wait_s,
            left,
            start=lambda runner: self._passed(said, runner, left, trail),
            give_up=lambda runner: self._give_up(runner, trail, first=step),
        )

    def _give_up(self, runner: Step, trail: Trail, *, first: Step) -> None:
        trail.given_up.add(runner.deployment.id)
        if self._meter is not None:
            winner = "spare" if runner is first else "first"
            self._meter.hedge(first.deployment.id, winner)

    async def _passed(
        self, said: Resumable, step: Step, left: Sequence[Step], trail: Trail
    ) -> AsyncIterator[Batch]:
        """One step's events from its first output on; `left` are those that may follow it."""
        # What cannot be taken back need not be held back.
        passing = said.begun or (not left and step.local)
        held: list[Event] = []
        events = self._joined(said, step, trail, holds=bool(_followers(left, step)))
        async with closing(events):
            async for batch in events:
                if passing:
                    yield batch
                    continue
                alive = [event for event in batch if isinstance(event, KeepAlive)]
                if alive:
                    yield alive
                held += [event for event in batch if not isinstance(event, KeepAlive)]
                if has_output(batch):
                    passing = True
                    yield held
        if not passing and held:
            yield held

    def _joined(
        self, said: Resumable, step: Step, trail: Trail, *, holds: bool
    ) -> AsyncIterator[Batch]:
        """One step's events, joined to what was said before it, if anything was."""
        if said.begun:
            return self._rejoined(said, step, trail, holds=holds)
        request = said.request(thinks_on=step.thinks_on)
        return said.events(self._attempt(request, step, trail), holds=holds)

    async def _rejoined(
        self, said: Resumable, step: Step, trail: Trail, *, holds: bool
    ) -> AsyncIterator[Batch]:
        """The same. A place that would say another word than the last is asked again, behind it."""
        for exact in (False, True):
            said.exact = exact
            request = said.request(thinks_on=step.thinks_on, anew=not _goes_on(said, step))
            events = said.events(self._attempt(request, step, trail), holds=holds)
            try:
                async with closing(events):
                    async for batch in events:
                        yield batch
            except SaidOtherwise:
                continue
            return

    async def _attempt(self, request: Request, step: Step, trail: Trail) -> AsyncIterator[Batch]:
        """One step, recorded when it ends."""
        seen = Seen(request, self._clock, step.deployment.id)
        target, failure = step.target, None
        if not step.local:
            self._circuits.begin(step.deployment)
        try:
            events = self._events(request, step, trail.start_s)
            async with closing(events):
                async for batch in events:
                    seen.see(batch)
                    if batch and isinstance(batch[-1], Finished):
                        batch = trail.finished(batch, target, seen.outcome(), step.prices)  # noqa: PLW2901
                    yield batch
            if not step.local:
                self._circuits.succeeded(step.deployment)
        except GlimtError as error:
            failure = error
            seen.failed(error)
            if not step.local:
                self._circuits.failed(step.deployment, error)
            raise
        finally:
            if not step.local:
                self._circuits.end(step.deployment)
            if step.deployment.id in trail.given_up:
                trail.given_up.remove(step.deployment.id)
                seen.given_up()
            outcome = seen.outcome()
            trail.add(target, outcome, failure)
            self._stats.record(outcome)
            if self._meter is not None:
                self._meter.attempt(outcome)

    def _events(self, request: Request, step: Step, start_s: float) -> AsyncIterator[Batch]:
        """A provider's events; elsewhere, the first output has a deadline of its own."""
        asked = msgspec.structs.replace(request, model=step.deployment.upstream_model)
        events = step.provider.answer(asked)
        if step.local:
            return events
        return Deadline(
            events,
            self._settings.total_s,
            start_s=start_s,
            clock=self._clock,
            first_s=self._settings.first_token_s,
            place=step.deployment.provider,
        )


def _settled(race: Race | None, step: Step, tried: tuple[str, ...]) -> tuple[Step, tuple[str, ...]]:
    """Who answers, and who was tried in vain, as far as a race has changed that."""
    return (step, tried) if race is None else race.settled(tried)


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


def _routed(batch: Batch, route: tuple[str, ...], *, resumed: bool) -> Batch:
    """Say who was tried: at the beginning, and at the end where that was wrong by then."""
    if not batch:
        return batch
    if isinstance(started := batch[0], Started):
        batch = [msgspec.structs.replace(started, route=route), *batch[1:]]
    if resumed and isinstance(end := batch[-1], Finished):
        warning = f"the answer broke off and was gone on with elsewhere: {', '.join(route)}"
        warnings = (warning, *end.warnings)
        batch = [*batch[:-1], msgspec.structs.replace(end, route=route, warnings=warnings)]
    return batch
