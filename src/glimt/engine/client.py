"""One gateway process's view of an engine's worker: submit, stream, abort.

Knows the socket, which requests are under way on it and how to come back after the worker was
restarted. Knows nothing of processes: whoever starts and watches the worker is
`glimt.engine.engine`, in this process or in another one that shares its worker. Torch-free.

A request that finds no ready worker waits up to `wait_s` for one and then fails as Unavailable.
One that a worker held when it died fails as EngineDied at once: it is never sent twice, because
tokens of it may have been delivered.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Literal, TypeAlias, assert_never

import structlog
from structlog.typing import FilteringBoundLogger

from glimt.core.errors import (
    ContextLengthExceeded,
    EngineDied,
    GlimtError,
    InvalidRequest,
    Overloaded,
    RequestTooLarge,
    Unavailable,
)
from glimt.core.request import ServiceClass
from glimt.engine.fullness import Fullness
from glimt.engine.link import Link
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
    ThoughtLimit,
)
from glimt.engine.stream import Stream
from glimt.engine.transport import FrameError, check_socket_path, encode

EngineState: TypeAlias = Literal["starting", "ready", "restarting", "failed", "stopped"]

CONNECT_RETRY_S: Final = 0.02
CONNECT_RETRY_MAX_S: Final = 0.5
OVERLOADED_RETRY_S: Final = 1.0
"""For a worker that is loading or stopping; one that is full says itself when to come again."""
UNAVAILABLE_RETRY_S: Final = 2.0


class EngineClient:
    """Requests to a worker that somebody else starts, at `socket_path`.

    Attributes:
        info: What the worker loaded; None while there is no ready worker.
        progress: Where loading stands; None before the worker said anything.
        stats: The worker's last report.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        wait_s: float = 30.0,
        logger: FilteringBoundLogger | None = None,
    ) -> None:
        """`wait_s` bounds how long a request waits for a worker that is not ready."""
        check_socket_path(socket_path)
        self.socket_path = socket_path
        self.info: EngineInfo | None = None
        self.progress: LoadProgress | None = None
        self.stats = Stats()
        self._state: EngineState = "starting"
        self._failure: str | None = None
        self._wait_s = wait_s
        self._logger: FilteringBoundLogger = logger or structlog.get_logger()
        self._link: Link | None = None
        self._streams: dict[int, Stream] = {}
        self._fullness = Fullness()
        self._probes: list[asyncio.Future[Stats]] = []
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()
        self._draining = False
        self._ending = False
        self._num_ready = 0
        self._num_received = 0
        self._maintainer: asyncio.Task[None] | None = None

    @property
    def state(self) -> EngineState:
        """Where the worker is in its life, as seen from here."""
        return self._state

    @property
    def failure(self) -> str | None:
        """Why the state is "failed"."""
        return self._failure

    @property
    def num_requests(self) -> int:
        """Requests of this process that the worker holds."""
        return len(self._streams)

    async def start(self) -> None:
        """Begin to connect, and to reconnect whenever the worker was restarted. Does not wait."""
        if self._maintainer is None:
            self._maintainer = asyncio.create_task(self._maintain(), name="glimt-engine-client")

    async def ready(self) -> EngineInfo:
        """Wait until the worker answers requests. Raises Unavailable when it never will."""
        while True:
            match self._state:
                case "ready":
                    if self.info is not None:
                        return self.info
                case "failed" | "stopped":
                    raise self._unavailable()
                case "starting" | "restarting":
                    pass
                case _:
                    assert_never(self._state)
            await self._next_change()

    async def generate(
        self,
        prompt: list[int],
        sampling: SamplingParams,
        *,
        service_class: ServiceClass = "default",
        salt: str = "",
        grammar: str | None = None,
        thought: ThoughtLimit | None = None,
    ) -> AsyncIterator[Admitted | Output]:
        """Continue `prompt`: `Admitted` once, then `Output`s until one has a `finish`.

        Closing the iterator, or cancelling who reads it, aborts the request in the worker.

        Raises:
            InvalidRequest, ContextLengthExceeded: The request cannot be served as it is.
            Overloaded: The queue is full; `retry_after_s` is when there will be room.
            Unavailable: No worker was ready within `wait_s`, or the engine is stopping.
            EngineDied: The worker ended while it held the request.
        """
        link = await self._ready_link()
        request_id = next(self._ids)
        submit = Submit(
            id=request_id,
            prompt=prompt,
            sampling=sampling,
            service_class=service_class,
            salt=salt,
            grammar=grammar,
            thought=thought,
        )
        frame = _encode_submit(submit)
        stream = self._streams[request_id] = Stream(service_class)
        link.write(frame)
        try:
            while True:
                item = await stream.get()
                if isinstance(item, Output) and item.finish is not None:
                    # Gone before the caller sees it: one who stops reading here aborts nothing.
                    self._forget(request_id)
                    yield item
                    return
                yield item
        finally:
            # The error's traceback leads here again: no circle is left for the collector.
            stream.error = None
            if self._forget(request_id):
                link.write(encode(Abort([request_id])))

    def refuse_if_full(self, service_class: ServiceClass) -> None:
        """Raise Overloaded when the worker would, as far as is known; before a request is read."""
        self._fullness.refuse(service_class, asyncio.get_running_loop().time())

    async def probe(self) -> Stats:
        """Ask the worker for its numbers now."""
        link = await self._ready_link()
        answer: asyncio.Future[Stats] = asyncio.get_running_loop().create_future()
        self._probes.append(answer)
        link.write(encode(Probe()))
        return await answer

    def expect_end(self) -> None:
        """The server ends soon: requests are served on, but a worker that dies is not replaced."""
        self._ending = True

    async def drain(self, timeout_s: float) -> int:
        """Take no new requests and wait for those under way; how many were left at the end."""
        self._draining = True
        self.expect_end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._streams:
                    await self._next_change()
        return len(self._streams)

    async def close(self) -> None:
        """Fail what is under way, disconnect; the worker aborts what it held for us."""
        self._set_state("stopped")
        self._fail_requests(self._unavailable())
        maintainer, self._maintainer = self._maintainer, None
        if maintainer is not None:
            maintainer.cancel()
            await asyncio.wait([maintainer])

    def receive(self, message: FromWorker) -> None:
        """The link's word that a message arrived."""
        self._num_received += 1
        match message:
            case Step():
                for output in message.outputs:
                    # No stream: aborted here while its output was on the way.
                    if (stream := self._streams.get(output.id)) is not None:
                        stream.put(output)
            case Admitted():
                if (stream := self._streams.get(message.id)) is not None:
                    stream.put(message)
            case Refused():
                if (stream := self._streams.get(message.id)) is not None:
                    self._forget(message.id)
                    now_s = asyncio.get_running_loop().time()
                    retry_after_s = self._fullness.note(stream.service_class, message, now_s)
                    stream.fail(_error_of(message, retry_after_s))
            case Stats():
                self.stats = message
                self._answer_probes()
            case LoadProgress():
                self.progress = message
            case EngineInfo():
                self.info = message
                self._num_ready += 1
                if self._state in ("starting", "restarting"):
                    self._set_state("ready")
            case _:
                assert_never(message)

    def link_lost(self) -> None:
        """The link's word that nothing comes from the worker any more, and nothing reaches it."""
        self._link = None
        self.info = None
        self.progress = None
        self.stats = Stats()
        self._fullness = Fullness()
        if self._state == "ready":
            self._set_state("restarting")

    async def _explain_loss(self, reason: str) -> str:
        """What became of the worker, as the start of a sentence. An owner of the process knows."""
        return f"The connection to the engine's worker was lost ({reason})"

    async def _maintain(self) -> None:
        """Connect, wait for the end, fail what the worker held, connect again."""
        while True:
            link = await self._connect()
            try:
                reason = await link.lost
            finally:
                link.abort()
                await asyncio.wait([link.closed])
            explanation = await self._explain_loss(reason)
            self._fail_requests(
                EngineDied(f"{explanation} while it held this request. Send the request again.")
            )

    async def _connect(self) -> Link:
        loop = asyncio.get_running_loop()
        delay_s = CONNECT_RETRY_S
        while True:
            while self._state == "failed":
                await self._next_change()
            try:
                _, link = await loop.create_unix_connection(
                    lambda: Link(self), str(self.socket_path)
                )
            except OSError:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 1.5, CONNECT_RETRY_MAX_S)
            else:
                self._link = link
                return link

    async def _ready_link(self) -> Link:
        """The connection to a worker that takes requests, as soon as there is one."""
        if self._draining:
            raise self._unavailable()
        if self._state == "ready" and self._link is not None and self._link.writable.is_set():
            return self._link
        try:
            async with asyncio.timeout(self._wait_s):
                while True:
                    await self.ready()
                    if (link := self._link) is not None:
                        await link.writable.wait()
                        if link is self._link:
                            return link
        except TimeoutError:
            raise self._unavailable() from None

    def _forget(self, request_id: int) -> bool:
        """Drop a request; whether it was still under way."""
        known = self._streams.pop(request_id, None) is not None
        if self._draining:
            self._notify()
        return known

    def _fail_requests(self, error: GlimtError) -> None:
        """End every request and probe with a copy of `error`; tracebacks cannot be shared."""
        streams, self._streams = self._streams, {}
        probes, self._probes = self._probes, []
        for stream in streams.values():
            stream.fail(_copy(error))
        for probe in probes:
            if not probe.done():
                probe.set_exception(_copy(error))
        self._notify()

    def _answer_probes(self) -> None:
        probes, self._probes = self._probes, []
        for probe in probes:
            if not probe.done():
                probe.set_result(self.stats)

    def _unavailable(self) -> Unavailable:
        if self._state == "failed":
            return Unavailable(f"The engine does not run: {self._failure}")
        if self._state == "stopped" or self._draining:
            return Unavailable("The engine is shutting down.")
        message = f"The engine is {self._state}; no worker was ready within {self._wait_s:g} s."
        if self.progress is not None and self.progress.total:
            percent = 100 * self.progress.done // self.progress.total
            message += f" Loading ({self.progress.stage}) is at {percent} %."
        return Unavailable(message, retry_after_s=UNAVAILABLE_RETRY_S)

    def _set_state(self, state: EngineState, *, failure: str | None = None) -> None:
        self._state = state
        self._failure = failure
        self._notify()

    def _notify(self) -> None:
        """Wake everybody who waits for any change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        await self._changed.wait()


def _copy(error: GlimtError) -> GlimtError:
    return type(error)(error.message, code=error.code, retry_after_s=error.retry_after_s)


def _encode_submit(submit: Submit) -> bytes:
    try:
        return encode(submit)
    except FrameError as error:
        raise RequestTooLarge(error.message) from error


def _error_of(refused: Refused, retry_after_s: float | None) -> GlimtError:
    match refused.code:
        case "invalid":
            return InvalidRequest(refused.message, param=refused.param)
        case "context_length":
            return ContextLengthExceeded(refused.message, param=refused.param)
        case "overloaded":
            return Overloaded(refused.message, retry_after_s=retry_after_s or OVERLOADED_RETRY_S)
        case _:
            assert_never(refused.code)
