"""Declared tools, and which of them the model may or must call.

Tools that Anthropic's servers run, or whose schema only its models know, are left out and named in
a warning: agents declare them beside their own and do without.
"""

from typing import Any, Final, cast

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.core.request import Tool, ToolChoice
from glimt.wire.chat_completions.tools import MAX_TOOLS
from glimt.wire.fields import Fields, convert_as, decode_as, decoder
from glimt.wire.messages.types import ToolChoiceField, ToolField
from glimt.wire.unknown import leave_out_unknown

_CUSTOM: Final = "custom"
_DECODER: Final[msgspec.json.Decoder[list[ToolField | None]]] = decoder(
    cast("type[list[ToolField | None]]", list[ToolField])
)


def read_tools(fields: Fields, names: dict[str, str], warnings: list[str]) -> tuple[Tool, ...]:
    """`tools`; `names` learns where the client wrote each, if others are left out before it."""
    given: list[ToolField | None] = fields.decoded("tools") or []
    if (raw := fields.raw("tools")) is not None:
        try:
            given = _DECODER.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            given = _known(raw, warnings)
    if len(given) > MAX_TOOLS:
        raise InvalidRequest(
            f"tools holds {len(given)} tools; at most {MAX_TOOLS} are allowed.", param="tools"
        )
    tools: list[Tool] = []
    for index, tool in enumerate(given):
        if tool is None:
            continue
        if index != len(tools):
            names[f"tools[{len(tools)}]"] = f"tools[{index}]"
        tools.append(_tool(tool, f"tools[{index}]"))
    return tuple(tools)


def _known(raw: msgspec.Raw, warnings: list[str]) -> list[ToolField | None]:
    """The slow way, when a tool has unknown fields or is no custom one, which None stands for."""
    known: list[ToolField | None] = []
    for index, document in enumerate(decode_as(raw, list[dict[str, Any]], "tools")):
        path = f"tools[{index}]"
        if document.get("type") not in (None, _CUSTOM):
            warnings.append(
                f"{path} was not honoured: {document['type']} is no tool of this server; declare "
                "a custom one"
            )
            known.append(None)
            continue
        removed = leave_out_unknown(document, ToolField, path)
        warnings.extend(f"{name} was not honoured: unknown here" for name in removed)
        known.append(convert_as(document, ToolField, path))
    return known


def _tool(tool: ToolField, path: str) -> Tool:
    if not tool.name:
        raise InvalidRequest(f"{path}.name is empty.", param=f"{path}.name")
    return Tool(
        name=tool.name,
        description=tool.description,
        parameters=tool.input_schema,
        strict=tool.strict or False,
    )


def read_tool_choice(
    fields: Fields, tools: tuple[Tool, ...], warnings: list[str]
) -> tuple[ToolChoice, bool]:
    """`tool_choice`, and whether several calls at once are allowed."""
    field = fields.shape("tool_choice", ToolChoiceField, warnings)
    if field is None:
        return ToolChoice(), True
    parallel = not field.disable_parallel_tool_use
    match field.type:
        case "auto":
            return ToolChoice(), parallel
        case "none":
            return ToolChoice(mode="none"), parallel
        case "any":
            choice = ToolChoice(mode="required")
        case "tool" if field.name is not None:
            choice = ToolChoice(mode="required", names=(field.name,))
        case "tool":
            raise InvalidRequest("tool_choice.name is missing.", param="tool_choice.name")
        case _:
            raise InvalidRequest(
                f"tool_choice.type must be auto, any, tool or none, not {field.type!r}.",
                param="tool_choice.type",
            )
    if not tools:
        raise InvalidRequest(
            "tool_choice asks for a call, but no tools are declared.", param="tool_choice"
        )
    known = {tool.name for tool in tools}
    for name in choice.names:
        if name not in known:
            raise InvalidRequest(
                f"tool_choice names {name!r}, which is not among the tools.",
                param="tool_choice.name",
            )
    return choice, parallel
