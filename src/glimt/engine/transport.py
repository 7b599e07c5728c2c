"""Frames on the engine's Unix socket: a 4-byte little-endian length, then one msgpack document.

Knows how a message becomes bytes and back, how large it may be, and how the socket file is made.
Knows nothing of what the messages mean, who sends them or when. Torch-free; used by both sides.
msgpack: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import contextlib
import socket
import struct
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from glimt.core.errors import InternalError, Unavailable
from glimt.engine.messages import FromWorker, ToWorker

Message = TypeVar("Message")

MAX_FRAME_BYTES: Final = 64 * 2**20
"""A prompt of a million tokens takes 5 MB; anything near this limit is not one of our frames."""

MAX_SOCKET_PATH_BYTES: Final = 103
"""macOS has 104 bytes for the path and its final zero, Linux 108."""

_HEADER: Final = struct.Struct("<I")
_BACKLOG: Final = 128
_encoder: Final = msgspec.msgpack.Encoder()


class FrameError(InternalError):
    """Bytes that are not a frame of ours, or a message too large for one."""

    default_code = "bad_frame"


def encode(message: ToWorker | FromWorker) -> bytes:
    """One message as one frame. Raises FrameError when it exceeds `MAX_FRAME_BYTES`."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(
            f"A {type(message).__name__} message takes {len(body):,} bytes; "
            f"a frame holds at most {MAX_FRAME_BYTES:,}."
        )
    return _HEADER.pack(len(body)) + body


class FrameReader(Generic[Message]):
    """Turns a stream of bytes, however it is cut, into messages."""

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[Message],
        *,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        self._decoder = decoder
        self._max_frame_bytes = max_frame_bytes
        self._pending = bytearray()

    @property
    def num_pending_bytes(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Message]:
        """Take more bytes; give every message that is now whole.

        Raises FrameError on a length beyond the limit, known before the body arrives, and on a
        body that is no message. The stream cannot be read on after that.
        """
        if self._pending:
            self._pending += data
            source: bytes | bytearray = self._pending
        else:
            source = data
        messages, end = self._split(source)
        if source is self._pending:
            del self._pending[:end]
        else:
            self._pending += memoryview(data)[end:]
        return messages

    def _split(self, source: bytes | bytearray) -> tuple[list[Message], int]:
        """The whole frames of `source`, and where the first partial one starts."""
        messages: list[Message] = []
        start = 0
        with memoryview(source) as view:
            while start + _HEADER.size <= len(view):
                (length,) = _HEADER.unpack_from(view, start)
                if length > self._max_frame_bytes:
                    raise FrameError(
                        f"A frame announces {length:,} bytes; "
                        f"at most {self._max_frame_bytes:,} are allowed."
                    )
                body = start + _HEADER.size
                if body + length > len(view):
                    break
                try:
                    messages.append(self._decoder.decode(view[body : body + length]))
                except msgspec.DecodeError as error:
                    raise FrameError(f"A frame holds no message of ours: {error}.") from error
                start = body + length
        return messages, start


def reader_of_requests() -> FrameReader[ToWorker]:
    """What the worker reads with."""
    decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
    return FrameReader(decoder)


def reader_of_answers() -> FrameReader[FromWorker]:
    """What a gateway process reads with."""
    decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
    return FrameReader(decoder)


def check_socket_path(path: Path) -> None:
    """Raise Unavailable when the system has no room for `path` in a socket's address."""
    length = len(str(path).encode())
    if length > MAX_SOCKET_PATH_BYTES:
        raise Unavailable(
            f"The engine's socket would be {path}, a path of {length} bytes, but a Unix socket "
            f"holds {MAX_SOCKET_PATH_BYTES}. Set TMPDIR to a shorter path."
        )


def listen(path: Path) -> socket.socket:
    """A non-blocking listening socket at `path`, for this user only.

    Replaces the file that a killed worker left behind. Raises Unavailable when somebody still
    listens there, so that two workers never steal each other's gateway.
    """
    check_socket_path(path)
    if path.exists():
        if _answers(path):
            raise Unavailable(
                f"Another worker listens at {path}. Stop it or choose another runtime directory."
            )
        path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    with (
        contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe,
        contextlib.suppress(OSError),
    ):
        probe.settimeout(1.0)
        probe.connect(str(path))
        return True
    return False
