"""System and messages of a request, as core's messages.

A result of a tool is a message of its own in core, and a system prompt is the first one, so indices
shift; `names` learns which of the client's messages each of core's is. Knows nothing of the rest of
the request, nor of what a model makes of a part: a text-only model refuses images itself.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.core.parts import (
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.wire.chat_completions.continuing import is_begun
from glimt.wire.codec import json_object
from glimt.wire.fields import Fields, decode_as, decoder, element_paths
from glimt.wire.messages.blocks import plain_parts, required, tool_result
from glimt.wire.messages.signatures import Signatures
from glimt.wire.messages.types import Block, MessageField
from glimt.wire.unknown import leave_out_unknown

T = TypeVar("T")


def goes_on(messages: Sequence[Message]) -> bool:
    """Whether the answer is the rest of the last message: the assistant's, of text or a thought.

    https://docs.claude.com/en/docs/build-with-claude/prompt-engineering/prefill-claudes-response
    """
    return bool(messages) and messages[-1].role == "assistant" and is_begun(messages[-1])


_DECODER: Final[msgspec.json.Decoder[list[MessageField]]] = decoder(list[MessageField])
_BLOCKS: Final[msgspec.json.Decoder[list[Block]]] = decoder(list[Block])
_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_ELSEWHERE: Final = (
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
    "container_upload",
)
"""Blocks about tools that another server ran: a conversation that moves here may hold some."""


class Reader:
    """Reads the conversation of one request."""

    def __init__(
        self, *, signatures: Signatures | None, names: dict[str, str], warnings: list[str]
    ) -> None:
        self._signatures = signatures
        self._names = names
        self._warnings = warnings
        self._messages: list[Message] = []
        self._places: list[str] = []

    def read(self, fields: Fields) -> tuple[Message, ...]:
        """`system` and `messages`.

        Raises:
            InvalidRequest: One is malformed; `param` is its path.
            UnsupportedParameter: One uses what cannot be honoured here.
        """
        if (system := fields.raw("system")) is not None:
            self._system(system)
        found: list[MessageField] | None = fields.decoded("messages")
        if found is None:
            found = self._decoded(fields.raw("messages"))
        if not found:
            raise InvalidRequest("messages is empty; give at least one.", param="messages")
        for message, path in zip(found, element_paths("messages", len(found)), strict=False):
            self._message(message, path)
        ours = element_paths("messages", len(self._messages))
        self._names.update(zip(ours, self._places, strict=False))
        return tuple(self._messages)

    def _decoded(self, raw: msgspec.Raw | None) -> list[MessageField]:
        if raw is None:
            raise InvalidRequest("messages is missing.", param="messages")
        try:
            return _DECODER.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._known(raw, error, list[MessageField], "messages")

    def _known(self, raw: msgspec.Raw, error: Exception, kind: type[T], path: str) -> T:
        """The slow way, when something was unknown; anything else is the client's mistake."""
        if "unknown field" not in str(error):
            return decode_as(raw, kind, path)
        document = decode_as(raw, list[dict[str, Any]], path)
        removed = leave_out_unknown(document, kind, path)
        self._warnings.extend(f"{name} was not honoured: unknown here" for name in removed)
        return decode_as(json_object(document), kind, path)

    def _add(self, role: Role, parts: list[Part], path: str) -> None:
        self._places.append(path)
        self._messages.append(Message(role=role, parts=tuple(parts)))

    def _system(self, raw: msgspec.Raw) -> None:
        if Fields.is_text(raw, "system"):
            content: str | list[Block] = decode_as(raw, str, "system")
        else:
            try:
                content = _BLOCKS.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                content = self._known(raw, error, list[Block], "system")
        # An empty one says nothing, and clients that have none to send do send it.
        if content:
            self._add("system", self._instructions(content, "system"), "system")

    def _instructions(self, content: str | list[Block], path: str) -> list[Part]:
        if isinstance(content, str):
            return [TextPart(content)]
        parts: list[Part] = []
        for index, block in enumerate(content):
            where = f"{path}[{index}]"
            if block.type != "text":
                raise InvalidRequest(
                    f"{where}: instructions are blocks of type text, not {block.type!r}.",
                    param=f"{where}.type",
                )
            parts.append(TextPart(required(block.text, where, "text")))
        return parts

    def _message(self, message: MessageField, path: str) -> None:
        role = _ROLES.get(message.role)
        content = message.content
        if role is None:
            hint = (
                " A tool's result is a block of a user message." if message.role == "tool" else ""
            )
            raise InvalidRequest(
                f"{path}.role must be user, assistant or system, not {message.role!r}.{hint}",
                param=f"{path}.role",
            )
        if isinstance(content, str):
            self._add(role, [TextPart(content)], path)
        elif role == "system":
            self._add(role, self._instructions(content, f"{path}.content"), path)
        elif role == "assistant":
            self._add(role, self._turn(content, path), path)
        else:
            self._user(content, path)

    def _user(self, content: list[Block], path: str) -> None:
        """What the user says, and results of tools, in order of appearance."""
        parts: list[Part] = []
        for index, block in enumerate(content):
            if block.type != "tool_result":
                self._plain(block, f"{path}.content[{index}]", parts)
                continue
            if parts:
                self._add("user", parts, path)
                parts = []
            self._add("tool", [self._result(block, path, index)], path)
        if parts or not content:
            self._add("user", parts, path)

    def _result(self, block: Block, path: str, index: int) -> ToolResultPart:
        content, call_id = block.content, block.tool_use_id
        if isinstance(content, str) and call_id is not None and not block.is_error:
            return ToolResultPart(call_id=call_id, content=(TextPart(content),))
        return tool_result(block, f"{path}.content[{index}]", self._warnings)

    def _turn(self, content: list[Block], path: str) -> list[Part]:
        """What the model wrote. What agents send by the hundred comes first, and needs no path."""
        parts: list[Part] = []
        for index, block in enumerate(content):
            kind = block.type
            if kind == "text" and block.text is not None and not block.citations:
                parts.append(TextPart(block.text))
            elif kind == "tool_use":
                parts.append(_call(block, path, index))
            else:
                self._rarer(block, f"{path}.content[{index}]", parts)
        return parts

    def _rarer(self, block: Block, path: str, parts: list[Part]) -> None:
        match block.type:
            case "thinking":
                parts.append(self._thought(block, path))
            case "redacted_thinking":
                parts.append(ReasoningPart(encrypted=required(block.data, path, "data")))
            case "compaction" if isinstance(block.content, str):
                parts.append(TextPart(block.content))
            case _:
                self._plain(block, path, parts)

    def _plain(self, block: Block, path: str, parts: list[Part]) -> None:
        if block.type in _ELSEWHERE:
            self._warnings.append(
                f"{path} was not honoured: tools that another server runs are not known here"
            )
        else:
            parts.extend(plain_parts(block, path, self._warnings))

    def _thought(self, block: Block, path: str) -> ReasoningPart:
        text, signature = required(block.thinking, path, "thinking"), block.signature or None
        if signature is None:
            return ReasoningPart(text=text)
        if self._signatures is not None and self._signatures.verify(text, signature):
            return ReasoningPart(text=text)
        # Perhaps that of whoever is asked next; our own engine says what it makes of it.
        return ReasoningPart(text=text, signature=signature)


def _call(block: Block, path: str, index: int) -> ToolCallPart:
    name, call_id = block.name, block.id
    arguments = bytes(block.input).decode()
    if call_id is None or name is None:
        path = f"{path}.content[{index}].{'id' if call_id is None else 'name'}"
        raise InvalidRequest(f"{path} is missing.", param=path)
    if not arguments.startswith("{"):
        if arguments not in ("", "null"):
            path = f"{path}.content[{index}].input"
            raise InvalidRequest(f"{path} must be an object.", param=path)
        arguments = "{}"
    return ToolCallPart(id=call_id, name=name, arguments=arguments)
