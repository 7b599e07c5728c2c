"""Chat completions in types, for the API's description: body, answer, stream and errors.

`request` reads the body, field by field; a test holds the two together.
"""

from typing import Annotated, Any, Final

import msgspec

from glimt.core.limits import MAX_TOP_LOGPROBS
from glimt.wire import dialect as dialects
from glimt.wire.chat_completions.errors import CerebrasStreamError, OpenRouterError, ZaiError
from glimt.wire.chat_completions.metadata import HEADER as METADATA_HEADER
from glimt.wire.chat_completions.thinking import EFFORTS, ReasoningField, ThinkingField
from glimt.wire.chat_completions.tools import MAX_TOOLS
from glimt.wire.chat_completions.types import ChatCompletion, ChatMessage, Chunk, Function
from glimt.wire.dialect import Dialect
from glimt.wire.openai_body import SharedBody, one_of
from glimt.wire.openai_types import ErrorDetail, ErrorDocument
from glimt.wire.operation import ANSWERING, DEADLINE, EventStream, Operation, Parameter

Budget = Annotated[int, msgspec.Meta(ge=-1)]


class ToolField(msgspec.Struct):
    """A tool of the client's. Those that the server would have to run are refused.

    Attributes:
        function: What it is called, what it is for, and its arguments' JSON Schema.
    """

    function: Function
    type: Annotated[str, one_of("function")] = "function"


class ChatCompletionBody(SharedBody, kw_only=True):
    """A conversation that goes on. Any other field is accepted, and named in a warning.

    Attributes:
        messages: The conversation so far.
        tools: Functions that the model may call.
        tool_choice: `none`, `auto`, `required`, one function or an `allowed_tools` object.
        parallel_tool_calls: False means: one call at most.
        logprobs: Report the log-probability of each token.
        top_logprobs: And so many rivals of each token; needs `logprobs`.
        thinking: How to think, in Z.ai's words.
        reasoning: How to think, in OpenRouter's words.
        reasoning_effort: How much to think: a share of `max_tokens`; `none` switches it off.
        enable_thinking: Think or not.
        disable_reasoning: Do not think.
        clear_thinking: Drop the thoughts of earlier turns from the prompt.
        thinking_budget: The most tokens of a thought; 0 switches thinking off, -1 is no limit.
        thinking_token_budget: vLLM's name of `thinking_budget`.
        include_reasoning: False hides the thought, which is thought all the same.
        reasoning_format: `hidden` hides the thought.
        chat_template_kwargs: Variables of the chat template.
        continue_final_message: The answer goes on with the last message, which is the assistant's:
            with its text, or with its thought where `content` is null.
        add_generation_prompt: False with `continue_final_message`, and true otherwise.
        tool_stream: Whether a call's arguments come piece by piece.
        models: Further models to try, in order.
        provider: Wishes about who answers.
        route: How to choose among `models`.
        transforms: Changes of the prompt; none is made here.
        plugins: OpenRouter's; those that search the web are refused.
        session_id: Which conversation it is.
        request_id: What the client calls its request; comes back in the answer.
        metadata: Pairs that are kept with the request.
        modalities: Text alone is answered.
        usage: Taken; the usage is always told.
        store: Not honoured: answers of this format are not kept.
    """

    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    tools: Annotated[list[ToolField], msgspec.Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    thinking: ThinkingField | None = None
    reasoning: ReasoningField | None = None
    reasoning_effort: Annotated[str, one_of(*EFFORTS)] | None = None
    enable_thinking: bool | None = None
    disable_reasoning: bool | None = None
    clear_thinking: bool | None = None
    thinking_budget: Budget | None = None
    thinking_token_budget: Budget | None = None
    include_reasoning: bool | None = None
    reasoning_format: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    tool_stream: bool | None = None
    models: list[str] | None = None
    provider: dict[str, Any] | None = None
    route: str | None = None
    transforms: list[str] | None = None
    plugins: list[dict[str, Any]] | None = None
    session_id: str | None = None
    request_id: str | None = None
    metadata: dict[str, str] | None = None
    modalities: list[Annotated[str, one_of("text")]] | None = None
    usage: Any = None
    store: bool | None = None


EXAMPLE: Final = {
    "model": "glm-4.7-flash",
    "messages": [{"role": "user", "content": "What is 17 + 25?"}],
}
_GROUPS: Final = {
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "zai": "Z.ai",
    "cerebras": "Cerebras",
}
ERRORS: Final = (ErrorDocument, OpenRouterError, ZaiError, ErrorDetail)
"""OpenAI's, OpenRouter's, Z.ai's and Cerebras's: the header chooses, whatever the path."""
_PARAMETERS: Final = (
    DEADLINE,
    Parameter(
        name=dialects.HEADER,
        place="header",
        description="Whose spelling the answer has, whatever the path.",
        type=Annotated[str, one_of(*_GROUPS)],
    ),
    Parameter(
        name="x-session-id", place="header", description="The same as `session_id` in the body."
    ),
    Parameter(
        name=METADATA_HEADER,
        place="header",
        description="`enabled` adds `openrouter_metadata`: who could answer, who was tried, why.",
    ),
)
_STREAM: Final = EventStream(
    description="With `stream`, chunks; the last has `usage`. A stream that fails in the middle "
    "ends with an error in place of the rest.",
    events={"message": (Chunk, ErrorDocument, OpenRouterError, ZaiError, CerebrasStreamError)},
    end="[DONE]",
)


def describe(dialect: Dialect) -> Operation:
    """Chat completions at the path of a dialect."""
    own = "Thoughts of earlier turns are kept." if dialect.keeps_thoughts else ""
    return Operation(
        group=_GROUPS[dialect.name],
        summary="Continue a conversation",
        description=own,
        parameters=_PARAMETERS,
        body=ChatCompletionBody,
        example=EXAMPLE,
        answer=ChatCompletion,
        stream=_STREAM,
        error=ERRORS,
        errors=ANSWERING,
    )
