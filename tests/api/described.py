"""The API's description as a judge of what a server sends."""

import re
from typing import Any

import jsonschema
import msgspec

from glimt.wire.sse import EventDecoder

STREAM = "text/event-stream"
DOCUMENT = "application/json"


class Judge:
    """Holds responses to the document that the server itself gave out."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        # What is spelled out goes before what stands for anything.
        paths = sorted(document["paths"], key=lambda path: (path.count("{"), -len(path)))
        self._paths = [(_pattern(path), document["paths"][path]) for path in paths]

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """What is said of an address."""
        for pattern, item in self._paths:
            if pattern.fullmatch(path) and method.lower() in item:
                return item[method.lower()]
        raise KeyError(f"{method} {path} is not described")

    def check(self, method: str, path: str, response: Any) -> None:
        """Raises where a response has a status, a type or a form that nobody spoke of."""
        told = self.operation(method, path)["responses"]
        status = str(response.status_code)
        assert status in told, f"{method} {path}: status {status} is not described"
        kind = response.headers["content-type"].partition(";")[0]
        content = told[status]["content"]
        if "*/*" in content:
            return
        assert kind in content, f"{method} {path} {status}: {kind} is not described"
        if kind == DOCUMENT:
            self.validate(response.json(), content[kind]["schema"])
        elif kind == STREAM:
            self.check_events(response.content, content[kind])

    def check_events(self, data: bytes, told: dict[str, Any]) -> int:
        """The same for the events of a stream; how many there were."""
        events = EventDecoder().feed(data)
        for event in events:
            self._check_event(event.event, event.data, told["schema"])
        return len(events)

    def _check_event(self, name: str, data: str, told: dict[str, Any]) -> None:
        for kind in told.get("anyOf", [told]):
            expected = kind["properties"]["data"]
            if kind["properties"]["event"]["const"] == name and expected.get("const", data) == data:
                if "contentSchema" not in expected:
                    return
                if data[:1] == "{":
                    self.validate(msgspec.json.decode(data), expected["contentSchema"])
                    return
        raise AssertionError(f"an event {name!r} is not described: {data}")

    def validate(self, value: object, schema: dict[str, Any]) -> None:
        """Hold a value to one of the document's schemas."""
        whole = {**schema, "components": self.document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)


def _pattern(path: str) -> re.Pattern[str]:
    """A path's template; a model's name may have slashes."""
    some = re.sub(r"\{(\w+)\}", r"<\1>", path).replace("<model_id>", ".+")
    return re.compile(re.sub(r"<\w+>", "[^/]+", some))
