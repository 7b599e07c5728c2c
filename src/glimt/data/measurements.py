"""What was measured of deployments, for a day: each process adds rows, and reads those of others.

A row is never changed, so that processes need not wait for each other's; what they say adds up.
What a body looks like is the business of whoever measures.
"""

import uuid
from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select

from glimt.core.clock import Clock
from glimt.data.database import Database
from glimt.data.tables import MEASUREMENTS

DAY_S: Final = 86_400
SWEEP_S: Final = 600.0
"""How often rows that are older than a day are deleted."""
LATE_S: Final = 900
"""How far back others' rows are looked for again: clocks differ, and a commit takes its time."""
MAX_NAME: Final = 255


class Measured(msgspec.Struct, frozen=True):
    """What somebody else saw of a deployment."""

    deployment: str
    body: bytes


class MeasurementStore:
    """One process's view of what all of them, and earlier runs, have measured."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._writer = uuid.uuid4().hex
        self._number = 0
        self._read: dict[str, int] | None = None
        self._next_sweep_s = 0.0

    async def save(self, bodies: Mapping[str, bytes]) -> None:
        """Add what was seen of each deployment. Raises Unavailable."""
        now = int(self._clock.now())
        sweep = self._clock.monotonic() >= self._next_sweep_s
        if sweep:
            self._next_sweep_s = self._clock.monotonic() + SWEEP_S
        self._number += 1
        rows = [
            {
                "writer": self._writer,
                "number": self._number,
                "deployment": deployment,
                "written_at": now,
                "body": body,
            }
            for deployment, body in bodies.items()
            if len(deployment) <= MAX_NAME
        ]

        def work(connection: Connection) -> None:
            if sweep:
                old = MEASUREMENTS.c.written_at < now - DAY_S
                connection.execute(delete(MEASUREMENTS).where(old))
            if rows:
                connection.execute(insert(MEASUREMENTS), rows)

        await self._database.write(work)

    async def others(self) -> list[Measured]:
        """What others wrote since this was last asked; the first time, in the last day.

        Raises Unavailable.
        """
        since = int(self._clock.now()) - (DAY_S if self._read is None else LATE_S)
        table = MEASUREMENTS
        query = (
            select(table)
            .where(table.c.written_at >= since, table.c.writer != self._writer)
            .order_by(table.c.writer, table.c.number)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        # A writer's rows become visible in the order of their numbers, each number's at once.
        read = self._read or {}
        found = [
            Measured(row.deployment, row.body)
            for row in rows
            if row.number > read.get(row.writer, 0)
        ]
        self._read = read | {row.writer: row.number for row in rows}
        return found
