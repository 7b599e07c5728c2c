"""The client's side of a prompt: core's messages in the protocol's spelling.

The inverse of `prompt.read_prompt`. A part that the protocol has no place for is refused by its
path.
"""

import base64
from typing import Any, Final, assert_never

import msgspec

from glimt.core.errors import UnsupportedParameter
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
from glimt.wire.ai_sdk.generation import Generation
from glimt.wire.ai_sdk.prompt import OURS

_THOUGHT: Final = ("signature", "encrypted", "summary", "id", "format")


def write_prompt(messages: tuple[Message, ...], generation: Generation) -> list[dict[str, Any]]:
    """The messages. Raises UnsupportedParameter for what has no place in them."""
    calls = {
        part.id: part.name
        for message in messages
        for part in message.parts
        if isinstance(part, ToolCallPart)
    }
    return [_message(m, f"messages[{i}]", generation, calls) for i, m in enumerate(messages)]


def _message(
    message: Message, path: str, generation: Generation, calls: dict[str, str]
) -> dict[str, Any]:
    if message.name is not None:
        raise UnsupportedParameter(f"{path}.name has no place in this protocol.", param=path)
    if message.role == "system":
        match message.parts:
            case [TextPart(text=text)]:
                return {"role": "system", "content": text}
            case _:
                raise UnsupportedParameter(f"{path}: a system message is one text.", param=path)
    content = [
        _part(part, f"{path}.parts[{index}]", generation, calls)
        for index, part in enumerate(message.parts)
    ]
    return {"role": message.role, "content": content}


def _part(part: Part, path: str, generation: Generation, calls: dict[str, str]) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ReasoningPart():
            proof = {name: getattr(part, name) for name in _THOUGHT}
            proof = {name: value for name, value in proof.items() if value is not None}
            options = {"providerOptions": {OURS: proof}} if proof else {}
            return {"type": "reasoning", "text": part.text, **options}
        case ImagePart() | FilePart():
            return {"type": "file", **_file(part, path, generation)}
        case ToolCallPart():
            return {
                "type": "tool-call",
                "toolCallId": part.id,
                "toolName": part.name,
                "input": msgspec.Raw(part.arguments.encode()),
            }
        case ToolResultPart():
            return {
                "type": "tool-result",
                "toolCallId": part.call_id,
                # The protocol wants the tool's name too; the call has it.
                "toolName": calls.get(part.call_id, ""),
                "output": _output(part, path, generation),
            }
        case RefusalPart():
            raise UnsupportedParameter(f"{path}: a refusal has no place here.", param=path)
        case _:
            assert_never(part)


def _output(part: ToolResultPart, path: str, generation: Generation) -> dict[str, Any]:
    match part.content:
        case [TextPart(text=text)]:
            return {"type": "error-text" if part.is_error else "text", "value": text}
        case _ if part.is_error:
            raise UnsupportedParameter(f"{path}: what went wrong is told as one text.", param=path)
        case _:
            return {
                "type": "content",
                "value": [_output_part(item, path, generation) for item in part.content],
            }


def _output_part(
    part: TextPart | ImagePart | FilePart, path: str, generation: Generation
) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    file = _file(part, path, generation)
    if generation.tagged_files:
        return {"type": "file", **file}
    if part.url is not None:
        return {"type": "file-url", **file, "url": part.url, "data": None}
    kind = "media" if generation.version == 2 else "file-data"
    return {"type": kind, **file, "data": base64.b64encode(part.data or b"").decode()}


def _file(part: ImagePart | FilePart, path: str, generation: Generation) -> dict[str, Any]:
    kind = "image" if isinstance(part, ImagePart) else part.kind
    media_type = part.media_type or ("application/octet-stream" if kind == "file" else f"{kind}/*")
    fields: dict[str, Any] = {"mediaType": media_type}
    if isinstance(part, FilePart) and part.name is not None:
        fields["filename"] = part.name
    if isinstance(part, ImagePart) and part.detail is not None:
        raise UnsupportedParameter(f"{path}.detail has no place in this protocol.", param=path)
    if part.url is not None:
        data: Any = {"type": "url", "url": part.url} if generation.tagged_files else part.url
    else:
        text = base64.b64encode(part.data or b"").decode()
        address = f"data:{media_type};base64,{text}"
        data = {"type": "data", "data": text} if generation.tagged_files else address
    return {**fields, "data": data}
