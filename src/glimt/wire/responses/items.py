"""Items of the input as core's messages.

Neighbouring items of the assistant (thoughts, text, calls) are one turn, as the model wrote them;
everything else is a message of its own. Items that nobody here can act on are left out and named
in a warning. Knows nothing of the rest of the request.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.parts import (
    Citation,
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
from glimt.wire.chat_completions.types import ImageUrl, InputFile, MediaUrl
from glimt.wire.fields import convert_as, decode_as, decoder, element_paths
from glimt.wire.responses.call import ThoughtSeal
from glimt.wire.responses.types import InputContent, InputItem
from glimt.wire.unknown import leave_out_unknown

CUSTOM_INPUT: Final = "input"
"""The one argument of a function that stands for a tool of plain text."""
KNOWN: Final = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "item_reference",
    }
)
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_DECODER: Final[msgspec.json.Decoder[list[InputItem]]] = decoder(list[InputItem])


def read_items(raw: msgspec.Raw | bytes, warnings: list[str], path: str) -> list[InputItem]:
    """The items of a list.

    Raises:
        InvalidRequest: One is malformed; `param` is its path.
    """
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _known_items(raw, warnings, path)


def _known_items(raw: msgspec.Raw | bytes, warnings: list[str], path: str) -> list[InputItem]:
    """The slow way: unknown kinds become empty items, and unknown fields go.

    Places stay the same. What is left to complain about is the client's mistake.
    """
    document = decode_as(raw, list[dict[str, Any]], path)
    for item in document:
        if item.get("type", "message") not in KNOWN and isinstance(item.get("type"), str):
            kind = item["type"]
            item.clear()
            item["type"] = kind
    removed = leave_out_unknown(document, list[InputItem], path)
    warnings.extend(f"{place} was not honoured: unknown here" for place in removed)
    return convert_as(document, list[InputItem], path)


class Conversation:
    """Messages, item by item."""

    def __init__(self, seal: ThoughtSeal | None, warnings: list[str]) -> None:
        self._seal = seal
        self._warnings = warnings
        self._rows: list[tuple[Role, list[Part]]] = []
        self._turn: list[Part] | None = None
        self._places: list[str] = []

    @property
    def messages(self) -> tuple[Message, ...]:
        """Those so far."""
        return tuple([Message(role=role, parts=tuple(parts)) for role, parts in self._rows])

    @property
    def names(self) -> dict[str, str]:
        """The client's word for each message: "messages[2]" → "input[5]"."""
        ours = element_paths("messages", len(self._places))
        return dict(zip(ours, self._places, strict=False))

    def add_instructions(self, text: str) -> None:
        """What the system says before everything else."""
        self._put("system", [TextPart(text)], "instructions")

    def add(self, item: InputItem, path: str) -> None:
        """One more item.

        Raises:
            InvalidRequest: It is malformed; `param` is its path.
            UnsupportedParameter: It holds what cannot be honoured here.
        """
        # What agents send by the hundred comes first.
        match item.type:
            case "function_call_output" | "custom_tool_call_output":
                call_id, output = item.call_id, item.output or ""
                if not call_id:
                    raise missing(f"{path}.call_id")
                content = (
                    (TextPart(output),)
                    if isinstance(output, str)
                    else _result(output, f"{path}.output")
                )
                self._put("tool", [ToolResultPart(call_id=call_id, content=content)], path)
            case "function_call" | "custom_tool_call":
                self._call(item, path)
            case "message" | None:
                self._message(item, path)
            case "reasoning":
                self._say(self._thought(item, path), path)
            case _:
                self._warnings.append(
                    f"{path} was not honoured: items of type {item.type} are unknown here"
                )

    def _message(self, item: InputItem, path: str) -> None:
        role = _ROLES.get(item.role or "")
        if role is None:
            raise InvalidRequest(
                f"{path}.role must be one of {', '.join(_ROLES)}, not {item.role!r}.",
                param=f"{path}.role",
            )
        if item.content is None:
            raise InvalidRequest(f"{path}.content is missing.", param=f"{path}.content")
        parts = _parts(item.content, path)
        if role != "assistant":
            self._put(role, parts, path)
        elif self._turn is None:
            self._put(role, parts, path)
            self._turn = parts
        else:
            self._turn += parts

    def _thought(self, item: InputItem, path: str) -> ReasoningPart:
        content = _parts(item.content or (), path)
        text = "".join(part.text for part in content if isinstance(part, TextPart))
        summary = None
        if item.summary:
            summary = "\n\n".join(piece.text or "" for piece in item.summary)
        sealed = item.encrypted_content
        if sealed is not None and self._seal is not None:
            opened = self._seal.open(sealed)
            if opened is not None:
                return ReasoningPart(text=opened, summary=summary, id=item.id)
        return ReasoningPart(text=text, summary=summary, encrypted=sealed, id=item.id)

    def _call(self, item: InputItem, path: str) -> None:
        if item.status == "incomplete":
            self._warnings.append(f"{path} was not honoured: the call was cut off")
            return
        call_id, name = item.call_id, item.name
        if not call_id or not name:
            raise missing(f"{path}.{'name' if call_id else 'call_id'}")
        if item.namespace is not None:
            name = joined_name(item.namespace, name)
        arguments = item.arguments
        if item.type == "custom_tool_call":
            arguments = {CUSTOM_INPUT: item.input or ""}
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        self._say(ToolCallPart(id=call_id, name=name, arguments=arguments or "{}"), path)

    def _say(self, part: Part, path: str) -> None:
        """One more part of the assistant's turn."""
        if self._turn is None:
            turn: list[Part] = [part]
            self._put("assistant", turn, path)
            self._turn = turn
        else:
            self._turn.append(part)

    def _put(self, role: Role, parts: list[Part], path: str) -> None:
        self._turn = None
        self._places.append(path)
        self._rows.append((role, parts))


def joined_name(namespace: str, name: str) -> str:
    """A tool of a namespace under one name."""
    return f"{namespace}__{name}"


def missing(path: str) -> InvalidRequest:
    """What is said of a member that has to be there."""
    return InvalidRequest(f"{path} is missing.", param=path)


def _parts(content: str | Sequence[InputContent | str], path: str) -> list[Part]:
    """The content of the item at `path`: a string, or parts, some of which may be strings."""
    if isinstance(content, str):
        return [TextPart(content)]
    return [
        TextPart(part.text)
        if isinstance(part, InputContent)
        and part.type in _TEXTS
        and part.text is not None
        and not part.annotations
        else _part(part, f"{path}.content[{index}]")
        for index, part in enumerate(content)
    ]


def _part(part: InputContent | str, path: str) -> Part:
    return TextPart(part) if isinstance(part, str) else _content_part(part, path)


def _result(
    output: Sequence[InputContent | str], path: str
) -> tuple[TextPart | ImagePart | FilePart, ...]:
    content: list[TextPart | ImagePart | FilePart] = []
    for index, given in enumerate(output):
        part = _part(given, f"{path}[{index}]")
        if not isinstance(part, (TextPart, ImagePart, FilePart)):
            raise InvalidRequest(
                f"{path}[{index}] cannot be part of a tool's result.", param=f"{path}[{index}]"
            )
        content.append(part)
    return tuple(content)


def _content_part(part: InputContent, path: str) -> Part:
    kind = part.type
    if kind in _TEXTS and part.text is not None:
        return TextPart(part.text, _citations(part.annotations, path))
    match kind:
        case "refusal" if part.refusal is not None:
            return RefusalPart(part.refusal)
        case "input_image" | "image_url" if part.image_url is not None:
            return _image(part, path)
        case "input_file" if part.file_url is not None:
            file = media_part("file", MediaUrl(url=part.file_url))
            return msgspec.structs.replace(file, name=part.filename)
        case "input_file" if part.file_data is not None or part.file_id is not None:
            given = InputFile(part.file_data, part.file_id, part.filename)
            return file_part(given, path)
        case "input_audio" if part.input_audio is not None:
            return sound_part(part.input_audio, f"{path}.input_audio")
        case "input_image" if part.file_id is not None:
            raise UnsupportedParameter(
                f"{path}.file_id: this server keeps no files; send image_url.",
                param=f"{path}.file_id",
            )
        case _:
            raise _malformed(part, path)


def _image(part: InputContent, path: str) -> ImagePart:
    place = f"{path}.image_url"
    address = part.image_url
    if isinstance(address, dict):  # As chat completions spell it.
        address = convert_as(address, ImageUrl, place)
        return image_part(address, place)
    return image_part(ImageUrl(url=address or "", detail=part.detail), place)


def _citations(annotations: Sequence[dict[str, Any]] | None, path: str) -> tuple[Citation, ...]:
    """Sources on the web; other annotations speak of files that are not here."""
    if not annotations:
        return ()
    return tuple(
        convert_as(
            {
                "url": annotation.get("url"),
                "title": annotation.get("title"),
                "start": annotation.get("start_index"),
                "end": annotation.get("end_index"),
            },
            Citation,
            f"{path}.annotations[{index}]",
        )
        for index, annotation in enumerate(annotations)
        if annotation.get("type") == "url_citation"
    )


_MEMBERS: Final = {
    **dict.fromkeys(sorted(_TEXTS), "text"),
    "refusal": "refusal",
    "input_image": "image_url",
    "input_file": "file_data",
    "input_audio": "input_audio",
}


def _malformed(part: InputContent, path: str) -> InvalidRequest:
    if part.type in _MEMBERS:
        place = f"{path}.{_MEMBERS[part.type]}"
        return InvalidRequest(f"{place} is missing.", param=place)
    return InvalidRequest(
        f"{path}.type must be one of input_text, output_text, refusal, input_image, input_file, "
        f"input_audio, not {part.type!r}.",
        param=f"{path}.type",
    )
