"""The Responses format in types, for the API's description: bodies, answers, events and errors.

`request` reads the body, field by field; a test holds the two together. Of events `StreamEvent` has
every member there is; here each kind has its own.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from glimt.core import errors
from glimt.core.limits import MAX_TOP_LOGPROBS
from glimt.wire.chat_completions.thinking import EFFORTS, ThinkingField
from glimt.wire.chat_completions.tools import MAX_TOOLS
from glimt.wire.openai_body import SamplingBody, one_of
from glimt.wire.openai_types import ErrorDocument
from glimt.wire.operation import ANSWERING, DEADLINE, EventStream, Operation, Parameter
from glimt.wire.responses.request import MIN_OUTPUT_TOKENS
from glimt.wire.responses.types import (
    Deleted,
    InputCount,
    InputItem,
    ItemList,
    ItemOut,
    ReasoningField,
    Resource,
    SummaryOut,
    TextField,
    TextOut,
    ThoughtOut,
    TokenLogprobOut,
)

Budget = Annotated[int, msgspec.Meta(ge=-1)]


class ResponseBody(SamplingBody, kw_only=True):
    """What to answer. Any other field is accepted, and named in a warning.

    Attributes:
        input: Text, or items; an answer's own items may be sent back as they are.
        instructions: What the system says before everything else.
        previous_response_id: The kept response that this one continues.
        store: Whether the response is kept. It is, where nothing else is said.
        max_output_tokens: The most tokens of an answer, thought included.
        text: What the answer has to look like.
        reasoning: How to think. With a `summary`, thoughts come as summaries, in full.
        tools: Functions that the model may call; other kinds are left out, and named in a warning.
        tool_choice: `none`, `auto`, `required`, one tool or an `allowed_tools` object.
        parallel_tool_calls: False means: one call at most.
        max_tool_calls: Taken; it limits tools that a server runs, and none is run here.
        include: `reasoning.encrypted_content` and `message.output_text.logprobs` are heard.
        top_logprobs: So many rivals of each token.
        truncation: A conversation that is too long is refused, whatever this says.
        metadata: Pairs that are kept with the response.
        reasoning_effort: How much to think, in the words of chat completions.
        thinking: How to think, in Z.ai's words.
        enable_thinking: Think or not.
        disable_reasoning: Do not think.
        clear_thinking: Drop the thoughts of earlier turns from the prompt.
        thinking_budget: The most tokens of a thought; 0 switches thinking off, -1 is no limit.
        thinking_token_budget: vLLM's name of `thinking_budget`.
        include_reasoning: False hides the thought, which is thought all the same.
        reasoning_format: `hidden` hides the thought.
        chat_template_kwargs: Variables of the chat template.
        models: Further models to try, in order.
        provider: Wishes about who answers.
        route: How to choose among `models`.
        transforms: Changes of the prompt; none is made here.
        plugins: OpenRouter's; those that search the web are refused.
        session_id: Which conversation it is.
        usage: Taken; the usage is always told.
    """

    input: str | list[InputItem] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=MIN_OUTPUT_TOKENS)] | None = None
    text: TextField | None = None
    reasoning: ReasoningField | None = None
    tools: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, msgspec.Meta(ge=1)] | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    truncation: Annotated[str, one_of("auto", "disabled")] | None = None
    metadata: dict[str, str] | None = None
    reasoning_effort: Annotated[str, one_of(*EFFORTS)] | None = None
    thinking: ThinkingField | None = None
    enable_thinking: bool | None = None
    disable_reasoning: bool | None = None
    clear_thinking: bool | None = None
    thinking_budget: Budget | None = None
    thinking_token_budget: Budget | None = None
    include_reasoning: bool | None = None
    reasoning_format: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    models: list[str] | None = None
    provider: dict[str, Any] | None = None
    route: str | None = None
    transforms: list[str] | None = None
    plugins: list[dict[str, Any]] | None = None
    session_id: str | None = None
    usage: Any = None


_MEMBERS: Final[Mapping[str, Any]] = {
    "response": Resource,
    "item": ItemOut,
    "part": TextOut | ThoughtOut | SummaryOut,
    "item_id": str,
    "output_index": int,
    "content_index": int,
    "summary_index": int,
    "delta": str,
    "text": str,
    "arguments": str,
    "input": str,
    "name": str,
    "logprobs": list[TokenLogprobOut],
    "code": str | None,
    "message": str,
    "param": str | None,
}
_PLACE: Final = ("item_id", "output_index")
_TEXT_PLACE: Final = (*_PLACE, "content_index")
_SUMMARY_PLACE: Final = (*_PLACE, "summary_index")
EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "response.created": ("response",),
    "response.in_progress": ("response",),
    "response.output_item.added": ("output_index", "item"),
    "response.content_part.added": (*_TEXT_PLACE, "part"),
    "response.output_text.delta": (*_TEXT_PLACE, "delta", "logprobs"),
    "response.output_text.done": (*_TEXT_PLACE, "text", "logprobs"),
    "response.reasoning_text.delta": (*_TEXT_PLACE, "delta"),
    "response.reasoning_text.done": (*_TEXT_PLACE, "text"),
    "response.reasoning_summary_part.added": (*_SUMMARY_PLACE, "part"),
    "response.reasoning_summary_text.delta": (*_SUMMARY_PLACE, "delta"),
    "response.reasoning_summary_text.done": (*_SUMMARY_PLACE, "text"),
    "response.reasoning_summary_part.done": (*_SUMMARY_PLACE, "part"),
    "response.content_part.done": (*_TEXT_PLACE, "part"),
    "response.function_call_arguments.delta": (*_PLACE, "delta"),
    "response.function_call_arguments.done": (*_PLACE, "name", "arguments"),
    "response.custom_tool_call_input.delta": (*_PLACE, "delta"),
    "response.custom_tool_call_input.done": (*_PLACE, "input"),
    "response.output_item.done": ("output_index", "item"),
    "response.completed": ("response",),
    "response.incomplete": ("response",),
    "response.failed": ("response",),
    "error": ("code", "message", "param"),
}
"""Members of each kind of event, beside `type` and `sequence_number`."""


def _event(name: str, members: tuple[str, ...]) -> type[msgspec.Struct]:
    words = name.removeprefix("response.").replace(".", "_").split("_")
    title = "".join(word.capitalize() for word in words)
    fields = [("sequence_number", int), *((member, _MEMBERS[member]) for member in members)]
    return msgspec.defstruct(
        f"{title}Event",
        fields,
        tag=name,
        module=__name__,
        namespace={"__doc__": f"The event `{name}`."},
    )


_STREAM: Final = EventStream(
    description="With `stream`, events that are numbered through. Items come one after another: "
    "each is added, grows part by part and is done. The last event has the whole response; a "
    "stream that fails in the middle ends with `response.failed`, or `error` before it began.",
    events={name: _event(name, members) for name, members in EVENTS.items()},
    end="[DONE]",
)
_ONE: Final = Parameter(name="response_id", place="path", description="The id of a kept response.")
_KEPT: Final = (
    errors.InvalidRequest,
    errors.NotFound,
    errors.InternalError,
    errors.Unavailable,
)
"""What comes of asking for a kept response."""
_EXAMPLE: Final = {"model": "glm-4.7-flash", "input": "What is 17 + 25?"}
_GROUP: Final = "Responses"

CREATE: Final = Operation(
    group=_GROUP,
    summary="Answer",
    description="The response is kept, and can be continued, unless `store` is false.",
    parameters=(DEADLINE,),
    body=ResponseBody,
    example=_EXAMPLE,
    answer=Resource,
    stream=_STREAM,
    error=ErrorDocument,
    errors=ANSWERING,
)
COUNT: Final = Operation(
    group=_GROUP,
    summary="Count the tokens of a prompt",
    description="The body is that of a response; what has no part in the prompt is checked and "
    "left aside. The number is exact: the prompt is rendered as for an answer.",
    parameters=(DEADLINE,),
    body=ResponseBody,
    example=_EXAMPLE,
    answer=InputCount,
    error=ErrorDocument,
    errors=ANSWERING,
)
RETRIEVE: Final = Operation(
    group=_GROUP,
    summary="Read a kept response",
    parameters=(
        _ONE,
        Parameter(
            name="stream",
            place="query",
            description="A kept response is read whole: true is refused.",
            type=bool,
        ),
    ),
    answer=Resource,
    error=ErrorDocument,
    errors=_KEPT,
)
DELETE: Final = Operation(
    group=_GROUP,
    summary="Forget a kept response",
    description="What continues it is kept, and can be continued no further.",
    parameters=(_ONE,),
    answer=Deleted,
    error=ErrorDocument,
    errors=_KEPT,
)
CANCEL: Final = Operation(
    group=_GROUP,
    summary="Cancel a response in the background",
    description="There are none: an answer is given while you wait. Close the connection to end "
    "it.",
    parameters=(_ONE,),
    answer=Resource,
    error=ErrorDocument,
    errors=_KEPT,
)
INPUT_ITEMS: Final = Operation(
    group=_GROUP,
    summary="List the input of a kept response",
    parameters=(
        _ONE,
        Parameter(
            name="limit",
            place="query",
            description="The most items of a page; 20 where nothing is said.",
            type=Annotated[int, msgspec.Meta(ge=1, le=100)],
        ),
        Parameter(
            name="order",
            place="query",
            description="`desc`, where nothing is said: the newest first.",
            type=Annotated[str, one_of("asc", "desc")],
        ),
        Parameter(name="after", place="query", description="The last item of the page before."),
    ),
    answer=ItemList,
    error=ErrorDocument,
    errors=_KEPT,
)
