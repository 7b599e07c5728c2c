"""Real worker processes for tests: started, talked to over the raw socket, ended, looked after."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import psutil

from glimt.engine.engine import Engine
from glimt.engine.loop import STOP_SIGNAL
from glimt.engine.messages import EngineInfo, FromWorker, SamplingParams, Submit, ToWorker
from glimt.engine.settings import EngineSettings
from glimt.engine.transport import encode, reader_of_answers

FAKE_COMMAND = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
PATIENCE_S = 20.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(PATIENCE_S):
        # What is waited for may happen in another process: no event can be set for it.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def our_tasks() -> set[asyncio.Task[object]]:
    """All tasks but those of the test runner, which makes one for each fixture and test."""
    return {task for task in asyncio.all_tasks() if "TestRunner" not in repr(task.get_coro())}


def submit(id_: int, *, prompt: list[int] | None = None, num_tokens: int = 3) -> Submit:
    """A request for `num_tokens` numbers after 5."""
    return Submit(id=id_, prompt=prompt or [5], sampling=SamplingParams(max_tokens=num_tokens))


class Peer:
    """A gateway process's end of the socket, blocking and bare."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.socket.connect(str(path))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                break
        self._reader = reader_of_answers()
        self._messages: list[FromWorker] = []

    def send(self, *messages: ToWorker) -> None:
        """Send messages."""
        self.socket.sendall(b"".join(map(encode, messages)))

    def receive(self) -> FromWorker | None:
        """The next message; None at the end of the connection."""
        while not self._messages:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._messages = self._reader.feed(data)
        return self._messages.pop(0)

    def wait_for(
        self, wanted: type[FromWorker], *, where: Callable[..., bool] = lambda _: True
    ) -> FromWorker:
        """The next message of a kind that satisfies `where`; what comes before it is dropped."""
        while (message := self.receive()) is not None:
            if isinstance(message, wanted) and where(message):
                return message
        raise AssertionError(f"The connection ended before a {wanted.__name__}.")

    def rest(self) -> list[FromWorker]:
        """Everything up to the end of the connection."""
        return list(iter(self.receive, None))

    def close(self) -> None:
        self.socket.close()


class WorkerProcess:
    """A fake worker, started without an engine around it."""

    def __init__(self, folder: Path, *, model: str, drain_s: float, has_parent: bool) -> None:
        self.path = folder / "engine.sock"
        self.peers: list[Peer] = []
        self.process = subprocess.Popen(
            [
                *FAKE_COMMAND,
                *("--socket", str(self.path), "--model-path", str(folder)),
                *("--settings", msgspec.json.encode(EngineSettings(model=model)).decode()),
                *("--drain-s", str(drain_s)),
                *(["--die-with-stdin"] if has_parent else []),
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def connect(self) -> Peer:
        """One more gateway process, which waits until the worker is ready."""
        peer = self.connect_early()
        peer.wait_for(EngineInfo)
        return peer

    def connect_early(self) -> Peer:
        """One that does not wait."""
        peer = Peer(self.path)
        self.peers.append(peer)
        return peer

    def stop(self) -> None:
        """Tell it to drain, as its parent does."""
        self.process.send_signal(STOP_SIGNAL)

    def wait(self) -> int:
        """The exit status."""
        return self.process.wait(PATIENCE_S)

    def output(self) -> str:
        """All it printed; comes once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        self.process.stderr.close()


@contextlib.contextmanager
def running_worker(
    *, model: str = "fake/plain", drain_s: float = 5.0, has_parent: bool = True
) -> Iterator[WorkerProcess]:
    """A fake worker process, killed at the end whatever happens."""
    with tempfile.TemporaryDirectory(prefix="glimt-") as folder:
        worker = WorkerProcess(Path(folder), model=model, drain_s=drain_s, has_parent=has_parent)
        try:
            yield worker
        finally:
            worker.close()


@contextlib.asynccontextmanager
async def running_engine(
    settings: EngineSettings | None = None, *, wait_s: float = 10.0, drain_s: float = 2.0
) -> AsyncIterator[Engine]:
    """An engine around a fake worker; at the end, nothing that it made may be left.

    That is: no task, no file descriptor, no socket file, no child process, not even a zombie.
    """
    tasks, this = our_tasks(), psutil.Process()
    children, num_fds = this.children(), this.num_fds()
    with tempfile.TemporaryDirectory(prefix="glimt-") as folder:
        engine = Engine(
            settings or EngineSettings(model="fake/plain"),
            model_path=Path(folder),
            runtime_dir=Path(folder) / "run",
            wait_s=wait_s,
            drain_s=drain_s,
            command=FAKE_COMMAND,
        )
        await engine.start()
        try:
            yield engine
        finally:
            await engine.close()
        assert list((Path(folder) / "run").iterdir()) == []
    assert this.children() == children
    assert engine.num_requests == 0
    await until(lambda: our_tasks() <= tasks)
    await until(lambda: this.num_fds() == num_fds)
