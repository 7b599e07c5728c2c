"""Declared tools, and which of them the model may or must call.

Functions, functions of a namespace, and tools of plain text, which core knows as functions of one
argument. Tools that a server would have to run itself are left out and named in a warning: agents
declare them to every server alike. Without `strict` a function's schema is held to where that can
be done, and a warning says where not; that is what OpenAI's default comes to.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.core.request import Tool, ToolChoice
from glimt.wire.chat_completions.tools import MAX_TOOLS, NAME
from glimt.wire.fields import Fields, convert_as, element_paths
from glimt.wire.responses.call import ToolWord
from glimt.wire.responses.items import CUSTOM_INPUT, joined_name
from glimt.wire.responses.types import FunctionTool

CUSTOM_PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {CUSTOM_INPUT: {"type": "string"}},
    "required": [CUSTOM_INPUT],
    "additionalProperties": False,
}
_CHOICE: Final = cast("type[str | dict[str, Any]]", str | dict[str, Any])
_CALLABLE: Final = ("function", "custom")


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """The tools of a request.

    Attributes:
        tools: As core knows them.
        words: The client's words, by core's names, where they differ.
        raw: Those that count, as the client wrote them.
        hosted: Kinds that were left out.
        names: The client's path of each tool, by core's.
    """

    tools: tuple[Tool, ...] = ()
    words: dict[str, ToolWord] = {}
    raw: tuple[dict[str, Any], ...] = ()
    hosted: frozenset[str] = frozenset()
    names: dict[str, str] = {}


def read_tools(fields: Fields, warnings: list[str]) -> Declared:
    """`tools`. Raises InvalidRequest where one is malformed, or a name is given twice."""
    given = fields.take("tools", list[dict[str, Any]]) or []
    if len(given) > MAX_TOOLS:
        raise InvalidRequest(
            f"tools holds {len(given)} tools; at most {MAX_TOOLS} are allowed.", param="tools"
        )
    tools: dict[str, Tool] = {}
    words: dict[str, ToolWord] = {}
    hosted: set[str] = set()
    raw: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for declaration, path in zip(given, element_paths("tools", len(given)), strict=False):
        kind = declaration.get("type", "function")
        if kind not in (*_CALLABLE, "namespace"):
            hosted.add(str(kind))
            warnings.append(f"{path} was not honoured: tools of type {kind} are not run here")
            continue
        raw.append(declaration)
        plain = _plain(declaration)
        read = [(plain, None, path)] if plain else _read(declaration, path, warnings)
        for tool, word, place in read:
            if tool.name in tools:
                raise InvalidRequest(
                    f"{path}: there are two tools of the name {tool.name!r}.", param=path
                )
            ours = f"tools[{len(tools)}]"
            names[f"{ours}.function"] = place
            if ours != place:
                names[ours] = place
            tools[tool.name] = tool
            if word is not None:
                words[tool.name] = word
    return Declared(
        tools=tuple(tools.values()),
        words=words,
        raw=tuple(raw),
        hosted=frozenset(hosted),
        names=names,
    )


def _plain(raw: dict[str, Any]) -> Tool | None:
    """A function of a name, a description and an object; None for `_read` to look at closer."""
    name, text, schema = raw.get("name"), raw.get("description"), raw.get("parameters")
    strict = raw.get("strict", False)
    if raw.get("type") != "function" or "function" in raw or not isinstance(strict, bool):
        return None
    if not (isinstance(name, str) and isinstance(text, str) and isinstance(schema, dict)):
        return None
    if not NAME.fullmatch(name):
        return None
    return Tool(
        name=name, description=text, parameters=cast("dict[str, Any]", schema), strict=strict
    )


def _read(
    raw: dict[str, Any], path: str, warnings: list[str]
) -> Iterator[tuple[Tool, ToolWord | None, str]]:
    if raw.get("type") != "namespace":
        yield _tool(raw, path, warnings, namespace=None)
        return
    namespace = _checked(raw.get("name"), f"{path}.name")
    inner = convert_as(raw.get("tools") or [], list[dict[str, Any]], f"{path}.tools")
    for index, tool in enumerate(inner):
        place = f"{path}.tools[{index}]"
        if tool.get("type", "function") in _CALLABLE:
            yield _tool(tool, place, warnings, namespace=namespace)
        else:
            warnings.append(
                f"{place} was not honoured: tools of type {tool['type']} are not run here"
            )


def _tool(
    raw: dict[str, Any], path: str, warnings: list[str], *, namespace: str | None
) -> tuple[Tool, ToolWord | None, str]:
    # Chat completions keep a function's members one level deeper, and so do some clients here.
    given = raw.get("function", raw) if raw.get("type") == "function" else raw
    function = convert_as(given, FunctionTool, path)
    name = function.name
    _checked(name, f"{path}.name")
    custom = raw.get("type") == "custom"
    core_name = name if namespace is None else joined_name(namespace, name)
    word = ToolWord(name=name, namespace=namespace, custom=custom)
    form: Any = raw.get("format") or {}
    if custom and isinstance(form, dict) and form != {"type": "text"} and form:
        warnings.append(f"{path}.format was not honoured: the tool's input is free text here")
    tool = Tool(
        name=core_name,
        description=function.description,
        parameters=CUSTOM_PARAMETERS if custom else function.parameters,
        strict=function.strict or False,
    )
    return tool, (word if custom or namespace is not None else None), path


def _checked(name: object, path: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidRequest(
            f"{path}: 1 to 128 letters, digits and any of _ . : / - are allowed, not {name!r}.",
            param=path,
        )
    return name


def read_tool_choice(
    fields: Fields, declared: Declared, warnings: list[str]
) -> tuple[ToolChoice, str | dict[str, Any]]:
    """`tool_choice`, and how the answer repeats it.

    Raises:
        InvalidRequest: It is malformed, or names what is not declared.
    """
    given = fields.take("tool_choice", _CHOICE)
    choice = _choice(given, declared, warnings)
    if choice.mode == "required" and not declared.tools:
        raise InvalidRequest(
            "tool_choice asks for a call, but no tools are declared that can be called.",
            param="tool_choice",
        )
    return choice, "auto" if given is None else given


def _choice(
    given: str | dict[str, Any] | None, declared: Declared, warnings: list[str]
) -> ToolChoice:
    match given:
        case None | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice(mode="none")
        case "required" | "any":
            return ToolChoice(mode="required")
        case {"type": "allowed_tools", "tools": [*tools]}:
            return _allowed(given.get("mode", "auto"), tools, declared, warnings)
        case {"type": "function" | "custom"}:
            return ToolChoice(mode="required", names=(_named(given, declared, "tool_choice"),))
        case {"type": str(kind)} if kind in declared.hosted:
            raise InvalidRequest(
                f"tool_choice asks for {kind}, which is not run here.", param="tool_choice"
            )
        case _:
            raise InvalidRequest(
                'tool_choice must be "none", "auto", "required", '
                '{"type": "function", "name": …} or an allowed_tools object.',
                param="tool_choice",
            )


def _named(given: dict[str, Any], declared: Declared, path: str) -> str:
    """Core's name of the tool that a client names."""
    match given:
        case {"name": str(name)} | {"function": {"name": str(name)}}:
            pass
        case _:
            raise InvalidRequest(f"{path}.name is missing.", param=f"{path}.name")
    namespace = given.get("namespace")
    core_name = joined_name(namespace, name) if namespace is not None else name
    for tool in declared.tools:
        word = declared.words.get(tool.name)
        if tool.name == core_name or (word is not None and word.name == name and not namespace):
            return tool.name
    raise InvalidRequest(f"{path} names {name!r}, which is not among the tools.", param=path)


def _allowed(mode: str, tools: list[Any], declared: Declared, warnings: list[str]) -> ToolChoice:
    if mode not in ("auto", "required"):
        raise InvalidRequest(
            f"tool_choice.mode must be auto or required, not {mode!r}.", param="tool_choice.mode"
        )
    names: list[str] = []
    for index, tool in enumerate(tools):
        path = f"tool_choice.tools[{index}]"
        if not isinstance(tool, dict) or "type" not in tool:
            raise InvalidRequest(f"{path} must name a tool.", param=path)
        named = cast("dict[str, Any]", tool)
        if named["type"] in _CALLABLE:
            names.append(_named(named, declared, path))
        else:
            warnings.append(f"{path} was not honoured: such tools are not run here")
    if not names:
        raise InvalidRequest(
            "tool_choice.tools names no tool that can be called.", param="tool_choice.tools"
        )
    return ToolChoice(mode=mode, names=tuple(names))
