"""The client's side of a request: core's request as a Responses body.

The inverse of `request.decode_request`, for providers that speak this format. Nothing is left with
the provider (`store` is false): the whole conversation is sent. What the format has no word for is
refused by name, never left out.
"""

import base64
from typing import Any, Final, assert_never

from glimt.core.errors import UnsupportedParameter
from glimt.core.parts import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from glimt.core.request import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    Request,
    ResponseFormat,
    TextFormat,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.wire.chat_completions.asking import data_address, sampling_fields
from glimt.wire.chat_completions.routing import write_routing
from glimt.wire.codec import json_object
from glimt.wire.responses.request import ENCRYPTED, LOGPROBS
from glimt.wire.responses.types import SentCall, SentMessage, SentResult, SentText

_CONTEXTS: Final = {True: "current_turn", False: "all_turns"}


def encode_request(request: Request, *, stream: bool = False) -> bytes:
    """A body.

    Raises:
        UnsupportedParameter: The request continues a raw prompt, wants several answers, or has a
            part that this format has no place for.
    """
    if request.prompt is not None:
        raise UnsupportedParameter("A raw prompt is no conversation.", param="prompt")
    if request.num_choices != 1:
        raise UnsupportedParameter("num_choices: this format has one answer.", param="num_choices")
    if request.continues:
        raise UnsupportedParameter(
            "continues: answers of this format always begin anew.", param="continues"
        )
    items: list[Any] = []
    for index, message in enumerate(request.messages):
        _add(items, message, index)
    body: dict[str, Any] = {
        "model": request.model,
        "input": items,
        "store": False,
        **_sampling(request),
        **_thinking(request.thinking),
        **write_routing(request.routing),
        **request.extensions,
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if (choice := _tool_choice(request.tool_choice)) is not None:
        body["tool_choice"] = choice
    if request.template_arguments:
        body["chat_template_kwargs"] = request.template_arguments
    if not request.parallel_tool_calls:
        body["parallel_tool_calls"] = False
    if (wanted := _format(request.response_format)) is not None:
        body["text"] = {"format": wanted}
    if request.service_class != "default":
        body["service_tier"] = request.service_class
    optional = {
        "prompt_cache_key": request.cache_key,
        "cache_salt": request.cache_salt,
        "deadline_s": request.deadline_s,
        "safety_identifier": request.user,
        "session_id": request.session,
        "metadata": request.metadata or None,
        "stream": stream or None,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    return json_object(body)


def _sampling(request: Request) -> dict[str, Any]:
    fields = sampling_fields(request.sampling)
    if (limit := fields.pop("max_tokens", None)) is not None:
        fields["max_output_tokens"] = limit
    include = [ENCRYPTED]
    if fields.pop("logprobs", False):
        include.append(LOGPROBS)
    return {**fields, "include": include}


def _add(items: list[Any], message: Message, index: int) -> None:
    """The items of one message; of the assistant's turn there may be several, or none.

    Paths are made where one is needed: an agent's request has hundreds of messages.
    """
    role, parts = message.role, message.parts
    if message.name is not None:
        path = f"messages[{index}].name"
        raise UnsupportedParameter(f"{path}: messages have no names in this format.", param=path)
    if role == "tool":
        for place, part in enumerate(parts):
            items.append(_result(part, index, place))
        return
    said: list[SentText | dict[str, Any]] = []
    kind = "output_text" if role == "assistant" else "input_text"
    num_before = len(items)
    for place, part in enumerate(parts):
        if isinstance(part, TextPart) and not part.citations:
            said.append(SentText(kind, part.text))
        elif role == "assistant" and isinstance(part, (ToolCallPart, ReasoningPart)):
            if said:
                items.append(SentMessage(role, said))
                said = []
            if isinstance(part, ToolCallPart):
                items.append(SentCall(part.id, part.name, part.arguments))
            else:
                items.append(_thought(part, f"messages[{index}].parts[{place}]"))
        else:
            said.append(_part(part, f"messages[{index}].parts[{place}]", kind))
    if said or len(items) == num_before:
        items.append(SentMessage(role, said))


def _thought(part: ReasoningPart, path: str) -> dict[str, Any]:
    if part.signature is not None or part.format is not None:
        raise UnsupportedParameter(
            f"{path}: the proof of a thought of another vendor has no place in this format.",
            param=path,
        )
    item: dict[str, Any] = {"type": "reasoning", "summary": []}
    if part.summary is not None:
        item["summary"] = [{"type": "summary_text", "text": part.summary}]
    if part.text:
        item["content"] = [{"type": "reasoning_text", "text": part.text}]
    if part.encrypted is not None:
        item["encrypted_content"] = part.encrypted
    if part.id is not None:
        item["id"] = part.id
    return item


def _result(part: Part, index: int, place: int) -> SentResult:
    if not isinstance(part, ToolResultPart):
        path = f"messages[{index}].parts[{place}]"
        raise UnsupportedParameter(f"{path} is no result of a tool.", param=path)
    content = part.content
    if len(content) == 1 and isinstance(content[0], TextPart):
        return SentResult(part.call_id, content[0].text)
    path = f"messages[{index}].parts[{place}].content"
    output = [_part(p, f"{path}[{i}]", "input_text") for i, p in enumerate(content)]
    return SentResult(part.call_id, output)


def _part(part: Part, path: str, kind: str) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": kind, "text": part.text, **_annotations(part)}
        case RefusalPart() if kind == "output_text":
            return {"type": "refusal", "refusal": part.text}
        case ImagePart():
            url = part.url or data_address(part.data, part.media_type)
            image = {"type": "input_image", "image_url": url}
            return image if part.detail is None else {**image, "detail": part.detail}
        case FilePart(kind="file"):
            name = {} if part.name is None else {"filename": part.name}
            if part.url is not None:
                return {"type": "input_file", "file_url": part.url, **name}
            text = base64.b64encode(part.data or b"").decode()
            if part.media_type is not None:
                text = data_address(part.data, part.media_type)
            return {"type": "input_file", "file_data": text, **name}
        case FilePart(kind="audio", data=bytes(data)):
            form = (part.media_type or "").removeprefix("audio/")
            sound = {"data": base64.b64encode(data).decode(), **({"format": form} if form else {})}
            return {"type": "input_audio", "input_audio": sound}
        case _:
            raise UnsupportedParameter(f"{path} has no place in this format.", param=path)


def _annotations(part: TextPart) -> dict[str, Any]:
    if not part.citations:
        return {}
    annotations: list[dict[str, Any]] = []
    for citation in part.citations:
        members = {
            "type": "url_citation",
            "url": citation.url,
            "title": citation.title,
            "start_index": citation.start,
            "end_index": citation.end,
        }
        annotations.append({name: value for name, value in members.items() if value is not None})
    return {"annotations": annotations}


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"type": "function", "name": tool.name, "strict": tool.strict}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    return function


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any] | None:
    functions = [{"type": "function", "name": name} for name in choice.names]
    if choice.mode == "required" and len(functions) == 1:
        return functions[0]
    if functions:
        return {"type": "allowed_tools", "mode": choice.mode, "tools": functions}
    return None if choice.mode == "auto" else choice.mode


def _format(wanted: ResponseFormat) -> dict[str, Any] | None:
    match wanted:
        case TextFormat():
            return None
        case JsonObjectFormat():
            return {"type": "json_object"}
        case JsonSchemaFormat():
            described = {} if wanted.description is None else {"description": wanted.description}
            return {
                "type": "json_schema",
                "name": wanted.name,
                "schema": wanted.schema,
                "strict": wanted.strict,
                **described,
            }
        case RegexFormat():
            return {"type": "regex", "pattern": wanted.pattern}
        case GrammarFormat():
            return {"type": "grammar", "grammar": wanted.grammar, "syntax": wanted.syntax}
        case _:
            assert_never(wanted)


def _thinking(thinking: Thinking) -> dict[str, Any]:
    """OpenAI's members where it has them, OpenRouter's for the rest."""
    field: dict[str, Any] = {}
    if thinking.enabled is False and thinking.budget_tokens is None:
        field["effort"] = "none"
    elif thinking.effort is not None:
        field["effort"] = thinking.effort
    elif thinking.enabled is not None:
        field["enabled"] = thinking.enabled
    if thinking.budget_tokens is not None:
        field["max_tokens"] = thinking.budget_tokens
    if thinking.clear is not None:
        field["context"] = _CONTEXTS[thinking.clear]
    if thinking.hidden:
        field["exclude"] = True
    return {"reasoning": field} if field else {}
