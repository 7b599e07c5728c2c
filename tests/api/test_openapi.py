"""The API's description: it tells everything, and what it tells is true."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx2
import jsonschema
import msgspec
import pytest

from glimt.api.described import Described
from glimt.api.openapi import describe
from glimt.api.routes import create_app, create_routes
from glimt.api.schemas import REFERENCE, Schemas
from glimt.core.errors import Overloaded, Unavailable
from glimt.core.events import Finished, Started
from glimt.core.parts import ToolCallPart
from glimt.core.usage import Timing, Usage
from glimt.providers.scripted import Script, ScriptedProvider, say
from glimt.wire.fields import Fields
from tests.api.described import STREAM, Judge
from tests.api.serving import services, serving

ANSWER = say(
    "It is ",
    "42.",
    reasoning=["Let me ", "see."],
    calls=[ToolCallPart(id="c", name="f", arguments='{"a": 1}')],
)


def routes() -> list[Described]:
    built, _ = services(ScriptedProvider(ANSWER))
    return create_routes(built)


ROUTES = routes()
POSTS = [route for route in ROUTES if route.operation.body is not None]


def path_of(route: Described) -> str:
    return route.path.replace("{model_id:path}", "scripted")


@dataclass
class Stage:
    """A server whose next answers can be chosen, and what it says of itself."""

    url: str
    script: Script
    judge: Judge

    def post(
        self,
        http,
        route: Described,
        extra: Mapping[str, Any] = MappingProxyType({}),
        *,
        streams: bool = False,
    ):
        """Send a route's example, with more fields or other ones."""
        headers = {p.name: "scripted" for p in route.operation.parameters if p.required}
        body = {**route.operation.example, "model": "scripted", **extra}
        if streams and route.operation.stream is not None:
            body["stream"] = True
            headers |= {
                p.name: "true" for p in route.operation.parameters if p.name.endswith("-streaming")
            }
        return http.post(self.url + path_of(route), json=body, headers=headers)


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    found: list[Stage] = []
    provider = ScriptedProvider(write=lambda _: found[0].script)
    database = f"sqlite:///{tmp_path_factory.mktemp('home')}/glimt.db"
    with serving(provider, database_url=database) as served:
        with httpx2.Client(trust_env=False) as client:
            document = client.get(served.url + "/openapi.json").json()
        found.append(Stage(served.url, ANSWER, Judge(document)))
        yield found[0]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe(ROUTES, has_keys=False)


def test_every_route_is_described():
    """A route that does not say what it does is none of ours."""
    built, _ = services(ScriptedProvider(ANSWER))
    for route in create_app(built)._router.routes:
        assert isinstance(route, Described), f"{route} needs an Operation: see api/described.py"
        assert route.operation.summary
        assert route.methods - {"HEAD"} == {route.method}


def test_every_operation_is_in_the_document(document):
    """Methods, addresses and names: all of them, each once."""
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert told == {(route.method, route.path.replace(":path", "")) for route in ROUTES}
    ids = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    ]
    assert len(ids) == len(set(ids)) == len(ROUTES)
    groups = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert {route.operation.group for route in ROUTES} == set(groups)
    assert all(groups.values()), "a group without a word in api/openapi.py"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_schemas_are_schemas(document):
    """Every component is a JSON Schema of 2020-12, and every reference has its component."""
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "Attributes:" not in schema["description"]
    for reference in references(document):
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
def test_the_body_is_what_the_decoder_reads(route, stage, http, monkeypatch):
    """Fields that a decoder asks for are those of the body, or it objects to them."""
    stage.script = ANSWER
    asked: set[str] = set()

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(fields, name, *rest, **options):
            asked.add(name)
            return method(fields, name, *rest, **options)

        return noted

    readers = ("take", "has", "raw", "decoded", "integer", "number", "flag", "text", "shape")
    for name in readers:
        monkeypatch.setattr(Fields, name, noting(getattr(Fields, name)))
    assert stage.post(http, route).status_code == 200
    told = {field.encode_name for field in msgspec.structs.fields(route.operation.body)}
    if not asked:
        pytest.skip("decoded as a whole, by the type that is told")
    assert told <= asked
    # Options of providers are read as fields of another body, which is told of elsewhere.
    for name in asked - told if "providerOptions" not in told else ():
        objected = stage.post(http, route, {name: {}})
        warned = objected.headers.get("x-glimt-warnings", "")
        # That it has another type is no objection to a field.
        refused = objected.status_code == 400 and f"{name}: expected" not in objected.text
        assert refused or name in warned, f"{name} is taken, and not told of"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
def test_answers_are_as_described(route, streams, stage, http):
    """An example is a valid body, and its answer has the type that is told, streamed or not."""
    bill = Finished(usage=Usage(prompt_tokens=3), timing=Timing(total_s=1.0), warnings=("late",))
    stage.script = [*ANSWER[:-1], bill]
    path, told = path_of(route), stage.judge.operation("POST", path_of(route))
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    stage.judge.validate(dict(route.operation.example), schema)
    response = stage.post(http, route, streams=streams)
    assert response.status_code == 200
    streamed = streams and route.operation.stream is not None
    assert response.headers["content-type"].startswith(STREAM) == streamed
    stage.judge.check("POST", path, response)


@pytest.mark.parametrize("error", [Overloaded("full", retry_after_s=2), Unavailable("no")])
@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
def test_errors_are_as_described(route, error, stage, http):
    """So has an error, before an answer, in the middle of a stream, or of a body that is none."""
    path = path_of(route)
    stage.script = [error]
    stage.judge.check("POST", path, stage.post(http, route))
    stage.script = [*ANSWER[:3], error]
    stage.judge.check("POST", path, stage.post(http, route, streams=True))
    for bad in (b"{", b"[]", b"{}"):
        stage.judge.check("POST", path, http.post(stage.url + path, content=bad))


@pytest.mark.parametrize("dialect", ["openai", "openrouter", "zai", "cerebras"])
def test_dialects_are_as_described(dialect, stage, http):
    """The header gives answers and errors another spelling, which is told of too."""
    path = "/v1/chat/completions"
    asked = b'{"model": "scripted", "stream": true, "messages": [{"role": "user", "content": "a"}]}'
    for script in (ANSWER, [*ANSWER[:3], Overloaded("full")]):
        for body in (b"{}", asked, asked.replace(b"true", b"false")):
            stage.script = script
            headers = {"x-glimt-dialect": dialect}
            response = http.post(stage.url + path, content=body, headers=headers)
            stage.judge.check("POST", path, response)


def test_every_get_is_as_described(stage, http):
    """Every address that can be read answers in the type that is told."""
    stage.script = say("kept", started=Started(id="glimt-1", model="m", created=1, provider="p"))
    kept = http.post(stage.url + "/v1/responses", json={"model": "scripted", "input": "hi"}).json()
    names = {
        "{section}/{name}": "guides/quickstart.md",
        "page/{name}": "page/page.js",
        "{response_id}": kept["id"],
    }
    for route in ROUTES:
        if route.method == "GET":
            path = path_of(route)
            for template, name in names.items():
                path = path.replace(template, name)
            for headers in ({}, {"anthropic-version": "2023-06-01"}):
                response = http.get(stage.url + path, headers=headers)
                assert response.status_code == 200, path
                stage.judge.check("GET", path, response)


def test_keys_are_told_of_and_asked_for(serve, http):
    """With keys, what is not said to be open answers 401 without one, in a form that is told."""
    served = serve(ScriptedProvider(ANSWER), api_keys=("secret",))
    judge = Judge(http.get(served.url + "/openapi.json").json())
    assert {"bearer", "x-api-key"} == set(judge.document["components"]["securitySchemes"])
    for path, item in judge.document["paths"].items():
        for method, operation in item.items():
            place = path.replace("{model_id}", "scripted")
            response = http.request(method, served.url + place, headers={"x-api-key": "wrong"})
            if "security" in operation:
                assert operation["security"] == []
                assert response.status_code != 401, place
            else:
                assert response.status_code == 401, place
                judge.check(method, place, response)

    assert {} not in judge.document["security"]


def test_without_keys_they_are_optional(document):
    """A server without keys asks for none; how they would be sent is told all the same."""
    assert document["security"] == [{}, {"bearer": []}, {"x-api-key": []}]
    assert {"bearer", "x-api-key"} == set(document["components"]["securitySchemes"])
    for route in POSTS:
        told = document["paths"][route.path]["post"]["responses"]
        assert "401" in told, route.path


def test_the_document_is_sent_once(stage, http):
    """A client that has it already is told so."""
    served = stage
    first = http.get(served.url + "/openapi.json")
    again = http.get(served.url + "/openapi.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = http.get(served.url + "/openapi.json", headers={"if-none-match": '"other"'})
    assert other.content == first.content


class Inner(msgspec.Struct, rename="camel"):
    """Inside.

    Attributes:
        snake_case: What it is,
            in two lines.
    """

    snake_case: int | None = None


class Outer(Inner, kw_only=True, forbid_unknown_fields=True):
    """Outside.

    Attributes:
        again: Another one.
    """

    again: list[Inner]


def test_attributes_describe_fields():
    """A field is described by its line in the docstring of its struct, or of the one before it."""
    schemas = Schemas([Outer, int, (int, Inner)])
    outer = schemas.components["Outer"]
    assert outer["description"] == "Outside."
    assert outer["properties"]["snakeCase"]["description"] == "What it is, in two lines."
    assert outer["properties"]["again"]["description"] == "Another one."
    assert "additionalProperties" not in outer
    assert schemas.of((int, Inner)) == {
        "anyOf": [{"type": "integer"}, {"$ref": REFERENCE + "Inner"}]
    }
