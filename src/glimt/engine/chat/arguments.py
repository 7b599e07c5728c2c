"""What the raw text of a tool argument is in JSON, by the tool's declared schema.

GLM writes strings bare and everything else as JSON, so only the schema tells `123` the text from
`123` the number. One set of rules for streamed and whole answers. Never evaluates anything: a text
is a JSON literal by the grammar of JSON, or it is a string.
"""

import json
from typing import Any, Final, Literal, TypeAlias, cast

Schema: TypeAlias = dict[str, Any] | bool
Kinds: TypeAlias = frozenset[str] | None
"""JSON types that a schema admits (`integer` and `number` apart); `None` admits all."""

ValueKind: TypeAlias = Literal["string", "nullable_string", "literal"]
"""How a value may be streamed: at once; once it cannot be `null` any more; only as a whole."""

_MAX_STEPS: Final = 256
_MAX_INDEX_DIGITS: Final = 10
_STRING: Final = frozenset({"string"})
_STRING_OR_NULL: Final = frozenset({"string", "null"})
_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
}
_TYPES: Final = {"string", "number", "integer", "boolean", "null", "array", "object"}


def property_names(parameters: dict[str, Any] | None) -> list[str]:
    """The arguments that a tool declares."""
    properties = _object_schema(parameters).get("properties")
    return list(cast("dict[str, Any]", properties)) if isinstance(properties, dict) else []


def property_schema(parameters: dict[str, Any] | None, key: str) -> Schema | None:
    """The schema of one argument, `None` when the tool says nothing about it."""
    root = _object_schema(parameters)
    properties = root.get("properties")
    if isinstance(properties, dict) and key in properties:
        return _schema(cast("dict[str, Any]", properties)[key])
    extra = root.get("additionalProperties")
    return cast("Schema", extra) if isinstance(extra, dict) else None


def _object_schema(parameters: dict[str, Any] | None) -> dict[str, Any]:
    """The schema that holds the properties; some generators hide it behind references."""
    root: Schema = parameters or {}
    for _ in range(_MAX_STEPS):
        if not isinstance(root, dict) or "properties" in root or "$ref" not in root:
            break
        root = _target(root["$ref"], parameters or {})
    return root if isinstance(root, dict) else {}


def value_kind(schema: Schema | None, parameters: dict[str, Any] | None) -> ValueKind:
    """Whether a value of this schema can be streamed before it is whole."""
    kinds = _kinds(schema, parameters)
    if kinds == _STRING:
        return "string"
    return "nullable_string" if kinds == _STRING_OR_NULL else "literal"


def encode_string(text: str) -> str:
    """The inside of a JSON string; encodings of pieces concatenate to the encoding of the whole."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def encode_value(text: str, schema: Schema | None, parameters: dict[str, Any] | None) -> str:
    """The JSON text of a whole argument.

    A literal is kept as the model spelled it, so that no digit of a number is lost.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    kinds = _kinds(schema, parameters)
    if kinds == _STRING or _is_listed_string(text, schema):
        return quoted
    literal = text.strip()
    kind = _literal_kind(literal)
    if kind is None:
        return quoted
    if kinds is None:
        return quoted if kind == "string" else literal
    if kind in kinds and kind != "string":
        return literal
    # Not what the schema asks for. A bare string is the better reading where one is allowed, and
    # a `null` that the schema forbids must not become one.
    return quoted if "string" in kinds or kind == "null" else literal


def _literal_kind(text: str) -> str | None:
    """The type of a JSON text, `None` when it is none. NaN and Infinity are none."""

    def refuse(name: str) -> object:
        raise ValueError(name)

    try:
        value: object = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    return _type_of(value)


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    return _TYPE_NAMES.get(type(value), "object")


def _schema(value: object) -> Schema:
    return cast("Schema", value) if isinstance(value, dict | bool) else {}


def _target(reference: object, root: dict[str, Any]) -> Schema:
    """What a local `$ref` points at; anything else admits everything."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return {}
    node: Any = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and _is_index(name, len(cast("list[Any]", node))):
            node = cast("list[Any]", node)[int(name)]
        elif isinstance(node, dict) and name in node:
            node = cast("dict[str, Any]", node)[name]
        else:
            return {}
    return _schema(node)


def _is_index(name: str, length: int) -> bool:
    return name.isdecimal() and len(name) < _MAX_INDEX_DIGITS and int(name) < length


def _kinds(schema: Schema | None, root: dict[str, Any] | None) -> Kinds:
    return _Resolver(root or {}).kinds(schema)


class _Resolver:
    """Walks one schema. A budget of steps stands against references that multiply or go round."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._steps_left = _MAX_STEPS

    def kinds(self, schema: Schema | None) -> Kinds:
        self._steps_left -= 1
        if not isinstance(schema, dict) or self._steps_left < 0:
            return None
        admitted = _stated_kinds(schema)
        narrower: list[Kinds] = []
        if "$ref" in schema:
            narrower.append(self.kinds(_target(schema["$ref"], self._root)))
        narrower.extend(self._any(schema.get(name)) for name in ("anyOf", "oneOf"))
        narrower.extend(self.kinds(option) for option in _schemas(schema.get("allOf")))
        for kinds in narrower:
            admitted = (
                kinds if admitted is None else admitted if kinds is None else admitted & kinds
            )
        if admitted is not None and schema.get("nullable") is True:
            admitted |= {"null"}
        return admitted

    def _any(self, options: object) -> Kinds:
        found = [self.kinds(option) for option in _schemas(options)]
        known = [kinds for kinds in found if kinds is not None]
        return frozenset[str]().union(*known) if known and len(known) == len(found) else None


def _schemas(options: object) -> list[Schema]:
    return [_schema(o) for o in cast("list[Any]", options)] if isinstance(options, list) else []


def _stated_kinds(schema: dict[str, Any]) -> Kinds:
    """What the schema itself says, without the schemas inside it."""
    stated = schema.get("type")
    names = cast("list[Any]", stated) if isinstance(stated, list) else [stated]
    kinds: Kinds = (
        frozenset(name for name in names if isinstance(name, str) and name in _TYPES) or None
    )
    if kinds is not None and "number" in kinds:
        kinds |= {"integer"}
    members = _members(schema)
    if members is not None:
        listed = frozenset(_type_of(member) for member in members)
        return listed if kinds is None else (kinds & listed or kinds)
    if kinds is None and "properties" in schema:
        return frozenset({"object"})
    return frozenset({"array"}) if kinds is None and "items" in schema else kinds


def _members(schema: dict[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    members = schema.get("enum")
    return cast("list[Any]", members) if isinstance(members, list) and members else None


def _is_listed_string(text: str, schema: Schema | None) -> bool:
    members = _members(schema) if isinstance(schema, dict) else None
    return members is not None and text in members
