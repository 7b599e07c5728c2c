"""Addresses, headers and fields: what /openapi.json has, as tables."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec

from glimt.api.described import Described
from glimt.api.dialects import CountTokensEndpoint, DialectEndpoint, ResponsesEndpoint
from glimt.api.endpoint import AnswerEndpoint
from glimt.api.openapi import HEADERS
from glimt.api.routes import create_routes
from glimt.api.schemas import REFERENCE, Schemas
from glimt.core import errors
from glimt.wire.codec import Call, Codec
from glimt.wire.fields import Fields
from glimt.wire.messages.codec import MessagesCodec
from glimt.wire.operation import Operation
from glimt.wire.responses.codec import ResponsesCodec

_HTTP = """\
# HTTP

Every address of the server; `/docs` shows the same in a browser, and `/openapi.json` has it for programs.

| method | address | whose | |
|---|---|---|---|
{routes}

## Keys

With `api_keys` set, everything but {open_paths} wants `Authorization: Bearer KEY`, or `x-api-key: KEY`.

## Headers of a request

| header | |
|---|---|
| `authorization`, `x-api-key` | the key, where there are keys |
| `x-request-id` | a name for the request, up to 128 of `A-Z a-z 0-9 . _ : -` |
| `x-glimt-deadline-s` | after so many seconds nobody needs the answer any more; the same as `deadline_s` in the body |
| `x-glimt-dialect` | the [dialect](../concepts/dialects.md) of chat completions, whatever the path: `openai`, `openrouter`, `zai` or `cerebras` |
| `x-session-id` | the same as `session_id` in the body |

## Headers of an answer

| header | |
|---|---|
{headers}

## Beyond OpenAI's answer

In a whole answer, and in the last chunk of a stream, beside `usage`:

| member | |
|---|---|
| `service_tier` | the class that was given, which may be less than was asked for; a stream's first chunk has it too |
| `time_info` | Cerebras's: `queue_time`, `prompt_time`, `completion_time`, `total_time` in seconds, and `created` |
| `glimt.warnings` | all warnings: those of the header, and those that only the end could tell; left out when there are none |

`usage.completion_tokens_details` has `accepted_prediction_tokens` and `rejected_prediction_tokens`: the guesses of speculation.
Accepted ones are tokens of the answer, rejected ones are no part of `completion_tokens`.

## Errors

[Every error](errors.md) has this body, in OpenAI's [dialect](../concepts/dialects.md). A stream that fails in the middle ends with it as its last event.

```
{{"error": {{"message": "…", "type": "invalid_request_error", "param": "messages[0].content", "code": "invalid_value"}}}}
```

{fields}
"""

_FIELDS = """\
## Fields of `POST {address}`

{rest}

| field | takes | |
|---|---|---|
{rows}"""
_REST = "Any other field is accepted, and named in a warning."


def http() -> str:
    """The page."""
    services: Any = mock.MagicMock()
    services.api_keys = ()
    routes = create_routes(services)
    told = [route.operation for route in routes]
    rows = [
        f"| `{route.method}` | `{_shown(route.path)}` | {route.operation.group} "
        f"| {_about(route.operation)} |"
        for route in routes
    ]
    bodies: dict[Any, Described] = {}
    for route in routes:
        if route.operation.body is not None:
            bodies.setdefault(route.operation.body, route)
    schemas = Schemas(bodies)
    fields = [_table(route, schemas) for route in bodies.values()]
    open_paths = [f"`{_shown(r.path)}`" for r, o in zip(routes, told, strict=True) if o.is_open]
    listed = ", ".join(open_paths[:-1]) + f" and {open_paths[-1]}"
    headers = (f"| `{name}` | {told['description']} |" for name, told in HEADERS.items())
    return _HTTP.format(
        routes="\n".join(rows),
        fields="\n\n".join(fields),
        open_paths=listed,
        headers="\n".join(headers),
    )


def _shown(path: str) -> str:
    return path.replace(":path", "")


def _about(operation: Operation) -> str:
    return " ".join(f"{operation.summary}. {operation.description}".split())


def _table(route: Described, schemas: Schemas) -> str:
    name = schemas.of(route.operation.body)["$ref"].removeprefix(REFERENCE)
    schema = schemas.components[name]
    required = schema.get("required", [])
    rows = {
        field: f"| `{field}` | {type_words(kind)}{', required' if field in required else ''} "
        f"| {kind.get('description', '')} |"
        for field, kind in schema["properties"].items()
    }
    rows |= {
        field: f"| `{field}` |  | {objection} |"
        for field, objection in _objections(route, rows.keys()).items()
    }
    body = "\n".join(rows[field] for field in sorted(rows))
    return _FIELDS.format(address=_shown(route.path), rest=_REST, rows=body)


def type_words(schema: dict[str, Any]) -> str:  # noqa: PLR0911  one for each kind
    """What a JSON Schema allows, in few words."""
    if "anyOf" in schema:
        kinds = [type_words(one) for one in schema["anyOf"] if one != {"type": "null"}]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "$ref" in schema:
        return "object"
    match schema.get("type"):
        case "array":
            return f"list of {_plural(type_words(schema.get('items', {})))}"
        case "string":
            return "text"
        case "boolean":
            return "true or false"
        case "integer" | "number" as kind:
            return kind + _range(schema)
        case "object":
            return "object"
        case _:
            return "anything"


def _plural(words: str) -> str:
    return words + "s" if words in ("object", "integer", "number") else words


_HUGE = 2**32


def _range(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema.get("exclusiveMinimum") == 0:
        return ", more than 0"
    if low is None or abs(low) > _HUGE:
        return ""
    if low == -1 and schema.get("not") == {"const": 0}:
        return ", at least 1, or -1"
    return f", at least {low:g}" if high is None else f", {low:g} to {high:g}"


def _objections(route: Described, known: Any) -> dict[str, str]:
    """Fields that the decoder asks for and the body does not have, with what it says to them."""
    codec = _codec(route)
    example = msgspec.json.encode(route.operation.example)
    seen: dict[str, None] = {}

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(fields: Fields, name: str, *rest: Any, **options: Any) -> Any:
            seen.setdefault(name)
            return method(fields, name, *rest, **options)

        return noted

    with (
        mock.patch.object(Fields, "has", noting(Fields.has)),
        mock.patch.object(Fields, "take", noting(Fields.take)),
    ):
        codec.decode(example)
    return {
        name: said for name in seen if name not in known and (said := _said(codec, example, name))
    }


def _codec(route: Described) -> Codec:
    match route.endpoint:
        case AnswerEndpoint() as endpoint:
            return endpoint._codec
        case DialectEndpoint() as endpoint:
            headers = {p.name: "x" for p in route.operation.parameters if p.required}
            return endpoint._choose(route.path, headers)
        case ResponsesEndpoint():
            return ResponsesCodec()
        case CountTokensEndpoint():
            return _Counting({}, signatures=None)
        case other:
            raise TypeError(f"{other} has no codec")


class _Counting(MessagesCodec):
    """Reads what is to be counted as if it were to be answered."""

    def decode(self, body: bytes) -> Call:
        return self.decode_count(body)


_PROBES: tuple[Any, ...] = ({}, ["x"], [{"id": "x"}], "x", True, 1)
"""A value of each kind: what is said of a field is not that it has another one."""


def _said(codec: Codec, example: bytes, name: str) -> str:
    for value in _PROBES:
        body = msgspec.json.encode({**msgspec.json.decode(example), name: value})
        try:
            warnings = codec.decode(body).warnings
        except errors.GlimtError as error:
            if error.code == "invalid_type":
                continue
            return f"refused: {str(error).partition(': ')[2] or error}"
        return "; ".join(
            f"not honoured: {text.partition(': ')[2]}" for text in warnings if text.startswith(name)
        )
    raise TypeError(f"no probe is of the kind of {name!r}")
