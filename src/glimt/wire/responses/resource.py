"""The response as a resource: what an answer is in the Responses format, whole or so far.

Thoughts are items of `reasoning_text`, or of `summary_text` where a client asks for a summary:
most clients show nothing else, and GLM's thoughts need no shortening to be shown. Calls that were
cut off have the status incomplete and no end.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.events import Answer, Choice, FinishReason, Started, TokenLogprob
from glimt.core.ids import new_id
from glimt.core.parts import ReasoningPart, RefusalPart, TextPart, ToolCallPart
from glimt.core.usage import Timing, Usage as CoreUsage
from glimt.wire.chat_completions.types import TokenLogprobOut, TopLogprobOut
from glimt.wire.codec import all_warnings, client_message
from glimt.wire.openai_types import extension_of
from glimt.wire.responses import types
from glimt.wire.responses.call import ResponseCall, ThoughtSeal, ToolWord
from glimt.wire.responses.items import CUSTOM_INPUT

_REASONS: Final[dict[FinishReason, str]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
_CODES: Final = {"internal_error": "server_error"}
"""OpenAI's word, where it has one for what we call differently."""
_OURS: Final = "glimt-"


class Ids:
    """Ids of one response and its items: a prefix that says what it is, then the answer's own."""

    def __init__(self, started: Started) -> None:
        known = started.id.startswith(_OURS)
        self._number = started.id.removeprefix(_OURS) if known else new_id("")
        self.response = f"resp_{self._number}"

    def item(self, prefix: str, index: int) -> str:
        """The id of an item of the output, by its place."""
        return f"{prefix}_{self._number}_{index}"


def opened(call: ResponseCall, started: Started, ids: Ids) -> types.Resource:
    """A response that has begun."""
    return types.Resource(
        id=ids.response,
        created_at=started.created,
        status="in_progress",
        model=started.model,
        output=[],
        previous_response_id=call.previous,
        service_tier=started.service_class,
        **call.echo,
    )


def finish(
    resource: types.Resource, reason: FinishReason, usage: CoreUsage, timing: Timing
) -> None:
    """How and when it ended, and the bill."""
    resource.usage = usage_of(usage)
    if reason in ("stop", "tool_calls"):
        resource.status = "completed"
        resource.completed_at = resource.created_at + math.ceil(timing.total_s)
    elif reason == "error":
        resource.status = "failed"
        resource.error = types.ErrorOut(code="server_error", message="The answer broke off.")
    else:
        resource.status = "incomplete"
        resource.incomplete_details = types.IncompleteDetails(reason=_REASONS[reason])


def encode_answer(call: ResponseCall, answer: Answer, seal: ThoughtSeal | None) -> types.Resource:
    """The whole answer."""
    ids = Ids(answer.started)
    resource = opened(call, answer.started, ids)
    choice = answer.choices[0]
    resource.output = _output(call, choice, ids, seal)
    finish(resource, choice.reason, answer.usage, answer.timing)
    resource.glimt = extension_of(all_warnings(call, answer.started.warnings, answer.warnings))
    return resource


def _output(
    call: ResponseCall, choice: Choice, ids: Ids, seal: ThoughtSeal | None
) -> list[types.ItemOut]:
    output: list[types.ItemOut] = []
    logprobs = logprobs_of(choice.logprobs) if call.wants_logprobs else []
    for part in choice.parts:
        index = len(output)
        match part:
            case TextPart():
                text = types.TextOut(text=part.text, logprobs=logprobs)
                logprobs = []
                output.append(message(ids.item("msg", index), text))
            case RefusalPart():
                refusal = types.RefusalOut(refusal=part.text)
                output.append(message(ids.item("msg", index), refusal))
            case ReasoningPart():
                item_id = ids.item("rs", index)
                item = thought(call, item_id, part.text, signature=part.signature, seal=seal)
                if item is not None:
                    output.append(item)
            case ToolCallPart():
                word = call.tools.get(part.name) or ToolWord(name=part.name)
                output.append(tool_call(ids, index, part, word))
            case _:
                pass
    if choice.reason not in ("stop", "tool_calls") and output:
        # What was cut off is the last item, as in a stream.
        output[-1].status = "incomplete"
    return output


def message(item_id: str, part: types.TextOut | types.RefusalOut) -> types.MessageOut:
    """A message of one part."""
    return types.MessageOut(id=item_id, status="completed", content=[part])


def thought(
    call: ResponseCall,
    item_id: str,
    text: str,
    *,
    signature: str | None,
    seal: ThoughtSeal | None,
) -> types.ReasoningOut | None:
    """A thought as the client wants to have it; None where it is to have nothing of it."""
    sealed = signature
    if sealed is None and call.seals and seal is not None:
        sealed = seal.close(text)
    item = types.ReasoningOut(id=item_id, summary=[])
    if sealed is not None:
        item.encrypted_content = sealed
    if call.request.thinking.hidden:
        return None if sealed is None else item
    if call.thoughts == "summary":
        item.summary = [types.SummaryOut(text=text)]
    else:
        item.content = [types.ThoughtOut(text=text)]
    return item


def tool_call(
    ids: Ids, index: int, part: ToolCallPart, word: ToolWord
) -> types.CallOut | types.CustomCallOut:
    """A call in the client's words."""
    namespace = msgspec.UNSET if word.namespace is None else word.namespace
    if word.custom:
        return types.CustomCallOut(
            id=ids.item("ctc", index),
            call_id=part.id,
            name=word.name,
            input=custom_input(part.arguments),
            status="completed",
            namespace=namespace,
        )
    return types.CallOut(
        id=ids.item("fc", index),
        call_id=part.id,
        name=word.name,
        arguments=part.arguments,
        status="completed",
        namespace=namespace,
    )


def custom_input(arguments: str) -> str:
    """The plain text that a custom tool is called with; all of it where it is not as declared."""
    try:
        document: Any = msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments
    match document:
        case {"input": str(text)} if len(document) == 1:
            return text
        case _:
            return arguments


assert CUSTOM_INPUT == "input"


def usage_of(usage: CoreUsage) -> types.Usage:
    """The bill."""
    return types.Usage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=types.InputDetails(cached_tokens=usage.cached_tokens),
        output_tokens=usage.completion_tokens,
        output_tokens_details=types.OutputDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.total_tokens,
    )


def logprobs_of(tokens: Sequence[TokenLogprob]) -> list[TokenLogprobOut]:
    """Tokens of the answer."""
    return [
        TokenLogprobOut(
            token=token.token,
            logprob=token.logprob,
            bytes=list(token.token_bytes),
            top_logprobs=[
                TopLogprobOut(token=r.token, logprob=r.logprob, bytes=list(r.token_bytes))
                for r in token.top
            ],
        )
        for token in tokens
    ]


def failure(error: GlimtError, call: ResponseCall) -> types.ErrorOut:
    """Why a response failed."""
    return types.ErrorOut(
        code=_CODES.get(error.code, error.code), message=client_message(error, call.names)
    )
