"""JSON Schema, read: every keyword becomes part of a node, an error or a warning.

Draft 2020-12 (https://json-schema.org/draft/2020-12), and of older drafts what differs only in
spelling. In strict mode a keyword that cannot be enforced is refused by path and name; otherwise it
is left out, and a warning says so. Knows nothing of grammars; size and depth are limited here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.engine.grammar.definitions import Circular, Definitions, TooComplex
from glimt.engine.grammar.leaves import Findings, LeafReader
from glimt.engine.grammar.nodes import (
    ANY,
    NEVER,
    Array,
    Boolean,
    Branch,
    Constant,
    Node,
    Null,
    Object,
    Text,
    union,
)
from glimt.engine.grammar.pattern import Pattern
from glimt.engine.grammar.regex import Choice, literal

MAX_BYTES = 262_144
MAX_DEPTH = 64
MAX_SCHEMAS = 5_000

_KINDS = ("string", "number", "boolean", "null", "array", "object")
_OF_KIND = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
    "array": frozenset(
        {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"}
    ),
    "object": frozenset(
        {
            *("properties", "required", "additionalProperties", "patternProperties"),
            *("propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"),
        }
    ),
}
_COMBINING = frozenset({"type", "enum", "const", "$ref", "allOf", "anyOf", "oneOf"})
_ANNOTATIONS = frozenset(
    {
        *("$schema", "$id", "id", "$comment", "$defs", "definitions", "$anchor", "$vocabulary"),
        *("title", "description", "default", "examples", "example", "deprecated", "readOnly"),
        *("writeOnly", "contentEncoding", "contentMediaType", "contentSchema", "discriminator"),
        *("externalDocs", "xml", "markdownDescription", "enumDescriptions", "enumNames"),
        "propertyOrdering",
    }
)
_KNOWN = _COMBINING | _ANNOTATIONS | frozenset[str]().union(*_OF_KIND.values())


@dataclass(slots=True, kw_only=True)
class Schema:
    """A schema that was read.

    Attributes:
        node: What it admits.
        warnings: What of it is not enforced; empty in strict mode.
    """

    node: Node
    definitions: Definitions
    warnings: list[str] = field(default_factory=list[str])


def read_schema(schema: object, *, param: str, strict: bool) -> Schema:
    """Read a schema.

    Args:
        schema: The schema.
        param: Where in the request it stands; the path of a keyword is appended to it.
        strict: Refuse what cannot be enforced instead of leaving it out.

    Raises:
        InvalidRequest: It is malformed, too large, or nothing satisfies it.
        UnsupportedParameter: It has a keyword that cannot be enforced (strict only).
    """
    _check_size(schema, param)
    findings = Findings(param, strict=strict)
    reader = _Reader(schema, findings)
    try:
        node = reader.read(schema, "")
        reader.definitions.complete()
    except Circular as error:
        raise InvalidRequest(
            f"{param}: the reference {error} leads back to itself", param=param
        ) from error
    except TooComplex as error:
        raise InvalidRequest(f"{param}: {error}", param=param) from error
    return Schema(node=node, definitions=reader.definitions, warnings=findings.warnings)


def _check_size(schema: object, param: str) -> None:
    try:
        size = len(msgspec.json.encode(schema))
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
        raise InvalidRequest(f"{param} is no JSON value: {error}", param=param) from error
    if size > MAX_BYTES:
        raise InvalidRequest(f"{param} is larger than {MAX_BYTES} bytes", param=param)
    level, depth = [schema], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"{param} is nested deeper than {MAX_DEPTH}", param=param)
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(cast("dict[str, object]", value).values())
            elif isinstance(value, list):
                below.extend(cast("list[object]", value))
        level = below


class _Reader:
    """Reads one document."""

    def __init__(self, root: object, findings: Findings) -> None:
        self._root = root
        self._findings = findings
        self._leaves = LeafReader(root, findings)
        self._num_read = 0
        self.definitions = Definitions()

    def read(self, raw: object, path: str) -> Node:
        """The node of a schema at a path."""
        self._num_read += 1
        if self._num_read > MAX_SCHEMAS:
            raise InvalidRequest(
                f"{self._findings.param} holds more than {MAX_SCHEMAS} schemas",
                param=self._findings.param,
            )
        if isinstance(raw, bool):
            return ANY if raw else NEVER
        if not isinstance(raw, Mapping):
            self._findings.malformed(
                path.rpartition(".")[0], path.rpartition(".")[2], "must be a schema"
            )
            return ANY
        schema = cast("dict[str, Any]", raw)
        self._check_keywords(schema, path)
        node = self._typed(schema, path)
        for keyword, read in (
            ("const", self._leaves.constant),
            ("enum", self._leaves.listed),
            ("$ref", self._reference),
            ("allOf", self._all_of),
            ("anyOf", self._any_of),
            ("oneOf", self._one_of),
        ):
            if keyword in schema:
                node = self.definitions.meet(node, read(schema[keyword], path))
        if schema.get("unevaluatedProperties") is False:
            node = self.definitions.closed(node)
        return node

    def _check_keywords(self, schema: dict[str, Any], path: str) -> None:
        for keyword in schema:
            if keyword in _KNOWN or keyword.startswith("x-"):
                continue
            why = "this keyword cannot be enforced"
            if keyword == "nullable":
                why = 'JSON Schema has no such keyword; write "type": ["…", "null"]'
            self._findings.unsupported(path, keyword, why)
        if path and ("$id" in schema or "$anchor" in schema):
            keyword = "$id" if "$id" in schema else "$anchor"
            self._findings.unsupported(path, keyword, "only the root may have a name of its own")

    def _typed(self, schema: dict[str, Any], path: str) -> Node:
        """What `type` and the keywords of single types say."""
        used = {kind for kind, keywords in _OF_KIND.items() if keywords & schema.keys()}
        stated = self._types(schema, path)
        if stated is None:
            if not used:
                return ANY
            # By the letter `{"minLength": 1}` admits every number. Nobody means that, so these
            # branches are marked, and left out where there are others.
            return union(
                (self._branch(kind, schema, path, implied=kind not in used),) for kind in _KINDS
            )
        return union((self._branch(kind, schema, path, implied=False),) for kind in stated)

    def _types(self, schema: dict[str, Any], path: str) -> list[str] | None:
        if "type" not in schema:
            return None
        stated = schema["type"]
        names = cast("list[Any]", stated) if isinstance(stated, list) else [stated]
        known = [name for name in names if name in (*_KINDS, "integer")]
        if len(known) < len(names) or not names:
            self._findings.malformed(
                path, "type", f"must be one of {', '.join((*_KINDS, 'integer'))}"
            )
            return None
        if "number" in known:
            known = [name for name in known if name != "integer"]
        return list(dict.fromkeys(known))

    def _branch(self, kind: str, schema: dict[str, Any], path: str, *, implied: bool) -> Branch:
        match kind:
            case "null":
                return Null(implied)
            case "boolean":
                return Boolean(implied)
            case "string":
                return self._leaves.string(schema, path, implied=implied)
            case "array":
                return self._array(schema, path, implied=implied)
            case "object":
                return self._object(schema, path, implied=implied)
            case _:
                return self._leaves.number(schema, path, integer=kind == "integer", implied=implied)

    # Keywords of one type

    def _array(self, schema: dict[str, Any], path: str, *, implied: bool) -> Array:
        least, most = self._leaves.sizes(schema, path, "Items")
        if schema.get("uniqueItems", False) is not False and (most is None or most > 1):
            self._findings.unsupported(path, "uniqueItems", "uniqueness cannot be enforced")
        items: object = schema.get("items")
        prefix: object = schema.get("prefixItems")
        rest_keyword = "items"
        if isinstance(items, list):
            if not self._leaves.is_older_than("2020-12"):
                self._findings.malformed(
                    path, "items", 'must be a schema; lists are "prefixItems" now'
                )
            prefix, items = cast("object", items), schema.get("additionalItems")
            rest_keyword = "additionalItems"
        if prefix is not None and not isinstance(prefix, list):
            self._findings.malformed(path, "prefixItems", "must be a list of schemas")
            prefix = None
        first = cast("list[Any]", prefix or [])
        name = "prefixItems" if rest_keyword == "items" else "items"
        nodes = tuple(self.read(item, f"{path}.{name}[{n}]") for n, item in enumerate(first))
        rest = None if items is None else self.read(items, f"{path}.{rest_keyword}")
        return Array(nodes, rest, least, most, implied)

    def _object(self, schema: dict[str, Any], path: str, *, implied: bool) -> Object:
        least, most = self._leaves.sizes(schema, path, "Properties")
        patterns = tuple(
            (pattern, self.read(raw, f"{path}.patternProperties[{source!r}]"))
            for source, raw in self._members(schema, path, "patternProperties").items()
            if (pattern := self._leaves.pattern(source, path, "patternProperties")) is not None
        )
        rest = None
        if "additionalProperties" in schema:
            rest = self.read(schema["additionalProperties"], f"{path}.additionalProperties")
        if not isinstance(schema.get("unevaluatedProperties", True), bool):
            self._findings.unsupported(path, "unevaluatedProperties", "only false can be enforced")
        properties: dict[str, Node] = {}
        bound = Object(patterns=patterns)
        for name, raw in self._members(schema, path, "properties").items():
            node = self.read(raw, f"{path}.properties.{name}")
            properties[name] = self.definitions.meet(
                node, self.definitions.property_of(bound, name)
            )
        result = Object(
            tuple(properties.items()),
            self._required(schema, path),
            patterns,
            rest,
            least,
            most,
            closed=False,
            implied=implied,
        )
        return self._named(result, schema, path) if "propertyNames" in schema else result

    def _members(self, schema: dict[str, Any], path: str, keyword: str) -> dict[str, Any]:
        members = schema.get(keyword, {})
        if not isinstance(members, Mapping):
            self._findings.malformed(path, keyword, "must be an object of schemas")
            return {}
        return dict(cast("Mapping[str, Any]", members))

    def _required(self, schema: dict[str, Any], path: str) -> tuple[str, ...]:
        required = schema.get("required", [])
        names = cast("list[object]", required) if isinstance(required, list) else [None]
        if not all(isinstance(name, str) for name in names):
            self._findings.malformed(path, "required", "must be a list of names")
            return ()
        return tuple(dict.fromkeys(cast("list[str]", names)))

    def _named(self, result: Object, schema: dict[str, Any], path: str) -> Object:
        """`propertyNames`, as patterns that names must match."""
        names = self.definitions.resolved(
            self.read(schema["propertyNames"], f"{path}.propertyNames")
        )
        texts = [b for b in names if isinstance(b, Text)]
        listed = [b.value for b in names if isinstance(b, Constant) and isinstance(b.value, str)]
        if names == ANY or Text() in texts:
            return result
        if result.patterns or (texts and (listed or len(texts) > 1)):
            self._findings.unsupported(path, "propertyNames", "it cannot be combined like this")
            return result
        if not texts:
            pattern = Pattern(Choice(tuple(map(literal, listed)))) if listed else None
        elif len(texts[0].patterns) == 1 and not texts[0].least and texts[0].most is None:
            pattern = texts[0].patterns[0]
        else:
            self._findings.unsupported(
                path, "propertyNames", "only one pattern, or a list, can be enforced"
            )
            return result
        matching = tuple(
            (name, node) for name, node in result.properties if pattern and pattern.matches(name)
        )
        return Object(
            matching,
            result.required,
            ((pattern, result.others),) if pattern else (),
            NEVER,
            result.least,
            result.most,
            result.closed,
            result.implied,
        )

    # Keywords of every type

    def _reference(self, target: object, path: str) -> Node:
        if not isinstance(target, str) or not target.startswith("#"):
            self._findings.unsupported(
                path, "$ref", "only references within the schema (#/…) are followed"
            )
            return ANY
        found = self._find(target)
        if found is None:
            self._findings.malformed(path, "$ref", f"points at {target!r}, which does not exist")
            return ANY
        raw, where = found
        return (self.definitions.define(target, lambda: self.read(raw, where)),)

    def _find(self, target: str) -> tuple[object, str] | None:
        node: Any = self._root
        where = ""
        for step in unquote(target[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if (
                isinstance(node, list)
                and name.isdigit()
                and int(name) < len(cast("list[Any]", node))
            ):
                node = cast("list[Any]", node)[int(name)]
                where += f"[{name}]"
            elif isinstance(node, Mapping) and name in node:
                node = cast("dict[str, Any]", node)[name]
                where += f".{name}"
            else:
                return None
        return (node, where) if target in ("#", "#/") or target.startswith("#/") else None

    def _options(self, raw: object, path: str, keyword: str) -> list[Node] | None:
        if not isinstance(raw, list) or not raw:
            self._findings.malformed(path, keyword, "must be a list of schemas")
            return None
        options = cast("list[object]", raw)
        return [self.read(option, f"{path}.{keyword}[{n}]") for n, option in enumerate(options)]

    def _all_of(self, raw: object, path: str) -> Node:
        node = ANY
        for option in self._options(raw, path, "allOf") or []:
            node = self.definitions.meet(node, option)
        return node

    def _any_of(self, raw: object, path: str) -> Node:
        options = self._options(raw, path, "anyOf")
        return ANY if options is None else union(options)

    def _one_of(self, raw: object, path: str) -> Node:
        options = self._options(raw, path, "oneOf")
        if options is None:
            return ANY
        for position, option in enumerate(options):
            for earlier in range(position):
                if not self.definitions.disjoint(options[earlier], option):
                    why = (
                        f"alternatives {earlier} and {position} may both match the same value;"
                        ' tell them apart by a required "const" property, or write anyOf'
                    )
                    self._findings.unsupported(path, "oneOf", why)
                    return union(options)
        return union(options)
