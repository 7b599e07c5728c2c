"""`response_format`: free text, JSON, JSON of a schema, and the two that other servers add.

Knows shapes alone; whether a schema can be held to is the engine's business.
"""

from typing import Any

import msgspec

from glimt.core.errors import InvalidRequest
from glimt.core.request import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    TextFormat,
)
from glimt.wire.fields import Fields


class JsonSchemaField(msgspec.Struct):
    """`response_format.json_schema`. OpenAI requires a name; GLM servers do not."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormatField(msgspec.Struct):
    """Every kind in one; `type` says which of the others counts."""

    type: str
    json_schema: JsonSchemaField | None = None
    regex: str | None = None
    pattern: str | None = None
    grammar: str | None = None
    syntax: str | None = None


def read_response_format(fields: Fields, warnings: list[str]) -> ResponseFormat:
    """Take `response_format`."""
    field = fields.shape("response_format", ResponseFormatField, warnings)
    if field is None:
        return TextFormat()
    match field.type:
        case "text":
            return TextFormat()
        case "json_object":
            return JsonObjectFormat()
        case "json_schema":
            return _json_schema(field.json_schema)
        case "regex":
            return RegexFormat(_required(field.regex or field.pattern, "regex"))
        case "grammar":
            if field.syntax not in (None, "lark"):
                raise InvalidRequest(
                    f"response_format.syntax must be lark, not {field.syntax!r}.",
                    param="response_format.syntax",
                )
            return GrammarFormat(grammar=_required(field.grammar, "grammar"))
        case _:
            raise InvalidRequest(
                "response_format.type must be one of text, json_object, json_schema, regex, "
                f"grammar, not {field.type!r}.",
                param="response_format.type",
            )


def _json_schema(field: JsonSchemaField | None) -> JsonSchemaFormat:
    if field is None or field.schema is None:
        missing = "json_schema" if field is None else "json_schema.schema"
        raise InvalidRequest(
            f"response_format.{missing} is missing.", param=f"response_format.{missing}"
        )
    return JsonSchemaFormat(
        schema=field.schema,
        name=field.name or "response",
        description=field.description,
        strict=field.strict or False,
    )


def _required(value: str | None, name: str) -> str:
    if not value:
        raise InvalidRequest(f"response_format.{name} is missing.", param=f"response_format.{name}")
    return value
