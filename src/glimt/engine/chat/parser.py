"""What the model says, told apart: thought, text, and calls of tools; incremental.

Input are pieces in order: text, and the tags of GLM-4.7's answer format as `tags.Tag`. Output are
`core.events` deltas, which concatenate to the same for any chunking of the same answer.

    thought </think> text <tool_call>name<arg_key>k</arg_key><arg_value>v</arg_value>…</tool_call>…

Decisions where the format is silent:
- `<tool_call>` ends a thought that was not closed; every other tag out of place is swallowed.
- A thought is trimmed. Text is verbatim, but for whitespace before its first word; a stretch of
  text that is nothing but whitespace is dropped.
- A name that was not declared makes the whole block text, where it stands.
- A value is raw text up to `</arg_value>`; other tags inside it are text.
- A thought that the model ends with its end token, without `</think>`, text or call, was its
  answer: the same text is given again as text. Never when the answer was cut off.
- A call that was cut off is never finished.

Repairs, which can be switched off, are limited to declared names:
- A missing `<arg_key>` in `namekey</arg_key>`, a missing `<arg_value>` in `value</arg_value>`.
- A value without its end, where `<arg_key>` with a declared name and a value follow, or
  `</tool_call>` with nothing or another call after it.
- A call without its end, when the model stopped by itself or began another call, all values are
  whole and no required argument is missing.
"""

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from glimt.core.events import (
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.ids import new_id
from glimt.core.request import Tool
from glimt.engine.chat.calls import CallWriter, required_names
from glimt.engine.chat.tags import Piece, Tag, spell

Delta: TypeAlias = TextDelta | ReasoningDelta | ToolCallStarted | ToolCallDelta | ToolCallFinished


class _State(enum.Enum):
    THOUGHT = enum.auto()
    TEXT = enum.auto()
    NAME = enum.auto()
    FOREIGN = enum.auto()
    """Inside a call of something undeclared."""
    KEY = enum.auto()
    AFTER_KEY = enum.auto()
    VALUE = enum.auto()
    AFTER_VALUE = enum.auto()


class AnswerParser:
    """Parses one answer.

    Args:
        tools: What was declared to the model.
        thinking: The prompt ended inside a thought.
        begun: The thought or the text that the prompt ended in, and that goes on.
        choice: Goes into the events.
        call_id: Makes the ids of calls.
        repair: Accept what the module's docstring lists.

    Attributes:
        num_calls: Calls that were finished.
    """

    def __init__(
        self,
        tools: Sequence[Tool] = (),
        *,
        thinking: bool,
        begun: str = "",
        choice: int = 0,
        call_id: Callable[[], str] = lambda: new_id("call_"),
        repair: bool = True,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._choice = choice
        self._call_id = call_id
        self._repair = repair
        self._state = _State.THOUGHT if thinking else _State.TEXT
        self._outer = self._state
        self._thought = [begun] if begun and thinking else []
        self._unanswered = thinking
        """Nothing but one thought, which goes on, was said so far."""
        self._space = ""
        """Whitespace that is only shown when something follows it."""
        self._any_text = self._in_text = bool(begun) and not thinking
        self._held = ""
        """The name, or the key, or what stands between tags, so far."""
        self._key = ""
        self._suspect: list[Piece] = []
        """What followed in a value since a tag that may have ended it."""
        self._call: CallWriter | None = None
        self._events: list[Delta] = []
        self._num_started = 0
        self.num_calls = 0

    @property
    def in_thought(self) -> bool:
        """Whether the next text would be part of a thought."""
        return self._state is _State.THOUGHT

    def push(self, pieces: Iterable[Piece]) -> list[Delta]:
        """Read on; return what became certain."""
        for piece in pieces:
            if piece:
                self._read(piece)
        events, self._events = self._events, []
        return events

    def finish(self, *, natural: bool) -> list[Delta]:
        """The answer is over; `natural` when the model ended it itself by one of its end tokens."""
        if self._suspect:
            self._judge(over=natural)
        if natural:
            if self._repair and self._state is _State.NAME:
                self._finish_bare_name()
            elif self._state is _State.AFTER_VALUE:
                self._leave_call()
            if self._unanswered:
                self._text("".join(self._thought))
        events, self._events = self._events, []
        return events

    def _read(self, piece: Piece) -> None:
        if self._suspect:
            self._suspect.append(piece)
            self._judge()
        elif isinstance(piece, Tag):
            self._read_tag(piece)
        else:
            self._read_text(piece)

    def _read_text(self, text: str) -> None:
        match self._state:
            case _State.THOUGHT:
                self._think(text)
            case _State.TEXT:
                self._text(text)
            case _State.FOREIGN:
                self._outside(text)
            case _State.VALUE:
                self._arguments(self._writer.push(text))
            case _State.NAME:
                self._held += text
                self._check_name()
            case _State.KEY | _State.AFTER_KEY | _State.AFTER_VALUE:
                self._held += text

    def _read_tag(self, tag: Tag) -> None:
        match self._state:
            case _State.THOUGHT | _State.TEXT:
                self._tag_outside(tag)
            case _State.FOREIGN:
                self._tag_in_foreign(tag)
            case _State.NAME:
                self._tag_in_name(tag)
            case _State.VALUE:
                self._tag_in_value(tag)
            case _State.KEY | _State.AFTER_KEY | _State.AFTER_VALUE:
                self._tag_between(tag)

    # Outside of calls

    def _tag_outside(self, tag: Tag) -> None:
        if tag is Tag.CALL:
            self._outer = self._state
            self._enter(_State.NAME)
        elif tag is Tag.THINK and self._state is _State.TEXT:
            self._unanswered = not self._any_text and not self._num_started and not self._thought
            self._leave(_State.THOUGHT)
        elif tag is Tag.END_THINK and self._state is _State.THOUGHT:
            self._leave(_State.TEXT)
            self._unanswered = False

    def _leave(self, state: _State) -> None:
        """To the next stretch of thought or text."""
        self._state = state
        self._space = ""
        self._in_text = False

    def _enter(self, state: _State) -> None:
        """To where text is only collected."""
        self._state = state
        self._held = ""

    def _outside(self, text: str) -> None:
        """Text of what surrounds an undeclared call."""
        if self._outer is _State.THOUGHT:
            self._think(text)
        else:
            self._text(text)

    def _think(self, text: str) -> None:
        """A thought is trimmed: whitespace waits until something follows it."""
        text = self._space + text
        if not self._thought:
            text = text.lstrip()
        body = text.rstrip()
        self._space = text[len(body) :]
        if body:
            self._thought.append(body)
            self._events.append(ReasoningDelta(choice=self._choice, text=body))

    def _text(self, text: str) -> None:
        if not self._in_text:
            if not text.strip():
                self._space += text
                return
            text = self._space + text
            self._space = ""
            self._in_text = True
            if not self._any_text:
                text = text.lstrip()
                self._any_text = True
        self._events.append(TextDelta(choice=self._choice, text=text))

    # The name of a call

    def _tag_in_foreign(self, tag: Tag) -> None:
        if tag is Tag.CALL:
            self._enter(_State.NAME)
            return
        self._outside(tag.value)
        if tag is Tag.END_CALL:
            self._state = self._outer

    def _check_name(self) -> None:
        """Give up on a name as soon as it cannot become that of a declared tool."""
        name = self._held.strip()
        if not any(known.startswith(name) or name.startswith(known) for known in self._tools):
            self._release_name()

    def _release_name(self) -> None:
        self._state = _State.FOREIGN
        self._outside(Tag.CALL.value + self._held)

    def _finish_bare_name(self) -> None:
        """`<tool_call>now` and the end: whole, if the tool needs no arguments."""
        tool = self._tools.get(self._held.strip())
        if tool is not None and not required_names(tool):
            self._tag_in_name(Tag.END_CALL)

    def _tag_in_name(self, tag: Tag) -> None:
        name, key = self._held.strip(), ""
        if name not in self._tools and tag is Tag.END_KEY and self._repair:
            name, key = self._split_name(name)
        if name not in self._tools or tag not in {Tag.KEY, Tag.END_CALL, Tag.END_KEY}:
            self._release_name()
            self._tag_in_foreign(tag)
            return
        call = self._call = CallWriter(self._tools[name], self._num_started)
        self._num_started += 1
        self._unanswered = False
        started = ToolCallStarted(
            choice=self._choice, index=call.index, id=self._call_id(), name=name
        )
        self._events.append(started)
        self._enter(_State.AFTER_VALUE)
        if tag is Tag.END_KEY:
            self._state, self._held = _State.KEY, key
        self._tag_between(tag)

    def _split_name(self, text: str) -> tuple[str, str]:
        """`get_weathercity` is `get_weather` and `city`, where both are declared."""
        for name in sorted(self._tools, key=len, reverse=True):
            key = text.removeprefix(name).strip()
            if text.startswith(name) and key in CallWriter(self._tools[name], 0).missing_names:
                return name, key
        return text, ""

    # Keys and values

    @property
    def _writer(self) -> CallWriter:
        assert self._call is not None, "these states have a call"
        return self._call

    def _tag_between(self, tag: Tag) -> None:
        match tag:
            case Tag.KEY:
                self._enter(_State.KEY)
            case Tag.END_KEY if self._state is _State.KEY:
                self._key = self._held.strip()
                self._enter(_State.AFTER_KEY)
            case Tag.VALUE if self._state is _State.AFTER_KEY:
                self._begin_value("")
            case Tag.END_VALUE if self._state is _State.AFTER_KEY and self._repair:
                self._begin_value(self._held)
                self._end_value()
            case Tag.END_CALL if self._state is _State.AFTER_VALUE:
                self._finish_call()
            case Tag.END_CALL | Tag.CALL:
                self._leave_call()
                if tag is Tag.CALL:
                    self._tag_outside(tag)
            case _:
                pass

    def _begin_value(self, text: str) -> None:
        self._state = _State.VALUE
        self._arguments(self._writer.begin(self._key) + self._writer.push(text))

    def _end_value(self) -> None:
        self._arguments(self._writer.end())
        self._enter(_State.AFTER_VALUE)

    def _tag_in_value(self, tag: Tag) -> None:
        if tag is Tag.END_VALUE:
            self._end_value()
        elif self._repair and tag in {Tag.KEY, Tag.END_CALL}:
            self._suspect = [tag]
        else:
            self._arguments(self._writer.push(tag.value))

    def _judge(self, *, over: bool | None = None) -> None:
        """Decide whether the suspected tag ended the value, or was text of it."""
        guilty = self._verdict() if over is None else over and self._suspect[0] is Tag.END_CALL
        if guilty is None:
            return
        pieces, self._suspect = self._suspect, []
        if guilty:
            self._end_value()
            for piece in pieces:
                self._read(piece)
            return
        # The last piece was no part of the suspicion, and may raise another one.
        certain = pieces if over is not None else pieces[:-1]
        self._arguments(self._writer.push(spell(certain)))
        if over is None:
            self._read(pieces[-1])

    def _verdict(self) -> bool | None:
        """Yes, no, or not certain yet."""
        tags = [piece for piece in self._suspect if isinstance(piece, Tag)]
        before = self._suspect.index(tags[1]) if len(tags) > 1 else len(self._suspect)
        first, rest = spell(self._suspect[1:before]), self._suspect[before + 1 :]
        if tags[0] is Tag.END_CALL:
            return (tags[1] is Tag.CALL if len(tags) > 1 else None) if not first.strip() else False
        names, key = self._writer.missing_names, first.strip()
        match tags[1:]:
            case []:
                return None if any(name.startswith(key) for name in names) else False
            case [Tag.END_KEY]:
                return None if key in names and not spell(rest).strip() else False
            case [Tag.END_KEY, Tag.VALUE]:
                return True
            case _:
                return False

    # The end of a call

    def _leave_call(self) -> None:
        """A call that was not closed: whole if nothing is missing, else never finished."""
        if self._repair and self._state is _State.AFTER_VALUE and self._writer.complete:
            self._finish_call()
            return
        self._call = None
        self._leave(_State.TEXT)

    def _finish_call(self) -> None:
        self._arguments(self._writer.close())
        index = self._writer.index
        self._events.append(ToolCallFinished(choice=self._choice, index=index))
        self._call = None
        self.num_calls += 1
        self._leave(_State.TEXT)

    def _arguments(self, text: str) -> None:
        if text:
            index = self._writer.index
            delta = ToolCallDelta(choice=self._choice, index=index, arguments=text)
            self._events.append(delta)
