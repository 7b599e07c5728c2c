"""Declared tools, and which of them the model may or must call.

Functions alone: tools that the server itself would have to run are refused by name.
"""

import re
from typing import Any, Final, cast

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import Tool, ToolChoice
from glimt.wire.chat_completions.types import Function
from glimt.wire.fields import Fields, convert_as

MAX_TOOLS: Final = 512
_CHOICE: Final = cast("type[str | dict[str, Any]]", str | dict[str, Any])
_PLAIN: Final = {"name", "description", "parameters"}
NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")


def read_tools(fields: Fields, warnings: list[str]) -> tuple[Tool, ...]:
    """`tools`; the retired `functions` is refused with what to write instead."""
    for retired, successor in (("functions", "tools"), ("function_call", "tool_choice")):
        if fields.has(retired):
            raise UnsupportedParameter(f"{retired} is retired; use {successor}.", param=retired)
    given = fields.take("tools", list[dict[str, Any]]) or []
    if len(given) > MAX_TOOLS:
        raise InvalidRequest(
            f"tools holds {len(given)} tools; at most {MAX_TOOLS} are allowed.", param="tools"
        )
    return tuple(
        [_plain_tool(raw) or _tool(raw, index, warnings) for index, raw in enumerate(given)]
    )


def _plain_tool(raw: dict[str, Any]) -> Tool | None:
    """A function of a name, a description and an object; None for `_tool` to look at closer."""
    function = raw.get("function")
    if raw.get("type") != "function" or not isinstance(function, dict):
        return None
    fields = cast("dict[str, Any]", function)
    name, text, schema = fields.get("name"), fields.get("description"), fields.get("parameters")
    if not (isinstance(name, str) and isinstance(text, str) and isinstance(schema, dict)):
        return None
    if fields.keys() != _PLAIN or not NAME.fullmatch(name):
        return None
    return Tool(name=name, description=text, parameters=cast("dict[str, Any]", schema), raw=raw)


def _tool(raw: dict[str, Any], index: int, warnings: list[str]) -> Tool:
    path = f"tools[{index}]"
    kind = raw.get("type", "function")
    if kind != "function":
        raise UnsupportedParameter(
            f"{path}: tools of type {kind!r} are not available here; declare a function.",
            param=f"{path}.type",
        )
    if raw.get("function") is None:
        raise InvalidRequest(f"{path}.function is missing.", param=f"{path}.function")
    function = convert_as(raw["function"], Function, f"{path}.function")
    warnings.extend(
        f"{path}.function.{name} was not honoured: a function has no such field; the model reads "
        "it all the same"
        for name in raw["function"].keys() - Function.__struct_fields__
    )
    if not NAME.fullmatch(function.name):
        raise InvalidRequest(
            f"{path}.function.name: 1 to 128 letters, digits and any of _ . : / - are allowed, "
            f"not {function.name!r}.",
            param=f"{path}.function.name",
        )
    return Tool(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        strict=function.strict or False,
        raw=raw,
    )


def read_tool_choice(fields: Fields, tools: tuple[Tool, ...]) -> ToolChoice:
    """`tool_choice`: a word, one function, or a list of allowed ones."""
    given = fields.take("tool_choice", _CHOICE)
    choice = _choice(given)
    if choice.mode == "required" and not tools:
        raise InvalidRequest(
            "tool_choice asks for a call, but no tools are declared.", param="tool_choice"
        )
    known = {tool.name for tool in tools}
    for name in choice.names:
        if name not in known:
            raise InvalidRequest(
                f"tool_choice names {name!r}, which is not among the tools.", param="tool_choice"
            )
    return choice


def _choice(given: str | dict[str, Any] | None) -> ToolChoice:  # noqa: PLR0911  one for each
    match given:
        case None | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice(mode="none")
        case "required" | "any":
            return ToolChoice(mode="required")
        case {"type": "function", "function": {"name": str(name)}} | {
            "type": "function",
            "name": str(name),
        }:
            return ToolChoice(mode="required", names=(name,))
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*tools]}}:
            return _allowed(mode, tools)
        case {"type": "allowed_tools", "mode": mode, "tools": [*tools]}:
            return _allowed(mode, tools)
        case {"type": "auto" | "none" | "required" | "any" as word}:
            return _choice(word)
        case _:
            raise InvalidRequest(
                'tool_choice must be "none", "auto", "required", '
                '{"type": "function", "function": {"name": …}} or an allowed_tools object.',
                param="tool_choice",
            )


def _allowed(mode: object, tools: list[Any]) -> ToolChoice:
    names: list[str] = []
    for index, tool in enumerate(tools):
        match tool:
            case {"type": "function", "function": {"name": str(name)}} | {
                "type": "function",
                "name": str(name),
            }:
                names.append(name)
            case _:
                raise InvalidRequest(
                    f"tool_choice.allowed_tools.tools[{index}] must name a function.",
                    param="tool_choice",
                )
    if mode not in ("auto", "required"):
        raise InvalidRequest(
            f"tool_choice.allowed_tools.mode must be auto or required, not {mode!r}.",
            param="tool_choice",
        )
    if not names:
        raise InvalidRequest("tool_choice.allowed_tools.tools is empty.", param="tool_choice")
    return ToolChoice(mode=mode, names=tuple(names))
