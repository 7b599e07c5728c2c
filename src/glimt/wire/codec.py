"""What every wire format offers to the HTTP side: decode a request, encode what comes back.

Knows `core` and no format. A format lives in its own folder and is found by `glimt.api.routes`.
"""

import re
from typing import Final, Protocol

import msgspec

from glimt.core.errors import GlimtError
from glimt.core.events import Answer, Event
from glimt.core.request import Request
from glimt.wire.dialect import OPENAI, Dialect

MAX_WARNINGS: Final = 64
MAX_WARNING_CHARACTERS: Final = 300
"""A body with a million unknown fields must not make an answer as long."""
_STEP: Final = re.compile(r"[.\[]")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded request: what is asked of a model, and what only the format needs to know.

    Attributes:
        requests: One, or several where the format lets one call ask several prompts; their choices
            are numbered through.
        include_usage: Whether a stream ends with the bill in an event of its own.
        warnings: What was understood but not honoured, or not understood at all.
        names: The client's own spelling of core fields, where it differs: "num_choices" → "n".
        dialect: Whose spelling the answer has, in formats that several vendors share.
        request_id: What the body calls the request, where a format lets it.
        router_metadata: Whether the answer tells how it came about, in OpenRouter's words.
    """

    requests: tuple[Request, ...]
    stream: bool = False
    include_usage: bool = False
    warnings: tuple[str, ...] = ()
    names: dict[str, str] = {}
    dialect: Dialect = OPENAI
    request_id: str | None = None
    router_metadata: bool = False

    @property
    def request(self) -> Request:
        """The first one; it stands for all of them in everything but the prompt."""
        return self.requests[0]

    @property
    def num_choices(self) -> int:
        """The choices of all requests together."""
        return sum(request.num_choices for request in self.requests)


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """An error as a response."""

    status: int
    body: bytes


class StreamEncoder(Protocol):
    """Turns the events of one answer into bytes of one response; holds what they share."""

    def encode(self, event: Event) -> bytes:
        """What the client gets for an event; empty for one that says nothing in this format."""
        ...

    def fail(self, error: GlimtError) -> bytes:
        """What the client gets when the answer breaks off; nothing follows."""
        ...

    def end(self) -> bytes:
        """What follows the last event."""
        ...


class Codec(Protocol):
    """One wire format, as a server speaks it."""

    def decode(self, body: bytes) -> Call:
        """Read a request. Raises InvalidRequest with the client's name of the field at fault."""
        ...

    def stream(self, call: Call) -> StreamEncoder:
        """An encoder for the answer to `call`, event by event."""
        ...

    def unary(self, call: Call, answer: Answer) -> bytes:
        """The whole answer as one document."""
        ...

    def error(self, error: GlimtError, call: Call | None) -> ErrorBody:
        """An error that came before any of the answer. `call` is None when it was not decoded."""
        ...


def client_name(path: str, names: dict[str, str]) -> str:
    """A core field's path in the client's spelling: the longest known beginning is replaced."""
    if path in names:
        return names[path]
    for step in reversed(list(_STEP.finditer(path))):
        if (known := names.get(path[: step.start()])) is not None:
            return known + path[step.start() :]
    return path.removeprefix("sampling.")


def client_message(error: GlimtError, names: dict[str, str]) -> str:
    """What an error says; a message that opens with the field's path, in the client's spelling.

    The path may also be that of what the field is part of: "messages[0] holds an image" about
    `messages[0].content`.
    """
    path = error.param
    opening = error.message.partition(" ")[0].rstrip(":")
    if path is not None and opening and (path + ".").startswith((opening + ".", opening + "[")):
        return client_name(opening, names) + error.message.removeprefix(opening)
    return error.message


def client_warnings(warnings: tuple[str, ...], names: dict[str, str]) -> list[str]:
    """Warnings open with a field's path; the same in the client's spelling."""
    translated: list[str] = []
    for warning in warnings:
        path = warning.partition(" ")[0].rstrip(":")
        translated.append(client_name(path, names) + warning.removeprefix(path))
    return translated


def all_warnings(call: Call, started: tuple[str, ...], finished: tuple[str, ...]) -> list[str]:
    """What the format, the provider's beginning and its end warned about, each once."""
    late = client_warnings((*started, *finished), call.names)
    distinct = list(dict.fromkeys((*call.warnings, *late)))
    if len(distinct) > MAX_WARNINGS:
        distinct[MAX_WARNINGS:] = [f"and {len(distinct) - MAX_WARNINGS} more"]
    return [warning[:MAX_WARNING_CHARACTERS] for warning in distinct]


def json_object(value: object) -> bytes:
    """Compact JSON."""
    return _ENCODER.encode(value)


_ENCODER: Final = msgspec.json.Encoder()
