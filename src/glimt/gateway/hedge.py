"""A second place is asked when the first is slower than it usually is; the first word wins.

What it costs is a second prompt, now and then, at a place that may charge for it: so it is off
unless the house wants it. Knows steps, measurements and streams of events; recording and what
follows a failure is for `gateway.attempt`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final

from glimt.core.errors import GlimtError
from glimt.core.events import Batch, Finished, has_output
from glimt.core.parts import ReasoningPart
from glimt.core.request import Request
from glimt.gateway.closing import closing
from glimt.gateway.stats import HALF_HOUR_S, Numbers

if TYPE_CHECKING:
    from glimt.gateway.attempt import Step

MIN_ANSWERS: Final = 20
"""Of the last half hour; of fewer, nobody knows what is slow."""
GIVEN_UP: Final = "given_up"


def repeatable(request: Request) -> bool:
    """Whether a question may be asked twice at once.

    Not where the answer is not waited for ("flex") or would cost several times (choices), where it
    goes on with what was begun, where a thought has a proof that one place alone accepts, and where
    a field is passed on that nobody here understands: it may do something.
    """
    return (
        request.num_choices == 1
        and request.service_class != "flex"
        and not request.continues
        and not request.extensions
        and not any(
            isinstance(part, ReasoningPart) and (part.signature or part.encrypted)
            for message in request.messages
            for part in message.parts
        )
    )


def usual_wait_s(step: "Step", stats: Numbers) -> float | None:
    """How long nineteen of twenty answers let one wait for their first output, if it is known."""
    seen = stats.summary(step.deployment.id, HALF_HOUR_S)
    if seen.num_ok < MIN_ANSWERS or seen.ttft_s is None:
        return None
    return seen.ttft_s.p95


def spare_of(step: "Step", left: Sequence["Step"]) -> "Step | None":
    """The next place that serves the same model; another model would be another answer."""
    model = step.deployment.model
    return next((other for other in left if other.deployment.model == model), None)


class _Runner:
    """One place's answer up to its first output, read in a task of its own."""

    def __init__(self, step: "Step", events: AsyncIterator[Batch]) -> None:
        self.step = step
        self.events = events
        self.begun: list[Batch] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for batch in self.events:
            self.begun.append(batch)
            if has_output(batch) or (batch and isinstance(batch[-1], Finished)):
                return

    async def close(self) -> None:
        """End it, and the work behind it."""
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()
        async with closing(self.events):
            pass


class Race:
    """Two places, of which one answers.

    Args:
        first: It is asked at once.
        spare: It is asked when the first has said nothing for `wait_s`.
        left: The places that may follow whoever answers; the one that was not needed is put back.
        start: Asks a place.
        give_up: Is told of the one that was not needed, before it is ended.

    Attributes:
        step: Whose answer, or whose failure, it is.
        hedged: The spare was asked.
    """

    def __init__(
        self,
        first: "Step",
        spare: "Step",
        wait_s: float,
        left: list["Step"],
        *,
        start: Callable[["Step"], AsyncIterator[Batch]],
        give_up: Callable[["Step"], None],
    ) -> None:
        self.step = first
        self.hedged = False
        self._spare = spare
        self._wait_s = wait_s
        self._left = left
        self._start = start
        self._give_up = give_up
        self._runners: list[_Runner] = []
        self._failed: list[str] = []

    def settled(self, tried: tuple[str, ...]) -> tuple["Step", tuple[str, ...]]:
        """Whose turn it is, and who was tried in vain so far."""
        failed, self._failed = self._failed, []
        return self.step, (*tried, *failed)

    async def batches(self) -> AsyncIterator[Batch]:
        """The answer. Raises what the place failed with that was left at the end."""
        try:
            winner = await self._decided()
            self.step = winner.step
            for batch in winner.begun:
                yield batch
            async for batch in winner.events:
                yield batch
        finally:
            for runner in self._runners:
                await runner.close()

    async def _decided(self) -> _Runner:
        first = self._run(self.step)
        await asyncio.wait([first.task], timeout=self._wait_s)
        if first.task.done():
            first.task.result()
            return first
        self.hedged = True
        self._left.remove(self._spare)
        spare = self._run(self._spare)
        running = [first, spare]
        while True:
            tasks = [runner.task for runner in running]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # In the plan's order, where both are there.
            runner = next(runner for runner in running if runner.task.done())
            running.remove(runner)
            error = runner.task.exception()
            if error is None:
                for other in running:
                    await self._overtaken(other, by=runner, first=first)
                return runner
            self.step = runner.step
            fatal = runner is first and isinstance(error, GlimtError) and not error.retryable
            if not running or fatal or not isinstance(error, GlimtError):
                raise error
            self._failed.append(f"{runner.step.deployment.id} {error.code}")

    async def _overtaken(self, runner: _Runner, *, by: _Runner, first: _Runner) -> None:
        """It is not needed, and has done nothing wrong; it may still go on with the answer."""
        self._give_up(runner.step)
        await runner.close()
        self._failed.append(f"{runner.step.deployment.id} {GIVEN_UP}")
        # Whoever was slow comes last.
        self._left.insert(len(self._left) if by is not first else 0, runner.step)

    def _run(self, step: "Step") -> _Runner:
        runner = _Runner(step, self._start(step))
        self._runners.append(runner)
        return runner
