"""System and messages of a request, as core's messages.

A result of a tool is a message of its own in core, and a system prompt is the first one, so indices
shift; `names` learns which of the client's messages each of core's is. Knows nothing of the rest of
the request, nor of what a model makes of a part: a text-only model refuses images itself.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.core.parts import Message, Part, ReasoningPart, Role, TextPart, ToolCallPart
from glimt.wire.chat_completions.continuing import is_begun
from glimt.wire.codec import json_object
from glimt.wire.fields import decode_as, decoder
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

    def read(self, system: msgspec.Raw | None, messages: msgspec.Raw) -> tuple[Message, ...]:
        """Both fields' JSON texts as messages.

        Raises:
            InvalidRequest: One is malformed; `param` is its path.
            UnsupportedParameter: One uses what cannot be honoured here.
        """
        if system is not None:
            self._system(system)
        try:
            found = _DECODER.decode(messages)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            found = self._known(messages, error, list[MessageField], "messages")
        if not found:
            raise InvalidRequest("messages is empty; give at least one.", param="messages")
        for index, message in enumerate(found):
            self._message(message, f"messages[{index}]")
        return tuple(self._messages)

    def _known(self, raw: msgspec.Raw, error: Exception, kind: type[T], path: str) -> T:
        """The slow way, when something was unknown; anything else is the client's mistake."""
        if "unknown field" not in str(error):
            return decode_as(raw, kind, path)
        document = decode_as(raw, list[dict[str, Any]], path)
        removed = leave_out_unknown(document, kind, path)
        self._warnings.extend(f"{name} was not honoured: unknown here" for name in removed)
        return decode_as(json_object(document), kind, path)

    def _add(self, role: Role, parts: list[Part], path: str) -> None:
        ours = f"messages[{len(self._messages)}]"
        if ours != path:
            self._names[ours] = path
        self._messages.append(Message(role=role, parts=tuple(parts)))

    def _system(self, raw: msgspec.Raw) -> None:
        if bytes(raw).startswith(b'"'):
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
            self._add(role, self._turn(content, f"{path}.content"), path)
        else:
            self._user(content, path)

    def _user(self, content: list[Block], path: str) -> None:
        """What the user says, and results of tools, in order of appearance."""
        parts: list[Part] = []
        for index, block in enumerate(content):
            where = f"{path}.content[{index}]"
            if block.type != "tool_result":
                self._plain(block, where, parts)
                continue
            if parts:
                self._add("user", parts, path)
                parts = []
            self._add("tool", [tool_result(block, where, self._warnings)], path)
        if parts or not content:
            self._add("user", parts, path)

    def _turn(self, content: list[Block], path: str) -> list[Part]:
        parts: list[Part] = []
        for index, block in enumerate(content):
            kind = block.type
            if kind == "text" and block.text is not None and not block.citations:
                parts.append(TextPart(block.text))
                continue
            where = f"{path}[{index}]"
            match kind:
                case "tool_use":
                    parts.append(_call(block, where))
                case "thinking":
                    parts.append(self._thought(block, where))
                case "redacted_thinking":
                    data = required(block.data, where, "data")
                    parts.append(ReasoningPart(encrypted=data))
                case "compaction" if isinstance(block.content, str):
                    parts.append(TextPart(block.content))
                case _:
                    self._plain(block, where, parts)
        return parts

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


def _call(block: Block, path: str) -> ToolCallPart:
    arguments = bytes(block.input).decode()
    if not arguments.startswith("{"):
        if arguments not in ("", "null"):
            raise InvalidRequest(f"{path}.input must be an object.", param=f"{path}.input")
        arguments = "{}"
    if block.id is None or block.name is None:
        name = "id" if block.id is None else "name"
        raise InvalidRequest(f"{path}.{name} is missing.", param=f"{path}.{name}")
    return ToolCallPart(id=block.id, name=block.name, arguments=arguments)
