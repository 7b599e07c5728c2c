"""Kept responses: each belongs to a tenant, continues at most one other, and is forgotten in time.

The input and output of a response are rows of their own, so that a conversation is its responses'
items one after another, and an item can be named. A response is kept as long as the newest one that
continues it. What an item or a body looks like is the business of a wire format.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, and_, delete, insert, literal, select, update
from sqlalchemy.sql.expression import CTE

from glimt.core.clock import Clock
from glimt.core.errors import NotFound
from glimt.data.database import Database
from glimt.data.tables import RESPONSE_ITEMS, RESPONSES

DAY_S: Final = 86400.0
MAX_ID: Final = 128
"""The most characters of an id; PostgreSQL holds to it, and takes no NUL either."""
SWEEP_S: Final = 600.0
"""How often expired responses are deleted; they cannot be seen meanwhile."""


def storable(given_id: str) -> bool:
    """Whether an id can be kept, or can be that of something kept: it fits, and has no NUL."""
    return len(given_id) <= MAX_ID and "\0" not in given_id


class KeptItem(msgspec.Struct, frozen=True):
    """An item of a response: its id and its JSON."""

    id: str
    body: bytes


class KeptResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response and what it was made from."""

    id: str
    tenant: str
    created: int
    body: bytes
    previous: str | None = None
    input: tuple[KeptItem, ...] = ()
    output: tuple[KeptItem, ...] = ()


class ResponseStore:
    """Responses in a database."""

    def __init__(self, database: Database, clock: Clock, *, days: float) -> None:
        self._database = database
        self._clock = clock
        self._keep_s = int(days * DAY_S)
        self._next_sweep_s = 0.0

    async def save(self, response: KeptResponse) -> None:
        """Keep one. Raises Unavailable."""
        now = int(self._clock.now())
        sweep = self._clock.monotonic() >= self._next_sweep_s
        if sweep:
            self._next_sweep_s = self._clock.monotonic() + SWEEP_S

        def work(connection: Connection) -> None:
            if sweep:
                connection.execute(delete(RESPONSES).where(RESPONSES.c.expires_at <= now))
            _save(connection, response, expires=now + self._keep_s)

        await self._database.write(work)

    async def body(self, tenant: str, response_id: str) -> bytes:
        """What was answered. Raises NotFound."""
        _check(response_id)
        query = select(RESPONSES.c.body).where(*self._is(tenant, response_id))
        found = await self._database.read(lambda connection: connection.scalar(query))
        if found is None:
            raise _not_found(response_id)
        return found

    async def delete(self, tenant: str, response_id: str) -> None:
        """Forget one, and its items. Raises NotFound."""
        _check(response_id)
        statement = delete(RESPONSES).where(*self._is(tenant, response_id))
        count = await self._database.write(
            lambda connection: connection.execute(statement).rowcount
        )
        if not count:
            raise _not_found(response_id)

    async def history(self, tenant: str, response_id: str) -> list[bytes]:
        """The items of a conversation up to a response, oldest first.

        Raises:
            NotFound: It, or one that it continues, is not here.
        """
        _check(response_id)

        def work(connection: Connection) -> list[bytes]:
            chain = self._chain(tenant, response_id)
            links = connection.execute(select(chain).order_by(chain.c.depth)).all()
            last = response_id if not links else links[-1].previous_id
            if last is not None:
                raise _not_found(last)
            items = RESPONSE_ITEMS
            query = (
                select(items.c.body)
                .join(chain, items.c.response_id == chain.c.id)
                .order_by(chain.c.depth.desc(), items.c.is_output, items.c.position)
            )
            return list(connection.scalars(query))

        return await self._database.read(work)

    async def items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, bytes]:
        """Items by their ids; those that are not here are left out."""
        item_ids = [item_id for item_id in item_ids if storable(item_id)]
        query = (
            select(RESPONSE_ITEMS.c.item_id, RESPONSE_ITEMS.c.body)
            .join(RESPONSES, RESPONSES.c.id == RESPONSE_ITEMS.c.response_id)
            .where(RESPONSE_ITEMS.c.item_id.in_(item_ids), *self._belongs(tenant))
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {row.item_id: row.body for row in rows}

    async def input_items(self, tenant: str, response_id: str) -> list[KeptItem]:
        """The input of one response, in order. Raises NotFound."""
        _check(response_id)

        def work(connection: Connection) -> list[KeptItem]:
            if connection.scalar(select(literal(1)).where(*self._is(tenant, response_id))) is None:
                raise _not_found(response_id)
            items = RESPONSE_ITEMS
            query = (
                select(items.c.item_id, items.c.body)
                .where(items.c.response_id == response_id, items.c.is_output.is_(False))
                .order_by(items.c.position)
            )
            return [KeptItem(row.item_id, row.body) for row in connection.execute(query)]

        return await self._database.read(work)

    def _belongs(self, tenant: str) -> tuple[Any, ...]:
        now = int(self._clock.now())
        return (RESPONSES.c.tenant == tenant, RESPONSES.c.expires_at > now)

    def _is(self, tenant: str, response_id: str) -> tuple[Any, ...]:
        return (RESPONSES.c.id == response_id, *self._belongs(tenant))

    def _chain(self, tenant: str, response_id: str) -> CTE:
        """A response and those that it continues; `depth` counts from it."""
        head = select(RESPONSES.c.id, RESPONSES.c.previous_id, literal(0).label("depth")).where(
            *self._is(tenant, response_id)
        )
        chain = head.cte("chain", recursive=True)
        older = select(RESPONSES.c.id, RESPONSES.c.previous_id, chain.c.depth + 1).join(
            chain, and_(RESPONSES.c.id == chain.c.previous_id, *self._belongs(tenant))
        )
        return chain.union_all(older)


def _save(connection: Connection, response: KeptResponse, *, expires: int) -> None:
    connection.execute(
        insert(RESPONSES),
        {
            "id": response.id,
            "tenant": response.tenant,
            "previous_id": response.previous,
            "created_at": response.created,
            "expires_at": expires,
            "body": response.body,
        },
    )
    rows = [
        {
            "response_id": response.id,
            "is_output": is_output,
            "position": position,
            "item_id": item.id,
            "body": item.body,
        }
        for is_output, items in ((False, response.input), (True, response.output))
        for position, item in enumerate(items)
    ]
    if rows:
        connection.execute(insert(RESPONSE_ITEMS), rows)
    if response.previous is not None:
        _prolong(connection, response, expires)


def _prolong(connection: Connection, response: KeptResponse, expires: int) -> None:
    """What a response continues is kept as long as it."""
    head = select(RESPONSES.c.id, RESPONSES.c.previous_id).where(
        RESPONSES.c.id == response.previous, RESPONSES.c.tenant == response.tenant
    )
    chain = head.cte("chain", recursive=True)
    chain = chain.union_all(
        select(RESPONSES.c.id, RESPONSES.c.previous_id).join(
            chain, RESPONSES.c.id == chain.c.previous_id
        )
    )
    connection.execute(
        update(RESPONSES)
        .where(RESPONSES.c.id.in_(select(chain.c.id)), RESPONSES.c.expires_at < expires)
        .values(expires_at=expires)
    )


def _check(response_id: str) -> None:
    if not storable(response_id):
        raise _not_found(response_id)


def _not_found(response_id: str) -> NotFound:
    return NotFound(f"Response with id {response_id!r} not found.")
