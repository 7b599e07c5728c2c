"""The shapes of OpenAI's Responses format: items in, the resource and its items out.

https://platform.openai.com/docs/api-reference/responses, https://www.openresponses.org/reference.
Shapes only. Input shapes refuse unknown fields, so that the reader learns about them; it then
leaves them out and says so. Of several kinds in one shape `type` says which fields count.
"""

from typing import Any

import msgspec

from glimt.wire.chat_completions.types import InputAudio, TokenLogprobOut
from glimt.wire.openai_types import Extension


class InputContent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One part of an item's content; an answer's own parts may be sent back as they are."""

    type: str = "input_text"
    text: str | None = None
    refusal: str | None = None
    image_url: str | dict[str, Any] | None = None
    detail: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    input_audio: InputAudio | None = None
    annotations: list[dict[str, Any]] | None = None
    logprobs: Any = None
    prompt_cache_breakpoint: Any = None
    """Where to cut the prefix cache: every full page is cached here, so the wish is granted."""


class InputItem(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One item of the input. Without a type it is a message."""

    type: str | None = "message"
    id: str | None = None
    status: str | None = None
    role: str | None = None
    content: str | list[InputContent | str] | None = None
    phase: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None
    output: str | list[InputContent | str] | None = None
    summary: list[InputContent] | None = None
    encrypted_content: str | None = None
    caller: Any = None
    created_by: Any = None


class SentMessage(msgspec.Struct, tag="message", gc=False):
    """A message, as a client sends it. What it sends by the hundred has a shape of its own."""

    role: str
    content: "list[SentText | dict[str, Any]]"


class SentText(msgspec.Struct, gc=False):
    """Text, as a client sends it; `type` says whose."""

    type: str
    text: str


class SentCall(msgspec.Struct, tag="function_call", gc=False):
    """A call, as a client sends it."""

    call_id: str
    name: str
    arguments: str


class SentResult(msgspec.Struct, tag="function_call_output", gc=False):
    """What a function answered, as a client sends it."""

    call_id: str
    output: str | list[dict[str, Any]]


class ReasoningField(msgspec.Struct):
    """`reasoning`. The last three are OpenRouter's."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    enabled: bool | None = None
    max_tokens: int | float | None = None
    exclude: bool | None = None


class FormatField(msgspec.Struct):
    """`text.format`."""

    type: str = "text"
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    pattern: str | None = None
    grammar: str | None = None
    syntax: str | None = None


class TextField(msgspec.Struct):
    """`text`."""

    format: FormatField | None = None
    verbosity: str | None = None


class FunctionTool(msgspec.Struct):
    """A declared function. Its raw form is kept too, so unknown fields are not lost."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class TextOut(msgspec.Struct, tag="output_text"):
    """Text of an answer."""

    text: str
    annotations: list[dict[str, Any]] = []
    logprobs: list[TokenLogprobOut] = []


class RefusalOut(msgspec.Struct, tag="refusal"):
    """A refusal."""

    refusal: str


class ThoughtOut(msgspec.Struct, tag="reasoning_text"):
    """A thought as it was thought."""

    text: str


class SummaryOut(msgspec.Struct, tag="summary_text"):
    """A thought as clients show it."""

    text: str


class MessageOut(msgspec.Struct, tag="message"):
    """A message of the assistant."""

    id: str
    status: str
    content: list[TextOut | RefusalOut]
    role: str = "assistant"


class ReasoningOut(msgspec.Struct, tag="reasoning"):
    """A thought. `encrypted_content` is absent where there is none: null breaks clients."""

    id: str
    summary: list[SummaryOut]
    content: list[ThoughtOut] | msgspec.UnsetType = msgspec.UNSET
    encrypted_content: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET


class CallOut(msgspec.Struct, tag="function_call"):
    """A call of a function."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: str
    namespace: str | msgspec.UnsetType = msgspec.UNSET


class CustomCallOut(msgspec.Struct, tag="custom_tool_call"):
    """A call of a tool that takes plain text."""

    id: str
    call_id: str
    name: str
    input: str
    status: str
    namespace: str | msgspec.UnsetType = msgspec.UNSET


ItemOut = MessageOut | ReasoningOut | CallOut | CustomCallOut


class InputDetails(msgspec.Struct):
    """Parts of the prompt. What a prompt leaves in the cache costs nothing, so none is counted."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct):
    """Parts of the answer."""

    reasoning_tokens: int = 0


class Usage(msgspec.Struct):
    """The bill, in tokens."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ErrorOut(msgspec.Struct):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct):
    """Why a response is not whole."""

    reason: str


class Resource(msgspec.Struct):
    """The response. Open Responses wants every member but the last one there, null or not."""

    id: str
    created_at: int
    status: str
    model: str
    output: list[ItemOut]
    object: str = "response"
    completed_at: int | None = None
    error: ErrorOut | None = None
    incomplete_details: IncompleteDetails | None = None
    usage: Usage | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    text: dict[str, Any] = {}
    reasoning: dict[str, Any] = {}
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    truncation: str = "disabled"
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    store: bool = True
    background: bool = False
    service_tier: str = "default"
    metadata: dict[str, str] = {}
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    user: str | msgspec.UnsetType = msgspec.UNSET
    glimt: Extension | msgspec.UnsetType = msgspec.UNSET


class Deleted(msgspec.Struct):
    """A response that is kept no longer."""

    id: str
    object: str = "response"
    deleted: bool = True


class ItemList(msgspec.Struct, kw_only=True):
    """A page of a response's input; its items are as the client wrote them, with type and id."""

    object: str = "list"
    data: list[Any]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputCount(msgspec.Struct):
    """How long a prompt is."""

    input_tokens: int
    object: str = "response.input_tokens"
