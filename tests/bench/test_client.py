"""The client's side of the chat endpoint."""

import pytest

from glimt.bench.client import ChatServer, base_url
from glimt.core.errors import InvalidRequest, Unavailable


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:4747", "http://127.0.0.1:4747/v1"),
        ("http://127.0.0.1:4747/", "http://127.0.0.1:4747/v1"),
        ("localhost:4747", "http://localhost:4747/v1"),
        ("https://example.com/api/paas/v4/", "https://example.com/api/paas/v4"),
        ("http://[::1]:4747/v1", "http://[::1]:4747/v1"),
    ],
)
def test_base_url(address: str, expected: str) -> None:
    """An address without a path means its /v1; one with a path is taken as it is."""
    assert base_url(address) == expected


@pytest.mark.anyio
async def test_nobody_there_is_unavailable() -> None:
    """A refused connection names the address and may be retried."""
    async with ChatServer("http://127.0.0.1:9") as server:
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9/v1"):
            await server.models()


@pytest.mark.anyio
async def test_an_address_that_is_none_is_the_caller_s_mistake() -> None:
    """What is not an address is refused before anything is sent."""
    async with ChatServer("ftp://somewhere/v1") as server:
        with pytest.raises(InvalidRequest, match="ftp://somewhere"):
            await server.models()
