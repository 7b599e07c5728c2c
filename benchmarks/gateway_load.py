"""The load for `benchmarks/gateway.py`: raw HTTP/1.1, so that a client costs less than a gateway.

Knows keep-alive connections, Content-Length and chunked bodies, and counts events by their `data:`.
Reads no JSON: what an answer says is for the tests.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

END = b"0\r\n\r\n"
PATIENCE_S = 30.0


class Target(NamedTuple):
    """Whom to ask, and how."""

    port: int
    model: str
    headers: Mapping[str, str] = {}

    def body(self, *, stream: bool, tokens: int) -> bytes:
        return json.dumps(
            {
                "model": self.model,
                "messages": [
                    {"role": "system", "content": "Answer in one short sentence."},
                    {"role": "user", "content": "What is 17 + 25, and how did you find out?"},
                ],
                "max_tokens": tokens,
                "stream": stream,
            }
        ).encode()

    def request(self, *, stream: bool, tokens: int) -> bytes:
        body = self.body(stream=stream, tokens=tokens)
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            f"host: 127.0.0.1:{self.port}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it has an answer, until `stop` is set."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._pieces: list[bytes] = []
        self._size = 0
        self._wanted: int | None = None
        self._asked = self._first = 0.0
        self.stop = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.times: list[float] = []
        self.firsts: list[float] = []
        self.events = 0
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class.
        self._ask()

    def _ask(self) -> None:
        self._pieces.clear()
        self._size = 0
        self._wanted = None
        self._first = 0.0
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._first and (b"data:" in data or b'"choices"' in data):
            self._first = time.perf_counter()
        self._pieces.append(data)
        self._size += len(data)
        if self._wanted is None:
            self._read_head()
        if self._wanted is None:
            return
        if self._wanted >= 0:
            if self._size >= self._wanted:
                self._answered()
        elif data.endswith(END) or (len(data) < len(END) and self._tail() == END):
            self._answered()

    def _read_head(self) -> None:
        """`_wanted` is the size of head and body, or -1 for a body in chunks."""
        joined = b"".join(self._pieces)
        head, end, _ = joined.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        _, named, rest = lower.partition(b"content-length:")
        self._wanted = len(head) + 4 + int(rest.partition(b"\r\n")[0]) if named else -1

    def _tail(self) -> bytes:
        return b"".join(self._pieces)[-len(END) :]

    def _answered(self) -> None:
        now = time.perf_counter()
        body = b"".join(self._pieces)
        if body.startswith(b"HTTP/1.1 200") and self._first:
            self.times.append(now - self._asked)
            self.firsts.append(self._first - self._asked)
            self.events += body.count(b"data: {")
        else:
            self.errors += 1
        if self.stop:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stop or exc is not None:
            self.errors += 1
        if not self.done.done():
            self.done.set_result(None)


async def load(port: int, request: bytes, *, in_flight: int, seconds: float) -> dict[str, Any]:
    """Ask for `seconds`, with so many at a time. Times are in ms, of answers with status 200."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Client(request), "127.0.0.1", port)
        for _ in range(in_flight)
    ]
    clients = [client for _, client in made]
    started = time.perf_counter()
    counts = [(len(client.times), client.events) for client in clients]
    await asyncio.sleep(seconds)
    took_s = time.perf_counter() - started
    num_answers = sum(len(client.times) for client in clients) - sum(n for n, _ in counts)
    num_events = sum(client.events for client in clients) - sum(n for _, n in counts)
    for client in clients:
        client.stop = True
    await asyncio.wait([client.done for client in clients], timeout=PATIENCE_S)
    times = sorted(value for client in clients for value in client.times)
    firsts = sorted(value for client in clients for value in client.firsts)
    return {
        "answers": len(times),
        "errors": sum(client.errors for client in clients),
        "requests_per_s": round(num_answers / took_s, 1),
        "events_per_s": round(num_events / took_s),
        "p50_ms": percentile(times, 0.5),
        "p99_ms": percentile(times, 0.99),
        "first_p50_ms": percentile(firsts, 0.5),
        "first_p99_ms": percentile(firsts, 0.99),
    }


def percentile(ordered: list[float], share: float) -> float:
    """In milliseconds; 0 of nothing."""
    if not ordered:
        return 0.0
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3, 3)
