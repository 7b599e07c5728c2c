"""Laws of typing: the schema decides what a raw text is, and no text is ever evaluated."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from glimt.engine.chat.arguments import (
    encode_string,
    encode_value,
    property_names,
    property_schema,
    value_kind,
)

DEFINITIONS: dict[str, Any] = {
    "$defs": {
        "Name": {"type": "string"},
        "Count": {"type": "integer"},
        "Either": {"anyOf": [{"$ref": "#/$defs/Name"}, {"type": "null"}]},
        "a/b": {"type": "boolean"},
        "Loop": {"$ref": "#/$defs/Loop"},
        "Wide": {"anyOf": [{"$ref": "#/$defs/Wide"}, {"$ref": "#/$defs/Wide"}]},
    }
}


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        # A string is verbatim, whatever it looks like.
        ({"type": "string"}, "123_456", "123_456"),
        ({"type": "string"}, " 1 ", " 1 "),
        ({"type": "string"}, "null", "null"),
        ({"type": "string"}, '"quoted"', '"quoted"'),
        ({"type": "string"}, "<a & b>", "<a & b>"),
        ({"type": ["string"]}, "true", "true"),
        (ref("Name"), "1", "1"),
        ({"allOf": [ref("Name"), {"description": "x"}]}, "1", "1"),
        # Other types are JSON, with space around it.
        ({"type": "integer"}, " 3\n", 3),
        ({"type": "number"}, "3", 3),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "boolean"}, "true", True),
        ({"type": "array"}, '["a", 1]', ["a", 1]),
        ({"type": "object"}, '{"a": null}', {"a": None}),
        ({"properties": {}}, "{}", {}),
        ({"items": {}}, "[]", []),
        (ref("Count"), "7", 7),
        (ref("a~1b"), "false", False),
        # What is not JSON falls back to a string: Python's literals are not JSON.
        ({"type": "integer"}, "123_456", "123_456"),
        ({"type": "boolean"}, "True", "True"),
        ({"type": "array"}, "['a']", "['a']"),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "number"}, "-Infinity", "-Infinity"),
        ({"type": "array"}, "[NaN]", "[NaN]"),
        ({"type": "array"}, "[" * 50_000, "[" * 50_000),
        # Unions, type lists, null.
        ({"type": ["string", "null"]}, "None", "None"),
        ({"type": ["string", "null"]}, "null", None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "null", None),
        (ref("Either"), "null", None),
        (ref("Either"), "nullable", "nullable"),
        ({"type": "string", "nullable": True}, "null", None),
        ({"type": "integer"}, "null", "null"),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, "5", 5),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, "true", "true"),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, '"5"', '"5"'),
        ({"anyOf": [{"type": "array"}, {"type": "null"}]}, "[1]", [1]),
        # Enumerations.
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"enum": [1, 2]}, "1", 1),
        ({"enum": ["1", 2]}, "1", "1"),
        ({"enum": ["1", 2]}, "2", 2),
        ({"const": "true"}, "true", "true"),
        ({"const": True}, "true", True),
        ({"type": "string", "enum": ["null"]}, "null", "null"),
        # No schema, or one that says nothing: a JSON literal but a string keeps its type.
        (None, "3", 3),
        (None, "[1]", [1]),
        (None, "null", None),
        (None, '"a"', '"a"'),
        (None, "a", "a"),
        ({}, "3", 3),
        (True, "3", 3),
        ({"description": "x"}, "true", True),
        (ref("Missing"), "3", 3),
        ({"$ref": "http://elsewhere"}, "3", 3),
        (ref("Loop"), "3", 3),
        (ref("Wide"), "3", 3),
    ],
)
def test_typing(schema: Any, text: str, expected: object):
    """A raw value becomes what its schema says it is."""
    assert json.loads(encode_value(text, schema, DEFINITIONS)) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": [["string"]]},
        {"type": {}},
        {"type": [{}]},
        {"type": 1},
        {"$ref": "#/enum/" + "9" * 5000},
        {"$ref": "#/enum/²"},
    ],
)
def test_malformed_schemas(schema: Any):
    """A schema that says nothing sensible admits everything."""
    root = {"enum": [schema], "properties": {"a": schema}}
    assert encode_value("1", schema, root) == "1"
    assert encode_value("x", schema, root) == '"x"'
    assert value_kind(schema, root) == "literal"


def test_numbers_keep_their_digits():
    """A literal is passed on as it was spelled: no digit of it is lost."""
    assert encode_value("1.10", {"type": "number"}, None) == "1.10"
    assert encode_value("1e999", {"type": "number"}, None) == "1e999"
    assert encode_value("12345678901234567890.5", None, None) == "12345678901234567890.5"


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "string"),
        ({"enum": ["a", "b"]}, "string"),
        (ref("Either"), "nullable_string"),
        ({"type": ["string", "integer"]}, "literal"),
        ({"type": "integer"}, "literal"),
        (None, "literal"),
        (ref("Wide"), "literal"),
    ],
)
def test_what_can_be_streamed(schema: Any, kind: str):
    """Only a value that can be nothing but a string is shown before it is whole."""
    assert value_kind(schema, DEFINITIONS) == kind


@given(
    text=st.text(),
    schema=st.sampled_from(
        [
            None,
            {},
            {"type": "string"},
            {"type": ["string", "null"]},
            {"type": "integer"},
            ref("Loop"),
        ]
    ),
)
def test_always_json(text: str, schema: Any):
    """Any text under any schema is valid JSON."""
    json.loads(encode_value(text, schema, DEFINITIONS))


@given(pieces=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_strings_in_pieces(pieces: list[str]):
    """A string escaped in pieces is the string."""
    assert json.loads('"' + "".join(map(encode_string, pieces)) + '"') == "".join(pieces)


def test_where_properties_are_found():
    """Arguments are found behind a reference, by their own schema or that of all others."""
    direct = {"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}}
    hidden = {"$ref": "#/$defs/In", "$defs": {"In": direct}}
    for parameters in (direct, hidden):
        assert property_names(parameters) == ["a"]
        assert property_schema(parameters, "a") == {"type": "string"}
        assert property_schema(parameters, "b") == {"type": "integer"}
    assert property_names(None) == property_names({"$ref": "#"}) == []
    assert property_schema({"properties": {}}, "a") is None
