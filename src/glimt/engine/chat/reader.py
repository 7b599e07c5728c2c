"""One choice of an answer: token ids in, events out.

Puts the pieces of this package together: ids become text and tags (`detokenizer`), those become
thought, text and calls (`parser`), and text stops at a stop text (`stop`). Counts tokens, and
carries log-probabilities to the event that shows their token. Knows nothing of the process.

Stop texts are looked for in text only, never in a thought or in a call's arguments.
"""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from glimt.core.errors import InternalError, InvalidRequest
from glimt.core.events import (
    ChoiceFinished,
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TopLogprob,
)
from glimt.engine.chat.detokenizer import Detokenizer
from glimt.engine.chat.parser import AnswerParser, Delta
from glimt.engine.chat.stop import StopFilter
from glimt.engine.chat.tags import Piece, Tag, TagScanner
from glimt.engine.chat.tokenizer import ControlToken, Tokenizer
from glimt.engine.messages import Output

_TAGS = {tag.value: tag for tag in Tag}


class ReadingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What of an answer is shown, and what ends it.

    Attributes:
        stops: Texts that end the answer and are not part of it.
        end_tokens: The model's own end tokens; they end it by themselves and are never shown.
        include_stop: Show the stop text, or the client's stop token, that ended the answer.
        min_tokens: Stop texts count only after this many tokens.
        max_calls: End after this many finished calls; `None` sets no limit.
        hide_thought: Thoughts are counted, not shown.
    """

    stops: tuple[str, ...] = ()
    end_tokens: frozenset[int] = frozenset()
    include_stop: bool = False
    min_tokens: int = 0
    max_calls: int | None = None
    hide_thought: bool = False


class ChoiceReader:
    """Reads one choice. Without a parser (a raw prompt) everything but special tokens is text.

    Attributes:
        finished: `ChoiceFinished` was given; what comes after it is not read.
        reason: The one it gave.
        num_tokens: Tokens read, the one that ended it included.
        num_thought_tokens: Those of them that were thought, `</think>` included.
    """

    def __init__(
        self, tokenizer: Tokenizer, parser: AnswerParser | None, *, choice: int, rules: ReadingRules
    ) -> None:
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)
        self._parser = parser
        missing = [tag for tag in Tag if tokenizer.control_id(tag.value) is None]
        self._scanner = TagScanner(missing) if parser is not None and missing else None
        self._choice = choice
        self._rules = rules
        self._filter = StopFilter(rules.stops)
        self._events: list[Event] = []
        self._waiting: deque[tuple[int, TokenLogprob]] = deque()
        """Log-probabilities whose text the filter may hold, with where that begins."""
        self._num_read = 0
        self._num_shown = 0
        self.finished = False
        self.reason: FinishReason | None = None
        self.num_tokens = 0
        self.num_thought_tokens = 0

    def read(self, output: Output) -> list[Event]:
        """What one output of the engine adds to the answer.

        Raises:
            InternalError: The engine failed on this sequence.
            InvalidRequest: The format that was asked for became too costly to follow.
        """
        if output.finish == "grammar":
            raise InvalidRequest(
                "response_format became too costly to follow in the middle of the answer; make "
                "the schema or the grammar simpler",
                param="response_format",
                code="format_too_complex",
            )
        if output.finish == "error":
            raise InternalError("the engine failed while it wrote this answer")
        last = len(output.tokens) - 1
        for position, token in enumerate(output.tokens):
            self.num_tokens += 1
            self.num_thought_tokens += self._in_thought
            if position == last and output.finish == "stop":
                self._read_stop_token(token)
            else:
                logprob = self._logprob(output, position) if output.logprobs else None
                self._read_token(token, logprob)
            if self.finished:
                break
        if output.finish is not None and not self.finished:
            self._end(output)
        events, self._events = self._events, []
        return joined(events) if len(events) > 1 else events

    @property
    def _in_thought(self) -> bool:
        return self._parser is not None and self._parser.in_thought

    def _read_token(self, token: int, logprob: TokenLogprob | None) -> None:
        in_thought, first = self._in_thought, len(self._events)
        if logprob is not None and not in_thought:
            self._waiting.append((self._num_read, logprob))
        self._push([p for piece in self._detokenizer.push(token) for p in self._pieces(piece)])
        if logprob is None or self.finished:
            return
        if not in_thought:
            self._release_logprobs()
        elif not self._rules.hide_thought:
            # Before whatever the token brought that is no thought any more.
            while first < len(self._events) and isinstance(self._events[first], ReasoningDelta):
                first += 1
            event = ReasoningDelta(choice=self._choice, text="", logprobs=(logprob,))
            self._events.insert(first, event)

    def _read_stop_token(self, token: int) -> None:
        if not self._rules.include_stop or token in self._rules.end_tokens:
            return
        pieces = self._detokenizer.push(token)
        self._push([piece if isinstance(piece, str) else piece.text for piece in pieces])

    def _pieces(self, piece: str | ControlToken) -> list[Piece]:
        """What the parser is to read for a piece: special tokens that are no tags are not shown."""
        if isinstance(piece, str):
            return self._scanner.push(piece) if self._scanner is not None else [piece]
        tag = _TAGS.get(piece.text) if self._parser is not None else None
        held = self._scanner.flush() if self._scanner is not None else []
        if tag is not None:
            return [*held, tag]
        return held if piece.special else [*held, piece.text]

    def _push(self, pieces: Sequence[Piece]) -> None:
        if self._parser is not None:
            self._take(self._parser.push(pieces))
        else:
            self._take([TextDelta(choice=self._choice, text=str(piece)) for piece in pieces])

    def _take(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            if self.finished:
                return
            match delta:
                case TextDelta():
                    self._show(delta.text)
                case ReasoningDelta():
                    if not self._rules.hide_thought:
                        self._events.append(delta)
                case ToolCallStarted() | ToolCallDelta():
                    self._flush_text()
                    self._events.append(delta)
                case ToolCallFinished():
                    self._events.append(delta)
                    limit = self._rules.max_calls
                    if limit is not None and delta.index + 1 >= limit:
                        self._finish("tool_calls")

    def _show(self, text: str) -> None:
        """Text on its way through the filter."""
        if self.num_tokens <= self._rules.min_tokens:
            self._num_read += len(text)
            self._add_text(self._filter.flush() + text)
            return
        self._num_read += len(text)
        self._add_text(self._filter.push(text))
        matched = self._filter.matched
        if matched is not None:
            self._release_logprobs(cut=True)
            if self._rules.include_stop:
                self._add_text(matched)
            self._finish(self._stop_reason, stop=matched)

    def _add_text(self, text: str) -> None:
        if text:
            self._num_shown += len(text)
            self._events.append(TextDelta(choice=self._choice, text=text))

    def _flush_text(self) -> None:
        self._add_text(self._filter.flush())
        self._release_logprobs()

    def _end(self, output: Output) -> None:
        last = output.tokens[-1] if output.tokens else None
        natural = output.finish == "complete" or (
            output.finish == "stop" and last in self._rules.end_tokens
        )
        tail = [p for piece in self._detokenizer.flush() for p in self._pieces(piece)]
        self._push([*tail, *(self._scanner.flush() if self._scanner is not None else ())])
        if self._parser is not None:
            self._take(self._parser.finish(natural=natural))
        if self.finished:
            return
        self._flush_text()
        if output.finish == "length":
            self._finish("length")
        else:
            self._finish(self._stop_reason, stop=None if natural else last)

    @property
    def _stop_reason(self) -> FinishReason:
        return "tool_calls" if self._parser is not None and self._parser.num_calls else "stop"

    def _finish(self, reason: FinishReason, stop: str | int | None = None) -> None:
        self.finished, self.reason = True, reason
        self._events.append(ChoiceFinished(choice=self._choice, reason=reason, stop=stop))

    def _release_logprobs(self, *, cut: bool = False) -> None:
        """Show the log-probabilities of text that is shown; with `cut`, of its last part too."""
        shown: list[TokenLogprob] = []
        while self._waiting:
            start, logprob = self._waiting[0]
            end = self._waiting[1][0] if len(self._waiting) > 1 else self._num_read
            if end > self._num_shown and not (cut and start < self._num_shown):
                break
            self._waiting.popleft()
            shown.append(logprob)
        if shown:
            self._events.append(TextDelta(choice=self._choice, text="", logprobs=tuple(shown)))

    def _logprob(self, output: Output, position: int) -> TokenLogprob:
        token = output.tokens[position]
        pairs = output.top[position] if output.top else ()
        spelled = self._tokenizer.token_bytes(token)
        return TokenLogprob(
            token=spelled.decode("utf-8", "replace"),
            logprob=output.logprobs[position],
            token_bytes=spelled,
            top=tuple(self._top_logprob(rival, logprob) for rival, logprob in pairs),
            token_id=token,
        )

    def _top_logprob(self, token: int, logprob: float) -> TopLogprob:
        spelled = self._tokenizer.token_bytes(token)
        return TopLogprob(spelled.decode("utf-8", "replace"), logprob, spelled)


def joined(events: Iterable[Event]) -> list[Event]:
    """The same events, neighbours that say more of the same as one."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        match event, last:
            case TextDelta(), TextDelta() if event.choice == last.choice:
                text, logprobs = last.text + event.text, last.logprobs + event.logprobs
                result[-1] = TextDelta(choice=event.choice, text=text, logprobs=logprobs)
            case ReasoningDelta(), ReasoningDelta() if event.choice == last.choice:
                text, logprobs = last.text + event.text, last.logprobs + event.logprobs
                result[-1] = ReasoningDelta(choice=event.choice, text=text, logprobs=logprobs)
            case ToolCallDelta(), ToolCallDelta() if (event.choice, event.index) == (
                last.choice,
                last.index,
            ):
                result[-1] = ToolCallDelta(
                    choice=event.choice,
                    index=event.index,
                    arguments=last.arguments + event.arguments,
                )
            case _:
                result.append(event)
    return result
