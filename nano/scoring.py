"""Judging a reply: the final number, the JSON, the label, the call, or the facts it must contain.

Knows the `check` of each skill. Knows nothing of where a reply came from.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as a client sees it."""

    content: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


def is_right(skill: str, check: dict[str, Any], reply: Reply, *, thinking: bool) -> bool:
    """Whether a reply is exactly what was asked for; with thinking on there must be a thought."""
    if reply.error or thinking != bool(reply.reasoning.strip()):
        return False
    if skill == "tools":
        return not reply.content.strip() and _same_calls(reply.calls, check["calls"])
    return not reply.calls and _says(skill, check, reply.content.strip())


def _says(skill: str, check: dict[str, Any], content: str) -> bool:
    match skill:
        case "arithmetic":
            numbers = _NUMBER.findall(content)
            return bool(numbers) and float(numbers[-1]) == check["number"]
        case "extraction":
            try:
                return _identical(json.loads(content), check["json"])
            except ValueError:
                return False
        case "classification":
            return content == check["label"]
        case _:
            return all(part in content for part in check["contains"])


def _same_calls(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    return len(found) == len(wanted) and all(
        one["name"] == two["name"] and _identical(one["arguments"], two["arguments"])
        for one, two in zip(found, wanted, strict=True)
    )


def _identical(found: object, wanted: object) -> bool:
    """Equal values of equal types: 1 is not true and "1" is not 1, though 20.0 is 20."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and found.keys() == wanted.keys() and all(
            _identical(found[key], value) for key, value in wanted.items()
        )  # fmt: skip
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    if isinstance(wanted, (int, float)):
        return isinstance(found, (int, float)) and found == wanted
    return type(found) is type(wanted) and found == wanted


def parsed(text: str, schemas: tuple[dict[str, Any], ...], *, thinking: bool) -> Reply:
    """Read the raw text of a checkpoint; a strict twin of the engine's own parser."""
    reasoning = ""
    if thinking:
        reasoning, separator, text = text.partition("</think>")
        if not separator:
            return Reply(error="thinking does not end")
    content, *blocks = text.split("<tool_call>")
    calls = []
    for block in blocks:
        body, separator, _ = block.partition("</tool_call>")
        if not separator:
            return Reply(error="call does not end")
        name, *pairs = body.split("<arg_key>")
        calls.append({"name": name, "arguments": _arguments(name, pairs, schemas)})
    return Reply(content, reasoning, calls)


def _arguments(name: str, pairs: list[str], schemas: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    functions = {schema["function"]["name"]: schema["function"] for schema in schemas}
    kinds = functions.get(name, {}).get("parameters", {}).get("properties", {})
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, _, rest = pair.partition("</arg_key><arg_value>")
        value: Any = rest.removesuffix("</arg_value>")
        if kinds.get(key, {}).get("type") != "string":
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        arguments[key] = value
    return arguments
