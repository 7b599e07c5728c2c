"""The client's side of a request: core's request as a Messages body.

The inverse of `request.decode_request`, for providers that speak this format. What the format has
no word for is refused by name, never left out. Results of tools that follow each other become one
message, as Anthropic wants them.
"""

from typing import Any, Final

from glimt.core.errors import UnsupportedParameter
from glimt.core.request import (
    JsonSchemaFormat,
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
from glimt.wire.messages.asking_messages import write_messages
from glimt.wire.messages.content import goes_on
from glimt.wire.messages.thinking import CLEAR_THINKING, KEEP_LAST

MAX_TOKENS: Final = 32_000
"""The format wants a limit; this is Claude Code's, for requests that set none."""

_SAMPLING: Final = ("temperature", "top_p", "top_k", "max_tokens")
_NO_SAMPLING: Final = Sampling()


def encode_request(request: Request, *, stream: bool = False) -> bytes:
    """A body.

    Raises:
        UnsupportedParameter: The request asks for what this format has no words for.
    """
    _refuse(request)
    system, messages = write_messages(request.messages)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": MAX_TOKENS,
        **({} if system is None else {"system": system}),
        "messages": messages,
        **_sampling(request.sampling),
        **_thinking(request.thinking),
        **write_routing(request.routing),
        **request.extensions,
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    choice = _tool_choice(request.tool_choice, parallel=request.parallel_tool_calls)
    if choice is not None:
        body["tool_choice"] = choice
    if (shape := _format(request.response_format)) is not None:
        body.setdefault("output_config", {})["format"] = shape
    if request.service_class != "default":
        body["service_tier"] = request.service_class
    metadata = {**request.metadata, **({"user_id": request.user} if request.user else {})}
    optional = {
        "metadata": metadata or None,
        "prompt_cache_key": request.cache_key,
        "cache_salt": request.cache_salt,
        "deadline_s": request.deadline_s,
        "session_id": request.session,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    if stream:
        body["stream"] = True
    return json_object(body)


def encode_count(request: Request) -> bytes:
    """A body for `/v1/messages/count_tokens`, which takes what makes a prompt and nothing else.

    Raises:
        UnsupportedParameter: The request asks for what this format has no words for.
    """
    _refuse(request)
    system, messages = write_messages(request.messages)
    choice = _tool_choice(request.tool_choice, parallel=request.parallel_tool_calls)
    body: dict[str, Any] = {
        "model": request.model,
        **({} if system is None else {"system": system}),
        "messages": messages,
        **_thinking(request.thinking),
        **({"tools": [_tool(tool) for tool in request.tools]} if request.tools else {}),
        **({} if choice is None else {"tool_choice": choice}),
    }
    return json_object(body)


def _refuse(request: Request) -> None:
    if request.prompt is not None:
        raise UnsupportedParameter("A raw prompt is no conversation.", param="prompt")
    unsaid = {
        "num_choices": request.num_choices != 1,
        "template_arguments": bool(request.template_arguments),
    }
    for name, value in unsaid.items():
        if value:
            raise UnsupportedParameter(f"{name} has no place in this format.", param=name)
    if request.continues != goes_on(request.messages):
        raise UnsupportedParameter(
            "continues: this format goes on with a last message of the assistant's, and with no "
            "other.",
            param="continues",
        )


def _sampling(sampling: Sampling) -> dict[str, Any]:
    for name in Sampling.__struct_fields__:
        if name in (*_SAMPLING, "stop"):
            continue
        if getattr(sampling, name) != getattr(_NO_SAMPLING, name):
            path = f"sampling.{name}"
            raise UnsupportedParameter(f"{path} has no place in this format.", param=path)
    fields: dict[str, Any] = {name: getattr(sampling, name) for name in _SAMPLING}
    fields["stop_sequences"] = list(sampling.stop) or None
    return {name: value for name, value in fields.items() if value is not None}


def _thinking(thinking: Thinking) -> dict[str, Any]:
    """A budget, or a thought that is hidden, is only said of one that is asked for."""
    body: dict[str, Any] = {}
    if thinking.enabled is False:
        body["thinking"] = {"type": "disabled"}
    elif thinking.budget_tokens is not None:
        body["thinking"] = {"type": "enabled", "budget_tokens": thinking.budget_tokens}
    elif thinking.enabled or thinking.hidden:
        body["thinking"] = {"type": "adaptive"}
    if thinking.enabled is not False:
        if thinking.hidden:
            body["thinking"]["display"] = "omitted"
        if thinking.effort is not None:
            body["output_config"] = {"effort": thinking.effort}
    if thinking.clear is not None:
        edit = {"type": CLEAR_THINKING, "keep": KEEP_LAST if thinking.clear else "all"}
        body["context_management"] = {"edits": [edit]}
    return body


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    field: dict[str, Any] = {"name": tool.name, "input_schema": parameters}
    if tool.description is not None:
        field["description"] = tool.description
    if tool.strict:
        field["strict"] = True
    return field


def _tool_choice(choice: ToolChoice, *, parallel: bool) -> dict[str, Any] | None:
    field: dict[str, Any]
    match choice:
        case ToolChoice(mode="none"):
            return {"type": "none"}
        case ToolChoice(mode="required", names=(name,)):
            field = {"type": "tool", "name": name}
        case ToolChoice(names=()):
            field = {"type": "any" if choice.mode == "required" else "auto"}
        case _:
            raise UnsupportedParameter(
                "tool_choice: this format names one tool or none.", param="tool_choice"
            )
    if not parallel:
        return {**field, "disable_parallel_tool_use": True}
    return None if field["type"] == "auto" else field


def _format(wanted: ResponseFormat) -> dict[str, Any] | None:
    match wanted:
        case TextFormat():
            return None
        case JsonSchemaFormat():
            return {"type": "json_schema", "schema": wanted.schema}
        case _:
            raise UnsupportedParameter(
                "response_format: this format knows schemas alone.", param="response_format"
            )
