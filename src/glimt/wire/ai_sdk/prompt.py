"""The prompt of a call, as core's messages: one for one, so that indices mean the same.

Fields that no part has are left out and named in a warning; what is addressed to other providers is
named too. Files are read in both spellings: as an address, and as an object that says what it is.
"""

import base64
import binascii
from typing import Any, Final, cast

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.wire.ai_sdk.options import GATEWAY
from glimt.wire.ai_sdk.types import OutputPart, PromptMessage, PromptPart, ToolOutput
from glimt.wire.codec import json_object
from glimt.wire.fields import Fields, convert_as, decode_as, decoder, element_paths
from glimt.wire.unknown import leave_out_unknown

OURS: Final = "glimt"
"""Under this name a part's provider options hold what an answer of ours said there."""

_ANSWERED: Final = {"generationId"}
"""What an answer of ours said under the gateway's name; it comes back with the part."""

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_ALLOWED: Final = {
    "user": ("text", "file"),
    "assistant": ("text", "file", "reasoning", "tool-call", "tool-result"),
    "tool": ("tool-result",),
}
_THOUGHT: Final = ("signature", "encrypted", "summary", "id", "format")
_MESSAGES: Final = list[PromptMessage]
_DECODER: Final[msgspec.json.Decoder[list[PromptMessage]]] = decoder(_MESSAGES)
_STRING: Final = decoder(str)


def read_prompt(fields: Fields, warnings: list[str]) -> tuple[Message, ...]:
    """`prompt`.

    Raises:
        InvalidRequest: One is malformed; `param` is its path.
        UnsupportedParameter: One uses what cannot be honoured here.
    """
    messages: list[PromptMessage] | None = fields.decoded("prompt")
    if messages is None:
        messages = _decoded(fields.raw("prompt"), warnings)
    if not messages:
        raise InvalidRequest("prompt is empty; give at least one message.", param="prompt")
    strangers: dict[str, None] = {}
    paths = element_paths("prompt", len(messages))
    read = tuple([_message(m, path, strangers) for m, path in zip(messages, paths, strict=False)])
    warnings.extend(f"{path} was not honoured: another provider's" for path in strangers)
    return read


def _decoded(raw: msgspec.Raw | None, warnings: list[str]) -> list[PromptMessage]:
    if raw is None:
        raise InvalidRequest("prompt is missing.", param="prompt")
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _known_fields(raw, error, warnings)


def _known_fields(raw: msgspec.Raw, error: Exception, warnings: list[str]) -> list[PromptMessage]:
    """The slow way, when something was unknown; anything else is the client's mistake."""
    if "unknown field" not in str(error):
        return decode_as(raw, _MESSAGES, "prompt")
    document = decode_as(raw, list[dict[str, Any]], "prompt")
    removed = leave_out_unknown(document, _MESSAGES, "prompt")
    warnings.extend(f"{path} was not honoured: unknown here" for path in removed)
    return decode_as(json_object(document), _MESSAGES, "prompt")


def _message(message: PromptMessage, path: str, strangers: dict[str, None]) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidRequest(
            f"{path}.role must be one of {', '.join(_ROLES)}, not {message.role!r}.",
            param=f"{path}.role",
        )
    if message.provider_options:
        _note_strangers(message.provider_options, path, strangers)
    if isinstance(message.content, str):
        if role == "tool":
            raise InvalidRequest(f"{path}.content must be a list.", param=f"{path}.content")
        return Message(role=role, parts=(TextPart(message.content),))
    if role == "system":
        raise InvalidRequest(f"{path}.content must be a string.", param=f"{path}.content")
    parts: list[Part] = []
    for index, part in enumerate(message.content):
        usual = _usual(part, role)
        if usual is None:
            usual = _looked_at(part, role, f"{path}.content[{index}]", strangers)
        parts.append(usual)
    return Message(role=role, parts=tuple(parts))


def _usual(  # noqa: PLR0911  one for each kind, and for what keeps it from being one
    part: PromptPart, role: Role
) -> Part | None:
    """What agents send by the hundred; None for what has to be looked at closer, with its path."""
    kind, call_id, output = part.type, part.tool_call_id, part.output
    if part.provider_options:
        return None
    if kind == "text":
        text = part.text
        return TextPart(text) if text is not None and role != "tool" else None
    if call_id is None:
        return None
    if kind == "tool-call" and role == "assistant" and part.tool_name is not None:
        return ToolCallPart(id=call_id, name=part.tool_name, arguments=_arguments(part.input))
    if kind == "tool-result" and output is not None and output.type == "text" and role != "user":
        try:
            content = (TextPart(_STRING.decode(output.value)),)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return ToolResultPart(call_id=call_id, content=content)
    return None


def _looked_at(part: PromptPart, role: Role, path: str, strangers: dict[str, None]) -> Part:
    if part.type not in _ALLOWED[role]:
        raise UnsupportedParameter(
            f"{path}: a part of type {part.type!r} is not understood in a message of role "
            f"{role}; there are {', '.join(_ALLOWED[role])}.",
            param=f"{path}.type",
        )
    if part.provider_options:
        _note_strangers(part.provider_options, path, strangers)
    return _part(part, path)


def _note_strangers(options: dict[str, Any], path: str, strangers: dict[str, None]) -> None:
    for name, value in options.items():
        if name == GATEWAY and isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            if members.keys() <= _ANSWERED:
                continue
        if name != OURS:
            strangers[f"{path}.providerOptions.{name}"] = None


def _part(part: PromptPart, path: str) -> Part:
    match part.type:
        case "text":
            return TextPart(_required(part.text, f"{path}.text"))
        case "reasoning":
            return _thought(part, path)
        case "tool-call":
            return ToolCallPart(
                id=_required(part.tool_call_id, f"{path}.toolCallId"),
                name=_required(part.tool_name, f"{path}.toolName"),
                arguments=_arguments(part.input),
            )
        case "tool-result":
            return _result(part, path)
        case _:
            return _file(part.data, part.media_type, path, name=part.filename)


def _thought(part: PromptPart, path: str) -> ReasoningPart:
    given: object = (part.provider_options or {}).get(OURS) or {}
    ours = convert_as(given, dict[str, Any], f"{path}.providerOptions.{OURS}")
    proof = convert_as(
        {name: value for name, value in ours.items() if name in _THOUGHT},
        dict[str, str],
        f"{path}.providerOptions.{OURS}",
    )
    return msgspec.structs.replace(ReasoningPart(text=part.text or ""), **proof)


def _arguments(raw: msgspec.Raw) -> str:
    """A call's arguments as the client wrote them; a string is their JSON text already."""
    text = str(raw, "utf-8") or "{}"
    return _STRING.decode(text) or "{}" if text.startswith('"') else text


def _result(part: PromptPart, path: str) -> ToolResultPart:
    output = part.output
    if output is None:
        raise InvalidRequest(f"{path}.output is missing.", param=f"{path}.output")
    return ToolResultPart(
        call_id=_required(part.tool_call_id, f"{path}.toolCallId"),
        content=_output(output, f"{path}.output"),
        is_error=output.type in ("error-text", "error-json", "execution-denied"),
    )


def _output(output: ToolOutput, path: str) -> tuple[TextPart | ImagePart | FilePart, ...]:
    value = bytes(output.value)
    match output.type:
        case "text" | "error-text":
            return (TextPart(decode_as(value or b'""', str, f"{path}.value")),)
        case "json" | "error-json":
            return (TextPart((value or b"null").decode()),)
        case "execution-denied":
            return (TextPart(output.reason or "The user denied this call."),)
        case "content":
            items = decode_as(value or b"[]", list[OutputPart], f"{path}.value")
            return tuple(
                _output_part(item, f"{path}.value[{index}]") for index, item in enumerate(items)
            )
        case _:
            raise UnsupportedParameter(
                f"{path}.type: a result of type {output.type!r} is not understood; give text, "
                "json, content, error-text or error-json.",
                param=f"{path}.type",
            )


def _output_part(item: OutputPart, path: str) -> TextPart | ImagePart | FilePart:
    match item.type:
        case "text":
            return TextPart(_required(item.text, f"{path}.text"))
        case "media" | "file-data" | "image-data" | "file" if item.data is not None:
            return _file(item.data, item.media_type, path, name=item.filename, encoded=True)
        case "file-url" | "image-url" if item.url is not None:
            kind = item.media_type or ("image/*" if item.type == "image-url" else None)
            return _file(item.url, kind, path, name=item.filename)
        case _:
            raise UnsupportedParameter(
                f"{path}: a part of type {item.type!r} is not understood in a tool's result.",
                param=f"{path}.type",
            )


def _file(
    data: str | dict[str, Any] | None,
    media_type: str | None,
    path: str,
    *,
    name: str | None,
    encoded: bool = False,
) -> TextPart | ImagePart | FilePart:
    """A file. Its content is an address, base64, or an object that says which of them it is."""
    kind = "file"
    match data:
        case {"type": "text", "text": str(text)}:
            return TextPart(text)
        case {"type": "data", "data": str(content)}:
            kind, url, content_bytes = _kind(media_type), None, _base64(content, path)
        case {"type": "url", "url": str(url)}:
            kind, content_bytes = _kind(media_type), None
        case str() if data.startswith("data:"):
            head, _, content = data.removeprefix("data:").partition(",")
            media_type = media_type or head.removesuffix(";base64") or None
            kind, url, content_bytes = _kind(media_type), None, _base64(content, path)
        case str() if encoded or "://" not in data:
            kind, url, content_bytes = _kind(media_type), None, _base64(data, path)
        case str():
            kind, url, content_bytes = _kind(media_type), data, None
        case _:
            raise UnsupportedParameter(
                f"{path}.data must be an address or base64; files kept by a provider are not known "
                "here.",
                param=f"{path}.data",
            )
    if kind == "image":
        return ImagePart(url=url, data=content_bytes, media_type=media_type)
    return FilePart(kind=kind, url=url, data=content_bytes, media_type=media_type, name=name)


def _kind(media_type: str | None) -> str:
    top = (media_type or "").partition("/")[0]
    return top if top in ("image", "audio", "video") else "file"


def _base64(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{path}.data is not base64.", param=f"{path}.data") from None


def _required(value: str | None, path: str) -> str:
    if value is None:
        raise InvalidRequest(f"{path} is missing.", param=path)
    return value
