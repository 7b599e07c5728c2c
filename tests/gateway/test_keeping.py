"""What was seen survives restarts, reaches other processes, and never stands in a request's way."""

import asyncio
from pathlib import Path

import pytest

from glimt.core.clock import FakeClock
from glimt.data.database import Database
from glimt.data.measurements import MeasurementStore
from glimt.gateway.history import History
from glimt.gateway.keeping import HistoryKeeper
from glimt.gateway.stats import DAY_S, FIVE_MINUTES_S, Fault, Outcome, Summary

pytestmark = pytest.mark.anyio

ID = "zai/glm-4.7-flash"


def outcome(fault: Fault = "none") -> Outcome:
    return Outcome(
        deployment=ID, start_s=0, ttft_s=0.2, duration_s=2.0, output_tokens=100, fault=fault
    )


class Process:
    """A history and its keeper, as one process has them."""

    def __init__(self, file: Path, clock: FakeClock, *, every_s: float = 60.0) -> None:
        self.database = Database(f"sqlite:///{file}")
        self.history = History(clock)
        store = MeasurementStore(self.database, clock)
        self.keeper = HistoryKeeper(self.history, store, every_s=every_s)

    async def close(self) -> None:
        await self.keeper.close()
        await self.database.close()

    def seen(self, window_s: float = DAY_S) -> Summary:
        return self.history.summary(ID, window_s)


async def test_a_restart_forgets_nothing(tmp_path: Path):
    """A later run has the numbers of the one before, percentiles and windows included."""
    clock = FakeClock()
    first = Process(tmp_path / "glimt.db", clock)
    first.keeper.start()
    for fault in ("none", "none", "none", "provider"):
        first.history.record(outcome(fault))
    await first.close()
    clock.advance(100)
    second = Process(tmp_path / "glimt.db", clock)
    await second.keeper.read()
    assert second.seen(FIVE_MINUTES_S) == first.seen(FIVE_MINUTES_S)
    assert second.seen().uptime == 0.75
    await second.close()
    clock.advance(600)
    third = Process(tmp_path / "glimt.db", clock)
    await third.keeper.read()
    assert third.seen().num_attempts == 4
    assert third.seen(FIVE_MINUTES_S).num_attempts == 0
    await third.close()


async def test_processes_see_what_others_saw(tmp_path: Path):
    """Each process counts the others' attempts once, while all of them run."""
    clock = FakeClock()
    one, other = (Process(tmp_path / "glimt.db", clock, every_s=0.01) for _ in range(2))
    one.keeper.start()
    other.keeper.start()
    one.history.record(outcome())
    other.history.record(outcome("provider"))
    async with asyncio.timeout(10):
        while not one.seen().num_attempts == other.seen().num_attempts == 2:
            clock.advance(1)
            await asyncio.sleep(0.01)
    await one.keeper.read()
    assert one.seen().num_attempts == 2
    await one.close()
    await other.close()


async def test_what_cannot_be_written_waits(tmp_path: Path):
    """Without a database everything goes on; once it is there, nothing is missing in it."""
    clock = FakeClock()
    (tmp_path / "data").write_text("in the way")
    file = tmp_path / "data" / "glimt.db"
    process = Process(file, clock, every_s=0.01)
    process.history.record(outcome())
    process.keeper.start()
    await asyncio.sleep(0.1)
    assert process.seen().num_ok == 1
    (tmp_path / "data").unlink()
    process.history.record(outcome())
    await process.close()
    later = Process(file, clock)
    await later.keeper.read()
    assert later.seen().num_ok == 2
    await later.close()
