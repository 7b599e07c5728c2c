"""One answer that several places give in turn: what was said so far, and how it goes on.

A place that breaks off in the middle is followed by one that continues a message: it is asked the
same question, with what was said as the beginning of its answer. The client must see one answer,
so nothing is said twice, the bill has one prompt, and a stop text across the seam still stops.
Knows events and requests; who is asked, and when, is for `gateway.attempt`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, assert_never

import msgspec

from glimt.core.errors import UpstreamError
from glimt.core.events import (
    Batch,
    ChoiceFinished,
    Event,
    Finished,
    KeepAlive,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.parts import Message, Part, ReasoningPart, TextPart
from glimt.core.request import Request, TextFormat
from glimt.core.usage import Usage
from glimt.gateway.closing import closing


class Resumable:
    """An answer under way.

    Attributes:
        begun: The client has seen some of it.
        num_tokens: So much. A cut stream has no bill, so each piece counts as a token.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        # What is held to a form would have to be held from its middle on, and of several choices
        # some are over: neither has a way to be said.
        self._able = (
            request.prompt is None
            and request.num_choices == 1
            and not request.continues
            and isinstance(request.response_format, TextFormat)
            and request.tool_choice.mode != "required"
        )
        self.begun = False
        self._prompt_tokens = 0
        self._warnings: list[str] = []
        self._thought: list[str] = []
        self._text: list[str] = []
        self.num_tokens = self._num_thought = 0
        self._called = False
        self._over = False

    @property
    def resumable(self) -> bool:
        """Whether what was said so far can be gone on with: text, or a thought alone."""
        said = bool("".join(self._text).strip()) or self.thinking
        return self._able and not self._called and said

    @property
    def thinking(self) -> bool:
        """Whether there is a thought, and no text yet."""
        return not any(self._text) and bool("".join(self._thought).strip())

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to say: it ended but for the bill, or reached its limit."""
        limit = self._request.sampling.max_tokens
        spent = limit is not None and self.num_tokens >= limit
        return self._able and (self._over or (spent and self.resumable))

    def request(self) -> Request:
        """What the next place is asked: as it was until something was said.

        Whitespace at the end is left out, since templates trim it; it is recognized when it is said
        again.
        """
        if not self.begun:
            return self._request
        parts: list[Part] = []
        if thought := "".join(self._thought).rstrip():
            parts.append(ReasoningPart(text=thought))
        if text := "".join(self._text).rstrip():
            parts.append(TextPart(text))
        sampling, thinking = self._request.sampling, self._request.thinking
        if thinking.budget_tokens is not None:
            left = max(1, thinking.budget_tokens - self._num_thought)
            thinking = msgspec.structs.replace(thinking, budget_tokens=left)
        changes: dict[str, Any] = {}
        if sampling.max_tokens is not None:
            changes["max_tokens"] = sampling.max_tokens - self.num_tokens
        if sampling.min_tokens is not None:
            changes["min_tokens"] = max(0, sampling.min_tokens - self.num_tokens) or None
        return msgspec.structs.replace(
            self._request,
            messages=(*self._request.messages, Message(role="assistant", parts=tuple(parts))),
            sampling=msgspec.structs.replace(sampling, **changes),
            thinking=thinking,
            continues=True,
        )

    def events(self, events: AsyncIterator[Batch], *, holds: bool) -> AsyncIterator[Batch]:
        """A place's events as the answer's: of the first place, or of one that goes on.

        Text that may be the beginning of a stop text waits for what follows, if it `holds`: were it
        cut there, the next place would find the rest of it alone, and not stop.

        Raises:
            UpstreamError: The place was to go on, and began anew.
        """
        stops = self._request.sampling.stop if holds and self._able else ()
        if self.begun:
            joined = self._joined(events)
            return self._billed(_held_back(joined, stops) if stops else joined)
        return _held_back(events, stops) if stops else events

    def note(self, batch: Batch) -> None:
        """The client sees this."""
        for event in batch:
            match event:
                case TextDelta():
                    self._text.append(event.text)
                    self.num_tokens += len(event.logprobs) or 1
                case ReasoningDelta():
                    self._thought.append(event.text)
                    self.num_tokens += len(event.logprobs) or 1
                    self._num_thought += len(event.logprobs) or 1
                case ToolCallStarted() | ToolCallDelta() | ToolCallFinished():
                    self._called = True
                case ChoiceFinished():
                    self._over = True
                case Started():
                    self._prompt_tokens = event.prompt_tokens or 0
                    continue
                case KeepAlive() | Finished():
                    continue
                case _:
                    assert_never(event)
            self.begun = True

    def finish(self, route: tuple[str, ...]) -> list[Event]:
        """The end of an answer that is `complete`, by our own count."""
        usage = Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self.num_tokens,
            reasoning_tokens=self._num_thought,
        )
        warning = (
            "usage was not honoured in full: the answer was cut before its bill; it is counted"
        )
        end = Finished(usage=usage, warnings=(warning,), route=route)
        return [end] if self._over else [ChoiceFinished(reason="length"), end]

    async def _joined(self, events: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        """What is new of it."""
        thinking = self.thinking
        said = "".join(self._thought if thinking else self._text)
        again = said[len(said.rstrip()) :]
        async with closing(events):
            async for batch in events:
                new: list[Event] = []
                for event in batch:
                    match event:
                        case Started():
                            self._warnings += event.warnings
                        case ReasoningDelta() if not thinking:
                            yield new
                            raise UpstreamError(
                                f"{self._request.model} thought anew in place of going on.",
                                code="upstream_began_anew",
                            )
                        case TextDelta() if thinking:
                            again = ""
                            new.append(event)
                        case TextDelta() | ReasoningDelta() if again:
                            num_same = _num_common(event.text, again)
                            rest = event.text[num_same:]
                            again = "" if rest else again[num_same:]
                            if rest:
                                new.append(msgspec.structs.replace(event, text=rest))
                        case _:
                            new.append(event)
                yield new

    async def _billed(self, events: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        """The last place's bill has what was said before it in its prompt: it was answer."""
        before, thought = self.num_tokens, self._num_thought
        async with closing(events):
            async for batch in events:
                if not (batch and isinstance(end := batch[-1], Finished)):
                    yield batch
                    continue
                bill = end.usage
                prompt = self._prompt_tokens or max(0, bill.prompt_tokens - before)
                usage = msgspec.structs.replace(
                    bill,
                    prompt_tokens=prompt,
                    cached_tokens=min(bill.cached_tokens, prompt),
                    completion_tokens=before + bill.completion_tokens,
                    reasoning_tokens=thought + bill.reasoning_tokens,
                )
                warnings = (*self._warnings, *end.warnings)
                yield [
                    *batch[:-1],
                    msgspec.structs.replace(end, usage=usage, warnings=warnings),
                ]


async def _held_back(events: AsyncIterator[Batch], stops: Sequence[str]) -> AsyncIterator[Batch]:
    held: list[TextDelta] = []
    async with closing(events):
        async for batch in events:
            ready: list[Event] = []
            for event in batch:
                if isinstance(event, KeepAlive):
                    ready.append(event)
                    continue
                if isinstance(event, TextDelta):
                    held.append(event)
                    if _may_stop("".join(delta.text for delta in held), stops):
                        continue
                    ready += held
                else:
                    ready += [*held, event]
                held.clear()
            yield ready


def _may_stop(text: str, stops: Sequence[str]) -> bool:
    """Whether its end may be the beginning of a stop text."""
    return any(text.endswith(stop[:length]) for stop in stops for length in range(1, len(stop)))


def _num_common(text: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(text, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(text), len(other)))
