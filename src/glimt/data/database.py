"""One database, used from an event loop without holding it up.

Statements run in threads. Reads have a few; writes have one, which commits whatever has gathered
while it was busy in one transaction, so that many small writes cost little more than one. A write
that was awaited is on disk. Opened when it is first needed, tables and all; several processes may
share one.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from glimt.core.errors import Unavailable

T = TypeVar("T")
Work = Callable[[Connection], Any]
"""What is done with a connection, inside a transaction."""

NUM_READERS: Final = 2
MAX_BATCH: Final = 256
BUSY_S: Final = 10.0
"""How long a process waits while another one writes to the same file."""
_POSTGRES: Final = ("postgresql://", "postgres://")
_LOCK: Final = 0x474C494D54
"""PostgreSQL's advisory lock while tables are made: "GLIMT" as a number."""


class Database:
    """A database by its URL.

    Every method raises `Unavailable` where the database cannot be reached or used.
    """

    def __init__(self, url: str) -> None:
        self.url = _with_driver(url)
        self._engine: Engine | None = None
        self._opening = threading.Lock()
        self._readers = ThreadPoolExecutor(NUM_READERS, thread_name_prefix="glimt-data-read")
        self._writes: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._closed = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, which changes nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, once what it changed is committed.

        `work` may run twice: when it shared a transaction with one that failed.
        """
        if self._closed:
            raise Unavailable("The database was closed.")
        if self._writer is None:
            self._writer = threading.Thread(
                target=self._write_all, name="glimt-data-write", daemon=True
            )
            self._writer.start()
        future: Future[T] = Future()
        self._writes.put((work, future))
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Commit what is under way and let go of the database."""
        if self._closed:
            return
        self._closed = True
        self._writes.put(None)
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        if self._writer is not None:
            self._writer.join()
        self._readers.shutdown()
        if self._engine is not None:
            self._engine.dispose()

    def _read(self, work: Callable[[Connection], T]) -> T:
        engine = self._open()
        try:
            with engine.connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise _unavailable(error) from error

    def _write_all(self) -> None:
        while (first := self._writes.get()) is not None:
            batch = [first]
            with suppress(queue.Empty):
                while len(batch) < MAX_BATCH:
                    following = self._writes.get_nowait()
                    if following is None:
                        self._writes.put(None)
                        break
                    batch.append(following)
            self._commit(batch)

    def _commit(self, batch: list[tuple[Work, Future[Any]]]) -> None:
        """One transaction for all; one for each when that fails, so that nobody fails another."""
        # Whoever has given up waiting needs no write; nobody can give up from here on.
        batch = [(w, f) for w, f in batch if f.running() or f.set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            engine = self._open()
            with engine.begin() as connection:
                results = [work(connection) for work, _ in batch]
        except Exception as error:  # noqa: BLE001  whoever waits for the write is told
            if len(batch) > 1:
                for one in batch:
                    self._commit([one])
                return
            wrapped = _unavailable(error) if isinstance(error, SQLAlchemyError) else error
            batch[0][1].set_exception(wrapped)
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                self._engine = _opened(self.url)
            return self._engine


def _opened(url: str) -> Engine:
    try:
        if url.startswith("sqlite"):
            _make_folder(url)
        engine = create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"The database needs the package {error.name}: pip install 'glimt[postgres]'."
        ) from error
    except (ArgumentError, NoSuchModuleError, OSError) as error:
        raise Unavailable(f"data.url is no database that can be used: {error}.") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        # Whoever opens it first migrates, a reader too.
        event.listen(engine, "begin", _begin_writing)
    try:
        _migrate(engine)
    except (SQLAlchemyError, OSError) as error:
        engine.dispose()
        raise _unavailable(error) from error
    if engine.dialect.name == "sqlite":
        event.remove(engine, "begin", _begin_writing)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _migrate(engine: Engine) -> None:
    """Bring the tables up to today's. Other processes wait meanwhile, and find nothing to do."""
    from alembic import command  # noqa: PLC0415  slow to import, and only needed here
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  the driver's own
    # SQLAlchemy begins transactions itself; the driver would begin them late and leave tables out.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    # Readers and one writer do not wait for each other, in any number of processes.
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if threading.current_thread().name == "glimt-data-write":
        _begin_writing(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    # The writer's lock from the start: a transaction that reads first could not wait for it later.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_folder(url: str) -> None:
    path = url.partition(":///")[2].partition("?")[0]
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def _with_driver(url: str) -> str:
    for prefix in _POSTGRES:
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def _unavailable(error: Exception) -> Unavailable:
    """Without the statement and its values, which hold what people wrote."""
    logger: Any = structlog.get_logger()
    reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
    logger.error("data.failed", reason=reason)
    return Unavailable(
        "The database of this server cannot be used at the moment; its log says why."
    )
