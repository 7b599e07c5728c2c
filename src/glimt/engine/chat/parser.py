"""What the model says, told apart: thought, text, and calls of tools; incremental.

Input are pieces in order: text, and the tags of GLM-4.7's answer format as tags. Where the ids of
tags are known they arrive as tags and any look-alike is text; `TagScanner` finds tags in text that
came without ids. Output are `core.events` deltas, the same for any chunking of the same answer.

    thought </think> text <tool_call>name<arg_key>k</arg_key><arg_value>v</arg_value>…</tool_call>…

Decisions where the format is silent:
- `<tool_call>` ends a thought that was not closed; every other tag out of place is swallowed.
- A thought is trimmed. Text is verbatim, but for whitespace before its first word; a stretch of
  text that is nothing but whitespace is dropped.
- A name that was not declared makes the whole block text, where it stands.
- A value is text up to `</arg_value>`; other tags inside it are text. The first of two equal keys
  counts.
- A thought that the model ends with its end token, without `</think>`, text or call, was its answer:
  the same text is given again as text. Never when the answer was cut off.
- A call that is not closed is never finished, unless all its values are, the model stopped by
  itself, and no required argument is missing.
"""

import enum
import re
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
from glimt.engine.chat.arguments import (
    ValueKind,
    encode_string,
    encode_value,
    property_schema,
    value_kind,
)


class Tag(enum.Enum):
    """A tag of the answer format."""

    THINK = "<think>"
    END_THINK = "</think>"
    CALL = "<tool_call>"
    END_CALL = "</tool_call>"
    KEY = "<arg_key>"
    END_KEY = "</arg_key>"
    VALUE = "<arg_value>"
    END_VALUE = "</arg_value>"


Piece: TypeAlias = str | Tag
Delta: TypeAlias = TextDelta | ReasoningDelta | ToolCallStarted | ToolCallDelta | ToolCallFinished


class TagScanner:
    """Finds tags in text that came without token ids, holding back what may become one."""

    def __init__(self, tags: Iterable[Tag] = Tag) -> None:
        self._tags = {tag.value: tag for tag in tags}
        self._pattern = re.compile("(" + "|".join(map(re.escape, self._tags)) + ")")
        self._heads = {text[:length] for text in self._tags for length in range(1, len(text))}
        self._reach = max(map(len, self._tags)) - 1
        self._held = ""

    def push(self, text: str) -> list[Piece]:
        """Text and tags, as far as they are certain."""
        text = self._held + text
        longest = min(self._reach, len(text))
        keep = next((n for n in range(longest, 0, -1) if text[-n:] in self._heads), 0)
        self._held = text[len(text) - keep :]
        pieces = self._pattern.split(text[: len(text) - keep])
        return [self._tags.get(piece, piece) for piece in pieces if piece]

    def flush(self) -> list[Piece]:
        """The end: what was held back is text after all."""
        held, self._held = self._held, ""
        return [held] if held else []


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


class _Call:
    """A call being written."""

    def __init__(self, tool: Tool, index: int) -> None:
        self.tool = tool
        self.index = index
        self.keys: set[str] = set()
        self.key = ""
        self.kind: ValueKind | None = None
        """How the current value is streamed; `None` drops it, since its key came before."""
        self.value = ""
        self.open = False
        """The opening quote of the current value is out."""


class AnswerParser:
    """Parses one answer.

    Args:
        tools: What was declared to the model.
        thinking: The prompt ended inside a thought.
        choice: Goes into the events.
        call_id: Makes the ids of calls.
        repair: Accept calls whose end, or whose `<arg_key>` tag, is missing.
    """

    def __init__(
        self,
        tools: Sequence[Tool] = (),
        *,
        thinking: bool,
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
        self._thought: list[str] = []
        self._space = ""
        """Whitespace that is only shown when something follows it."""
        self._any_text = False
        self._in_text = False
        self._closed_thought = not thinking
        self._name = ""
        self._call: _Call | None = None
        self._events: list[Delta] = []
        self.num_calls = 0
        """Calls that were finished."""
        self._num_started = 0

    @property
    def in_thought(self) -> bool:
        """Whether the next text would be part of a thought."""
        return self._state is _State.THOUGHT

    def push(self, pieces: Iterable[Piece]) -> list[Delta]:
        """Read on; return what became certain."""
        for piece in pieces:
            if isinstance(piece, Tag):
                self._tag(piece)
            elif piece:
                self._read(piece)
        events, self._events = self._events, []
        return events

    def finish(self, *, natural: bool) -> list[Delta]:
        """The answer is over; `natural` when the model ended it itself by one of its end tokens."""
        if natural:
            if self._state is _State.NAME and self._repair:
                self._finish_without_arguments()
            elif self._can_finish():
                self._finish_call()
            never_closed = self._state is _State.THOUGHT and not self._closed_thought
            if never_closed and not self._any_text and not self._num_started:
                self._text("".join(self._thought))
        events, self._events = self._events, []
        return events

    def _read(self, text: str) -> None:
        match self._state:
            case _State.THOUGHT:
                self._think(text)
            case _State.TEXT:
                self._text(text)
            case _State.FOREIGN:
                self._outside(text)
            case _State.NAME:
                self._name += text
                self._check_name()
            case _State.KEY:
                self._current.key += text
            case _State.VALUE:
                self._value(text)
            case _State.AFTER_KEY:
                self._current.value += text
            case _State.AFTER_VALUE:
                pass

    def _tag(self, tag: Tag) -> None:
        match self._state:
            case _State.THOUGHT | _State.TEXT:
                self._tag_outside(tag)
            case _State.FOREIGN:
                self._tag_in_foreign(tag)
            case _State.NAME:
                self._tag_in_name(tag)
            case _State.VALUE:
                if tag is Tag.END_VALUE:
                    self._end_value()
                else:
                    self._value(tag.value)
            case _State.KEY | _State.AFTER_KEY | _State.AFTER_VALUE:
                self._tag_between(tag)

    # Outside of calls

    def _tag_outside(self, tag: Tag) -> None:
        if tag is Tag.CALL:
            self._outer = self._state
            self._name = ""
            self._state = _State.NAME
        elif tag is Tag.THINK and self._state is _State.TEXT:
            self._closed_thought = False
            self._begin(_State.THOUGHT)
        elif tag is Tag.END_THINK and self._state is _State.THOUGHT:
            self._closed_thought = True
            self._begin(_State.TEXT)

    def _begin(self, state: _State) -> None:
        self._state = state
        self._space = ""
        self._in_text = False

    def _outside(self, text: str) -> None:
        """Text of what surrounds an undeclared call."""
        if self._outer is _State.THOUGHT:
            self._think(text)
        else:
            self._text(text)

    def _think(self, text: str) -> None:
        shown = self._spaced(text, keep_leading=bool(self._thought))
        if shown:
            self._thought.append(shown)
            self._add(ReasoningDelta(choice=self._choice, text=shown))

    def _spaced(self, text: str, *, keep_leading: bool) -> str:
        """`text` after the whitespace before it, without the whitespace at its end."""
        body = text.rstrip()
        if not body:
            self._space += text
            return ""
        shown = self._space + body if keep_leading else (self._space + body).lstrip()
        self._space = text[len(body) :]
        return shown

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
        self._add(TextDelta(choice=self._choice, text=text))

    # Inside of calls

    @property
    def _current(self) -> _Call:
        if self._call is None:
            raise AssertionError("no call is open")
        return self._call

    def _tag_in_foreign(self, tag: Tag) -> None:
        if tag is Tag.CALL:
            self._name = ""
            self._state = _State.NAME
            return
        self._outside(tag.value)
        if tag is Tag.END_CALL:
            self._state = self._outer

    def _check_name(self) -> None:
        """Give up on a name as soon as it cannot become that of a declared tool."""
        name = self._name.strip()
        if not any(known.startswith(name) or name.startswith(known) for known in self._tools):
            self._release_name()

    def _release_name(self) -> None:
        self._state = _State.FOREIGN
        self._outside(Tag.CALL.value + self._name)

    def _finish_without_arguments(self) -> None:
        tool = self._tools.get(self._name.strip())
        if tool is not None and not (tool.parameters or {}).get("required"):
            self._tag_in_name(Tag.END_CALL)

    def _tag_in_name(self, tag: Tag) -> None:
        name = self._name.strip()
        key = ""
        if name not in self._tools and tag is Tag.END_KEY and self._repair:
            name, key = self._split_name(name)
        if name not in self._tools or tag not in (Tag.KEY, Tag.END_CALL, Tag.END_KEY):
            self._release_name()
            self._tag_in_foreign(tag)
            return
        self._call = _Call(self._tools[name], self._num_started)
        self._num_started += 1
        self._begin(_State.AFTER_VALUE)
        self._add(
            ToolCallStarted(
                choice=self._choice, index=self._call.index, id=self._call_id(), name=name
            )
        )
        if tag is Tag.END_KEY:
            self._call.key = key
            self._state = _State.KEY
        self._tag_between(tag)

    def _split_name(self, text: str) -> tuple[str, str]:
        """`get_weathercity` is `get_weather` and `city`, where those are declared."""
        for name in sorted(self._tools, key=len, reverse=True):
            key = text.removeprefix(name).strip()
            if (
                text.startswith(name)
                and property_schema(self._tools[name].parameters, key) is not None
            ):
                return name, key
        return text, ""

    def _tag_between(self, tag: Tag) -> None:
        call = self._current
        match tag:
            case Tag.KEY:
                call.key = ""
                self._state = _State.KEY
            case Tag.END_KEY if self._state is _State.KEY:
                call.key = call.key.strip()
                call.value = ""
                self._state = _State.AFTER_KEY
            case Tag.VALUE if self._state is _State.AFTER_KEY:
                self._begin_value()
            case Tag.END_VALUE if self._state is _State.AFTER_KEY and self._repair:
                text = call.value
                self._begin_value()
                self._value(text)
                self._end_value()
            case Tag.END_CALL if self._state is _State.AFTER_VALUE:
                self._finish_call()
            case Tag.END_CALL | Tag.CALL:
                if self._can_finish():
                    self._finish_call()
                else:
                    self._call = None
                    self._begin(_State.TEXT)
                if tag is Tag.CALL:
                    self._tag(tag)
            case _:
                pass

    def _begin_value(self) -> None:
        call = self._current
        self._state = _State.VALUE
        call.value = ""
        call.open = False
        if call.key in call.keys:
            call.kind = None
            return
        schema = property_schema(call.tool.parameters, call.key)
        call.kind = value_kind(schema, call.tool.parameters)
        before = ", " if call.keys else "{"
        call.keys.add(call.key)
        self._arguments(f'{before}"{encode_string(call.key)}": ')

    def _value(self, text: str) -> None:
        call = self._current
        if call.kind == "string" or call.open:
            self._arguments(encode_string(text) if call.open else '"' + encode_string(text))
            call.open = True
            return
        call.value += text
        if call.kind == "nullable_string" and not "null".startswith(call.value.strip()):
            self._arguments('"' + encode_string(call.value))
            call.open = True

    def _end_value(self) -> None:
        call = self._current
        self._state = _State.AFTER_VALUE
        if call.open:
            self._arguments('"')
        elif call.kind is not None:
            schema = property_schema(call.tool.parameters, call.key)
            self._arguments(encode_value(call.value, schema, call.tool.parameters))
        call.value = ""

    def _can_finish(self) -> bool:
        """Whether a call that was not closed may count as whole."""
        call = self._call
        if not self._repair or call is None or self._state is not _State.AFTER_VALUE:
            return False
        required = (call.tool.parameters or {}).get("required") or ()
        return call.keys.issuperset(required)

    def _finish_call(self) -> None:
        call = self._current
        self._arguments("}" if call.keys else "{}")
        self._add(ToolCallFinished(choice=self._choice, index=call.index))
        self._call = None
        self.num_calls += 1
        self._begin(_State.TEXT)

    # Events

    def _arguments(self, text: str) -> None:
        index = self._current.index
        self._add(ToolCallDelta(choice=self._choice, index=index, arguments=text))

    def _add(self, event: Delta) -> None:
        self._events.append(event)
