"""Anthropic's Messages in types, for the API's description. A test holds `request` to them."""

from typing import Annotated, Any, Final

import msgspec

from glimt.core.limits import MAX_STOPS
from glimt.wire.chat_completions.tools import MAX_TOOLS
from glimt.wire.messages.codec import TokenCount
from glimt.wire.messages.errors import STATUSES, ErrorDocument
from glimt.wire.messages.request import TIERS
from glimt.wire.messages.types import (
    Block,
    BlockDelta,
    BlockStart,
    BlockStop,
    ContextManagement,
    FormatField,
    MessageDelta,
    MessageField,
    MessageOut,
    MessageStart,
    MessageStop,
    OutputConfig,
    Ping,
    ThinkingField,
    ToolChoiceField,
    ToolField,
)
from glimt.wire.openai_body import one_of, within
from glimt.wire.operation import ANSWERING, DEADLINE, EventStream, Operation, Parameter

GROUP: Final = "Anthropic"
Stop = Annotated[str, msgspec.Meta(min_length=1)]


class PromptBody(msgspec.Struct, kw_only=True):
    """A conversation. Any other field is accepted, and named in a warning.

    What is about the answer alone is taken where tokens are counted too, and changes nothing.

    Attributes:
        model: Who shall answer; `GET /v1/models` lists the names.
        messages: The conversation so far.
        system: Instructions that it opens with.
        tools: Functions that the model may call.
        tool_choice: Whether and what to call.
        thinking: How to think.
        output_config: How much to think, and what the answer has to look like.
        output_format: An older place of `output_config.format`.
        context_management: Which thoughts of earlier turns stay.
        cache_control: Taken; every full page of a prompt is cached anyway.
        stream: Whether the answer comes in pieces, as server-sent events.
        temperature: 0 is greedy.
        top_p: The smallest set of tokens that is this likely together.
        top_k: The so many most likely tokens.
        stop_sequences: Texts that end the answer and are not part of it.
        metadata: `user_id` says who asks; other pairs are kept with the request.
        service_tier: How urgent it is.
        models: Further models to try, in order.
        provider: Wishes about who answers.
        route: How to choose among `models`.
        transforms: Changes of the prompt; none is made here.
        plugins: OpenRouter's; those that search the web are refused.
        usage: Taken; the usage is always told.
        session_id: Which conversation it is.
        prompt_cache_key: A hint which requests begin alike.
        cache_salt: Prefixes are shared among requests of the same salt alone.
        deadline_s: After so many seconds nobody needs the answer any more.
    """

    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[MessageField], msgspec.Meta(min_length=1)]
    system: str | list[Block] | None = None
    tools: Annotated[list[ToolField], msgspec.Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceField | None = None
    thinking: ThinkingField | None = None
    output_config: OutputConfig | None = None
    output_format: FormatField | None = None
    context_management: ContextManagement | None = None
    cache_control: dict[str, Any] | None = None
    stream: bool | None = None
    temperature: Annotated[float, within("temperature")] | None = None
    top_p: Annotated[float, within("top_p")] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    stop_sequences: Annotated[list[Stop], msgspec.Meta(max_length=MAX_STOPS)] | None = None
    metadata: dict[str, str | None] | None = None
    service_tier: Annotated[str, one_of(*TIERS)] | None = None
    models: list[str] | None = None
    provider: dict[str, Any] | None = None
    route: str | None = None
    transforms: list[str] | None = None
    plugins: list[dict[str, Any]] | None = None
    usage: Any = None
    session_id: str | None = None
    prompt_cache_key: str | None = None
    cache_salt: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    deadline_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


class CountBody(PromptBody, kw_only=True):
    """A conversation to be counted. Any other field is accepted, and named in a warning.

    Attributes:
        max_tokens: Taken; there is no answer to limit.
    """

    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None


class MessagesBody(PromptBody, kw_only=True):
    """A conversation that goes on. Any other field is accepted, and named in a warning.

    Attributes:
        max_tokens: The most tokens of the answer, thought included.
    """

    max_tokens: Annotated[int, msgspec.Meta(ge=1)]


_EXAMPLE: Final[dict[str, Any]] = {
    "model": "glm-4.7-flash",
    "messages": [{"role": "user", "content": "What is 17 + 25?"}],
}
_PARAMETERS: Final = (
    Parameter(
        name="anthropic-version",
        place="header",
        description="Taken; there is one version here.",
        example="2023-06-01",
    ),
    Parameter(name="anthropic-beta", place="header", description="Taken; the body counts."),
)

MESSAGES: Final = Operation(
    group=GROUP,
    summary="Continue a conversation",
    description="What Anthropic's SDKs and Claude Code send.",
    parameters=(
        DEADLINE,
        *_PARAMETERS,
        Parameter(
            name="x-session-id", place="header", description="The same as `session_id` in the body."
        ),
    ),
    body=MessagesBody,
    example={"max_tokens": 1000, **_EXAMPLE},
    answer=MessageOut,
    stream=EventStream(
        description="With `stream`, blocks one after the other; the last event is `message_stop` "
        "or `error`.",
        events={
            "message_start": MessageStart,
            "content_block_start": BlockStart,
            "content_block_delta": BlockDelta,
            "content_block_stop": BlockStop,
            "message_delta": MessageDelta,
            "message_stop": MessageStop,
            "ping": Ping,
            "error": ErrorDocument,
        },
    ),
    error=ErrorDocument,
    errors=ANSWERING,
    statuses=STATUSES,
)
"""`POST /v1/messages`."""

COUNT_TOKENS: Final = Operation(
    group=GROUP,
    summary="Count the tokens of a conversation",
    description="The prompt as the model would read it, template and tools included.",
    parameters=_PARAMETERS,
    body=CountBody,
    example=_EXAMPLE,
    answer=TokenCount,
    error=ErrorDocument,
    errors=ANSWERING,
    statuses=STATUSES,
)
"""`POST /v1/messages/count_tokens`."""
