"""One request's life, in steps: admit, plan, attempt, meter.

Knows no wire format and no HTTP. Today a plan has one entry and an attempt is made once; limits,
fallbacks and prices belong between these lines.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import structlog

from glimt.core.events import Event, Finished, KeepAlive, Started
from glimt.core.provider import ModelInfo
from glimt.core.request import Request
from glimt.core.usage import Timing, Usage
from glimt.gateway.closing import closing
from glimt.gateway.merge import merged
from glimt.gateway.meter import Meter
from glimt.gateway.readiness import Readiness, require_ready
from glimt.gateway.registry import Deployment, Registry


class Gateway:
    """Answers requests by whoever can."""

    def __init__(self, registry: Registry, readiness: Readiness, meter: Meter) -> None:
        self._registry = registry
        self._readiness = readiness
        self._meter = meter
        self._logger: Any = structlog.get_logger()

    def models(self) -> tuple[ModelInfo, ...]:
        """What can be asked for. Raises Unavailable before that is known."""
        models = self._registry.models()
        if not models:
            require_ready(self._readiness.report())
        return models

    async def answer(self, request: Request) -> AsyncIterator[Event]:
        """Answer one request.

        Closing the iterator, or cancelling who reads it, ends the work behind it.

        Raises:
            GlimtError: Nobody can answer, or whoever tried failed.
        """
        self._admit()
        deployment = self._plan(request)
        events = self._meter.watch(self._attempt(deployment, request), deployment.model)
        async with closing(events):
            async for event in events:
                if deployment.stands_in and isinstance(event, Started):
                    yield self._marked(event, request.model)
                else:
                    yield event

    async def answer_all(self, requests: Sequence[Request]) -> AsyncIterator[Event]:
        """Answer several requests of one call at once; their choices are numbered through.

        The usage is the sum. Raises what the first of them to fail raises; the others are ended.
        """
        if len(requests) == 1:
            events = self.answer(requests[0])
        else:
            events = _numbered_through([self.answer(request) for request in requests], requests)
        async with closing(events):
            async for event in events:
                yield event

    def _admit(self) -> None:
        require_ready(self._readiness.report())

    def _plan(self, request: Request) -> Deployment:
        deployment = self._registry.find(request.model)
        if deployment.stands_in:
            self._logger.info(
                "gateway.stand_in", asked_for=ascii(request.model), answered_by=deployment.model
            )
        return deployment

    def _attempt(self, deployment: Deployment, request: Request) -> AsyncIterator[Event]:
        return deployment.provider.answer(msgspec.structs.replace(request, model=deployment.model))

    def _marked(self, started: Started, asked_for: str) -> Started:
        """Never a silent stand-in: the answer says who gave it."""
        warning = f"model {asked_for!r} is not configured here; {started.model} answers instead"
        return msgspec.structs.replace(started, warnings=(warning, *started.warnings))


async def _numbered_through(
    streams: Sequence[AsyncIterator[Event]], requests: Sequence[Request]
) -> AsyncIterator[Event]:
    """Several answers as one; `Started` comes from whichever is first."""
    offsets = [sum(other.num_choices for other in requests[:i]) for i in range(len(requests))]
    bills: list[Finished] = []
    started = False
    events = merged(streams)
    async with closing(events):
        async for position, event in events:
            match event:
                case Started():
                    if not started:
                        started = True
                        yield event
                case Finished():
                    bills.append(event)
                case KeepAlive():
                    yield event
                case _:
                    choice = offsets[position] + event.choice
                    yield msgspec.structs.replace(event, choice=choice)
    yield Finished(usage=_sum_usage(bills), timing=_longest(bills))


def _sum_usage(bills: Sequence[Finished]) -> Usage:
    usages = [bill.usage for bill in bills]
    names = Usage.__struct_fields__
    return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in names})


def _longest(bills: Sequence[Finished]) -> Timing:
    return max((bill.timing for bill in bills), key=lambda timing: timing.total_s)
