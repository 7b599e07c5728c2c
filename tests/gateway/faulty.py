"""A server of chat completions that misbehaves, in raw asyncio: nothing helps it to be correct."""

import asyncio
import datetime as dt
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Behaviour = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request; a behaviour writes whatever it likes."""

    def __init__(self, writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        self.writer = writer
        self.head = head
        self.body = body

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def document(
        self, status: int, body: object, *, kind="application/json", extra=""
    ) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n"
        await self.send(f"{head}{extra}\r\n".encode() + data)

    async def open(self, kind="text/event-stream") -> None:
        """A stream that ends with the connection."""
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n"
        await self.send(head.encode())

    async def chunk(self, delta: dict | None = None, **members: object) -> None:
        await self.send(chunk(delta, **members))

    def reset(self) -> None:
        """Not a goodbye: a reset."""
        held: socket.socket = self.writer.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def chunk(delta: dict | None = None, *, finish: str | None = None, **members: object) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    body = {"id": "1", "model": "m", "created": 1, "choices": [choice], **members}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def answer(*texts: str) -> bytes:
    usage = {"prompt_tokens": 3, "completion_tokens": len(texts)}
    parts = [chunk({"content": text}) for text in texts]
    return b"".join([*parts, chunk(finish="stop", usage=usage), b"data: [DONE]\n\n"])


def self_signed(folder: Path) -> ssl.SSLContext:
    """A certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=now,
        not_valid_after=now + dt.timedelta(days=1),
    ).sign(key, hashes.SHA256())
    file = folder / "pair.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def fine(exchange: Exchange) -> None:
    await exchange.open()
    await exchange.send(answer("fi", "ne"))


class Server:
    """Counts who came and who left before the end."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[Exchange] = []
        self.num_left = 0
        self.left = asyncio.Event()
        self.url = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            exchange = Exchange(writer, head, await reader.readexactly(length))
            self.requests.append(exchange)
            work = asyncio.ensure_future(self.behaviour(exchange))
            gone = asyncio.ensure_future(reader.read())
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.num_left += 1
                self.left.set()
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # It was no HTTP: a client that wanted to speak TLS.
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    behaviour: Behaviour, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(behaviour)
    listener = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    server.url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
