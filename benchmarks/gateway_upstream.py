"""The upstream for `benchmarks/gateway.py`: chat completions as bytes that were made before.

Knows as much HTTP/1.1 as the gateways under test speak: a head, Content-Length or chunks, and
keep-alive. `max_tokens` of the body says how long the answer is, `stream` in which form it comes.

    python benchmarks/gateway_upstream.py PORT
"""

import asyncio
import functools
import json
import re
import sys
from typing import Any, cast

import uvloop

TOKENS = re.compile(rb'"max_(?:completion_)?tokens":\s*(\d+)')
STREAM = re.compile(rb'"stream":\s*true')
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
MODEL = "glm-4.7-flash"


def usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 24, "completion_tokens": tokens, "total_tokens": 24 + tokens}


def answer(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    identity = {"id": "chatcmpl-bench", "object": kind, "created": 1764000000, "model": MODEL}
    return identity | {"choices": [{"index": 0, **choice}]}


@functools.cache
def plain(tokens: int) -> bytes:
    message = {"role": "assistant", "content": "word " * tokens}
    choice = {"message": message, "finish_reason": "stop"}
    body = json.dumps(answer("chat.completion", choice) | {"usage": usage(tokens)}).encode()
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + head.encode() + body


@functools.cache
def streamed(tokens: int) -> bytes:
    """`tokens` events of text, one that ends it with usage, and `[DONE]`; one chunk each."""
    kind = "chat.completion.chunk"
    texts = [
        answer(kind, {"delta": {"role": "assistant", "content": "word "}, "finish_reason": None})
        for _ in range(tokens)
    ]
    last = answer(kind, {"delta": {}, "finish_reason": "stop"}) | {"usage": usage(tokens)}
    events = [json.dumps(event).encode() for event in [*texts, last]] + [b"[DONE]"]
    lines = [b"data: " + event + b"\n\n" for event in events]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines)
    head = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + head + chunks + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """A connection; a request is answered when it is whole."""

    def __init__(self) -> None:
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class.

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (request := self._next()) is not None:
            found = TOKENS.search(request)
            tokens = int(found[1]) if found else 8
            make = streamed if STREAM.search(request) else plain
            self._transport.write(make(tokens))

    def _next(self) -> bytes | None:
        """A whole request with its body, taken off what is held; `None` until there is one."""
        head, end, rest = self._held.partition(b"\r\n\r\n")
        if not end:
            return None
        named = LENGTH.search(head)
        if named is not None:
            size = int(named[1])
            if len(rest) < size:
                return None
            body, self._held = rest[:size], rest[size:]
            return body
        if b"chunked" not in head.lower():
            self._held = rest
            return b""
        body, ended, self._held = rest.partition(b"\r\n0\r\n\r\n")
        if not ended:
            self._held = head + end + rest
            return None
        return body


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
