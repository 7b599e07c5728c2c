"""Many connections on one thread: nobody who is slow, gone or out of order stops the others."""

import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from glimt.engine.hub import Hub
from glimt.engine.messages import Abort, Output, Probe, Stats, Step, ToWorker
from glimt.engine.transport import encode, listen
from tests.engine.processes import Peer

MAX_BUFFERED_BYTES = 100_000


@dataclass
class Recorder:
    """Remembers what it was told."""

    connections: list[int] = field(default_factory=list)
    messages: list[tuple[int, ToWorker]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)

    def opened(self, connection: int) -> None:
        self.connections.append(connection)

    def received(self, connection: int, message: ToWorker) -> None:
        self.messages.append((connection, message))

    def closed(self, connection: int) -> None:
        self.gone.append(connection)


@dataclass
class Room:
    """A hub, what it says, and how to connect to it."""

    hub: Hub
    recorder: Recorder
    path: Path
    peers: list[Peer] = field(default_factory=list)

    def connect(self) -> Peer:
        peer = Peer(self.path)
        self.peers.append(peer)
        self.hub.poll(1.0)
        return peer


@pytest.fixture
def room() -> Iterator[Room]:
    """A hub with small buffers."""
    with tempfile.TemporaryDirectory(prefix="glimt-") as folder:
        path = Path(folder) / "s"
        recorder = Recorder()
        hub = Hub(
            listen(path),
            handler=recorder,
            logger=structlog.get_logger(),
            max_buffered_bytes=MAX_BUFFERED_BYTES,
        )
        room = Room(hub, recorder, path)
        yield room
        hub.close()
        for peer in room.peers:
            peer.close()


def step_of(num_tokens: int) -> Step:
    return Step([Output(1, [1_000_000] * num_tokens)])


def test_messages_arrive_with_their_connections_number(room: Room):
    """Connections are told apart, and what one sends in pieces arrives whole."""
    first, second = room.connect(), room.connect()
    frame = encode(Abort([1, 2, 3]))
    second.send(Probe())
    first.socket.sendall(frame[:5])
    room.hub.poll(1.0)
    first.socket.sendall(frame[5:])
    while len(room.recorder.messages) < 2:
        room.hub.poll(1.0)
    assert room.recorder.messages == [(2, Probe()), (1, Abort([1, 2, 3]))]


def test_what_does_not_fit_is_sent_later(room: Room):
    """A frame larger than the system's buffer arrives whole once the other side reads."""
    peer = room.connect()
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    step = step_of(10_000)
    for _ in range(10):
        room.hub.send(1, [step, Stats()])
        peer.socket.settimeout(0.01)
        while True:
            try:
                message = peer.receive()
            except TimeoutError:
                room.hub.poll(0)
                continue
            if isinstance(message, Stats):
                break
            assert message == step


def test_who_does_not_read_is_dropped_and_the_others_are_served(room: Room):
    """A full buffer ends that connection, with a line in the log, while the others get all."""
    slow, quick = room.connect(), room.connect()
    with capture_logs() as logs:
        for count in range(1000):
            room.hub.broadcast(step_of(1000))
            room.hub.poll(0)
            assert isinstance(quick.receive(), Step), count
            if room.recorder.gone:
                break
    assert room.recorder.gone == [1]
    assert len(room.hub) == 1
    [record] = logs
    assert record["event"] == "worker.connection_dropped"
    assert "bytes unread" in record["reason"]
    # It gets what the system had already taken, then the end.
    assert all(isinstance(message, Step) for message in slow.rest()[:-1])


def test_a_goodbye_is_told_once_and_makes_no_noise(room: Room):
    """A closed connection is reported to the handler, not to the log, and sending is harmless."""
    peer = room.connect()
    with capture_logs() as logs:
        peer.close()
        room.hub.poll(1.0)
        room.hub.send(1, [Stats()])
        room.hub.broadcast(Stats())
        room.hub.poll(0)
    assert room.recorder.gone == [1]
    assert logs == []


def test_a_connection_that_breaks_while_it_is_sent_to_is_forgotten(room: Room):
    """Sending to who is gone, before that was noticed, neither raises nor loses track."""
    peer = room.connect()
    peer.close()
    for _ in range(3):
        room.hub.send(1, [Stats()])
    room.hub.poll(0)
    assert room.recorder.gone == [1]


def test_a_flush_ends_in_time_whoever_reads(room: Room):
    """Flushing waits for slow readers, and no longer than it may."""
    room.connect()
    room.hub.send(1, [step_of(15_000)] * 1)
    while not room.hub.num_buffered_bytes:
        room.hub.send(1, [step_of(1000)])
    started = time.monotonic()
    room.hub.flush(0.05)
    assert 0.05 <= time.monotonic() - started < 5
    assert room.hub.num_buffered_bytes > 0


def test_bytes_on_the_wakeup_socket_end_a_poll():
    """A signal's byte wakes a poll that would wait for ever, and is swallowed."""
    wakeup, waker = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="glimt-") as folder, wakeup, waker:
        wakeup.settimeout(0)
        hub = Hub(
            listen(Path(folder) / "s"),
            handler=Recorder(),
            logger=structlog.get_logger(),
            wakeup=wakeup,
        )
        waker.send(b"\x0f")
        hub.poll(None)
        with pytest.raises(BlockingIOError):
            wakeup.recv(1)
        hub.close()
