"""The client's side of a call: core's request as a body and its headers.

The inverse of `request.decode_request`, for providers that speak this protocol. What it has no word
for is refused by name, never left out.
"""

from typing import Any, Final

from glimt.core.errors import UnsupportedParameter
from glimt.core.request import (
    JsonObjectFormat,
    JsonSchemaFormat,
    Request,
    ResponseFormat,
    Routing,
    Sampling,
    TextFormat,
    ToolChoice,
)
from glimt.wire.ai_sdk.asking_prompt import write_prompt
from glimt.wire.ai_sdk.generation import (
    MODEL_HEADER,
    STREAM_HEADER,
    VERSION_HEADER,
    Generation,
)
from glimt.wire.ai_sdk.options import GATEWAY
from glimt.wire.ai_sdk.prompt import OURS
from glimt.wire.chat_completions.asking import thinking_fields
from glimt.wire.codec import json_object

_SPELLED: Final = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "seed": "seed",
}
_EXTENSION: Final = "providerOptions."


def encode_request(
    request: Request, generation: Generation, *, stream: bool = False
) -> tuple[dict[str, str], bytes]:
    """Headers and body.

    Raises:
        UnsupportedParameter: The request holds what the protocol has no place for.
    """
    _refuse(request)
    prompt = write_prompt(request.messages, generation)
    body: dict[str, Any] = {"prompt": prompt, **_sampling(request.sampling)}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "inputSchema": tool.parameters,
                **({"description": tool.description} if tool.description is not None else {}),
                **({"strict": True} if tool.strict else {}),
            }
            for tool in request.tools
        ]
    if (choice := _tool_choice(request.tool_choice)) is not None:
        body["toolChoice"] = choice
    if (response_format := _response_format(request.response_format)) is not None:
        body["responseFormat"] = response_format
    if options := _options(request):
        body["providerOptions"] = options
    headers = {
        MODEL_HEADER: request.model,
        STREAM_HEADER: "true" if stream else "false",
        VERSION_HEADER: str(generation.version),
    }
    return headers, json_object(body)


_NO_WORD: Final = (
    "prompt",
    "suffix",
    "parallel_tool_calls",
    "num_choices",
    "echo",
    "continues",
    "template_arguments",
    "cache_key",
    "cache_salt",
    "deadline_s",
    "session",
    "metadata",
)
_NO_SAMPLING: Final = (
    "min_p",
    "repetition_penalty",
    "logit_bias",
    "stop_token_ids",
    "include_stop",
    "ignore_eos",
    "min_tokens",
    "top_logprobs",
)


def _refuse(request: Request) -> None:
    plain = Request(model="")
    for name in _NO_WORD:
        if getattr(request, name) != getattr(plain, name):
            raise UnsupportedParameter(f"{name} has no place in this protocol.", param=name)
    for name in _NO_SAMPLING:
        if getattr(request.sampling, name) != getattr(plain.sampling, name):
            path = f"sampling.{name}"
            raise UnsupportedParameter(f"{path} has no place in this protocol.", param=path)
    if request.routing.ignore or not request.routing.allow_fallbacks:
        raise UnsupportedParameter(
            "routing.ignore and routing.allow_fallbacks have no place in this protocol.",
            param="routing.ignore",
        )


def _sampling(sampling: Sampling) -> dict[str, Any]:
    fields = {spelled: getattr(sampling, name) for spelled, name in _SPELLED.items()}
    fields["stopSequences"] = list(sampling.stop) or None
    return {name: value for name, value in fields.items() if value is not None}


def _tool_choice(choice: ToolChoice) -> dict[str, str] | None:
    match choice:
        case ToolChoice(mode="required", names=(name,)):
            return {"type": "tool", "toolName": name}
        case ToolChoice(names=()):
            return None if choice.mode == "auto" else {"type": choice.mode}
        case _:
            raise UnsupportedParameter(
                "tool_choice narrows the tools; declare those alone.", param="tool_choice"
            )


def _response_format(wanted: ResponseFormat) -> dict[str, Any] | None:
    match wanted:
        case TextFormat():
            return None
        case JsonObjectFormat():
            return {"type": "json"}
        case JsonSchemaFormat(strict=False):
            described = {"description": wanted.description} if wanted.description else {}
            return {"type": "json", "schema": wanted.schema, "name": wanted.name, **described}
        case _:
            raise UnsupportedParameter(
                "response_format: this protocol knows text and JSON of a schema alone.",
                param="response_format",
            )


def _options(request: Request) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    if thinking := thinking_fields(request.thinking):
        options[OURS] = thinking
    gateway = _routing(request.routing)
    if request.service_class != "default":
        gateway["serviceTier"] = request.service_class
    if request.user is not None:
        gateway["user"] = request.user
    if gateway:
        options[GATEWAY] = gateway
    for path, value in request.extensions.items():
        server, _, name = path.removeprefix(_EXTENSION).partition(".")
        if not path.startswith(_EXTENSION) or not name:
            raise UnsupportedParameter(f"{path} has no place in this protocol.", param=path)
        options.setdefault(server, {})[name] = value
    return options


def _routing(routing: Routing) -> dict[str, Any]:
    lists = {"models": routing.models, "order": routing.order, "only": routing.only}
    return {name: list(value) for name, value in lists.items() if value} | routing.options
