"""What is recorded of one attempt while its events pass by.

Knows events and the clock; what becomes of the record is for `gateway.stats`.
"""

from glimt.core.clock import Clock
from glimt.core.errors import GlimtError
from glimt.core.events import OUTPUT, Batch, Finished, ToolCallStarted
from glimt.core.request import Request
from glimt.gateway.hedge import GIVEN_UP
from glimt.gateway.stats import Fault, Outcome, fault_of


class Seen:
    """One attempt, from the moment when it is made."""

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

    def see(self, batch: Batch) -> None:
        """Count it."""
        for event in batch:
            if type(event) in OUTPUT:
                self._num_deltas += 1
                if isinstance(event, ToolCallStarted):
                    self._num_calls += 1
                    self._num_bad_calls += event.name not in self._names
            elif isinstance(event, Finished):
                self._fault = "none"
                self._num_tokens = event.usage.completion_tokens or None
        if self.first_s is None and self._num_deltas:
            self.first_s = self._clock.monotonic() - self._began_s

    def failed(self, error: GlimtError) -> None:
        """It ended in an error."""
        self._why = error.code
        self._fault = fault_of(error)

    def given_up(self) -> None:
        """Somebody else was faster.

        That it took at least so long is counted: else only its fast answers would be measured.
        """
        self._why = GIVEN_UP
        if self.first_s is None:
            self.first_s = self._clock.monotonic() - self._began_s

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
