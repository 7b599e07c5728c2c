"""The shapes of Anthropic's Messages: https://docs.claude.com/en/api/messages.

Shapes only: meaning is given to requests in `content` and `request`, to answers in `events`. The
shapes of messages refuse unknown fields, so that the reader learns about them; it then leaves them
out and says so. Blocks of every kind share one shape, in which `type` says what counts.
"""

from typing import Any, Literal

import msgspec

from glimt.wire.openai_types import Extension


class Source(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Where an image or a document comes from.

    Attributes:
        type: `base64`, `url`, `text` or `content`; `file` is refused, no files are kept here.
        data: Base64, or the text itself.
        content: Of `content`: text, or blocks of text and images.
    """

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: "str | list[Block] | None" = None


class Block(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One block of a message's content, of any kind.

    Attributes:
        type: Which kind; it says which of the other fields count.
        source: Of an image or a document; of a search result the address.
        signature: Proof of who thought it; comes back unchanged.
        data: Of `redacted_thinking`: what only its producer can read.
        input: A call's arguments.
        content: What a tool answered, or what a search found.
        cache_control: Taken; every full page of a prompt is cached anyway.
    """

    type: str = "text"
    text: str | None = None
    source: Source | str | None = None
    title: str | None = None
    context: str | None = None
    citations: Any = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    tool_use_id: str | None = None
    tool_name: str | None = None
    content: "str | list[Block] | None" = None
    is_error: bool | None = None
    caller: Any = None
    cache_control: Any = None


class MessageField(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One message. Claude Code sends instructions in messages of role `system` too."""

    role: str
    content: str | list[Block]


class ToolField(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A tool of the client's. Those that the server would have to run are left out.

    Attributes:
        name: What it is called.
        description: What it is for.
        input_schema: Its arguments' JSON Schema.
        type: `custom`.
        strict: The arguments keep to the schema.
        defer_loading: Taken; the model is shown every tool at once.
        cache_control: Taken.
        eager_input_streaming: Taken; arguments always come piece by piece.
        allowed_callers: Taken; the model is the only caller.
    """

    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    cache_control: Any = None
    eager_input_streaming: bool | None = None
    allowed_callers: Any = None


class ToolChoiceField(msgspec.Struct):
    """Whether and what to call.

    Attributes:
        type: `auto`, `any`, `tool` or `none`.
        name: Of `tool`: which one.
        disable_parallel_tool_use: One call at most.
    """

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingField(msgspec.Struct):
    """How to think.

    Attributes:
        type: `enabled`, `adaptive` or `disabled`.
        budget_tokens: The most tokens of a thought.
        display: `omitted` hides the thought, which is thought all the same.
    """

    type: str
    budget_tokens: int | float | None = None
    display: str | None = None


class FormatField(msgspec.Struct):
    """What an answer has to look like.

    Attributes:
        type: `json_schema`.
        schema: The JSON Schema.
    """

    type: str
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct):
    """How much to think, and what an answer has to look like.

    Attributes:
        effort: `low`, `medium`, `high`, `xhigh` or `max`.
        format: The answer's form.
    """

    effort: str | None = None
    format: FormatField | None = None


class ContextManagement(msgspec.Struct):
    """Changes of the conversation before it is read.

    Attributes:
        edits: `clear_thinking_20251015` says which thoughts of earlier turns stay; no other edit
            is made here.
    """

    edits: list[dict[str, Any]] | None = None


class TokenDetails(msgspec.Struct):
    """Parts of the answer."""

    thinking_tokens: int


class UsageOut(msgspec.Struct, omit_defaults=True):
    """The bill so far, in tokens. `input_tokens` are those that no cache held."""

    input_tokens: int
    cache_creation_input_tokens: int | None
    cache_read_input_tokens: int | None
    output_tokens: int
    output_tokens_details: TokenDetails | msgspec.UnsetType = msgspec.UNSET
    service_tier: str | msgspec.UnsetType = msgspec.UNSET


class TextBlock(msgspec.Struct, gc=False, tag_field="type", tag="text"):
    """What the model says."""

    text: str


class ThinkingBlock(msgspec.Struct, gc=False, tag_field="type", tag="thinking"):
    """What it thinks. `signature` is empty until the thought is whole, or where nobody signs."""

    thinking: str
    signature: str = ""


class RedactedBlock(msgspec.Struct, gc=False, tag_field="type", tag="redacted_thinking"):
    """What only its producer can read."""

    data: str


class ToolUseBlock(msgspec.Struct, gc=False, tag_field="type", tag="tool_use"):
    """A call. In a stream `input` is empty, and comes in pieces."""

    id: str
    name: str
    input: msgspec.Raw


class SentResult(msgspec.Struct, gc=False, tag_field="type", tag="tool_result", omit_defaults=True):
    """What a tool answered, as a client sends it."""

    tool_use_id: str
    content: str | list[Any] | msgspec.UnsetType = msgspec.UNSET
    is_error: bool = False


BlockOut = TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock


class MessageOut(msgspec.Struct, tag_field="type", tag="message"):
    """A whole answer; at the beginning of a stream, one that has nothing yet."""

    id: str
    role: str
    model: str
    content: list[BlockOut]
    stop_reason: str | None
    stop_sequence: str | None
    usage: UsageOut
    glimt: Extension | msgspec.UnsetType = msgspec.UNSET


class MessageStart(msgspec.Struct, tag_field="type", tag="message_start"):
    """Somebody took the request."""

    message: MessageOut


class BlockStart(msgspec.Struct, tag_field="type", tag="content_block_start"):
    """A block begins."""

    index: int
    content_block: BlockOut


class TextDeltaOut(msgspec.Struct, tag_field="type", tag="text_delta"):
    """More text."""

    text: str


class ThinkingDeltaOut(msgspec.Struct, tag_field="type", tag="thinking_delta"):
    """More of the thought."""

    thinking: str


class SignatureDeltaOut(msgspec.Struct, tag_field="type", tag="signature_delta"):
    """The thought is whole."""

    signature: str


class InputDeltaOut(msgspec.Struct, tag_field="type", tag="input_json_delta"):
    """More of a call's arguments, as JSON text."""

    partial_json: str


DeltaOut = TextDeltaOut | ThinkingDeltaOut | SignatureDeltaOut | InputDeltaOut


class BlockDelta(msgspec.Struct, tag_field="type", tag="content_block_delta"):
    """More of a block."""

    index: int
    delta: DeltaOut


class BlockStop(msgspec.Struct, tag_field="type", tag="content_block_stop"):
    """A block ended."""

    index: int


class StopOut(msgspec.Struct):
    """Why an answer ended; `stop_sequence` is the stop text that ended it."""

    stop_reason: str
    stop_sequence: str | None


class MessageDelta(msgspec.Struct, tag_field="type", tag="message_delta"):
    """The answer ended; the bill."""

    delta: StopOut
    usage: UsageOut
    glimt: Extension | msgspec.UnsetType = msgspec.UNSET


class MessageStop(msgspec.Struct, tag_field="type", tag="message_stop"):
    """Nothing follows."""


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    """Still working."""


StreamEvent = MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | Ping
Role = Literal["user", "assistant", "system"]
