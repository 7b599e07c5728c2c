"""Core's messages as Anthropic's, and its system prompt: the inverse of `content`."""

import base64
from typing import Any

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

Content = str | list[dict[str, Any]]


def write_messages(messages: tuple[Message, ...]) -> tuple[Content | None, list[dict[str, Any]]]:
    """The system prompt that a conversation opens with, and the rest of it.

    Raises:
        UnsupportedParameter: A message has a part that this format has no place for.
    """
    system: Content | None = None
    written: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for index, message in enumerate(messages):
        if message.name is not None:
            path = f"messages[{index}].name"
            raise UnsupportedParameter(f"{path} has no place here.", param=path)
        content = _content(message, index)
        if index == 0 and message.role == "system" and content:
            system = content
            continue
        if message.role != "tool":
            written.append({"role": message.role, "content": content})
            results = None
        elif results is None:
            results = [*content] if isinstance(content, list) else []
            written.append({"role": "user", "content": results})
        elif isinstance(content, list):
            results += content
    return system, written


def _content(message: Message, index: int) -> Content:
    parts, role = message.parts, message.role
    if len(parts) == 1 and isinstance(parts[0], TextPart) and role != "tool":
        return parts[0].text
    # What an agent sends by the hundred comes first, and needs no path.
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, TextPart) and role != "tool"
        else _block(part, role, f"messages[{index}].parts[{place}]")
        for place, part in enumerate(parts)
    ]


def _block(part: Part, role: str, path: str) -> dict[str, Any]:
    match part:
        case TextPart() if role != "tool":
            return {"type": "text", "text": part.text}
        case ToolCallPart() if role == "assistant":
            arguments = json_arguments(part.arguments)
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}
        case ToolResultPart() if role == "tool":
            return _result(part, path)
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


def _result(part: ToolResultPart, path: str) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.call_id}
    content = part.content
    if len(content) == 1 and isinstance(content[0], TextPart):
        block["content"] = content[0].text
    elif content:
        block["content"] = [_block(item, "user", path) for item in content]
    if part.is_error:
        block["is_error"] = True
    return block


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
