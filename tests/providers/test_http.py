"""Connections as a client has them: whatever the network cuts, the response is the same."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from glimt.core.errors import DeadlineExceeded, InternalError, UpstreamError
from glimt.providers import http as way_out
from glimt.providers.connection import MAX_HEAD, MAX_HELD, Connection, Cut, NotHttp
from glimt.providers.http import Http
from tests.gateway.faulty import Exchange, self_signed, serving

pytestmark = pytest.mark.anyio

CHUNKED = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx-after: 1\r\n\r\n"
HEAD = b"HTTP/1.1 200 Fine\r\nContent-Type: Text/Plain; charset=x\r\n"
RESPONSES = {
    "length": HEAD + b"content-length: 11\r\n\r\nhello world",
    "chunks": HEAD + b"transfer-encoding: chunked\r\n\r\n" + CHUNKED,
    "early hints": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + HEAD + b"content-length: 11"
    b"\r\n\r\nhello world",
    "closes": HEAD + b"connection: close\r\ncontent-length: 11\r\n\r\nhello world",
    "until the end": HEAD + b"\r\nhello world",
}
KEPT = ("length", "chunks", "early hints")


class Line(asyncio.Transport):
    """A transport that is fed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def connected() -> tuple[Connection, Line]:
    connection, line = Connection(), Line()
    connection.connection_made(line)
    return connection, line


async def body_of(connection: Connection) -> bytes:
    await connection.head()
    body = b""
    while piece := await connection.read(5):
        body += piece
    return body


@pytest.mark.parametrize("name", RESPONSES)
async def test_every_cut(name: str):
    """Wherever reads are cut, head and body are the same, and whether there can be a next one."""
    data = RESPONSES[name]
    for at in range(1, len(data)):
        connection, line = connected()
        for _ in range(2 if name in KEPT else 1):
            connection.ask(b"?")
            connection.data_received(data[:at])
            connection.data_received(data[at:]) if not connection.done else None
            if name == "until the end":
                assert not connection.done
                connection.connection_lost(None)
            assert await body_of(connection) == b"hello world"
            assert connection.status == 200
            assert connection.headers["content-type"] == "Text/Plain; charset=x"
            assert "link" not in connection.headers
            assert connection.leave() == (name in KEPT)
        assert line.aborted == (name == "closes")


@pytest.mark.parametrize("name", RESPONSES)
async def test_every_end(name: str):
    """A response that breaks off is an error wherever it does, after all that came of it."""
    data = RESPONSES[name]
    for at in range(len(data)):
        for reason in (None, ConnectionResetError()):
            connection, _ = connected()
            connection.ask(b"?")
            if at:
                connection.data_received(data[:at])
            connection.connection_lost(reason)
            if name == "until the end" and reason is None and connection.status:
                assert b"hello world".startswith(await body_of(connection))
            else:
                with pytest.raises(Cut):
                    await body_of(connection)
            assert connection.heard == bool(at)
            assert not connection.leave()


async def test_what_nobody_asked_for():
    """Bytes after a response, at once or later, are no answer to the next request."""
    connection, _ = connected()
    connection.ask(b"?")
    connection.data_received(RESPONSES["length"] * 2)
    assert await body_of(connection) == b"hello world"
    assert not connection.leave()
    connection, line = connected()
    connection.ask(b"?")
    connection.data_received(RESPONSES["chunks"])
    await body_of(connection)
    assert connection.leave()
    connection.data_received(b"H")
    assert connection.closed
    assert line.aborted


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail.example ESMTP\r\n\r\n",
        HEAD + b"x: " + b"y" * MAX_HEAD,
        HEAD + b"transfer-encoding: chunked\r\n\r\nnumber\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
)
async def test_no_http(data: bytes):
    """What is no response is told from one, and so is a head without end."""
    connection, _ = connected()
    connection.ask(b"?")
    connection.data_received(data)
    with pytest.raises(NotHttp):
        await body_of(connection)
    assert not connection.leave()


async def test_a_slow_reader_slows_the_server():
    """No more is taken while much is held, and nothing is lost."""
    connection, line = connected()
    connection.ask(b"?")
    size = 2 * MAX_HELD
    connection.data_received(HEAD + b"content-length: %d\r\n\r\n" % size + b"x" * (size - 1))
    assert line.paused
    assert len(await connection.read(5)) == size - 1
    assert not line.paused
    connection.data_received(b"x")
    assert await connection.read(5) == b"x"
    assert await connection.read(5) == b""


async def test_silence():
    """A body that is silent for too long is given up; one that drips is not."""

    async def drips(exchange: Exchange) -> None:
        await exchange.open()
        for _ in range(6):
            await asyncio.sleep(0.05)
            await exchange.send(b"x")
        await asyncio.sleep(60)

    async with serving(drips) as server:
        http = Http([server.url], idle_s=0.2)
        pieces: list[bytes] = []

        async def read_on() -> None:
            async with http.post(server.url, b"", headers={}, provider="p") as response:
                while piece := await response.read():
                    pieces.append(piece)

        with pytest.raises(DeadlineExceeded) as caught:
            await read_on()
        await http.close()
    assert b"".join(pieces) == b"xxxxxx"
    assert caught.value.code == "upstream_silent"


async def test_a_request_is_not_sent_twice_once_it_was_heard():
    """A kept connection that breaks off after a word of the response is a failure."""
    requests = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                requests += 1
                writer.write(RESPONSES["length"] if requests == 1 else b"HTTP/1.1 2")
                if requests > 1:
                    break
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1?a=b"
    http = Http([url])
    async with http.post(url, b"", headers={}, provider="p") as response:
        assert await response.read() == b"hello world"
        assert response.content_type == "text/plain"
        await response.drain()
    with pytest.raises(UpstreamError) as caught:
        async with http.post(url, b"", headers={}, provider="p"):
            pass
    assert caught.value.code == "upstream_cut"
    assert requests == 2
    await http.close()
    server.close()


async def test_connections_grow_old(monkeypatch: pytest.MonkeyPatch):
    """One that nobody used for long is not used again, and is closed."""
    monkeypatch.setattr(way_out, "_KEEPALIVE_S", 0.05)
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(RESPONSES["length"])
        assert await reader.read() == b""
        gone.set()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    http = Http([url])
    async with http.post(url, b"", headers={}, provider="p") as response:
        assert await response.read()
    async with asyncio.timeout(5):
        await gone.wait()
    await http.close()
    server.close()


async def test_over_tls(tmp_path: Path):
    """The same over TLS, where the certificate is trusted."""
    tls = self_signed(tmp_path)

    async def fine(exchange: Exchange) -> None:
        await exchange.document(200, {"a": 1})

    async with serving(fine, tls=tls) as server:
        http = Http([server.url])
        http._tls = ssl._create_unverified_context()
        async with http.post(server.url, b"x", headers={}, provider="p") as response:
            assert await response.read() == b'{"a": 1}'
            assert await response.read() == b""
        await http.close()
    assert [exchange.body for exchange in server.requests] == [b"x"]


async def test_what_is_packed_is_refused():
    """An answer in an encoding that nobody asked for is named as such, and not read."""

    async def packs(exchange: Exchange) -> None:
        await exchange.document(200, {"a": 1}, extra="content-encoding: gzip\r\n")

    async with serving(packs) as server:
        http = Http([server.url])
        with pytest.raises(UpstreamError, match="packed") as caught:
            async with http.post(server.url, b"", headers={}, provider="p"):
                pass
        await http.close()
    assert caught.value.code == "upstream_malformed"


async def test_how_a_request_is_written():
    """Head and body as the address says; a header cannot bring another one along."""
    seen: list[tuple[bytes, bytes]] = []

    async def fine(exchange: Exchange) -> None:
        seen.append((exchange.head, exchange.body))
        await exchange.document(200, {})

    async with serving(fine) as server:
        http = Http([server.url])
        headers = {"authorization": "Bearer ü"}
        async with http.post(
            f"{server.url}/a b?c=d", b"body", headers=headers, provider="p"
        ) as response:
            assert response.headers["content-type"] == "application/json"
        with pytest.raises(InternalError, match="line break"):
            http.post(server.url, b"", headers={"x": "y\r\nz: 1"}, provider="p")
        await http.close()
    [(head, body)] = seen
    host = server.url.split("/")[2]
    assert body == b"body"
    assert head.decode().splitlines()[:5] == [
        "POST /v1/a%20b?c=d HTTP/1.1",
        f"host: {host}",
        "accept-encoding: identity",
        "authorization: Bearer ü",
        "content-length: 4",
    ]
