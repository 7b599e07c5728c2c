"""The formats in which a place elsewhere can be asked: what differs between them, and no more.

Where a request is sent, how it is written, how its answer is read, and which document tells of an
error in place of one. The bytes in between are `glimt.providers.remote`'s business; what a request
may say at one place is `glimt.providers.spelling`'s.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from glimt.catalog.types import Wire as WireName
from glimt.core.events import Event
from glimt.core.request import Request
from glimt.wire.chat_completions import asking as chat
from glimt.wire.chat_completions.reading import ChunkDecoder
from glimt.wire.messages import asking as messages
from glimt.wire.messages.reading import MessageDecoder
from glimt.wire.responses import asking as responses
from glimt.wire.responses.reading import EventReader


class AnswerDecoder(Protocol):
    """One answer. It ends with `Finished`; what follows that is of no interest."""

    def feed(self, data: str) -> list[Event]:
        """The events of one server-sent event's data. Raises UpstreamError where it is none."""
        ...

    def whole(self, body: bytes) -> list[Event]:
        """The events of an answer in one piece. Raises UpstreamError where it is none."""
        ...

    def end(self) -> list[Event]:
        """What is left when the stream has ended. Raises UpstreamError where it was cut."""
        ...


class NewDecoder(Protocol):
    """Makes one for an answer of `provider`; `model` is what was asked for."""

    def __call__(self, *, provider: str, model: str) -> AnswerDecoder:
        """A new one."""
        ...


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """One format, as a client speaks it.

    Attributes:
        path: Behind a place's address.
        encode: A request that is answered as a stream. Raises UnsupportedParameter.
        decoder: Reads an answer.
        error_in: Of a document in place of an answer, or of an event, what tells of an error, in a
            shape that `refusals.complaint` reads; `None` where it does not.
        headers: Sent with every request.
        usual_limit: The tokens of an answer where a request has no limit and the format wants one.
        encode_count: A request whose tokens are to be counted, at `path` with "/count_tokens";
            `None` where the format has no such thing.
    """

    path: str
    encode: Callable[[Request], bytes]
    decoder: NewDecoder
    error_in: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
    headers: Mapping[str, str] = {}
    usual_limit: int | None = None
    encode_count: Callable[[Request], bytes] | None = None


def _chat_error(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Under `error`; Cerebras's has no wrapper."""
    is_bare = "choices" not in document and "message" in document
    return document if document.get("error") or is_bare else None


def _messages_error(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return document if document.get("error") or document.get("type") == "error" else None


def _responses_error(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of a response that failed, or of a stream in an event of its own."""
    if document.get("error") or document.get("type") == "error":
        return document
    response = document.get("response")
    if isinstance(response, dict) and (error := response.get("error")):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return {"error": error}
    return None


WIRES: Final[Mapping[WireName, Wire]] = {
    "chat_completions": Wire(
        path="/chat/completions",
        encode=lambda request: chat.encode_request(request, stream=True),
        decoder=ChunkDecoder,
        error_in=_chat_error,
    ),
    "messages": Wire(
        path="/messages",
        encode=lambda request: messages.encode_request(request, stream=True),
        decoder=MessageDecoder,
        error_in=_messages_error,
        headers={"anthropic-version": "2023-06-01"},
        usual_limit=messages.MAX_TOKENS,
        encode_count=messages.encode_count,
    ),
    "responses": Wire(
        path="/responses",
        encode=lambda request: responses.encode_request(request, stream=True),
        decoder=EventReader,
        error_in=_responses_error,
    ),
}
