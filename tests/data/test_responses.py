"""Kept responses: owners, chains, retention."""

from collections.abc import AsyncIterator

import pytest

from glimt.core.clock import FakeClock
from glimt.core.errors import NotFound
from glimt.data.database import Database
from glimt.data.responses import DAY_S, KeptItem, KeptResponse, ResponseStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(url: str, clock: FakeClock) -> AsyncIterator[ResponseStore]:
    database = Database(url)
    yield ResponseStore(database, clock, days=30)
    await database.close()


def response(name: str, previous: str | None = None, tenant: str = "t") -> KeptResponse:
    return KeptResponse(
        id=f"resp_{name}",
        tenant=tenant,
        created=1,
        body=f"body {name}".encode(),
        previous=None if previous is None else f"resp_{previous}",
        input=(KeptItem(f"in_{name}", b"ask " + name.encode()),),
        output=(
            KeptItem(f"rs_{name}", b"think " + name.encode()),
            KeptItem(f"msg_{name}", b"say " + name.encode()),
        ),
    )


async def test_what_was_kept_is_there(store: ResponseStore):
    """A response comes back as it went, with its input."""
    await store.save(response("a"))
    assert await store.body("t", "resp_a") == b"body a"
    assert await store.input_items("t", "resp_a") == [KeptItem("in_a", b"ask a")]
    assert await store.items("t", ["msg_a", "nope"]) == {"msg_a": b"say a"}


async def test_a_conversation(store: ResponseStore):
    """A history is the items of every response before, oldest first; branches do not mix."""
    await store.save(response("a"))
    await store.save(response("b", "a"))
    await store.save(response("other", "a"))
    await store.save(response("c", "b"))
    assert await store.history("t", "resp_c") == [
        part + b" " + name for name in (b"a", b"b", b"c") for part in (b"ask", b"think", b"say")
    ]


async def test_owners(store: ResponseStore):
    """Nobody sees, deletes, names or continues what is somebody else's."""
    await store.save(response("a"))
    for look in (store.body, store.history, store.input_items, store.delete):
        with pytest.raises(NotFound, match="resp_a"):
            await look("other", "resp_a")
    assert await store.items("other", ["msg_a"]) == {}
    assert await store.body("t", "resp_a") == b"body a"
    await store.save(response("b", "a", tenant="other"))
    with pytest.raises(NotFound, match="resp_a"):
        await store.history("other", "resp_b")


async def test_deleting(store: ResponseStore):
    """What was deleted is gone with its items, and so is a conversation across it."""
    await store.save(response("a"))
    await store.save(response("b", "a"))
    await store.delete("t", "resp_a")
    with pytest.raises(NotFound):
        await store.delete("t", "resp_a")
    assert await store.items("t", ["msg_a"]) == {}
    assert await store.body("t", "resp_b") == b"body b"
    with pytest.raises(NotFound, match="resp_a"):
        await store.history("t", "resp_b")


async def test_retention(store: ResponseStore, clock: FakeClock, url: str):
    """A response is forgotten in time, unless a newer one continues it; then its rows go too."""
    await store.save(response("alone"))
    await store.save(response("a"))
    clock.advance(20 * DAY_S)
    await store.save(response("b", "a"))
    clock.advance(20 * DAY_S)
    with pytest.raises(NotFound):
        await store.body("t", "resp_alone")
    assert len(await store.history("t", "resp_b")) == 6
    await store.save(response("new"))
    database = Database(url)
    later = ResponseStore(database, FakeClock(0), days=30)
    assert await later.items("t", ["msg_alone", "msg_a"]) == {"msg_a": b"say a"}
    await database.close()


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, ""])
async def test_ids_that_nothing_can_have(store: ResponseStore, name: str):
    """Whatever a client asks for by name is not found, in any database."""
    await store.save(response("a"))
    for act in (store.body, store.delete, store.history, store.input_items):
        with pytest.raises(NotFound):
            await act("t", name)
    assert await store.items("t", [name, "msg_a"]) == {"msg_a": b"say a"}
