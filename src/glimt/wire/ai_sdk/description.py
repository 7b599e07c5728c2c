"""The AI SDK's gateway protocol in types, for the API's description.

A test holds `request` to them.
"""

from typing import Annotated, Any

import msgspec

from glimt.core.limits import MAX_STOPS
from glimt.wire.ai_sdk.errors import ErrorDocument
from glimt.wire.ai_sdk.generation import (
    MODEL_HEADER,
    STREAM_HEADER,
    VERSION_HEADER,
    Generation,
)
from glimt.wire.ai_sdk.types import (
    FunctionTool,
    GenerateResult,
    Part,
    PromptMessage,
    ResponseFormatField,
    ToolChoiceField,
)
from glimt.wire.chat_completions.thinking import EFFORTS
from glimt.wire.chat_completions.tools import MAX_TOOLS
from glimt.wire.openai_body import one_of, within
from glimt.wire.operation import ANSWERING, DEADLINE, EventStream, Operation, Parameter
from glimt.wire.sampling import MAX_INTEGER

GROUP = "AI SDK"
Stop = Annotated[str, msgspec.Meta(min_length=1)]


class LanguageModelBody(msgspec.Struct, rename="camel", kw_only=True):
    """A call of a language model. Which model, and whether it streams, are said in headers.

    Attributes:
        prompt: The conversation so far.
        tools: Functions that the model may call.
        tool_choice: Whether and what to call.
        response_format: What the answer has to look like.
        max_output_tokens: The most tokens of an answer, thought included.
        temperature: 0 is greedy.
        stop_sequences: Texts that end the answer and are not part of it.
        seed: The same seed gives the same answer.
        reasoning: A level of effort; `none` switches thinking off.
        provider_options: Settings by the name of whom they are for: `glimt` and other GLM servers,
            and `gateway` for wishes about who answers.
        headers: What the caller's headers were; they are read where they are sent.
        include_raw_chunks: Not honoured: there are no other chunks than these.
    """

    prompt: Annotated[list[PromptMessage], msgspec.Meta(min_length=1)]
    tools: Annotated[list[FunctionTool], msgspec.Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceField | None = None
    response_format: ResponseFormatField | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, within("temperature")] | None = None
    top_p: Annotated[float, within("top_p")] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    presence_penalty: Annotated[float, within("presence_penalty")] | None = None
    frequency_penalty: Annotated[float, within("frequency_penalty")] | None = None
    stop_sequences: Annotated[list[Stop], msgspec.Meta(max_length=MAX_STOPS)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-MAX_INTEGER - 1, le=MAX_INTEGER)] | None = None
    reasoning: Annotated[str, one_of("provider-default", *EFFORTS)] | None = None
    provider_options: dict[str, dict[str, Any]] | None = None
    headers: dict[str, Any] | None = None
    include_raw_chunks: bool | None = None


def describe(generation: Generation) -> Operation:
    """A call at the path of a generation."""
    return Operation(
        group=GROUP,
        summary=f"Call a language model (specification {generation.version})",
        description="What `createGateway({baseURL})` of the AI SDK sends.",
        parameters=(
            Parameter(
                name=MODEL_HEADER,
                place="header",
                description="Who shall answer; `GET /v1/models` lists the names.",
                type=Annotated[str, msgspec.Meta(min_length=1)],
                required=True,
                example="glm-4.7-flash",
            ),
            Parameter(
                name=STREAM_HEADER,
                place="header",
                description="`true` asks for a stream.",
                type=Annotated[str, one_of("true", "false")],
            ),
            Parameter(
                name=VERSION_HEADER,
                place="header",
                description="The specification's version; the path counts.",
            ),
            DEADLINE,
        ),
        body=LanguageModelBody,
        example={
            "prompt": [{"role": "user", "content": [{"type": "text", "text": "What is 17 + 25?"}]}]
        },
        answer=GenerateResult,
        stream=EventStream(
            description=f"With `{STREAM_HEADER}: true`, the parts of the answer; the last is "
            "`finish` or `error`.",
            events={"message": Part},
        ),
        error=ErrorDocument,
        errors=ANSWERING,
    )
