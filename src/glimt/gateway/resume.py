"""One answer that several places give in turn: what was said so far, and how it goes on.

A place that breaks off in the middle is followed by one that continues a message: it is asked the
same question, with what was said as the beginning of its answer. The client must see one answer,
so nothing is said twice, the bill has one prompt, and a stop text across the seam still stops.
A model reads the beginning of a word otherwise than the word (its tokens are others), so the last
word is left to be said again. What nobody can go on with is asked anew and compared, where it is
the same each time (`gateway.repeat`). Knows events and requests; who is asked, and when, is for
`gateway.attempt`.
"""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, assert_never

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
from glimt.gateway.repeat import Call, Repeat

LONGEST_WORD: Final = 48
"""Characters; whatever has no end within them is gone on with where it is."""
_WORD: Final = re.compile(r"\s+\S*\Z")
_PART: Final = re.compile(r"(?<=\w)\W+\w*\Z")
"""Where no space is: Chinese up to its last mark, an address up to its last slash."""


class SaidOtherwise(UpstreamError):
    """The last word was to be said again, and it was another."""

    default_code = "upstream_began_anew"


class Resumable:
    """An answer under way.

    Attributes:
        begun: The client has seen some of it.
        num_tokens: So much. A cut stream has no bill, so each piece counts as a token.
        exact: Go on behind the last letter, for a place that would not say the last word again.
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
        self.exact = False
        self._again = ""
        self._num_again = 0
        self._calls: dict[int, Call] = {}
        self._anew = False
        self._over = False

    @property
    def resumable(self) -> bool:
        """Whether what was said so far can be gone on with: text, or a thought alone."""
        said = bool("".join(self._text).strip()) or self.thinking
        return self._able and not self._calls and said

    @property
    def repeatable(self) -> bool:
        """Whether it would be the same again, so that it can be asked anew and compared."""
        return self._request.num_choices == 1 and self._request.sampling.temperature == 0

    @property
    def thinking(self) -> bool:
        """Whether there is a thought, and no text yet."""
        return not any(self._text) and bool("".join(self._thought).strip())

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to say: it ended but for the bill, or reached its limit."""
        limit = self._request.sampling.max_tokens
        spent = limit is not None and self.num_tokens >= limit
        is_whole = self._over and self._request.num_choices == 1
        return is_whole or (spent and self.resumable)

    def request(self, *, thinks_on: bool = False, anew: bool = False) -> Request:
        """What the next place is asked: as it was until something was said.

        Left out at the end is what is to be said again: whitespace, which templates trim, and the
        last word. Where that is all, the question is as it was, or behind the whole thought, which
        a place can tell from an open one if it `thinks_on`. For a place that is asked `anew` the
        question is as it was.
        """
        self._anew = anew
        if not self.begun or anew:
            return self._request
        thinking = self.thinking
        said = "".join(self._thought if thinking else self._text)
        thought = "" if thinking else "".join(self._thought).rstrip()
        kept = said.rstrip() if self.exact else _kept(said)
        if not kept and thought and not thinks_on:
            kept = said.rstrip()
        self._again = said[len(kept) :]
        self._num_again = 0
        parts: list[Part] = [ReasoningPart(text=kept if thinking else thought)]
        if not thinking:
            parts = [*(parts if thought else ()), TextPart(kept)]
        is_all = not kept and not thought
        message = Message(role="assistant", parts=tuple(parts))
        return msgspec.structs.replace(
            self._request,
            messages=(*self._request.messages, *(() if is_all else (message,))),
            continues=not is_all,
            **self._left(_num_pieces(self._thought if thinking else self._text, self._again)),
        )

    def _left(self, num_again: int) -> dict[str, Any]:
        """The request's limits, less what was said, but for so many tokens that come again."""
        num_said = self.num_tokens - num_again
        sampling, thinking = self._request.sampling, self._request.thinking
        if thinking.budget_tokens is not None:
            num_thought = self._num_thought - (num_again if self.thinking else 0)
            left = max(1, thinking.budget_tokens - num_thought)
            thinking = msgspec.structs.replace(thinking, budget_tokens=left)
        changes: dict[str, Any] = {}
        if sampling.max_tokens is not None:
            changes["max_tokens"] = sampling.max_tokens - num_said
        if sampling.min_tokens is not None:
            changes["min_tokens"] = max(0, sampling.min_tokens - num_said) or None
        return {
            "sampling": msgspec.structs.replace(sampling, **changes),
            "thinking": thinking,
        }

    def events(self, events: AsyncIterator[Batch], *, holds: bool) -> AsyncIterator[Batch]:
        """A place's events as the answer's: of the first place, or of one that goes on.

        Text that may be the beginning of a stop text waits for what follows, if it `holds`: were it
        cut there, the next place would find the rest of it alone, and not stop.

        Raises:
            SaidOtherwise: The place was to begin with a word that was said, and did not.
            UpstreamError: It was to go on, and began anew; or it said another answer.
        """
        stops = self._request.sampling.stop if holds and self._able else ()
        if self.begun and self._anew:
            return self._repeated(events)
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
                case ToolCallStarted():
                    self._calls[event.index] = Call(name=event.name)
                case ToolCallDelta():
                    self._calls[event.index].arguments += event.arguments
                case ToolCallFinished():
                    self._calls[event.index].finished = True
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
        thinking, again = self.thinking, self._again
        async with closing(events):
            async for batch in events:
                new: list[Event] = []
                for event in batch:
                    match event:
                        case Started():
                            self._warnings += event.warnings
                        case ReasoningDelta() if not thinking:
                            yield new
                            raise self._began_anew("thought anew in place of going on")
                        case TextDelta() | ReasoningDelta() if again and (
                            thinking == isinstance(event, ReasoningDelta)
                        ):
                            num_same = _num_common(event.text, again)
                            is_other = num_same < min(len(event.text), len(again))
                            if is_other and not again.isspace():
                                yield new
                                raise self._began_anew("said another word in place of going on")
                            rest = event.text[num_same:]
                            again = "" if rest else again[num_same:]
                            self._num_again += 0 if rest else len(event.logprobs) or 1
                            if rest:
                                new.append(msgspec.structs.replace(event, text=rest))
                        case TextDelta() | ToolCallStarted() | ChoiceFinished() if again.strip():
                            yield new
                            raise self._began_anew("ended in place of going on")
                        case _:
                            new.append(event)
                yield new

    async def _repeated(self, events: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        """What is new of it; the last place said all of it, so its bill is the answer's."""
        repeat = Repeat("".join(self._thought), "".join(self._text), self._calls)
        async with closing(events):
            async for batch in events:
                new: list[Event] = []
                try:
                    for event in batch:
                        if isinstance(event, Started):
                            self._warnings += event.warnings
                        elif isinstance(event, Finished):
                            warnings = (*self._warnings, *event.warnings)
                            new.append(msgspec.structs.replace(event, warnings=warnings))
                        else:
                            new += repeat.new(event)
                except UpstreamError:
                    # What came before it was another answer came.
                    yield new
                    raise
                yield new

    def _began_anew(self, what: str) -> UpstreamError:
        kind = UpstreamError if self.exact else SaidOtherwise
        return kind(f"{self._request.model} {what}.", code="upstream_began_anew")

    async def _billed(self, events: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        """The last place's bill has what was said before it in its prompt: it was answer."""
        before, thought = self.num_tokens, self._num_thought
        async with closing(events):
            async for batch in events:
                if not (batch and isinstance(end := batch[-1], Finished)):
                    yield batch
                    continue
                bill = end.usage
                again = min(self._num_again, bill.completion_tokens)
                prompt = self._prompt_tokens or max(0, bill.prompt_tokens - before)
                usage = msgspec.structs.replace(
                    bill,
                    prompt_tokens=prompt,
                    cached_tokens=min(bill.cached_tokens, prompt),
                    completion_tokens=before + bill.completion_tokens - again,
                    reasoning_tokens=thought
                    + bill.reasoning_tokens
                    - min(again, bill.reasoning_tokens),
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


def _kept(text: str) -> str:
    """`text` without its last word, if that can be told."""
    tail = text[-LONGEST_WORD:]
    for edge in (_WORD, _PART):
        if found := edge.search(tail):
            return text[: len(text) - len(tail) + found.start()].rstrip()
    return "" if tail == text else text


def _num_pieces(pieces: Sequence[str], end: str) -> int:
    """How many of the last pieces are in `end` as a whole."""
    num_pieces, left = 0, len(end)
    for piece in reversed(pieces):
        left -= len(piece)
        if left < 0:
            break
        num_pieces += 1
    return num_pieces


def _may_stop(text: str, stops: Sequence[str]) -> bool:
    """Whether its end may be the beginning of a stop text."""
    return any(text.endswith(stop[:length]) for stop in stops for length in range(1, len(stop)))


def _num_common(text: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(text, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(text), len(other)))
