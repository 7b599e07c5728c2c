"""Every group of JSON Schema features, with values on both sides of the line.

A row is a group, a schema, values that it admits and values that it does not. `jsonschema` has the
last word on which is which; the test of this table checks the table too.
"""

from typing import Any, NamedTuple


class Feature(NamedTuple):
    """One schema of one group."""

    group: str
    schema: Any
    good: list[Any]
    bad: list[Any]


def _object(required: str = "", /, **properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


_POINT = {
    **_object("x y", x={"type": "number"}, y={"type": "number"}),
    "additionalProperties": False,
}
_CAT = _object("kind", kind={"const": "cat"}, lives={"type": "integer"})
_DOG = _object("kind", kind={"const": "dog"}, tricks={"type": "array"})
_TREE = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": _object(
            "v", v={"type": "integer"}, kids={"type": "array", "items": {"$ref": "#/$defs/tree"}}
        )
    },
}

FEATURES = [
    Feature("types", {"type": "string"}, ["", 'é\n"\\'], [1, None]),
    Feature("types", {"type": "integer"}, [0, -7, 10**18], [1.5, "1", True]),
    Feature("types", {"type": "number"}, [0, 1.5, -2e10], ["1", None]),
    Feature("types", {"type": "boolean"}, [True, False], [0, "true"]),
    Feature("types", {"type": "null"}, [None], [0, "null", False]),
    Feature("types", {"type": ["string", "null"]}, ["a", None], [0]),
    Feature("types", {}, [1, "a", [None], {"a": {}}], []),
    Feature("types", schema=True, good=[1, {}], bad=[]),
    Feature("object", {"type": "object"}, [{}, {"a": [1]}], [[], 1]),
    Feature("object", _POINT, [{"x": 1, "y": 2.5}], [{"x": 1}, {"x": 1, "y": "2"}]),
    Feature("object", _object("a", a={}, b={"type": "null"}), [{"a": 1}], [{}, {"b": None}]),
    Feature("object", _object("z", a={"type": "null"}), [{"z": 1}, {"a": None, "z": 0}], [{}]),
    Feature(
        "object",
        {**_POINT, "additionalProperties": {"type": "string"}},
        [{"x": 1, "y": 2, "n": "p"}],
        [{"x": 1, "y": 2, "n": 3}],
    ),
    Feature("object", _object("", **{'"q"\n': {"const": 1}}), [{'"q"\n': 1}, {}], [{'"q"\n': 2}]),
    Feature("object", {"properties": {"a": False}}, [{}], [{"a": 1}]),
    Feature(
        "object counts",
        {"type": "object", "minProperties": 1, "additionalProperties": {"type": "integer"}},
        [{"a": 1}],
        [{}],
    ),
    Feature(
        "object counts",
        {**_object("", a={}, b={}, c={}), "minProperties": 2, "maxProperties": 2},
        [{"a": 1, "c": 2}],
        [{}, {"a": 1}, {"a": 1, "b": 1, "c": 1}],
    ),
    Feature(
        "object counts", {"type": "object", "minProperties": 3}, [{"a": 1, "b": 1, "c": 1}], [{}]
    ),
    Feature(
        "object names",
        {
            "type": "object",
            "patternProperties": {"^x_": {"type": "integer"}},
            "additionalProperties": False,
        },
        [{}, {"x_a": 1}],
        [{"x_a": "1"}, {"y": 1}],
    ),
    Feature(
        "object names",
        {
            "type": "object",
            "patternProperties": {"^x": {"type": "integer"}, "y$": {"type": "string"}},
            "additionalProperties": {"type": "null"},
        },
        [{"x": 1, "y": "", "z": None}],
        [{"x": ""}, {"y": 1}, {"z": 1}],
    ),
    Feature(
        "object names",
        {"properties": {"xa": {"minimum": 0}}, "patternProperties": {"^x": {"type": "integer"}}},
        [{"xa": 3}],
        [{"xa": -1}, {"xa": 1.5}],
    ),
    Feature(
        "object names",
        {
            "type": "object",
            "propertyNames": {"enum": ["a", "b"]},
            "additionalProperties": {"type": "null"},
        },
        [{}, {"a": None}],
        [{"c": None}, {"a": 1}],
    ),
    Feature(
        "object names",
        {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}},
        [{"a": 1}],
        [{"A": 1}],
    ),
    Feature(
        "object names",
        # zod's record: every name is a string, so this says nothing.
        {
            "type": "object",
            "propertyNames": {"type": "string"},
            "additionalProperties": {"type": "integer"},
        },
        [{}, {"A b": 1}],
        [{"a": "1"}],
    ),
    Feature("array", {"type": "array"}, [[], [1, "a"]], [{}, "a"]),
    Feature(
        "array", {"type": "array", "items": {"type": "integer"}}, [[], [1]], [["1"], [1, None]]
    ),
    Feature(
        "array",
        {"type": "array", "items": {}, "minItems": 2, "maxItems": 3},
        [[1, 2]],
        [[1], [1, 2, 3, 4]],
    ),
    Feature("array", {"type": "array", "items": False}, [[]], [[1]]),
    Feature(
        "array", {"items": {"type": "array", "items": {"type": "null"}}}, [[[None], []]], [[None]]
    ),
    Feature(
        "tuple",
        {"prefixItems": [{"type": "string"}, {"type": "null"}]},
        [["a", None], ["a"], []],
        [[1]],
    ),
    Feature(
        "tuple",
        {"prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 1, "maxItems": 3},
        [[1], [1, 2, 2]],
        [[], [2], [1, 1], [1, 2, 2, 2]],
    ),
    Feature(
        "tuple",
        {"prefixItems": [{"const": 1}, {"const": 2}], "items": False, "minItems": 2},
        [[1, 2]],
        [[1], [1, 2, 3]],
    ),
    Feature("array contents", {"type": "array", "uniqueItems": True}, [[1, 2]], [[1, 1]]),
    Feature("array contents", {"type": "array", "contains": {"const": 1}}, [[1]], [[2]]),
    Feature("array contents", {"prefixItems": [{}], "unevaluatedItems": False}, [[1]], [[1, 2]]),
    Feature(
        "string length",
        {"type": "string", "minLength": 2, "maxLength": 3},
        ["ab", "é😀\n"],
        ["a", "abcd", "😀"],
    ),
    Feature("string length", {"type": "string", "maxLength": 0}, [""], ["a"]),
    Feature(
        "string pattern", {"type": "string", "pattern": "^[a-z]+$"}, ["abc"], ["", "aB", "a\n1"]
    ),
    Feature("string pattern", {"type": "string", "pattern": "[0-9]{3}"}, ["a123b"], ["12"]),
    Feature("string pattern", {"type": "string", "pattern": "^(a|b$)"}, ["ax", "b"], ["bx", ""]),
    Feature(
        "string pattern", {"type": "string", "pattern": r"^\d+\.\w*$"}, ["1.a"], ["1", ".a", "1.-"]
    ),
    Feature(
        "string pattern", {"type": "string", "pattern": '^"\\\\\\t[^"]$'}, ['"\\\t\n'], ['"\\\t"']
    ),
    Feature(
        "string pattern",
        {"type": "string", "pattern": "^a*$", "minLength": 3, "maxLength": 4},
        ["aaa"],
        ["aa", "aab"],
    ),
    Feature("string pattern", {"type": "string", "pattern": "^(?=.*x)"}, ["x"], ["y"]),
    Feature("string pattern", {"type": "string", "pattern": r"\bfoo\b"}, ["foo"], ["food"]),
    Feature("string pattern", {"type": "string", "pattern": r"^(.)\1$"}, ["aa"], ["ab"]),
    *(
        Feature("string format", {"type": "string", "format": name}, good, bad)
        for name, good, bad in [
            ("date", ["2024-02-29", "1999-12-31"], ["2023-02-29", "2024-13-01", "24-1-1"]),
            ("time", ["12:30:00Z", "23:59:59.5+01:30"], ["24:00:00Z"]),
            ("date-time", ["2024-01-01T00:00:00Z"], ["2024-01-01 00:00", "2023-02-30T00:00:00Z"]),
            ("duration", ["P1Y2M", "PT5H", "P3W"], ["1Y", "P"]),
            ("email", ["a.b@example.org"], ["a", "a b"]),
            ("hostname", ["example.org", "a-b.c"], ["-a", "a..b"]),
            ("ipv4", ["10.0.0.255"], ["256.1.1.1", "1.2.3", "01.2.3.4"]),
            (
                "ipv6",
                ["::1", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8"],
                [":::", "12345::", "1::2::3"],
            ),
            (
                "uuid",
                ["123e4567-e89b-12d3-a456-426614174000"],
                ["123e4567e89b12d3a456426614174000"],
            ),
            ("uri", ["https://example.org/a?b=c#d", "mailto:a@b.c"], ["a b", "//x"]),
            ("json-pointer", ["", "/a/~0b"], ["a", "/~2"]),
            ("regex", ["a+"], ["("]),
            ("made-up", ["x"], []),
        ]
    ),
    Feature(
        "number range", {"type": "integer", "minimum": -3, "maximum": 12}, [-3, 0, 12], [-4, 13]
    ),
    Feature("number range", {"type": "integer", "exclusiveMinimum": 0}, [1, 99], [0, -1]),
    Feature(
        "number range",
        {"type": "number", "minimum": 0.1, "exclusiveMaximum": 1},
        [0.1, 0.999],
        [1, 0.09, 1.5],
    ),
    Feature("number range", {"type": "number", "maximum": -2.5}, [-2.5, -100], [-2.4, 0]),
    Feature(
        "number range",
        {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991},
        [9007199254740991],
        [9007199254740992],
    ),
    Feature("number range", {"type": "integer", "minimum": 1.5, "maximum": 3.2}, [2, 3], [1, 4]),
    Feature("number multiple", {"type": "integer", "multipleOf": 5}, [0, 15, -20], [1, 12]),
    Feature(
        "number multiple",
        {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 100},
        [0, 98],
        [1, 105],
    ),
    Feature("number multiple", {"type": "integer", "multipleOf": 7}, [14], [15]),
    Feature("number multiple", {"type": "number", "multipleOf": 0.01}, [0.5], [0.005]),
    Feature(
        "enum, const",
        {"enum": ["a", 1, 2.5, None, True, [1, {"a": "b"}]]},
        ["a", 1, None, True, [1, {"a": "b"}]],
        ["b", 2, False, []],
    ),
    Feature("enum, const", {"const": {"a": [1, 'é"\n']}}, [{"a": [1, 'é"\n']}], [{}, {"a": []}]),
    Feature("enum, const", {"type": "string", "enum": ["a", 1]}, ["a"], [1]),
    Feature("enum, const", {"enum": [1, 2, 3], "minimum": 2}, [2, 3], [1]),
    Feature("enum, const", {"const": 1.0, "type": "integer"}, [1], [2]),
    Feature(
        "anyOf",
        {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "integer"}]},
        ["ab", 5],
        ["abc", 1.5],
    ),
    Feature(
        "anyOf", {"anyOf": [_CAT, _DOG]}, [{"kind": "cat"}, {"kind": "dog"}], [{"kind": "cow"}, {}]
    ),
    Feature("anyOf", {"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 0}]}, [10, 0], [5]),
    Feature(
        "oneOf", {"oneOf": [_CAT, _DOG]}, [{"kind": "cat"}, {"kind": "dog"}], [{"kind": "cow"}, {}]
    ),
    Feature(
        "oneOf",
        {"oneOf": [{"type": "string"}, {"type": "null"}, {"type": "array"}]},
        ["a", None, []],
        [1],
    ),
    Feature(
        "oneOf",
        {"oneOf": [{"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 5}]},
        [3, 5],
        [4],
    ),
    Feature("oneOf", {"oneOf": [{"type": "integer"}, {"type": "number"}]}, [1.5], [1]),
    Feature("oneOf", {"oneOf": [{"required": ["a"]}, {"type": "string"}]}, [{"a": 1}], ["x"]),
    Feature(
        "allOf",
        {"allOf": [_object("a", a={"type": "string"}), _object("b", a={"minLength": 2}, b={})]},
        [{"a": "xx", "b": 1}],
        [{"a": "x", "b": 1}, {"a": "xx"}],
    ),
    Feature(
        "allOf",
        {"allOf": [{"type": ["integer", "string"]}, {"type": ["string", "null"]}]},
        ["a"],
        [1, None],
    ),
    Feature(
        "allOf",
        {"allOf": [{"anyOf": [{"minimum": 5}, {"const": 1}]}, {"type": "integer"}]},
        [1, 5],
        [2],
    ),
    Feature(
        "allOf",
        {"allOf": [_object("a", a={}), _object("b", b={})], "unevaluatedProperties": False},
        [{"a": 1, "b": 2}],
        [{"a": 1, "b": 2, "c": 3}],
    ),
    Feature("not, if", {"not": {"type": "string"}}, [1], ["a"]),
    Feature("not, if", {"if": {"type": "string"}, "then": {"minLength": 2}}, ["ab"], ["a"]),
    Feature("not, if", {"dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 1}], [{"a": 1}]),
    Feature("$ref", {"$ref": "#/$defs/p", "$defs": {"p": _POINT}}, [{"x": 1, "y": 2}], [{"x": 1}]),
    Feature("$ref", _TREE, [{"v": 1, "kids": [{"v": 2, "kids": []}]}], [{"v": 1, "kids": [{}]}]),
    Feature(
        "$ref",
        {**_object("n", n={"$ref": "#/properties/m"}, m={"type": "null"})},
        [{"n": None}],
        [{"n": 1}],
    ),
    Feature(
        "$ref", {"definitions": {"a/b~c": {"const": 1}}, "$ref": "#/definitions/a~1b~0c"}, [1], [2]
    ),
    Feature(
        "$ref",
        {"$defs": {"s": {"type": "string"}}, "$ref": "#/$defs/s", "minLength": 2},
        ["ab"],
        ["a", 1],
    ),
    Feature(
        "$ref",
        {
            "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
            "$defs": {
                "a": _object("k", k={"$ref": "#/$defs/n"}),
                "b": _object("k", k={"minimum": 3}),
                "n": {"type": "integer"},
            },
        },
        [{"k": 3}],
        [{"k": 2}, {"k": "3"}],
    ),
    Feature("$ref", {"$ref": "https://example.org/schema.json"}, [], []),
    Feature("$ref", {"$ref": "#/$defs/loop", "$defs": {"loop": {"$ref": "#/$defs/loop"}}}, [], []),
    Feature("$ref", _object("next", next={"$ref": "#"}), [], [{}]),
    Feature(
        "annotations",
        {"title": "T", "description": "D", "default": 1, "examples": [2], "type": "integer"},
        [3],
        ["a"],
    ),
    Feature("annotations", {"type": "integer", "x-order": 3, "deprecated": True}, [3], ["a"]),
    Feature("annotations", {"type": "string", "nullable": True}, ["a"], [1]),
    Feature(
        "older drafts",
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "items": [{"const": 1}],
            "additionalItems": False,
        },
        [[1], []],
        [[2], [1, 2]],
    ),
    Feature(
        "older drafts",
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "integer",
            "minimum": 1,
            "exclusiveMinimum": True,
        },
        [2],
        [1],
    ),
    Feature(
        "older drafts",
        {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}},
        [{}],
        [{"a": 1}],
    ),
]
