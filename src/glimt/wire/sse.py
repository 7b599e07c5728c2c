"""Server-sent events, both ways.

https://html.spec.whatwg.org/multipage/server-sent-events.html

Knows framing alone; what an event's data means is the business of a codec. The decoder takes bytes
cut anywhere, inside a line ending or a character too, and gives the same events for any cut.
"""

from typing import Final

import msgspec

KEEPALIVE: Final = b": keepalive\n\n"
"""A comment, which every client skips."""

_BOM: Final = b"\xef\xbb\xbf"


class ServerSentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `data` has its lines joined by a line feed; `retry_ms` is set by any event."""

    data: str = ""
    event: str = "message"
    id: str | None = None
    retry_ms: int | None = None


def encode(data: bytes) -> bytes:
    """An event of the default type. `data` is one line of UTF-8, as JSON documents are here."""
    return b"data: %b\n\n" % data


def encode_event(event: ServerSentEvent) -> bytes:
    """An event with all its fields. Data may have several lines; names and ids may not.

    Raises:
        ValueError: A name or an id holds a line ending, or an id a null character.
    """
    lines: list[str] = []
    if event.event != "message":
        lines.append(f"event: {_one_line(event.event)}")
    if event.id is not None:
        lines.append(f"id: {_one_line(event.id)}")
    if event.retry_ms is not None:
        lines.append(f"retry: {event.retry_ms}")
    text = event.data.replace("\r\n", "\n").replace("\r", "\n")
    lines.extend(f"data: {line}" for line in text.split("\n"))
    return "\n".join([*lines, "", ""]).encode()


def _one_line(value: str) -> str:
    if any(character in value for character in "\r\n\0"):
        raise ValueError(f"{value!r} does not fit on one line of an event")
    return value


class EventDecoder:
    """Bytes in, events out. An event that the stream's end cuts off is dropped, as browsers do."""

    def __init__(self) -> None:
        self._rest = b""
        self._at_start = True
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None
        self._retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take more bytes; the events that are whole now."""
        self._rest += chunk
        if self._at_start:
            if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
                return []
            self._rest = self._rest.removeprefix(_BOM)
            self._at_start = False
        lines = self._lines()
        if not self._in_event and _is_plain(lines):
            last_id = self._id
            return [
                ServerSentEvent(data=line[6:].decode(errors="replace"), id=last_id)
                for line in lines[::2]
            ]
        events: list[ServerSentEvent] = []
        for line in lines:
            if line:
                self._field(line.decode(errors="replace"))
            elif (event := self._dispatch()) is not None:
                events.append(event)
        return events

    @property
    def num_held(self) -> int:
        """How much of an event that is not whole yet is kept, in bytes or characters."""
        return len(self._rest) + sum(map(len, self._data))

    @property
    def _in_event(self) -> bool:
        return bool(self._data or self._event) or self._retry_ms is not None

    def _lines(self) -> list[bytes]:
        buffer = self._rest
        if b"\r" in buffer:
            # A carriage return at the very end may be half of a line ending.
            held = b"\r" if buffer.endswith(b"\r") else b""
            buffer = buffer.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        lines = buffer.split(b"\n")
        self._rest = lines.pop()
        return lines

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self._retry_ms = int(value)
            case _:
                pass

    def _dispatch(self) -> ServerSentEvent | None:
        data, self._data = self._data, []
        kind, self._event = self._event, ""
        retry_ms, self._retry_ms = self._retry_ms, None
        if not data:
            return None
        return ServerSentEvent(
            data="\n".join(data), event=kind or "message", id=self._id, retry_ms=retry_ms
        )


def _is_plain(lines: list[bytes]) -> bool:
    """Whether these are whole events of one line of data each, as nearly all are."""
    return 2 * lines[1::2].count(b"") == len(lines) and all(
        line.startswith(b"data: ") for line in lines[::2]
    )
