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
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.wire.ai_sdk.generation import Generation
from glimt.wire.ai_sdk.prompt import OURS
from glimt.wire.ai_sdk.types import SentCall, SentOutput, SentResult, SentText

_THOUGHT: Final = ("signature", "encrypted", "summary", "id", "format")


def write_prompt(messages: tuple[Message, ...], generation: Generation) -> list[dict[str, Any]]:
    """The messages. Raises UnsupportedParameter for what has no place in them."""
    calls: dict[str, str] = {}
    return [_message(m, i, generation, calls) for i, m in enumerate(messages)]


def _message(
    message: Message, index: int, generation: Generation, calls: dict[str, str]
) -> dict[str, Any]:
    """A message. `calls` learns the names of its calls' tools, which results repeat."""
    role, parts = message.role, message.parts
    if message.name is not None:
        path = f"messages[{index}]"
        raise UnsupportedParameter(f"{path}.name has no place in this protocol.", param=path)
    if role == "system":
        if len(parts) == 1 and isinstance(parts[0], TextPart):
            return {"role": role, "content": parts[0].text}
        path = f"messages[{index}]"
        raise UnsupportedParameter(f"{path}: a system message is one text.", param=path)
    # What an agent sends by the hundred comes first, and needs no path.
    content: list[Any] = []
    for place, part in enumerate(parts):
        if isinstance(part, ToolResultPart):
            found = part.content
            if len(found) == 1 and isinstance(found[0], TextPart):
                output = SentOutput("error-text" if part.is_error else "text", found[0].text)
            else:
                output = _output(part, f"messages[{index}].parts[{place}]", generation)
            content.append(SentResult(part.call_id, calls.get(part.call_id, ""), output))
        elif isinstance(part, ToolCallPart):
            calls[part.id] = part.name
            content.append(SentCall(part.id, part.name, msgspec.Raw(part.arguments.encode())))
        elif isinstance(part, TextPart):
            content.append(SentText(part.text))
        else:
            content.append(_part(part, f"messages[{index}].parts[{place}]", generation))
    return {"role": role, "content": content}


def _part(
    part: ReasoningPart | ImagePart | FilePart | RefusalPart, path: str, generation: Generation
) -> dict[str, Any]:
    match part:
        case ReasoningPart():
            proof = {name: getattr(part, name) for name in _THOUGHT}
            proof = {name: value for name, value in proof.items() if value is not None}
            options = {"providerOptions": {OURS: proof}} if proof else {}
            return {"type": "reasoning", "text": part.text, **options}
        case ImagePart() | FilePart():
            return {"type": "file", **_file(part, path, generation)}
        case RefusalPart():
            raise UnsupportedParameter(f"{path}: a refusal has no place here.", param=path)
        case _:
            assert_never(part)


def _output(part: ToolResultPart, path: str, generation: Generation) -> dict[str, Any]:
    if part.is_error:
        raise UnsupportedParameter(f"{path}: what went wrong is told as one text.", param=path)
    value = [_output_part(item, path, generation) for item in part.content]
    return {"type": "content", "value": value}


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
