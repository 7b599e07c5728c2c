"""The client's side of a request: core's request as a chat completions body.

The inverse of `request.decode_request`, for providers that speak this format. What the format has
no word for is refused by name, never left out.
"""

import base64
from typing import Any, assert_never

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
    Sampling,
    TextFormat,
    Thinking,
    Tool,
    ToolChoice,
)
from glimt.wire.chat_completions.routing import write_routing
from glimt.wire.codec import json_object

_SAME_NAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "min_tokens",
    "max_tokens",
)


def encode_request(request: Request, *, stream: bool = False) -> bytes:
    """A body; a streamed answer ends with its usage.

    Raises:
        UnsupportedParameter: The request continues a raw prompt, or has a part that this format has
            no place for.
    """
    if request.prompt is not None:
        raise UnsupportedParameter("A raw prompt is no conversation.", param="prompt")
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(m, i) for i, m in enumerate(request.messages)],
        **sampling_fields(request.sampling),
        **thinking_fields(request.thinking),
        **write_routing(request.routing),
        **request.extensions,
    }
    if request.tools:
        body["tools"] = [tool.raw or _tool(tool) for tool in request.tools]
    if (choice := _tool_choice(request.tool_choice)) is not None:
        body["tool_choice"] = choice
    if request.template_arguments:
        body["chat_template_kwargs"] = request.template_arguments
    if not request.parallel_tool_calls:
        body["parallel_tool_calls"] = False
    if (response_format := _response_format(request.response_format)) is not None:
        body["response_format"] = response_format
    if request.continues:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.num_choices != 1:
        body["n"] = request.num_choices
    if request.service_class != "default":
        body["service_tier"] = request.service_class
    optional = {
        "prompt_cache_key": request.cache_key,
        "cache_salt": request.cache_salt,
        "deadline_s": request.deadline_s,
        "user": request.user,
        "session_id": request.session,
        "metadata": request.metadata or None,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return json_object(body)


def _message(  # noqa: C901, PLR0912  one for each kind of part
    message: Message, place: int
) -> dict[str, Any]:
    # The commonest kinds come first and no path is built until one is needed: an agent's request
    # has hundreds of these.
    body: dict[str, Any] = {"role": message.role}
    if message.name is not None:
        body["name"] = message.name
    content: list[Part] = []
    calls: list[dict[str, Any]] = []
    details: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case TextPart():
                content.append(part)
            case ToolCallPart():
                function = {"name": part.name, "arguments": part.arguments}
                calls.append({"id": part.id, "type": "function", "function": function})
            case ToolResultPart():
                body["tool_call_id"] = part.call_id
                content += part.content
            case ImagePart() | FilePart():
                content.append(part)
            case ReasoningPart():
                details.append(_reasoning_detail(part))
            case RefusalPart() if message.role == "assistant" and "refusal" not in body:
                body["refusal"] = part.text
            case RefusalPart():
                raise UnsupportedParameter(
                    f"messages[{place}]: a refusal belongs to the assistant.",
                    param=f"messages[{place}].parts[{message.parts.index(part)}]",
                )
            case _:
                assert_never(part)
    if calls:
        body["tool_calls"] = calls
    if details:
        if len(details) == 1 and details[0].keys() == {"type", "text"}:
            body["reasoning_content"] = details[0]["text"]
        else:
            body["reasoning_details"] = details
    if len(content) == 1 and isinstance(content[0], TextPart):
        body["content"] = content[0].text
    elif content:
        path = f"messages[{place}].content"
        body["content"] = [_part(part, f"{path}[{i}]") for i, part in enumerate(content)]
    else:
        body["content"] = None
    return body


def _part(part: Part, path: str) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart():
            image: dict[str, Any] = {"url": part.url or data_address(part.data, part.media_type)}
            if part.detail is not None:
                image["detail"] = part.detail
            return {"type": "image_url", "image_url": image}
        case FilePart(url=str(url)) if part.kind in ("video", "audio", "file"):
            return {"type": f"{part.kind}_url", f"{part.kind}_url": {"url": url}}
        case FilePart(kind="audio", data=bytes(data)):
            kind = (part.media_type or "").removeprefix("audio/")
            sound = {"data": base64.b64encode(data).decode(), **({"format": kind} if kind else {})}
            return {"type": "input_audio", "input_audio": sound}
        case FilePart(kind="file", data=bytes(data)):
            text = base64.b64encode(data).decode()
            if part.media_type is not None:
                text = data_address(data, part.media_type)
            name = {"filename": part.name} if part.name is not None else {}
            return {"type": "file", "file": {"file_data": text, **name}}
        case _:
            raise UnsupportedParameter(f"{path} has no place in this format.", param=path)


def data_address(data: bytes | None, media_type: str | None) -> str:
    """Bytes as a `data:` address."""
    return f"data:{media_type or ''};base64,{base64.b64encode(data or b'').decode()}"


def _reasoning_detail(part: ReasoningPart) -> dict[str, Any]:
    kind = "encrypted" if part.encrypted is not None else "text"
    kind = "summary" if part.summary is not None else kind
    fields = {
        "text": part.text or None,
        "signature": part.signature,
        "data": part.encrypted,
        "summary": part.summary,
        "id": part.id,
        "format": part.format,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return {"type": f"reasoning.{kind}", **given}


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any] | None:
    functions = [{"type": "function", "function": {"name": name}} for name in choice.names]
    if choice.mode == "required" and len(functions) == 1:
        return functions[0]
    if functions:
        allowed = {"mode": choice.mode, "tools": functions}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return None if choice.mode == "auto" else choice.mode


def _response_format(wanted: ResponseFormat) -> dict[str, Any] | None:
    match wanted:
        case TextFormat():
            return None
        case JsonObjectFormat():
            return {"type": "json_object"}
        case JsonSchemaFormat():
            schema: dict[str, Any] = {"name": wanted.name, "schema": wanted.schema}
            if wanted.description is not None:
                schema["description"] = wanted.description
            if wanted.strict:
                schema["strict"] = True
            return {"type": "json_schema", "json_schema": schema}
        case RegexFormat():
            return {"type": "regex", "regex": wanted.pattern}
        case GrammarFormat():
            return {"type": "grammar", "grammar": wanted.grammar, "syntax": wanted.syntax}
        case _:
            assert_never(wanted)


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """What is said of drawing tokens, in the words that OpenAI's formats share."""
    fields: dict[str, Any] = {name: getattr(sampling, name) for name in _SAME_NAME}
    fields |= {
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias.items()} or None,
        "stop": list(sampling.stop) or None,
        "stop_token_ids": list(sampling.stop_token_ids) or None,
        "include_stop_str_in_output": sampling.include_stop or None,
        "ignore_eos": sampling.ignore_eos or None,
    }
    if sampling.top_logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
    return {name: value for name, value in fields.items() if value is not None}


def thinking_fields(thinking: Thinking) -> dict[str, Any]:
    """In Z.ai's spelling, which every GLM server reads; an effort in OpenAI's."""
    field: dict[str, Any] = {}
    if thinking.enabled is not None:
        field["type"] = "enabled" if thinking.enabled else "disabled"
    if thinking.clear is not None:
        field["clear_thinking"] = thinking.clear
    if thinking.budget_tokens is not None:
        field["budget_tokens"] = thinking.budget_tokens
    body: dict[str, Any] = {"thinking": field} if field else {}
    if thinking.effort is not None:
        body["reasoning_effort"] = thinking.effort
    if thinking.hidden:
        body["include_reasoning"] = False
    return body
