"""What a message is made of.

Parts are frozen values without storage identity. A part carries what a model or a vendor needs to
see again (a reasoning signature, a tool call's id) and nothing about how it travelled.
Knows nothing of wire formats: `glimt.wire` maps each dialect's blocks to these.
"""

from typing import Any, Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
"""`developer` is mapped to `system` by the codecs: GLM knows no other instruction role."""


class Citation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A source that a span of text rests on. `start` and `end` are character offsets in it."""

    url: str
    title: str | None = None
    start: int | None = None
    end: int | None = None
    quote: str | None = None


class TextPart(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """Plain text that the user, the system or the model wrote."""

    text: str
    citations: tuple[Citation, ...] = ()


class ReasoningPart(msgspec.Struct, frozen=True, gc=False, tag="reasoning", kw_only=True):
    """The model's thinking.

    Attributes:
        text: What it thought; empty when only an opaque form is known.
        signature: Opaque proof from whoever produced it; must be echoed back unchanged.
        encrypted: Opaque content that only its producer can read (redacted thinking).
        summary: A shortened form, where a vendor gives one.
        id: The vendor's id of the block, echoed back with it.
        format: The vendor's name of the opaque form, so that it is only sent back to its producer.
    """

    text: str = ""
    signature: str | None = None
    encrypted: str | None = None
    summary: str | None = None
    id: str | None = None
    format: str | None = None


class ImagePart(msgspec.Struct, frozen=True, gc=False, tag="image", kw_only=True):
    """An image by address or by content. A text-only model refuses it with a clear error."""

    url: str | None = None
    data: bytes | None = None
    media_type: str | None = None
    detail: str | None = None


class FilePart(msgspec.Struct, frozen=True, gc=False, tag="file", kw_only=True):
    """A document, sound or video: anything that is neither text nor an image."""

    kind: str
    url: str | None = None
    data: bytes | None = None
    media_type: str | None = None
    name: str | None = None


class ToolCallPart(msgspec.Struct, frozen=True, gc=False, tag="tool_call", kw_only=True):
    """The model asks for a tool.

    `arguments` is the JSON text of an object, exactly as the model's tokens spelled it out.
    """

    id: str
    name: str
    arguments: str


class ToolResultPart(msgspec.Struct, frozen=True, gc=False, tag="tool_result", kw_only=True):
    """What a tool answered. `call_id` names the `ToolCallPart` that asked."""

    call_id: str
    content: tuple["TextPart | ImagePart | FilePart", ...]
    is_error: bool = False


class RefusalPart(msgspec.Struct, frozen=True, gc=False, tag="refusal"):
    """The model declined to answer; kept apart from text because several dialects keep it apart."""

    text: str


Part: TypeAlias = (
    TextPart | ReasoningPart | ImagePart | FilePart | ToolCallPart | ToolResultPart | RefusalPart
)


class Message(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One turn, or one piece of a turn, in order of appearance."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    metadata: dict[str, Any] = {}
    """Vendor data that must travel back unread; never rendered into a prompt."""
