"""The shapes of OpenAI's chat completions, with what GLM servers add to them.

https://platform.openai.com/docs/api-reference/chat. Shapes only: meaning is given to requests in
`messages` and `request`, to responses in `events`. Request shapes refuse unknown fields, so that
the reader learns about them; it then leaves them out and says so.
"""

from typing import Any

import msgspec

from glimt.wire.chat_completions.metadata import RouterMetadata
from glimt.wire.openai_types import Extension, TimeInfo, Usage


class ImageUrl(msgspec.Struct, forbid_unknown_fields=True):
    """An image by address, `data:` addresses included."""

    url: str
    detail: str | None = None


class InputAudio(msgspec.Struct, forbid_unknown_fields=True):
    """Sound, base64."""

    data: str
    format: str | None = None


class InputFile(msgspec.Struct, forbid_unknown_fields=True):
    """A document, base64 or as a `data:` address, or one uploaded earlier."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class MediaUrl(msgspec.Struct, forbid_unknown_fields=True):
    """A video, sound or document by address, as GLM's vision endpoints spell it."""

    url: str


class ContentPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One part of a message's content; `type` says which of the others counts."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    input_audio: InputAudio | None = None
    file: InputFile | None = None
    video_url: MediaUrl | None = None
    audio_url: MediaUrl | None = None
    file_url: MediaUrl | None = None
    cache_control: Any = None
    """Where to cut the prefix cache: every full page is cached here, so the wish is granted."""
    prompt_cache_breakpoint: Any = None


class FunctionCall(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A name and the arguments' JSON text; some clients send the object itself."""

    name: str
    arguments: str | dict[str, Any] | None = None


class ToolCall(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A call in an assistant's turn."""

    id: str | None = None
    type: str | None = "function"
    function: FunctionCall | None = None
    custom: Any = None
    index: int | None = None


class ReasoningDetail(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """OpenRouter's form of a thought; the item goes back to its producer as it came."""

    type: str
    id: str | None = None
    index: int | None = None
    format: str | None = None
    text: str | None = None
    signature: str | None = None
    summary: str | None = None
    data: str | None = None


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One message, every role. What the reply of an earlier call held may be sent back as it is."""

    role: str
    content: str | list[ContentPart | str] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | list[ContentPart | str] | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    function_call: Any = None
    audio: Any = None
    annotations: Any = None


class Function(msgspec.Struct):
    """A declared function. Its raw form is kept too, so unknown fields are not lost."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionOut(msgspec.Struct, omit_defaults=True):
    """A call in a response; a chunk has what is new of it."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    arguments: str | msgspec.UnsetType = msgspec.UNSET


class ToolCallOut(msgspec.Struct, omit_defaults=True):
    """A call in a whole answer."""

    id: str
    function: FunctionOut
    type: str | msgspec.UnsetType = msgspec.UNSET


class ToolCallDelta(msgspec.Struct, omit_defaults=True):
    """A call, or more of it, in a chunk. The first one has id, type and name."""

    index: int
    id: str | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    function: FunctionOut | msgspec.UnsetType = msgspec.UNSET


class TopLogprobOut(msgspec.Struct):
    """A rival of a token. `bytes` are UTF-8, and exact where the token is half a character."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprobOut(msgspec.Struct):
    """A token."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprobOut]


class LogprobsOut(msgspec.Struct):
    """The tokens of an answer."""

    content: list[TokenLogprobOut] | None
    refusal: None = None


class ReasoningDetailOut(msgspec.Struct):
    """A thought, or more of it, as OpenRouter wants to see it again."""

    type: str
    text: str
    format: str
    index: int
    signature: str | None = None


class MessageOut(msgspec.Struct):
    """A whole answer. `content` is null where there is none, as with OpenAI."""

    role: str
    content: str | None
    refusal: str | None = None
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    reasoning: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_details: list[ReasoningDetailOut] | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[ToolCallOut] | msgspec.UnsetType = msgspec.UNSET


class ChoiceOut(msgspec.Struct):
    """One whole answer and why it ended. `reasoning_logprobs` is the thought's part of them."""

    index: int
    message: MessageOut
    finish_reason: str
    logprobs: LogprobsOut | None = None
    reasoning_logprobs: LogprobsOut | msgspec.UnsetType = msgspec.UNSET
    native_finish_reason: str | msgspec.UnsetType = msgspec.UNSET


class ChatCompletion(msgspec.Struct):
    """The response. `service_tier` is the one that was given, whichever was asked for."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChoiceOut]
    usage: Usage
    service_tier: str
    provider: str | msgspec.UnsetType = msgspec.UNSET
    system_fingerprint: str | msgspec.UnsetType = msgspec.UNSET
    request_id: str | msgspec.UnsetType = msgspec.UNSET
    time_info: TimeInfo | msgspec.UnsetType = msgspec.UNSET
    glimt: Extension | msgspec.UnsetType = msgspec.UNSET
    openrouter_metadata: RouterMetadata | msgspec.UnsetType = msgspec.UNSET


class Delta(msgspec.Struct):
    """What is new in a chunk."""

    role: str | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    reasoning: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_details: list[ReasoningDetailOut] | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[ToolCallDelta] | msgspec.UnsetType = msgspec.UNSET


class ChunkChoice(msgspec.Struct):
    """The news of one choice. `finish_reason` is null until its last chunk."""

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: LogprobsOut | msgspec.UnsetType = msgspec.UNSET
    reasoning_logprobs: LogprobsOut | msgspec.UnsetType = msgspec.UNSET
    native_finish_reason: str | msgspec.UnsetType = msgspec.UNSET


class Chunk(msgspec.Struct):
    """One event of a stream. `usage` is left out where there is none: null breaks some clients.

    The first chunks and the last have `service_tier`, the last what else is known at the end.
    """

    id: str
    object: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    service_tier: str | msgspec.UnsetType = msgspec.UNSET
    provider: str | msgspec.UnsetType = msgspec.UNSET
    system_fingerprint: str | msgspec.UnsetType = msgspec.UNSET
    request_id: str | msgspec.UnsetType = msgspec.UNSET
    time_info: TimeInfo | msgspec.UnsetType = msgspec.UNSET
    glimt: Extension | msgspec.UnsetType = msgspec.UNSET
    openrouter_metadata: RouterMetadata | msgspec.UnsetType = msgspec.UNSET
