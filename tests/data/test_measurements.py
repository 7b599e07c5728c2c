"""What was measured, kept: by whom it is read, and for how long."""

import pytest

from glimt.core.clock import FakeClock
from glimt.core.errors import Unavailable
from glimt.data.database import Database
from glimt.data.measurements import DAY_S, MAX_NAME, Measured, MeasurementStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_each_reads_what_others_wrote_once(url: str):
    """A row reaches every other process once, those of earlier runs too, and never its writer."""
    clock = FakeClock()
    database = Database(url)
    one, other = MeasurementStore(database, clock), MeasurementStore(database, clock)
    assert await one.others() == []
    await one.save({"zai/a": b"1", "zai/b": b"2", "x" * (MAX_NAME + 1): b"3"})
    assert await one.others() == []
    seen = await other.others()
    assert sorted(seen, key=lambda row: row.deployment) == [
        Measured("zai/a", b"1"),
        Measured("zai/b", b"2"),
    ]
    assert await other.others() == []
    await one.save({"zai/a": b"4"})
    assert await other.others() == [Measured("zai/a", b"4")]
    clock.advance(60)
    later = MeasurementStore(database, clock)
    assert len(await later.others()) == 3
    await database.close()


async def test_a_day_is_kept(url: str):
    """What is older than a day is not read, and is deleted when something new is written."""
    clock = FakeClock()
    database = Database(url)
    await MeasurementStore(database, clock).save({"zai/a": b"1"})
    clock.advance(DAY_S + 1)
    store = MeasurementStore(database, clock)
    assert await store.others() == []
    await store.save({})
    clock.advance(-DAY_S)
    assert await MeasurementStore(database, clock).others() == []
    await database.close()


async def test_a_database_that_is_not_there():
    """Whoever writes or reads is told."""
    database = Database("sqlite:////proc/nope/glimt.db")
    store = MeasurementStore(database, FakeClock())
    with pytest.raises(Unavailable):
        await store.save({"a": b""})
    with pytest.raises(Unavailable):
        await store.others()
    await database.close()
