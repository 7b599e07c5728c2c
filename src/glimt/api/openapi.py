"""The API's description: an OpenAPI 3.1 document of every route, made from types.

https://spec.openapis.org/oas/v3.1.1. A route has an `Operation`, or it is none (`described`); what
formats look like is told by `glimt.wire`. The schema of `text/event-stream` is that of one event,
as version 3.2 has it: its name, and its data as text whose `contentSchema` says what is in it.
"""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final

from glimt import __version__
from glimt.api.described import Described
from glimt.api.schemas import Schemas
from glimt.core.errors import GlimtError, RateLimited, Unauthenticated, Unavailable
from glimt.wire.operation import EventStream, Operation, Parameter

STREAM: Final = "text/event-stream"
_DOCUMENT: Final = "application/json"
_CONVERTER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_REQUEST_ID: Final = Parameter(
    name="x-request-id",
    place="header",
    description="A name for the request: up to 128 of `A-Z a-z 0-9 . _ : -`. "
    "It comes back in the answer and stands in the log; one that does not fit is replaced.",
)
_INTRODUCTION: Final = """\
One address for GLM models, which programs written for other services already speak to.

Every field of a request is honoured, refused by name, or named in the header `x-glimt-warnings`.
Fields may be null, which means: not said.\
"""
_GROUPS: Final = {
    "OpenAI": "Chat and text completions; base URL `/v1`.",
    "Responses": "OpenAI's responses; base URL `/v1`.",
    "Anthropic": "Messages; base URL without a path.",
    "OpenRouter": "Its dialect of chat completions; base URL `/api/v1`.",
    "Z.ai": "Its dialect of chat completions; base URL `/api/paas/v4`.",
    "Cerebras": "What its clients ask beside chat completions.",
    "AI SDK": "The gateway protocol of the AI SDK, versions 5 (`/v1/ai`), 6 and 7.",
    "Models": "What there is, in the shape of each vendor's list.",
    "Server": "For whoever watches it, or reads about it.",
}
"""In the order in which they are shown."""
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "x-request-id": {
        "description": "The request's own if it sent one, else a new one; the log has it too.",
        "schema": {"type": "string"},
    },
    "x-glimt-model": {
        "description": "Which model answers, never the alias that was asked for.",
        "schema": {"type": "string"},
    },
    "x-glimt-route": {
        "description": "The places that were tried in vain, each with why, then the one that "
        "answers; `mid-answer` marks one that broke off, and that the next went on for.",
        "schema": {"type": "string"},
    },
    "x-glimt-warnings": {
        "description": "A JSON list: what was understood but not honoured, and a model that "
        "stands in for another.",
        "schema": {"type": "string"},
    },
    "retry-after": {
        "description": "With an error that may pass: when to try again, in seconds.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
_KEYS: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of the server's API keys, where it has some.",
    },
    "x-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same in the header of Anthropic's clients.",
    },
}


def describe(routes: Sequence[Described], *, has_keys: bool) -> dict[str, Any]:
    """The document. With keys, all operations but the open ones ask for one; else one may come."""
    schemas = Schemas(kind for route in routes for kind in _kinds(route.operation))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _CONVERTER.sub(r"{\1}", route.path)
        operation = _Writer(route, schemas).operation()
        paths.setdefault(path, {})[route.method.lower()] = operation
    used = {route.operation.group for route in routes}
    keyless: list[dict[str, list[str]]] = [] if has_keys else [{}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Glimt",
            "version": __version__,
            "summary": "GLM-4.7-Flash on your own machine",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this came from"}],
        "tags": [
            {"name": name, "description": _GROUPS.get(name, "")}
            for name in (*_GROUPS, *sorted(used - _GROUPS.keys()))
            if name in used
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": HEADERS,
            "securitySchemes": _KEYS,
        },
        "security": [*keyless, *({name: []} for name in _KEYS)],
    }


def _kinds(operation: Operation) -> Iterator[Any]:
    """Every type that an operation names."""
    yield from (parameter.type for parameter in operation.parameters)
    yield _REQUEST_ID.type
    for kind in (operation.body, operation.answer, operation.error):
        if kind is not None:
            yield kind
    if operation.stream is not None:
        yield from operation.stream.events.values()


class _Writer:
    """Writes one operation."""

    def __init__(self, route: Described, schemas: Schemas) -> None:
        self._route = route
        self._operation = route.operation
        self._schemas = schemas

    def operation(self) -> dict[str, Any]:
        told = self._operation
        words = [self._route.method.lower(), *_WORD.findall(self._route.path.replace(":path", ""))]
        written: dict[str, Any] = {
            "operationId": "_".join(words),
            "tags": [told.group],
            "summary": told.summary,
            "parameters": [self._parameter(found) for found in (*told.parameters, _REQUEST_ID)],
            "responses": {"200": self._success(), **self._failures()},
        }
        if told.description:
            written["description"] = told.description
        if told.body is not None:
            written["requestBody"] = {"required": True, "content": {_DOCUMENT: self._body()}}
        if told.is_open:
            written["security"] = []
        return written

    def _parameter(self, parameter: Parameter) -> dict[str, Any]:
        written: dict[str, Any] = {
            "name": parameter.name,
            "in": parameter.place,
            "description": parameter.description,
            "required": parameter.required or parameter.place == "path",
            "schema": self._schemas.of(parameter.type),
        }
        if parameter.example is not None:
            written["example"] = parameter.example
        return written

    def _body(self) -> dict[str, Any]:
        content: dict[str, Any] = {"schema": self._schemas.of(self._operation.body)}
        if self._operation.example is not None:
            content["example"] = dict(self._operation.example)
        return content

    def _success(self) -> dict[str, Any]:
        told = self._operation
        schema = {"type": "string"} if told.answer is None else self._schemas.of(told.answer)
        content: dict[str, Any] = {told.media_type: {"schema": schema}}
        if told.stream is not None:
            content[STREAM] = self._stream(told.stream)
        names = ["x-request-id"]
        if RateLimited in told.errors:
            names += ["x-glimt-model", "x-glimt-route", "x-glimt-warnings"]
        return {"description": "The answer.", "headers": _headers(names), "content": content}

    def _stream(self, stream: EventStream) -> dict[str, Any]:
        """The schema is that of one event, in the words of the standard for events' data."""
        events = [
            _event(name, {"contentMediaType": _DOCUMENT, "contentSchema": self._schemas.of(kind)})
            for name, kind in stream.events.items()
        ]
        if stream.end is not None:
            events.append(_event("message", {"const": stream.end}))
        schema = events[0] if len(events) == 1 else {"anyOf": events}
        return {"schema": {"description": stream.description, **schema}}

    def _failures(self) -> dict[str, Any]:
        kinds = list(self._operation.errors)
        if not self._operation.is_open:
            kinds.append(Unauthenticated)  # Where keys are set.
        by_status: dict[int, list[type[GlimtError]]] = {}
        for kind in kinds:
            status = self._operation.statuses.get(kind, kind.status)
            by_status.setdefault(status, []).append(kind)
        failures = {
            str(status): self._failure(found) for status, found in sorted(by_status.items())
        }
        if any(parameter.name == "if-none-match" for parameter in self._operation.parameters):
            failures["304"] = {"description": "The client has it already."}
        if self._operation.unready:
            failures["503"] = {**self._success(), "description": _words(Unavailable)}
        return failures

    def _failure(self, kinds: list[type[GlimtError]]) -> dict[str, Any]:
        names = ["x-request-id"]
        if any(kind.retryable for kind in kinds):
            names.append("retry-after")
        written: dict[str, Any] = {
            "description": " ".join(_words(kind) for kind in kinds),
            "headers": _headers(names),
        }
        if self._operation.error is not None:
            written["content"] = {_DOCUMENT: {"schema": self._schemas.of(self._operation.error)}}
        return written


def _event(name: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["data"],
        "properties": {
            "event": {"type": "string", "const": name},
            "data": {"type": "string", **data},
        },
    }


def _words(kind: type[GlimtError]) -> str:
    said = (kind.__doc__ or HTTPStatus(kind.status).phrase).split("\n\n")[0]
    return " ".join(said.split())


def _headers(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
