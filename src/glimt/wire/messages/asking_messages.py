"""Core's messages as Anthropic's, and its system prompt: the inverse of `content`."""

import base64
from typing import Any

import msgspec

from glimt.core.errors import UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.wire.messages.blocks import PDF
from glimt.wire.messages.events import json_arguments
from glimt.wire.messages.types import SentResult, TextBlock, ToolUseBlock

Content = str | list[Any]


def write_messages(messages: tuple[Message, ...]) -> tuple[Content | None, list[dict[str, Any]]]:
    """The system prompt that a conversation opens with, and the rest of it.

    Raises:
        UnsupportedParameter: A message has a part that this format has no place for.
    """
    system: Content | None = None
    written: list[dict[str, Any]] = []
    results: list[Any] | None = None
    for index, message in enumerate(messages):
        parts, role = message.parts, message.role
        if message.name is not None:
            path = f"messages[{index}].name"
            raise UnsupportedParameter(f"{path} has no place here.", param=path)
        if role == "tool":
            if results is None:
                results = []
                written.append({"role": "user", "content": results})
            results += _blocks(parts, role, index)
            continue
        results = None
        content: Content
        if len(parts) == 1 and isinstance(parts[0], TextPart):
            content = parts[0].text
        else:
            content = _blocks(parts, role, index)
        if index == 0 and role == "system" and content:
            system = content
        else:
            written.append({"role": role, "content": content})
    return system, written


def _blocks(parts: tuple[Part, ...], role: str, index: int) -> list[Any]:
    # What an agent sends by the hundred comes first, and needs no path.
    blocks: list[Any] = []
    for place, part in enumerate(parts):
        if isinstance(part, ToolResultPart) and role == "tool":
            block = _result(part, index, place)
        elif isinstance(part, TextPart) and role != "tool":
            block = TextBlock(part.text)
        elif isinstance(part, ToolCallPart) and role == "assistant":
            block = ToolUseBlock(part.id, part.name, json_arguments(part.arguments))
        else:
            block = _block(part, role, f"messages[{index}].parts[{place}]")
        blocks.append(block)
    return blocks


def _block(part: Part, role: str, path: str) -> dict[str, Any]:
    match part:
        case ImagePart() | FilePart() if role == "user":
            return _file(part, path)
        case ReasoningPart() if role == "assistant":
            return _thought(part, path)
        case _:
            raise UnsupportedParameter(
                f"{path} has no place in a message of role {role} of this format.", param=path
            )


def _thought(part: ReasoningPart, path: str) -> dict[str, Any]:
    for name in ("summary", "id", "format"):
        if getattr(part, name) is not None:
            raise UnsupportedParameter(f"{path}.{name} has no place here.", param=path)
    if part.encrypted is not None:
        if part.text:
            raise UnsupportedParameter(f"{path} is both open and encrypted.", param=path)
        return {"type": "redacted_thinking", "data": part.encrypted}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}


def _result(part: ToolResultPart, index: int, place: int) -> SentResult:
    content = part.content
    if len(content) == 1 and isinstance(content[0], TextPart):
        return SentResult(part.call_id, content[0].text, part.is_error)
    path = f"messages[{index}].parts[{place}]"
    blocks = [
        TextBlock(item.text) if isinstance(item, TextPart) else _file(item, path)
        for item in content
    ]
    return SentResult(part.call_id, blocks or msgspec.UNSET, part.is_error)


def _file(part: ImagePart | FilePart, path: str) -> dict[str, Any]:
    if part.data is not None:
        if part.media_type is None:
            raise UnsupportedParameter(f"{path}.media_type is needed here.", param=path)
        data = base64.b64encode(part.data).decode()
        source = {"type": "base64", "media_type": part.media_type, "data": data}
    else:
        source = {"type": "url", "url": part.url}
    if isinstance(part, ImagePart):
        if part.detail not in (None, "auto"):
            raise UnsupportedParameter(f"{path}.detail has no place here.", param=f"{path}.detail")
        return {"type": "image", "source": source}
    if part.kind != "file" or (part.data is None and part.media_type not in (None, PDF)):
        raise UnsupportedParameter(
            f"{path}: this format knows images and documents alone.", param=path
        )
    title = {"title": part.name} if part.name is not None else {}
    return {"type": "document", "source": source, **title}
