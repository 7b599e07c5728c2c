"""The worker process as a gateway process meets it: on the raw socket, and by signals."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from glimt.engine import worker as worker_module
from glimt.engine.loop import EXIT_CANNOT_LOAD, EXIT_CRASHED, EXIT_DRAINED, STOP_SIGNAL
from glimt.engine.messages import (
    Abort,
    Admitted,
    EngineInfo,
    LoadProgress,
    Output,
    Probe,
    Refused,
    Stats,
    Step,
)
from tests.engine.fake_worker import RAISES, STALLS
from tests.engine.processes import Peer, WorkerProcess, running_worker, submit

LONG = 1_000_000
Connect = Callable[[], Peer]


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerProcess]:
    """One worker for the tests that leave it alive; starting one takes a while."""
    with running_worker() as worker:
        yield worker


@pytest.fixture
def connect(shared: WorkerProcess) -> Iterator[Callable[[], Peer]]:
    """Makes connections to it, and closes them."""
    first = len(shared.peers)
    yield shared.connect
    for peer in shared.peers[first:]:
        peer.close()


def answer(peer: Peer, id_: int) -> list[Output]:
    """All outputs of one request."""
    outputs: list[Output] = []
    while not outputs or outputs[-1].finish is None:
        step = peer.wait_for(Step)
        assert isinstance(step, Step)
        outputs += [output for output in step.outputs if output.id == id_]
    return outputs


def start(peer: Peer, id_: int, *, prompt: list[int] | None = None, num_tokens: int = LONG) -> None:
    """Submit a request and wait until it runs."""
    peer.send(submit(id_, prompt=prompt, num_tokens=num_tokens))
    peer.wait_for(Admitted, where=lambda admitted: admitted.id == id_)


def wait_until_idle(peer: Peer) -> Stats:
    """Probe until nothing runs or waits."""
    while True:
        peer.send(Probe())
        stats = peer.wait_for(Stats)
        assert isinstance(stats, Stats)
        if stats.running == stats.waiting == 0:
            return stats


def wait_until_refused(worker: WorkerProcess) -> None:
    """Connect until nobody listens any more."""
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(worker.path))
            except ConnectionRefusedError:
                return


def test_a_connection_sees_the_load_proceed_and_then_the_engine():
    """Connections are accepted while loading: progress first, then EngineInfo, then Stats."""
    with running_worker(model="fake/slow") as worker:
        peer = worker.connect_early()
        seen = [peer.receive()]
        while not isinstance(seen[-1], Stats):
            seen.append(peer.receive())
        progress = [message.done for message in seen if isinstance(message, LoadProgress)]
        assert len(progress) >= 3
        assert progress == sorted(progress)
        assert [type(message) for message in seen[len(progress) :]] == [EngineInfo, Stats]


def test_a_request_that_comes_too_early_is_refused():
    """Who does not wait for EngineInfo is told that the engine still loads; it may try again."""
    with running_worker(model="fake/slow") as worker:
        peer = worker.connect_early()
        peer.send(submit(1))
        refused = peer.wait_for(Refused)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.message) == ("overloaded", "The engine is still loading.")


def test_a_request_is_answered_in_steps(connect: Connect):
    """Admitted comes before the first token, each step brings tokens, the last one says why."""
    peer = connect()
    peer.send(submit(7))
    admitted = peer.wait_for(Admitted)
    assert isinstance(admitted, Admitted)
    assert admitted.id == 7
    assert answer(peer, 7) == [Output(7, [6]), Output(7, [7]), Output(7, [8], "length")]


def test_connections_may_use_the_same_ids(connect: Connect):
    """Ids belong to a connection: two peers with the same ones get their own answers."""
    first, second = connect(), connect()
    first.send(submit(1, prompt=[100], num_tokens=50))
    second.send(submit(1, prompt=[500], num_tokens=50))
    assert [output.tokens for output in answer(first, 1)] == [[100 + n] for n in range(1, 51)]
    assert [output.tokens for output in answer(second, 1)] == [[500 + n] for n in range(1, 51)]


def test_an_abort_frees_what_the_request_held(connect: Connect):
    """After an abort nothing runs, nothing waits and no page is used."""
    peer = connect()
    before = wait_until_idle(peer)
    for id_ in range(20):
        peer.send(submit(id_, num_tokens=LONG))
    peer.wait_for(Stats, where=lambda stats: stats.running == 8 and stats.waiting == 12)
    peer.send(Abort(list(range(20))))
    stats = wait_until_idle(peer)
    assert stats.pages_used == 0
    assert stats.aborted_total == before.aborted_total + 20


def test_a_connection_that_closes_has_its_requests_aborted(connect: Connect):
    """A gateway process that dies leaves nothing behind, and others go on."""
    dying, staying = connect(), connect()
    start(dying, 1)
    start(staying, 1)
    dying.close()
    staying.wait_for(Stats, where=lambda stats: stats.connections == 1 and stats.running == 1)
    staying.send(Abort([1]))
    assert wait_until_idle(staying).pages_used == 0


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\x05\x00\x00\x00hello", b"GET / HTTP"])
def test_garbage_closes_the_connection_that_sent_it_and_no_other(connect: Connect, garbage: bytes):
    """Who sends no frames is dropped with its requests; the worker and the others go on."""
    bad, good = connect(), connect()
    start(bad, 1)
    bad.socket.sendall(garbage + b"\x00" * 4)
    bad.rest()
    good.send(submit(1))
    assert answer(good, 1)[-1].finish == "length"
    while wait_until_idle(good).connections > 1:
        pass


def test_numbers_come_on_their_own_once_the_work_is_done(connect: Connect):
    """The last Stats after work shows an idle engine, without anybody asking."""
    peer = connect()
    num_finished = wait_until_idle(peer).finished_total + 1
    peer.send(submit(1))
    peer.wait_for(Stats, where=lambda s: (s.running, s.finished_total) == (0, num_finished))


def test_an_idle_worker_uses_no_processor(shared: WorkerProcess, connect: Connect):
    """With no work the loop sleeps: it is not woken, not even for Stats."""
    peer = connect()
    num_finished = wait_until_idle(peer).finished_total + 1
    peer.send(submit(1))
    peer.wait_for(Stats, where=lambda s: (s.running, s.finished_total) == (0, num_finished))
    process = psutil.Process(shared.process.pid)
    before = process.num_ctx_switches().voluntary
    # Half a second in which nothing may happen: there is no condition to wait for.
    time.sleep(0.5)
    assert process.num_ctx_switches().voluntary - before <= 2


@pytest.mark.parametrize(("has_parent", "number"), [(True, STOP_SIGNAL), (False, signal.SIGTERM)])
def test_a_stop_finishes_what_runs_and_takes_nothing_new(
    *, has_parent: bool, number: signal.Signals
):
    """A drain answers the requests under way, refuses new ones, and ends with status 0."""
    with running_worker(has_parent=has_parent) as worker:
        peer = worker.connect()
        start(peer, 1, num_tokens=1000)
        worker.process.send_signal(number)
        wait_until_refused(worker)
        peer.send(submit(2))
        refused = peer.wait_for(Refused)
        assert isinstance(refused, Refused)
        assert refused.code == "overloaded"
        assert "shutting down" in refused.message
        assert answer(peer, 1)[-1].finish == "length"
        assert worker.wait() == EXIT_DRAINED
        assert not worker.path.exists()


def test_a_drain_has_a_limit():
    """Work that does not end in time is given up, and the status is still 0."""
    with running_worker(drain_s=0.2) as worker:
        peer = worker.connect()
        start(peer, 1)
        worker.stop()
        assert worker.wait() == EXIT_DRAINED
        assert "worker.drain_cut_short" in worker.output()


def test_an_idle_worker_ends_at_once_when_told():
    """The signal wakes the sleeping loop."""
    with running_worker(drain_s=60.0) as worker:
        worker.connect()
        worker.stop()
        assert worker.wait() == EXIT_DRAINED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_everybody_are_the_gateways_business(
    shared: WorkerProcess, connect: Connect, number: signal.Signals
):
    """A Ctrl-C, or a service manager's word to all its processes, changes nothing here."""
    peer = connect()
    start(peer, 1, num_tokens=50)
    shared.process.send_signal(number)
    assert answer(peer, 1)[-1].finish == "length"
    peer.send(submit(2))
    assert answer(peer, 2)[-1].finish == "length"


@pytest.mark.parametrize("prompt", [[5], [STALLS]])
def test_the_worker_ends_when_its_parent_is_gone(prompt: list[int]):
    """The end of stdin ends the process, even in the middle of a long step, and its socket file."""
    with running_worker() as worker:
        peer = worker.connect()
        peer.send(submit(1, prompt=prompt, num_tokens=LONG))
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        assert worker.wait() == EXIT_CRASHED
        assert not worker.path.exists()


def test_a_step_that_raises_ends_the_process():
    """The lost connection is the only word to requests; the log has the traceback."""
    with running_worker() as worker:
        peer = worker.connect()
        start(peer, 1)
        peer.send(submit(2, prompt=[RAISES]))
        assert not [message for message in peer.rest() if isinstance(message, Refused)]
        assert worker.wait() == EXIT_CRASHED
        assert "ArithmeticError: a step went wrong on purpose" in worker.output()


def test_a_checkpoint_at_fault_is_told_apart_from_a_crash():
    """The exit status says whether starting again makes sense, the log says what is wrong."""
    with running_worker(model="fake/damaged") as damaged, running_worker(model="fake/raises") as no:
        assert damaged.wait() == EXIT_CANNOT_LOAD
        assert "is damaged." in damaged.output()
        assert no.wait() == EXIT_CRASHED
        assert "MemoryError: no room for the weights" in no.output()


@pytest.mark.parametrize(
    ("quota", "limit"),
    [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("", None)],
)
def test_a_containers_quota_bounds_the_processors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, limit: int | None
):
    """A container that may use two of sixty-four processors gets threads for two."""
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(worker_module, "CPU_QUOTA", tmp_path / "cpu.max")
    available = psutil.cpu_count() or 1
    assert 1 <= worker_module.num_processors() <= min(available, limit or available)


def test_a_stop_ends_a_load_at_once():
    """Nothing is lost by ending a worker that has not served yet."""
    with running_worker(model="fake/slow", drain_s=60.0) as worker:
        worker.connect_early().wait_for(LoadProgress)
        worker.stop()
        assert worker.wait() == -STOP_SIGNAL
