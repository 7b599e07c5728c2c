"""One request's life, in steps: admit, plan, attempt within its deadline, meter.

Knows no wire format and no HTTP. Where there are places elsewhere (`gateway.roads`) a plan has
steps that are tried in turn; else the engine here is asked, once.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import structlog

from glimt.core.clock import Clock, SystemClock
from glimt.core.errors import GlimtError, ModelNotFound, UnsupportedParameter
from glimt.core.events import Batch, Event, Finished, KeepAlive, Started
from glimt.core.request import Request
from glimt.core.usage import Timing, Usage
from glimt.gateway.closing import closing
from glimt.gateway.deadline import Deadline
from glimt.gateway.merge import merged
from glimt.gateway.meter import Meter
from glimt.gateway.naming import Naming
from glimt.gateway.places import Offer, local_offer, local_offers
from glimt.gateway.preferences import refuse_variant
from glimt.gateway.readiness import Readiness, require_ready
from glimt.gateway.registry import Registry
from glimt.gateway.roads import Road, Roads, only_road
from glimt.gateway.wishes import unmet_wishes


class Gateway:
    """Answers requests by whoever can."""

    def __init__(
        self,
        registry: Registry,
        readiness: Readiness,
        meter: Meter,
        *,
        clock: Clock | None = None,
        roads: Roads | None = None,
        naming: Naming | None = None,
    ) -> None:
        """`roads` lead elsewhere; without them there is what the registry has.

        `naming` says what a request's name stands for in this house.
        """
        self._naming = naming or Naming()
        self._registry = registry
        self._readiness = readiness
        self._meter = meter
        self._clock = clock or SystemClock()
        self._roads = roads
        self._logger: Any = structlog.get_logger()

    def offers(self) -> tuple[Offer, ...]:
        """What can be asked for, and where. Raises Unavailable before that is known."""
        if self._roads is None:
            offers = local_offers(self._registry)
        else:
            offers = self._roads.places.offers(self._registry)
        if not offers:
            require_ready(self._readiness.report())
        return offers

    def offer(self, name: str) -> Offer:
        """The model that answers to a name, or would stand in for it, and where it runs.

        Raises:
            ModelNotFound: None does.
            Unavailable: It is not known yet.
        """
        self.offers()
        name = self._naming.meant(Request(model=name))[0].model
        if self._roads is None:
            return local_offer(self._registry, name)
        return self._roads.places.offer(name, self._registry)

    async def answer(
        self, request: Request, *, since_s: float | None = None
    ) -> AsyncIterator[Batch]:
        """Answer one request: the batches of events as they come.

        Closing the iterator, or cancelling who reads it, ends the work behind it. The request's
        deadline counts from `since_s` on the clock; `None` is now.

        Raises:
            DeadlineExceeded: It passed, before the answer or in the middle of it.
            GlimtError: Nobody can answer, or whoever tried failed.
        """
        self._admit()
        request, said = self._naming.meant(request)
        road = self._plan(request)
        if said:
            road = msgspec.structs.replace(road, warnings=(*said, *road.warnings))
        start_s = self._clock.monotonic() if since_s is None else since_s
        attempt = self._attempt(road, request, start_s)
        if request.deadline_s is not None:
            attempt = Deadline(attempt, request.deadline_s, start_s=start_s, clock=self._clock)
        count = self._meter.answer(road.model)
        failure: GlimtError | None = None
        try:
            async with closing(attempt):
                async for batch in attempt:
                    count.see(batch)
                    if batch and isinstance(started := batch[0], Started):
                        yield [self._marked(started, request.model, road), *batch[1:]]
                    else:
                        yield batch
        except GlimtError as error:
            failure = error
            raise
        finally:
            count.end(failure)
            del failure  # It has this frame in its traceback.

    async def count_tokens(self, request: Request) -> int:
        """How many tokens the prompt has, at the first place of the plan that can tell.

        Raises:
            UnsupportedParameter: Nobody can who would answer.
            GlimtError: Nobody would answer, or whoever can tell failed.
        """
        self._admit()
        request, _ = self._naming.meant(request)
        road = self._plan(request)
        failure: GlimtError | None = None
        for step in road.steps:
            asked = msgspec.structs.replace(request, model=step.deployment.upstream_model)
            try:
                return await step.provider.count_tokens(asked)
            except GlimtError as error:
                if isinstance(error, UnsupportedParameter) and not step.local:
                    continue  # Its format has no way to ask.
                failure = error
                if not error.retryable:
                    break
        raise failure or UnsupportedParameter(
            f"model: nobody who serves {request.model!r} counts tokens ahead of an answer; ask for "
            "a model that runs here, or for one at a place whose `wire` is messages.",
            param="model",
        )

    def answer_all(
        self, requests: Sequence[Request], *, since_s: float | None = None
    ) -> AsyncIterator[Batch]:
        """Answer several requests of one call at once; their choices are numbered through.

        The usage is the sum. Raises what the first of them to fail raises; the others are ended.
        """
        answers = [self.answer(request, since_s=since_s) for request in requests]
        return answers[0] if len(answers) == 1 else _numbered_through(answers, requests)

    def _admit(self) -> None:
        report = self._readiness.report()
        # Whoever is elsewhere does not wait for the model here.
        if self._roads is None or report.phase == "stopping":
            require_ready(report)

    def _plan(self, request: Request) -> Road:
        road = self._only(request) if self._roads is None else self._road(self._roads, request)
        if road.stands_in:
            self._logger.info(
                "gateway.stand_in", asked_for=ascii(request.model), answered_by=road.model
            )
        return road

    def _only(self, request: Request) -> Road:
        found = self._registry.find(request.model)
        refuse_variant(request.model)
        return only_road(found, unmet_wishes(request.routing, found))

    def _road(self, roads: Roads, request: Request) -> Road:
        try:
            return roads.find(request, self._registry)
        except ModelNotFound:
            # It may be the one that is still loading.
            require_ready(self._readiness.report())
            raise

    def _attempt(self, road: Road, request: Request, start_s: float) -> AsyncIterator[Batch]:
        if self._roads is not None:
            return self._roads.attempts.answer(
                request, road.steps, start_s=start_s, explain=road.explain, keep=road.keep
            )
        return road.steps[0].provider.answer(msgspec.structs.replace(request, model=road.model))

    def _marked(self, started: Started, asked_for: str, road: Road) -> Started:
        """Never a silent stand-in: the answer says who gave it, and which wishes were not met."""
        warnings = road.warnings
        if road.stands_in:
            stand_in = (
                f"model {asked_for!r} is not configured here; {started.model} answers instead"
            )
            warnings = (stand_in, *road.warnings)
        if not warnings:
            return started
        return msgspec.structs.replace(started, warnings=(*warnings, *started.warnings))


async def _numbered_through(
    streams: Sequence[AsyncIterator[Batch]], requests: Sequence[Request]
) -> AsyncIterator[Batch]:
    """Several answers as one; `Started` comes from whichever is first.

    What the others warned about when they started is said at the end: a response has one beginning.
    """
    offsets = [sum(other.num_choices for other in requests[:i]) for i in range(len(requests))]
    bills: list[Finished] = []
    warnings: list[str] = []
    started: Started | None = None
    events = merged(streams)
    async with closing(events):
        async for position, batch in events:
            passed: list[Event] = []
            for event in batch:
                match event:
                    case Started():
                        if started is None:
                            started = event
                            passed.append(event)
                        else:
                            warnings += [w for w in event.warnings if w not in started.warnings]
                    case Finished():
                        bills.append(event)
                        warnings += event.warnings
                    case KeepAlive():
                        passed.append(event)
                    case _:
                        choice = offsets[position] + event.choice
                        passed.append(msgspec.structs.replace(event, choice=choice))
            yield passed
    warned = tuple(dict.fromkeys(warnings))
    yield [Finished(usage=_sum_usage(bills), timing=_longest(bills), warnings=warned)]


def _sum_usage(bills: Sequence[Finished]) -> Usage:
    usages = [bill.usage for bill in bills]
    names = Usage.__struct_fields__
    return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in names})


def _longest(bills: Sequence[Finished]) -> Timing:
    return max((bill.timing for bill in bills), key=lambda timing: timing.total_s)
