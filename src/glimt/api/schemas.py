"""JSON Schemas of msgspec types, as components of an OpenAPI document.

Names are those of the types; two of the same name are told apart by their packages. A field's
description is its entry in the "Attributes:" of its struct. Unknown fields are allowed everywhere:
where a request has one it is named in a warning, not refused.
"""

import inspect
import re
import typing
from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec

REFERENCE: Final = "#/components/schemas/"
_SECTION: Final = re.compile(r"\n*^Attributes:\n((?:[ ]+.*\n?|\n)+)", re.MULTILINE)
_ENTRY: Final = re.compile(r"\n(?=    \S)")
_PACKAGE: Final = re.compile(r"^glimt\.[a-z_]+\.(?:(\w+)\.)?\w+\.(\w+)$")


class Schemas:
    """The schemas of all types of a document, each once."""

    def __init__(self, kinds: Iterable[Any]) -> None:
        """A kind is a type, or a tuple of types."""
        distinct = list({repr(one): one for kind in kinds for one in _each(kind)}.values())
        made, components = msgspec.json.schema_components(
            distinct, ref_template=REFERENCE + "{name}"
        )
        names = {name: _short(name) for name in components}
        self._schemas = {
            repr(kind): _cleaned(schema, names) for kind, schema in zip(distinct, made, strict=True)
        }
        structs = _structs(distinct)
        told = {
            names[name]: _described(_cleaned(schema, names), structs.get(name))
            for name, schema in components.items()
        }
        self.components = {name: told[name] for name in sorted(told)}

    def of(self, kind: Any) -> dict[str, Any]:  # noqa: ANN401  see __init__
        """The schema of a type, or of any of several."""
        schemas = [self._schemas[repr(one)] for one in _each(kind)]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _each(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401  see Schemas
    return cast("tuple[Any, ...]", kind) if isinstance(kind, tuple) else (kind,)


def _short(name: str) -> str:
    """A name that is a whole path, as package and class: `chat_completions.Choice`."""
    found = _PACKAGE.match(name)
    return name if found is None else ".".join(filter(None, found.groups()))


def _cleaned(schema: Any, names: dict[str, str]) -> Any:  # noqa: ANN401  JSON
    """With the names as they are shown, and without what says nothing."""
    if isinstance(schema, list):
        return [_cleaned(item, names) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    cleaned: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        match key, value:
            case "$ref", str():
                cleaned[key] = REFERENCE + names[value.removeprefix(REFERENCE)]
            case ("default", None) | ("additionalProperties", False) | ("required", []):
                pass
            case "default" | "enum" | "title" | "description", _:
                cleaned[key] = value
            case _:
                cleaned[key] = _cleaned(value, names)
    return cleaned


def _structs(kinds: Iterable[Any]) -> dict[str, type[msgspec.Struct]]:
    """The structs that types are made of, by both names that msgspec may give them."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop()
        waiting += typing.get_args(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            path = f"{kind.__module__}.{kind.__qualname__}"
            if path not in found:
                found[path] = found[kind.__name__] = kind
                waiting += (field.type for field in msgspec.structs.fields(kind))
    return found


def _described(schema: dict[str, Any], struct: type[msgspec.Struct] | None) -> dict[str, Any]:
    """With the struct's attributes described one by one."""
    if struct is None:
        return schema
    attributes = _attributes(struct)
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for field in msgspec.structs.fields(struct):
        if field.name in attributes:
            properties[field.encode_name]["description"] = attributes[field.name]
    return {**schema, "description": _SECTION.sub("", inspect.getdoc(struct) or "")}


def _attributes(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What docstrings say of fields, those that are inherited included."""
    attributes: dict[str, str] = {}
    for kind in reversed(struct.__mro__):
        section = _SECTION.search(inspect.cleandoc(kind.__doc__ or ""))
        for entry in _ENTRY.split(section[1]) if section is not None else ():
            name, _, what = entry.strip().partition(": ")
            attributes[name] = " ".join(what.split())
    return attributes
