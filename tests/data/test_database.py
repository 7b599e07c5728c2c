"""The database: threads, batches, tables, failures."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from glimt.core.errors import Unavailable
from glimt.data.database import Database
from glimt.data.tables import METADATA

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_migrations_and_tables_agree(url: str):
    """What the migrations make is what the tables say."""
    database = Database(url)

    def differences(connection: Connection) -> list:
        context = MigrationContext.configure(connection, opts={"version_table": "glimt_version"})
        return compare_metadata(context, METADATA)

    assert await database.read(differences) == []
    await database.close()


async def test_a_failed_write_fails_alone(url: str):
    """Writes that share a transaction with one that fails are made all the same."""
    database = Database(url)
    await database.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)")))

    def add(number: int):
        return database.write(
            lambda c: c.execute(text("INSERT INTO t VALUES (:n)"), {"n": number}).rowcount
        )

    await add(7)
    results = await asyncio.gather(*map(add, [1, 2, 7, 3]), return_exceptions=True)
    assert [r for r in results if r != 1] == [results[2]]
    assert isinstance(results[2], Unavailable)
    rows = await database.read(lambda c: list(c.scalars(text("SELECT n FROM t ORDER BY n"))))
    assert rows == [1, 2, 3, 7]
    await database.close()


async def test_who_gives_up_waiting_breaks_nothing(url: str):
    """A write whose caller was cancelled is not made, and those after it are."""
    database = Database(url)
    await database.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER)")))
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: Connection) -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    def add(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (1)"))

    held = asyncio.create_task(database.write(hold))
    await asyncio.sleep(0.05)
    given_up = asyncio.create_task(database.write(add))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    release.set()
    await held
    await database.write(add)
    assert await database.read(lambda c: c.scalar(text("SELECT count(*) FROM t"))) == 1
    await database.close()


async def test_readers_may_open_it_at_once(url: str):
    """Whoever comes first makes the tables, though it only reads; the others wait for it."""
    databases = [Database(url) for _ in range(4)]
    count = text("SELECT count(*) FROM responses")
    counts = await asyncio.gather(*(db.read(lambda c: c.scalar(count)) for db in databases))
    assert counts == [0, 0, 0, 0]
    for database in databases:
        await database.close()


async def test_several_processes_share_one(url: str):
    """Two that open it at once both find its tables, and what the other wrote."""
    one, two = Database(url), Database(url)
    insert = text(
        "INSERT INTO responses (id, tenant, created_at, expires_at, body) "
        "VALUES (:id, '', 0, 0, :body)"
    )

    def add(name: str):
        return lambda c: c.execute(insert, {"id": name, "body": b"{}"})

    await asyncio.gather(
        *(db.write(add(f"{name}{i}")) for db, name in ((one, "a"), (two, "b")) for i in range(20))
    )
    count = text("SELECT count(*) FROM responses")
    assert await one.read(lambda c: c.scalar(count)) == 40
    assert await two.read(lambda c: c.scalar(count)) == 40
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("nonsense", "data.url"),
        ("oracle9://x", "data.url"),
        ("sqlite:////proc/nope/glimt.db", "data.url"),
        ("postgresql://postgres@127.0.0.1:1/test?connect_timeout=2", "cannot be used"),
    ],
)
async def test_a_database_that_is_not_there(bad: str, words: str):
    """Whoever uses it is told, each time, and closing it is no trouble."""
    database = Database(bad)
    for _ in range(2):
        with pytest.raises(Unavailable, match=words):
            await database.read(lambda c: c.scalar(text("SELECT 1")))
        with pytest.raises(Unavailable, match=words):
            await database.write(lambda c: c.scalar(text("SELECT 1")))
    await database.close()
    with pytest.raises(Unavailable, match="closed"):
        await database.write(lambda c: None)
