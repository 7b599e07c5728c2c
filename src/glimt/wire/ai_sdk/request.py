"""A language model's call, decoded: every field is honoured, refused by name or warned about.

The same for all generations: what a field may hold depends on what it is, not on who sent it. Which
model, and whether the answer streams, are said in headers beside the body.
"""

from typing import Any, Final

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.limits import MAX_STOPS, RANGES
from glimt.core.request import (
    JsonObjectFormat,
    JsonSchemaFormat,
    Request,
    ResponseFormat,
    Sampling,
    ServiceClass,
    TextFormat,
    Tool,
    ToolChoice,
)
from glimt.wire.ai_sdk.generation import MODEL_HEADER
from glimt.wire.ai_sdk.options import GATEWAY, Options
from glimt.wire.ai_sdk.prompt import read_prompt
from glimt.wire.ai_sdk.types import (
    FunctionTool,
    PlainTool,
    PromptMessage,
    ResponseFormatField,
    ToolChoiceField,
)
from glimt.wire.chat_completions.tools import MAX_TOOLS
from glimt.wire.codec import Call
from glimt.wire.fields import Fields, Shape, convert_as
from glimt.wire.sampling import MAX_INTEGER, SERVICE_CLASSES
from glimt.wire.unknown import leave_out_unknown

NAMES: Final = {
    "messages": "prompt",
    "sampling.max_tokens": "maxOutputTokens",
    "sampling.top_p": "topP",
    "sampling.top_k": "topK",
    "sampling.presence_penalty": "presencePenalty",
    "sampling.frequency_penalty": "frequencyPenalty",
    "sampling.stop": "stopSequences",
    "tool_choice": "toolChoice",
    "response_format": "responseFormat",
    "response_format.json_schema.schema": "responseFormat.schema",
    "service_class": "providerOptions.gateway.serviceTier",
}
"""How the client spells core's fields."""
_USUAL: Final = Shape(
    "headers maxOutputTokens temperature topP topK presencePenalty frequencyPenalty "
    "stopSequences seed toolChoice responseFormat providerOptions includeRawChunks reasoning",
    {"prompt": list[PromptMessage], "tools": list[PlainTool]},
)


def decode_request(body: bytes, *, model: str | None, stream: bool = False) -> Call:
    """Read a body; `model` and `stream` are those of the headers.

    Raises:
        InvalidRequest: A field is missing, malformed or contradictory; `param` names it.
        UnsupportedParameter: A field asks for what this server does not do.
    """
    if not model:
        raise InvalidRequest(
            f"The header {MODEL_HEADER} is missing; it names the model.", param=MODEL_HEADER
        )
    fields = Fields(body, _USUAL)
    warnings: list[str] = []
    names = dict(NAMES)
    if not fields.has("prompt"):
        raise InvalidRequest("prompt is missing.", param="prompt")
    if fields.flag("includeRawChunks"):
        warnings.append("includeRawChunks was not honoured: there are no other chunks than these")
    # Caller's headers are sent as headers too; there they are read.
    fields.take("headers", dict[str, Any])
    given = fields.take("providerOptions", dict[str, Any]) or {}
    service_class = _service_class(given)
    options = Options(given, reasoning=fields.text("reasoning"), names=names, warnings=warnings)
    tools = _tools(fields, warnings)
    request = Request(
        model=model,
        messages=read_prompt(fields, warnings),
        tools=tools,
        tool_choice=_tool_choice(fields, tools, warnings),
        response_format=_response_format(fields, warnings),
        thinking=options.thinking,
        sampling=_sampling(fields),
        routing=options.routing,
        service_class=service_class,
        user=options.user,
        extensions=options.extensions | fields.rest(),
    )
    return Call(requests=(request,), stream=stream, warnings=tuple(warnings), names=names)


def _sampling(fields: Fields) -> Sampling:
    stop = fields.take("stopSequences", list[str]) or []
    if len(stop) > MAX_STOPS:
        raise InvalidRequest(
            f"stopSequences holds {len(stop)} texts; at most {MAX_STOPS} are allowed.",
            param="stopSequences",
        )
    if "" in stop:
        raise InvalidRequest(
            "stopSequences: an empty text would end every answer at once.", param="stopSequences"
        )
    return Sampling(
        temperature=fields.number("temperature", *RANGES["temperature"]),
        top_p=fields.number("topP", *RANGES["top_p"]),
        top_k=fields.integer("topK", 0),
        presence_penalty=fields.number("presencePenalty", *RANGES["presence_penalty"]),
        frequency_penalty=fields.number("frequencyPenalty", *RANGES["frequency_penalty"]),
        seed=fields.integer("seed", -MAX_INTEGER - 1, MAX_INTEGER),
        stop=tuple(stop),
        max_tokens=fields.integer("maxOutputTokens", 1),
    )


def _service_class(given: dict[str, Any]) -> ServiceClass:
    """`serviceTier` among the gateway's options, which it is taken out of."""
    options = given.get(GATEWAY)
    if not isinstance(options, dict) or "serviceTier" not in options:
        return "default"
    members: dict[str, Any] = {**options}
    tier = members.pop("serviceTier")
    given[GATEWAY] = members
    if tier is None:
        return "default"
    if tier not in SERVICE_CLASSES:
        path = NAMES["service_class"]
        raise InvalidRequest(
            f"{path} must be one of {', '.join(SERVICE_CLASSES)}, not {tier!r}.", param=path
        )
    return SERVICE_CLASSES[tier]


def _tools(fields: Fields, warnings: list[str]) -> tuple[Tool, ...]:
    plain: list[PlainTool] = fields.decoded("tools") or []
    given = fields.take("tools", list[dict[str, Any]]) or []
    if (num := len(plain) or len(given)) > MAX_TOOLS:
        raise InvalidRequest(
            f"tools holds {num} tools; at most {MAX_TOOLS} are allowed.", param="tools"
        )
    if plain:
        return tuple([_declared(tool) for tool in plain])
    return tuple(_tool(raw, f"tools[{index}]", warnings) for index, raw in enumerate(given))


def _declared(tool: PlainTool | FunctionTool) -> Tool:
    return Tool(
        name=tool.name,
        description=tool.description,
        parameters=tool.input_schema,
        strict=tool.strict or False,
    )


def _tool(raw: dict[str, Any], path: str, warnings: list[str]) -> Tool:
    kind = raw.get("type", "function")
    if kind != "function":
        what = raw.get("id", kind)
        raise UnsupportedParameter(
            f"{path}: the tool {what!r} would have to be run here; declare a function.",
            param=f"{path}.type",
        )
    removed = leave_out_unknown(raw, FunctionTool, path)
    warnings.extend(f"{name} was not honoured: unknown here" for name in removed)
    tool = convert_as(raw, FunctionTool, path)
    if tool.input_examples:
        warnings.append(f"{path}.inputExamples was not honoured: the model is not shown examples")
    warnings.extend(
        f"{path}.providerOptions.{name} was not honoured: another provider's"
        for name in tool.provider_options or ()
    )
    return _declared(tool)


def _tool_choice(fields: Fields, tools: tuple[Tool, ...], warnings: list[str]) -> ToolChoice:
    field = fields.shape("toolChoice", ToolChoiceField, warnings)
    if field is None:
        return ToolChoice()
    match field.type:
        case "auto":
            return ToolChoice()
        case "none":
            return ToolChoice(mode="none")
        case "required":
            choice = ToolChoice(mode="required")
        case "tool" if field.tool_name is not None:
            choice = ToolChoice(mode="required", names=(field.tool_name,))
        case "tool":
            raise InvalidRequest("toolChoice.toolName is missing.", param="toolChoice.toolName")
        case _:
            raise InvalidRequest(
                f"toolChoice.type must be auto, none, required or tool, not {field.type!r}.",
                param="toolChoice.type",
            )
    if not tools:
        raise InvalidRequest(
            "toolChoice asks for a call, but no tools are declared.", param="toolChoice"
        )
    known = {tool.name for tool in tools}
    for name in choice.names:
        if name not in known:
            raise InvalidRequest(
                f"toolChoice names {name!r}, which is not among the tools.",
                param="toolChoice.toolName",
            )
    return choice


def _response_format(fields: Fields, warnings: list[str]) -> ResponseFormat:
    field = fields.shape("responseFormat", ResponseFormatField, warnings)
    if field is None or field.type == "text":
        return TextFormat()
    if field.type != "json":
        raise InvalidRequest(
            f"responseFormat.type must be text or json, not {field.type!r}.",
            param="responseFormat.type",
        )
    if field.schema is None:
        return JsonObjectFormat()
    return JsonSchemaFormat(
        schema=field.schema, name=field.name or "response", description=field.description
    )
