"""The bytes of a place's answer as core's events, and whether it is an answer at all.

Knows limits, errors in place of an answer, and in which order events may come; what they look like
is a wire's business (`glimt.providers.wires`), where they come from `glimt.providers.remote`'s.
"""

from typing import Any, Final, cast

import msgspec

from glimt.core.errors import UpstreamError
from glimt.core.events import (
    Batch,
    ChoiceFinished,
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallStarted,
)
from glimt.core.request import Request
from glimt.providers.proofs import marked
from glimt.providers.raw import RawReader
from glimt.providers.refusals import complaint, document_of, malformed, refusal
from glimt.providers.wires import Wire
from glimt.wire.sse import EventDecoder

MAX_EVENT: Final = 4 * 2**20
"""Bytes of one event; a tool call's arguments may come in one."""
MAX_ANSWER: Final = 64 * 2**20
"""Bytes of an answer: a model's longest is a hundredth of it, an endless one is cut here."""


class Reading:
    """One answer.

    Attributes:
        is_over: It is whole; what follows is of no interest.
    """

    def __init__(
        self,
        place: str,
        wire: Wire,
        request: Request,
        warnings: tuple[str, ...] = (),
        *,
        secrets: tuple[str, ...] = (),
        raw: RawReader | None = None,
    ) -> None:
        """`request` is what `place` was asked, `warnings` tell what of it is lost there.

        No error of the place may repeat one of the `secrets`. `raw` tells thoughts, calls and text
        apart where the place does not.
        """
        self._place = place
        self._wire = wire
        self._warnings = warnings
        self._secrets = secrets
        self._raw = raw
        self._frames = EventDecoder()
        self._decoder = wire.decoder(provider=place, model=request.model)
        self._num_bytes = 0
        self._num_choices = request.num_choices
        self._num_finished = 0
        # What was begun elsewhere may be whole already.
        self._said_something = request.continues
        self.is_over = False

    def feed(self, piece: bytes, batch: list[Event]) -> None:
        """Add the events of more of a stream to a batch.

        Raises:
            GlimtError: It is none, or tells of an error; what came before is in the batch.
        """
        for frame in self._frames.feed(piece):
            data = frame.data
            if '"error"' in data or frame.event == "error":
                self._look_for_error(data.encode(), certain=frame.event == "error")
            try:
                events = self._decoder.feed(data)
            except UpstreamError as error:
                raise malformed(self._place, "what is no answer") from error
            self._add(events, batch)
            if self.is_over:
                return
        self._num_bytes += len(piece)
        if self._frames.num_held > MAX_EVENT:
            raise malformed(self._place, "a line without end")
        if self._num_bytes > MAX_ANSWER:
            raise malformed(self._place, "an answer without end")

    def end(self) -> Batch:
        """The events that were left when a stream ended. Raises UpstreamError: it was cut."""
        try:
            events = self._decoder.end()
        except UpstreamError as error:
            raise self._cut() from error
        batch: list[Event] = []
        self._add(events, batch)
        return batch

    def whole(self, body: bytes) -> Batch:
        """The events of an answer in one piece. Raises GlimtError: it is none."""
        if len(body) >= MAX_ANSWER:
            raise malformed(self._place, "an answer without end")
        self._look_for_error(body)
        batch: list[Event] = []
        try:
            events = self._decoder.whole(body)
        except UpstreamError as error:
            raise malformed(self._place, "what is no answer") from error
        self._add(events, batch)
        return batch

    def _add(self, events: list[Event], batch: list[Event]) -> None:
        if self._raw is not None:
            events = [one for event in events for one in self._raw.read(event)]
        for event in events:
            match event:
                case TextDelta() | ToolCallStarted():
                    self._said_something = True
                    batch.append(event)
                case ReasoningDelta():
                    self._said_something = True
                    batch.append(marked(event, self._place))
                case ChoiceFinished() | Finished():
                    self._check_end(event)
                    batch.append(event)
                case Started() if self._warnings:
                    warnings = (*self._warnings, *event.warnings)
                    batch.append(msgspec.structs.replace(event, warnings=warnings))
                case _:
                    batch.append(event)

    def _check_end(self, event: ChoiceFinished | Finished) -> None:
        """Raises UpstreamError: it ends what is no answer."""
        if isinstance(event, Finished):
            if self._num_finished < self._num_choices:
                raise self._cut()
            if not self._said_something:
                raise UpstreamError(f"{self._place} answered with nothing.", code="upstream_empty")
            self.is_over = True
            return
        if event.reason == "error":
            raise UpstreamError(
                f"{self._place} ended its answer with an error.", code="upstream_error"
            )
        self._num_finished += 1
        # A filter, or a limit on tokens, explains that there is nothing.
        self._said_something |= event.reason in ("content_filter", "length")

    def _cut(self) -> UpstreamError:
        return UpstreamError(f"{self._place} broke off its answer.", code="upstream_cut")

    def _look_for_error(self, body: bytes, *, certain: bool = False) -> None:
        """An error in place of an answer, or in the middle of one. Raises it."""
        document = document_of(body)
        if not isinstance(document, dict):
            return
        told = cast("dict[str, Any]", document)
        error = told if certain else self._wire.error_in(told)
        if error is not None:
            raise refusal(complaint(200, error), self._place, self._secrets)
