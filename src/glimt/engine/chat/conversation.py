"""Messages and tools in the shape that chat templates expect.

Content is always a string, arguments of calls are objects that remember how the model spelled them
(`spelling`), every tool result is a message of its own; a file of text stands on lines of its own,
below its name; what is no text is refused by its place. An answer that opens with
`<think>…</think>`, as clients of some hosts send thoughts back, is taken apart. Knows nothing of
Jinja or of tokens.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias, cast

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.core.request import Request, Tool
from glimt.engine.chat.depth import refuse_deep
from glimt.engine.chat.spelling import read_arguments

Value: TypeAlias = dict[str, Any]


def offered_tools(request: Request) -> tuple[Tool, ...]:
    """The tools that the model is told of: with `tool_choice` none none, else those named, or all.

    Raises:
        InvalidRequest: `tool_choice` names a tool that is not declared.
    """
    choice = request.tool_choice
    declared = {tool.name for tool in request.tools}
    for name in choice.names:
        if name not in declared:
            raise InvalidRequest(
                f"tool_choice names {name!r}, which is not among the tools", param="tool_choice"
            )
    if choice.mode == "none":
        return ()
    return tuple(t for t in request.tools if not choice.names or t.name in choice.names)


def declaration(tool: Tool) -> Value:
    """The OpenAI form of a tool: as the client wrote it where that was this form."""
    raw = tool.raw
    if raw is not None and isinstance(raw.get("function"), dict):
        return raw
    function: Value = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def normalize_messages(messages: Iterable[Message], warnings: list[str]) -> list[Value]:
    """Messages as templates expect them; see model.md's list of what breaks them otherwise.

    Content is always a string, arguments of calls are objects, every tool result is a message.
    Results stand in the order of their calls: templates show no ids, so that is all a model has to
    tell them apart.
    """
    normalized: list[Value] = []
    results = _Results(warnings)
    for index, message in enumerate(messages):
        if message.role == "assistant":
            normalized += results.ordered()
            row = _assistant(message, index, warnings)
            results = _Results(warnings, row.get("tool_calls", ()), index)
            normalized.append(row)
            continue
        texts: list[str] = []
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                content = "".join(_text_of(item, index) for item in part.content)
                results.add(part.call_id, content, index)
            else:
                texts.append(_text_of(part, index))
        if texts or not any(isinstance(part, ToolResultPart) for part in message.parts):
            normalized += results.ordered()
            row = {"role": message.role, "content": "".join(texts)}
            normalized.append({**row, "name": message.name} if message.name else row)
    return [*normalized, *results.ordered()]


class _Results:
    """What the tools answered that one turn of the assistant called, until somebody speaks again.

    Which of them answers which call is said by ids alone. What does not fit is read all the same,
    behind what does, and named in a warning.
    """

    def __init__(self, warnings: list[str], calls: Iterable[Value] = (), index: int = 0) -> None:
        """`calls` are those of message `index`."""
        self._warnings = warnings
        self._index = index
        self._ids: list[str] = [call["id"] for call in calls]
        self._rows: list[tuple[int, Value]] = []

    def add(self, call_id: str, content: str, index: int) -> None:
        """One result, in message `index`."""
        answered = {row["tool_call_id"] for _, row in self._rows}
        is_unclear = len(set(self._ids)) < len(self._ids)
        place = self._ids.index(call_id) if call_id in self._ids else len(self._ids)
        if is_unclear:
            place = 0
        elif place == len(self._ids):
            self._warn(index, f"answers {call_id!r}, which the turn before it did not call")
        elif call_id in answered:
            self._warn(index, f"is another answer to {call_id!r}")
        self._rows.append((place, {"role": "tool", "tool_call_id": call_id, "content": content}))

    def ordered(self) -> list[Value]:
        """All of them, in the order of their calls; there are none after that."""
        answered = {row["tool_call_id"] for _, row in self._rows}
        for place, call_id in enumerate(self._ids):
            if call_id not in answered:
                path = f"messages[{self._index}].tool_calls[{place}]"
                self._warnings.append(f"{path} has no result: the model sees a call without one")
        rows = [row for _, row in sorted(self._rows, key=lambda placed: placed[0])]
        self._ids, self._rows = [], []
        return rows

    def _warn(self, index: int, what: str) -> None:
        self._warnings.append(f"messages[{index}] {what}; it was read all the same")


def _assistant(message: Message, index: int, warnings: list[str]) -> Value:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Value] = []
    for part in message.parts:
        match part:
            case ReasoningPart():
                # A summary stands in where nothing more is known.
                thoughts.append(part.text or part.summary or "")
                if part.signature is not None:
                    warnings.append(
                        f"messages[{index}]: a thought's signature is not one of this server's; "
                        "read all the same"
                    )
                if not part.text and part.encrypted is not None:
                    warnings.append(
                        f"messages[{index}]: encrypted reasoning was left out; only its producer "
                        "can read it"
                    )
            case ToolCallPart():
                path = f"messages[{index}].tool_calls[{len(calls)}].function.arguments"
                function = {"name": part.name, "arguments": _arguments(part.arguments, path)}
                calls.append({"id": part.id, "type": "function", "function": function})
            case _:
                texts.append(_text_of(part, index))
    content, thought = "".join(texts), "".join(thoughts)
    if not thoughts:
        content, thought = _split_thought(content)
    row: Value = {"role": "assistant", "content": content}
    if thought:
        row["reasoning_content"] = thought
    if calls:
        row["tool_calls"] = calls
    return row


def _split_thought(content: str) -> tuple[str, str]:
    opened = content.lstrip()
    if not opened.startswith("<think>") or "</think>" not in opened:
        return content, ""
    thought, _, rest = opened.removeprefix("<think>").partition("</think>")
    return rest, thought


def _arguments(text: str, path: str) -> Value:
    try:
        value: object = read_arguments(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the arguments of a tool call must be the JSON text of an object: {error}", param=path
        ) from error
    if not isinstance(value, dict):
        raise InvalidRequest("the arguments of a tool call must be a JSON object", param=path)
    refuse_deep(cast("Value", value), path)
    return cast("Value", value)


def _text_of(part: Part, index: int) -> str:
    match part:
        case TextPart() | RefusalPart():
            return part.text
        case ImagePart():
            raise UnsupportedParameter(
                f"messages[{index}] holds an image, but this model reads text only",
                param=f"messages[{index}].content",
            )
        case FilePart(kind="file", data=bytes(data)) if _is_text(part.media_type):
            return _lines_of(part, data, index)
        case FilePart():
            held = _KINDS.get(part.kind, part.kind)
            raise UnsupportedParameter(
                f"messages[{index}] holds {held}, but this model reads text only",
                param=f"messages[{index}].content",
            )
        case ReasoningPart() | ToolCallPart() | ToolResultPart():
            raise InvalidRequest(
                f"messages[{index}] holds a part that its role cannot have",
                param=f"messages[{index}]",
            )


_KINDS: Final = {"file": "a file", "audio": "an audio file", "video": "a video"}


def _is_text(media_type: str | None) -> bool:
    kind = (media_type or "").partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind == "application/json"


def _lines_of(part: FilePart, data: bytes, index: int) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"messages[{index}] holds a file of text that is not UTF-8",
            param=f"messages[{index}].content",
        ) from None
    title = f"{part.name}:\n" if part.name else ""
    return f"\n{title}{text}\n"
