"""Messages of a chat request, as core's messages: one for one, so that indices mean the same.

Fields that no message has are left out and named in a warning. Knows nothing of the rest of the
request, nor of what a model makes of a part: a text-only model refuses images itself.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.wire.chat_completions.media import file_part, image_part, media_part, sound_part
from glimt.wire.chat_completions.types import ChatMessage, ContentPart, ReasoningDetail, ToolCall
from glimt.wire.fields import convert_as, decode_as, decoder
from glimt.wire.unknown import leave_out_unknown

Content: TypeAlias = str | Sequence[ContentPart | str] | None

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_DECODER: Final[msgspec.json.Decoder[list[ChatMessage]]] = decoder(list[ChatMessage])


def read_messages(raw: msgspec.Raw, warnings: list[str]) -> tuple[Message, ...]:
    """The messages of a request.

    Raises:
        InvalidRequest: One is malformed; `param` is its path.
        UnsupportedParameter: One uses what cannot be honoured here.
    """
    try:
        messages = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        messages = _known_fields(raw, error, warnings)
    if not messages:
        raise InvalidRequest("messages is empty; give at least one.", param="messages")
    return tuple(_message(message, f"messages[{index}]") for index, message in enumerate(messages))


def _known_fields(raw: msgspec.Raw, error: Exception, warnings: list[str]) -> list[ChatMessage]:
    """The slow way, when something was unknown; anything else is the client's mistake."""
    if "unknown field" not in str(error):
        return decode_as(raw, list[ChatMessage], "messages")
    document = decode_as(raw, list[dict[str, Any]], "messages")
    removed = leave_out_unknown(document, list[ChatMessage], "messages")
    warnings.extend(f"{path} was not honoured: unknown here" for path in removed)
    return convert_as(document, list[ChatMessage], "messages")


def _message(message: ChatMessage, path: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        hint = ""
        if message.role == "function":
            hint = " The role function is retired: use tool, with a tool_call_id."
        raise InvalidRequest(
            f"{path}.role must be one of {', '.join(_ROLES)}, not {message.role!r}.{hint}",
            param=f"{path}.role",
        )
    if message.function_call is not None:
        raise UnsupportedParameter(
            f"{path}.function_call is retired; use tool_calls.", param=f"{path}.function_call"
        )
    if message.audio is not None:
        raise UnsupportedParameter(
            f"{path}.audio: this server keeps no audio answers.", param=f"{path}.audio"
        )
    if role != "assistant" and message.tool_calls:
        raise InvalidRequest(
            f"{path}.tool_calls belongs to assistant messages.", param=f"{path}.tool_calls"
        )
    match role:
        case "assistant":
            parts = _assistant_parts(message, path)
        case "tool":
            parts = _tool_parts(message, path)
        case _:
            if message.content is None:
                raise InvalidRequest(f"{path}.content is missing.", param=f"{path}.content")
            parts = content_parts(message.content, f"{path}.content")
    return Message(role=role, parts=tuple(parts), name=message.name)


def _assistant_parts(message: ChatMessage, path: str) -> list[Part]:
    parts: list[Part] = [*_thought(message, path)]
    parts.extend(content_parts(message.content, f"{path}.content"))
    if message.refusal is not None:
        parts.append(RefusalPart(message.refusal))
    for index, call in enumerate(message.tool_calls or ()):
        parts.append(_tool_call(call, f"{path}.tool_calls[{index}]"))
    return parts


def _tool_parts(message: ChatMessage, path: str) -> list[Part]:
    if message.tool_call_id is None:
        raise InvalidRequest(
            f"{path}.tool_call_id is missing; it names the call that this answers.",
            param=f"{path}.tool_call_id",
        )
    content: list[TextPart | ImagePart | FilePart] = []
    for index, part in enumerate(content_parts(message.content or "", f"{path}.content")):
        if not isinstance(part, (TextPart, ImagePart, FilePart)):
            raise InvalidRequest(
                f"{path}.content[{index}] cannot be part of a tool's result.",
                param=f"{path}.content[{index}]",
            )
        content.append(part)
    return [ToolResultPart(call_id=message.tool_call_id, content=tuple(content))]


def _thought(message: ChatMessage, path: str) -> list[ReasoningPart]:
    """The thought of an earlier answer, from whichever field the client kept it in."""
    if message.reasoning_details:
        return [_reasoning_detail(detail) for detail in message.reasoning_details]
    if message.reasoning_content is not None:
        return [ReasoningPart(text=message.reasoning_content)] if message.reasoning_content else []
    parts = content_parts(message.reasoning, f"{path}.reasoning")
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    return [ReasoningPart(text=text)] if text else []


def _reasoning_detail(detail: ReasoningDetail) -> ReasoningPart:
    return ReasoningPart(
        text=detail.text or "",
        signature=detail.signature,
        encrypted=detail.data,
        summary=detail.summary,
        id=detail.id,
        format=detail.format,
    )


def _tool_call(call: ToolCall, path: str) -> ToolCallPart:
    if call.type not in (None, "function") or call.function is None:
        raise UnsupportedParameter(
            f"{path}: only calls of type function are understood.", param=path
        )
    if not call.id:
        raise InvalidRequest(f"{path}.id is missing.", param=f"{path}.id")
    arguments = call.function.arguments
    if isinstance(arguments, dict):
        arguments = msgspec.json.encode(arguments).decode()
    return ToolCallPart(id=call.id, name=call.function.name, arguments=arguments or "{}")


def content_parts(content: Content, path: str) -> list[Part]:
    """A message's content: a string, or parts, some of which may be plain strings."""
    if content is None:
        return []
    if isinstance(content, str):
        return [TextPart(content)]
    return [
        TextPart(part) if isinstance(part, str) else _content_part(part, f"{path}[{index}]")
        for index, part in enumerate(content)
    ]


def _content_part(part: ContentPart, path: str) -> Part:  # noqa: PLR0911  one for each kind
    match part.type:
        case "text" | "input_text" | "output_text" if part.text is not None:
            return TextPart(part.text)
        case "refusal" if part.refusal is not None:
            return RefusalPart(part.refusal)
        case "image_url" if part.image_url is not None:
            return image_part(part.image_url, f"{path}.image_url")
        case "input_audio" if part.input_audio is not None:
            return sound_part(part.input_audio, f"{path}.input_audio")
        case "file" if part.file is not None:
            return file_part(part.file, f"{path}.file")
        case "video_url" if part.video_url is not None:
            return media_part("video", part.video_url)
        case "audio_url" if part.audio_url is not None:
            return media_part("audio", part.audio_url)
        case "file_url" if part.file_url is not None:
            return media_part("file", part.file_url)
        case _:
            pass
    known = ("text", "refusal", "image_url", "input_audio", "file", "video_url")
    if part.type in known:
        raise InvalidRequest(f"{path}.{part.type} is missing.", param=f"{path}.{part.type}")
    raise InvalidRequest(
        f"{path}.type must be one of {', '.join(known)}, not {part.type!r}.", param=f"{path}.type"
    )
