"""The shapes of a language model's call and answer, all generations in one.

https://github.com/vercel/ai/tree/main/packages/provider/src/language-model. Shapes only: meaning is
given to requests in `prompt` and `request`, to answers in `events`. Request shapes refuse unknown
fields, so that the reader learns about them; it then leaves them out and says so. A JSON value that
is not there is an empty `Raw`.
"""

from typing import Any, Literal

import msgspec


class ToolOutput(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """What a tool answered; `type` says what `value` is."""

    type: str
    value: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    reason: str | None = None
    provider_options: dict[str, Any] | None = None


class PromptPart(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One part of a message's content; `type` says which of the others count."""

    type: str
    text: str | None = None
    data: str | dict[str, Any] | None = None
    media_type: str | None = None
    filename: str | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    input: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    output: ToolOutput | None = None
    provider_executed: bool | None = None
    provider_options: dict[str, Any] | None = None
    approval_id: str | None = None
    approved: bool | None = None
    reason: str | None = None
    kind: str | None = None


class PromptMessage(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One message. A system message is text, any other one parts."""

    role: str
    content: str | list[PromptPart]
    provider_options: dict[str, Any] | None = None


class SentText(msgspec.Struct, tag="text", gc=False):
    """Text, as a client sends it. What it sends by the hundred has a shape of its own."""

    text: str


class SentCall(msgspec.Struct, rename="camel", tag="tool-call", gc=False):
    """A call, as a client sends it."""

    tool_call_id: str
    tool_name: str
    input: msgspec.Raw


class SentResult(msgspec.Struct, rename="camel", tag="tool-result", gc=False):
    """What a tool answered, as a client sends it."""

    tool_call_id: str
    tool_name: str
    output: "SentOutput | dict[str, Any]"


class SentOutput(msgspec.Struct, gc=False):
    """The text that a tool answered; `type` says whether it is an error's."""

    type: str
    value: str


class OutputPart(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """A part of what a tool answered, where that is no mere text or value."""

    type: str
    text: str | None = None
    data: str | dict[str, Any] | None = None
    url: str | None = None
    media_type: str | None = None
    filename: str | None = None
    provider_options: dict[str, Any] | None = None


class FunctionTool(msgspec.Struct, rename="camel"):
    """A declared function. `inputExamples` have no place in a model's prompt here."""

    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    provider_options: dict[str, Any] | None = None
    input_examples: list[Any] | None = None
    type: str = "function"


class PlainTool(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """A declared function of which nothing has to be warned about."""

    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    type: Literal["function"] = "function"


class ToolChoiceField(msgspec.Struct, rename="camel"):
    """Whether and what to call."""

    type: str
    tool_name: str | None = None


class ResponseFormatField(msgspec.Struct, rename="camel"):
    """What the answer has to look like."""

    type: str
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None


class Part(msgspec.Struct, rename="camel", omit_defaults=True):
    """One event of a stream, and one part of a whole answer's content."""

    type: str
    id: str | None = None
    delta: str | None = None
    text: str | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    input: str | None = None
    model_id: str | None = None
    timestamp: str | None = None
    warnings: list[dict[str, str]] | None = None
    usage: dict[str, Any] | None = None
    finish_reason: str | dict[str, str] | None = None
    provider_metadata: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class ResponseMetadata(msgspec.Struct, rename="camel"):
    """Which answer this is. `timestamp` is ISO 8601."""

    id: str
    model_id: str
    timestamp: str


class GenerateResult(msgspec.Struct, rename="camel"):
    """A whole answer."""

    content: list[Part]
    finish_reason: str | dict[str, str]
    usage: dict[str, Any]
    provider_metadata: dict[str, Any]
    response: ResponseMetadata
    warnings: list[dict[str, str]]
