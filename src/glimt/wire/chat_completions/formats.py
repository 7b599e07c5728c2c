"""What an answer has to look like, in every vendor's spelling.

OpenAI's `response_format`, vLLM's `guided_*` and `structured_outputs`, SGLang's `regex` and
llama.cpp's `json_schema` become one core format; a body may use one of them. `names` learns which,
so that later complaints about the format use it too. Knows shapes alone; whether a schema can be
held to is the engine's business.
"""

import re
from typing import Any, Final, cast

import msgspec

from glimt.core.errors import InvalidRequest, UnsupportedParameter
from glimt.core.request import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    TextFormat,
)
from glimt.wire.fields import Fields, decode_as

REFUSED: Final = {
    "ebnf": "write the grammar in Lark, as guided_grammar",
    "grammar": "write the grammar in Lark, as guided_grammar",
    "structural_tag": "use tools, or describe the whole answer as guided_grammar",
}
"""Formats in languages that nobody here reads; ignoring them would answer another question."""

_ALONE: Final = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
    "json_schema": "json",
    "regex": "regex",
}
_SCHEMA: Final = cast("type[str | dict[str, Any]]", str | dict[str, Any])
_KINDS: Final[dict[str, Any]] = {"json": _SCHEMA, "choice": list[str], "regex": str, "grammar": str}
_CORE_PATHS: Final = {
    "json": "response_format.json_schema.schema",
    "regex": "response_format.pattern",
    "choice": "response_format.pattern",
    "grammar": "response_format.grammar",
}
_MEMBERS: Final = {
    "text": (),
    "json_object": ("schema",),
    "json_schema": ("json_schema", "schema"),
    "regex": ("regex", "pattern"),
    "grammar": ("grammar", "syntax"),
}
"""Which members of `response_format` count for which of its types."""
_SPECIAL: Final = re.compile(r"[\\^$.|?*+()\[\]{}/-]")


class JsonSchemaField(msgspec.Struct):
    """`response_format.json_schema`. OpenAI requires a name; GLM servers do not."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormatField(msgspec.Struct):
    """Every kind in one; `type` says which of the others counts. `schema` is llama.cpp's."""

    type: str
    json_schema: JsonSchemaField | None = None
    schema: dict[str, Any] | None = None
    regex: str | None = None
    pattern: str | None = None
    grammar: str | None = None
    syntax: str | None = None


class StructuredOutputsField(msgspec.Struct):
    """vLLM's `structured_outputs`: one of its members is given."""

    json: str | dict[str, Any] | None = None
    json_object: bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    structural_tag: Any = None


def read_response_format(
    fields: Fields, *, names: dict[str, str], warnings: list[str]
) -> ResponseFormat:
    """Take every field that says what an answer has to look like.

    Raises:
        InvalidRequest: One is malformed, or there are two of them.
        UnsupportedParameter: It is written in a language that is not read here.
    """
    found = _Found(names)
    wanted = _response_format(fields, names=names, warnings=warnings)
    if not isinstance(wanted, TextFormat):
        found.add(wanted, "response_format")
    _structured_outputs(fields, found, warnings)
    for spelling, kind in _ALONE.items():
        value = fields.take(spelling, _KINDS[kind])
        if value is not None:
            found.add_kind(kind, value, spelling)
    return found.format


class _Found:
    """The format that was asked for, and how; there may be one."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._spelling: str | None = None
        self.format: ResponseFormat = TextFormat()

    def add(self, wanted: ResponseFormat, spelling: str) -> None:
        if self._spelling is not None:
            raise InvalidRequest(
                f"{self._spelling} and {spelling} both say what the answer has to look like; "
                "give one of them.",
                param=spelling,
            )
        self.format, self._spelling = wanted, spelling

    def add_kind(self, kind: str, value: Any, spelling: str) -> None:  # noqa: ANN401  see _KINDS
        self.add(_format(kind, value, spelling), spelling)
        self._names["response_format"] = spelling
        if kind in _CORE_PATHS:
            self._names[_CORE_PATHS[kind]] = spelling


def _format(kind: str, value: Any, spelling: str) -> ResponseFormat:  # noqa: ANN401  see _KINDS
    if value in ("", []):
        raise InvalidRequest(f"{spelling} is empty.", param=spelling)
    match kind:
        case "json":
            if isinstance(value, str):
                value = decode_as(value.encode(), dict[str, Any], spelling)
            return JsonSchemaFormat(schema=value)
        case "json_object":
            return JsonObjectFormat()
        case "choice":
            return RegexFormat("|".join(_SPECIAL.sub(r"\\\g<0>", choice) for choice in value))
        case "regex":
            return RegexFormat(value)
        case _:
            return GrammarFormat(grammar=value)


def _structured_outputs(fields: Fields, found: _Found, warnings: list[str]) -> None:
    field = fields.shape("structured_outputs", StructuredOutputsField, warnings)
    if field is None:
        return
    if field.structural_tag is not None:
        raise _no_structural_tag("structured_outputs.structural_tag")
    for kind in _KINDS:
        value = getattr(field, kind)
        if value is not None:
            found.add_kind(kind, value, f"structured_outputs.{kind}")
    if field.json_object:
        found.add_kind("json_object", field.json_object, "structured_outputs.json_object")


def _response_format(
    fields: Fields, *, names: dict[str, str], warnings: list[str]
) -> ResponseFormat:
    field = fields.shape("response_format", ResponseFormatField, warnings)
    if field is None:
        return TextFormat()
    if field.type == "structural_tag":
        raise _no_structural_tag("response_format.type")
    if field.type not in _MEMBERS:
        raise InvalidRequest(
            f"response_format.type must be one of {', '.join(_MEMBERS)}, not {field.type!r}.",
            param="response_format.type",
        )
    warnings.extend(
        f"response_format.{name} was not honoured: the type is {field.type}"
        for name in ResponseFormatField.__struct_fields__[1:]
        if getattr(field, name) is not None and name not in _MEMBERS[field.type]
    )
    match field.type:
        case "text":
            return TextFormat()
        case "json_object" if not field.schema:
            return JsonObjectFormat()
        case "json_object" | "json_schema":
            return _json_schema(field, names)
        case "regex":
            return _regex(field, names)
        case _:
            if field.syntax not in (None, "lark"):
                raise InvalidRequest(
                    f"response_format.syntax must be lark, not {field.syntax!r}.",
                    param="response_format.syntax",
                )
            return GrammarFormat(grammar=_required(field.grammar, "grammar"))


def _json_schema(field: ResponseFormatField, names: dict[str, str]) -> JsonSchemaFormat:
    inner = field.json_schema if field.type == "json_schema" else None
    if field.schema is not None:
        if inner is not None:
            raise InvalidRequest(
                "response_format.json_schema and response_format.schema both describe the answer; "
                "give one of them.",
                param="response_format.schema",
            )
        names["response_format.json_schema.schema"] = "response_format.schema"
        return JsonSchemaFormat(schema=field.schema)
    if inner is None or inner.schema is None:
        missing = "json_schema" if inner is None else "json_schema.schema"
        raise InvalidRequest(
            f"response_format.{missing} is missing.", param=f"response_format.{missing}"
        )
    return JsonSchemaFormat(
        schema=inner.schema,
        name=inner.name or "response",
        description=inner.description,
        strict=inner.strict or False,
    )


def _regex(field: ResponseFormatField, names: dict[str, str]) -> RegexFormat:
    if field.regex and field.pattern:
        raise InvalidRequest(
            "response_format.regex and response_format.pattern are the same; give one of them.",
            param="response_format.pattern",
        )
    if field.regex:
        names["response_format.pattern"] = "response_format.regex"
    return RegexFormat(_required(field.regex or field.pattern, "regex"))


def _required(value: str | None, name: str) -> str:
    if not value:
        raise InvalidRequest(f"response_format.{name} is missing.", param=f"response_format.{name}")
    return value


def _no_structural_tag(path: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"{path}: structural_tag is not supported: {REFUSED['structural_tag']}.", param=path
    )
