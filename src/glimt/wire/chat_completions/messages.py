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
from glimt.wire.fields import Fields, convert_as, decode_as, decoder
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


def read_messages(fields: Fields, warnings: list[str]) -> tuple[Message, ...]:
    """`messages`.

    Raises:
        InvalidRequest: One is malformed; `param` is its path.
        UnsupportedParameter: One uses what cannot be honoured here.
    """
    messages: list[ChatMessage] | None = fields.decoded("messages")
    if messages is None:
        messages = _decoded(fields.raw("messages"), warnings)
    if not messages:
        raise InvalidRequest("messages is empty; give at least one.", param="messages")
    # Calls and results, which are most of an agent's hundreds of messages, are read without a path;
    # what is wrong with them makes one.
    return tuple([_message(message, index) for index, message in enumerate(messages)])


def _decoded(raw: msgspec.Raw | None, warnings: list[str]) -> list[ChatMessage]:
    if raw is None:
        raise InvalidRequest("messages is missing.", param="messages")
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _known_fields(raw, error, warnings)


def _known_fields(raw: msgspec.Raw, error: Exception, warnings: list[str]) -> list[ChatMessage]:
    """The slow way, when something was unknown; anything else is the client's mistake."""
    if "unknown field" not in str(error):
        return decode_as(raw, list[ChatMessage], "messages")
    document = decode_as(raw, list[dict[str, Any]], "messages")
    removed = leave_out_unknown(document, list[ChatMessage], "messages")
    warnings.extend(f"{path} was not honoured: unknown here" for path in removed)
    return convert_as(document, list[ChatMessage], "messages")


def _message(message: ChatMessage, index: int) -> Message:
    role = _ROLES.get(message.role)
    if role is None or message.function_call is not None or message.audio is not None:
        raise _refused(message, f"messages[{index}]")
    parts: Sequence[Part]
    if role == "assistant":
        parts = _assistant_parts(message, index)
    elif message.tool_calls:
        path = f"messages[{index}].tool_calls"
        raise InvalidRequest(f"{path} belongs to assistant messages.", param=path)
    elif role == "tool":
        parts = (_tool_result(message, index),)
    elif message.content is None:
        path = f"messages[{index}].content"
        raise InvalidRequest(f"{path} is missing.", param=path)
    else:
        parts = content_parts(message.content, f"messages[{index}].content")
    return Message(role=role, parts=tuple(parts), name=message.name)


def _refused(message: ChatMessage, path: str) -> InvalidRequest | UnsupportedParameter:
    """Why a message of no known role, or with a retired field, is not read."""
    if message.role not in _ROLES:
        hint = ""
        if message.role == "function":
            hint = " The role function is retired: use tool, with a tool_call_id."
        return InvalidRequest(
            f"{path}.role must be one of {', '.join(_ROLES)}, not {message.role!r}.{hint}",
            param=f"{path}.role",
        )
    if message.function_call is not None:
        return UnsupportedParameter(
            f"{path}.function_call is retired; use tool_calls.", param=f"{path}.function_call"
        )
    return UnsupportedParameter(
        f"{path}.audio: this server keeps no audio answers.", param=f"{path}.audio"
    )


def _assistant_parts(message: ChatMessage, index: int) -> list[Part]:
    content = message.content
    parts: list[Part] = [TextPart(content)] if isinstance(content, str) else []
    if (
        message.reasoning_content is not None
        or message.reasoning_details is not None
        or message.reasoning is not None
    ):
        parts[:0] = _thought(message, f"messages[{index}]")
    if content is not None and not isinstance(content, str):
        parts += content_parts(content, f"messages[{index}].content")
    if message.refusal is not None:
        parts.append(RefusalPart(message.refusal))
    if message.tool_calls:
        for place, call in enumerate(message.tool_calls):
            parts.append(_tool_call(call, index, place))
    return parts


def _tool_result(message: ChatMessage, index: int) -> ToolResultPart:
    call_id, content = message.tool_call_id, message.content
    if call_id is None:
        path = f"messages[{index}].tool_call_id"
        raise InvalidRequest(f"{path} is missing; it names the call that this answers.", param=path)
    if content is None or isinstance(content, str):
        return ToolResultPart(call_id=call_id, content=(TextPart(content or ""),))
    path = f"messages[{index}].content"
    kept: list[TextPart | ImagePart | FilePart] = []
    for place, part in enumerate(content_parts(content, path)):
        if not isinstance(part, (TextPart, ImagePart, FilePart)):
            raise InvalidRequest(
                f"{path}[{place}] cannot be part of a tool's result.", param=f"{path}[{place}]"
            )
        kept.append(part)
    return ToolResultPart(call_id=call_id, content=tuple(kept))


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


def _tool_call(call: ToolCall, index: int, place: int) -> ToolCallPart:
    function = call.function
    if function is None or (call.type != "function" and call.type is not None):
        path = f"messages[{index}].tool_calls[{place}]"
        raise UnsupportedParameter(
            f"{path}: only calls of type function are understood.", param=path
        )
    if not call.id:
        path = f"messages[{index}].tool_calls[{place}].id"
        raise InvalidRequest(f"{path} is missing.", param=path)
    arguments = function.arguments
    if isinstance(arguments, dict):
        arguments = msgspec.json.encode(arguments).decode()
    return ToolCallPart(id=call.id, name=function.name, arguments=arguments or "{}")


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
