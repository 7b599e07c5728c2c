"""Frames survive any cutting, bad ones are named, and the socket file is made with care."""

import contextlib
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies

from glimt.core.errors import Unavailable
from glimt.engine import transport
from glimt.engine.messages import (
    Abort,
    Admitted,
    EngineInfo,
    FromWorker,
    LoadProgress,
    Output,
    Probe,
    Refused,
    SamplingParams,
    Stats,
    Step,
    Submit,
    ToWorker,
)
from glimt.engine.transport import FrameError, encode, reader_of_answers, reader_of_requests

TO_WORKER: list[ToWorker] = [
    Submit(id=1, prompt=[1, 200_000], sampling=SamplingParams(logit_bias={3: -1.5}), salt="tenant"),
    Abort([1, 2]),
    Probe(),
    Submit(
        id=2**40, prompt=list(range(300)), sampling=SamplingParams(stop_token_ids=(7,), seed=2**60)
    ),
]
FROM_WORKER: list[FromWorker] = [
    LoadProgress(stage="weights", done=1, total=2),
    EngineInfo(
        model="m",
        device="cpu",
        dtype="float32",
        vocab_size=10,
        context_length=100,
        num_pages=4,
        page_size=64,
        max_sequences=2,
        stop_token_ids=(1, 2),
        num_parameters=5,
        load_s=0.5,
    ),
    Admitted(id=1, cached_tokens=64, queue_s=0.25),
    Step([Output(1, [5]), Output(2, [6, 7], "stop", [-0.5, -0.25], [[(6, -0.5)], [(7, -0.25)]])]),
    Refused(id=3, code="invalid", message="no", param="top_p"),
    Stats(running=1, pages_used=3),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, which pytest's own may not be."""
    with tempfile.TemporaryDirectory(prefix="glimt-") as name:
        yield Path(name)


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    """`data` in pieces."""
    edges = [0, *sorted(position % (len(data) + 1) for position in positions), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(strategies.lists(strategies.integers(min_value=0), max_size=20))
def test_messages_arrive_whole_however_they_are_cut(positions: list[int]):
    """Every chunking of a byte stream gives the same messages, in order, with nothing left over."""
    requests, answers = reader_of_requests(), reader_of_answers()
    pieces = cut(b"".join(map(encode, TO_WORKER)), positions)
    assert [message for piece in pieces for message in requests.feed(piece)] == TO_WORKER
    pieces = cut(b"".join(map(encode, FROM_WORKER)), positions)
    assert [message for piece in pieces for message in answers.feed(piece)] == FROM_WORKER
    assert requests.num_pending_bytes == answers.num_pending_bytes == 0


def test_a_frame_that_is_too_long_is_refused_before_its_body_arrives():
    """The announced length alone is enough to refuse, so that nobody can make us buffer it."""
    reader = reader_of_requests()
    with pytest.raises(FrameError, match="announces 4,294,967,295 bytes"):
        reader.feed(b"\xff\xff\xff\xff")


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"GET / HTTP/1.1", b"\x81\xa4type\xa4oops", encode(Probe())[4:] + b"\x00"],
)
def test_a_body_that_is_no_message_is_refused(body: bytes):
    """Bytes that decode to no message of ours raise, whatever they are."""
    with pytest.raises(FrameError, match="no message of ours"):
        reader_of_requests().feed(struct.pack("<I", len(body)) + body)


def test_a_message_too_large_for_a_frame_is_refused_by_its_sender(monkeypatch: pytest.MonkeyPatch):
    """What the other side would refuse to read is not sent, and the error gives both sizes."""
    monkeypatch.setattr(transport, "MAX_FRAME_BYTES", 1000)
    with pytest.raises(FrameError, match=r"Abort message takes 2,\d+ bytes.* at most 1,000"):
        encode(Abort([1] * 2000))


def test_the_socket_is_for_this_user_only(folder: Path):
    """Nobody else on the machine can open the worker's socket."""
    with transport.listen(folder / "s"):
        assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600


def test_a_socket_file_left_by_a_killed_worker_is_replaced(folder: Path):
    """A file that nobody listens on does not keep the next worker from starting."""
    transport.listen(folder / "s").close()
    with transport.listen(folder / "s"), contextlib.closing(_connect(folder / "s")):
        pass


def test_a_socket_that_somebody_listens_on_is_left_alone(folder: Path):
    """A second worker on the same path is refused and the first one stays reachable."""
    with transport.listen(folder / "s"):
        with pytest.raises(Unavailable, match="Another worker listens"):
            transport.listen(folder / "s")
        _connect(folder / "s").close()


def test_a_path_too_long_for_a_socket_is_refused_with_its_length():
    """The error says how long the path is and how long it may be."""
    with pytest.raises(Unavailable, match=r"201 bytes.* holds 103\. Set TMPDIR to a shorter path"):
        transport.listen(Path("/" + "x" * 200))


def _connect(path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.connect(str(path))
    return connected
