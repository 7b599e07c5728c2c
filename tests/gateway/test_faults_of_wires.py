"""The faults that look different in Messages and Responses: the same table holds for them.

`test_faults` has every fault, in chat completions.
"""

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from glimt.catalog.types import Wire
from tests.gateway.faulty import Behaviour, Exchange, serving
from tests.gateway.test_faults import KEY, House, document, forever, reset, rows, says

pytestmark = pytest.mark.anyio

HELLO, FINE = "hello", "fine"
USAGE = {"input_tokens": 3, "output_tokens": 2}


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


class Messages:
    """What a server of Anthropic's format sends."""

    begun = event("message_start", message={"id": "msg_1", "model": "m", "usage": USAGE})
    opened = event("content_block_start", index=0, content_block={"type": "text", "text": ""})

    def said(self, text: str) -> bytes:
        delta = {"type": "text_delta", "text": text}
        return self.begun + self.opened + event("content_block_delta", index=0, delta=delta)

    def ended(self, reason: str = "end_turn") -> bytes:
        ending = event("message_delta", delta={"stop_reason": reason}, usage=USAGE)
        return ending + event("message_stop")

    def error(self, kind: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": kind, "message": f"no, and it is {KEY}"}}

    def failed(self, kind: str) -> bytes:
        return event("error", **self.error(kind))

    def too_long(self) -> dict[str, Any]:
        message = "prompt is too long: 208310 tokens > 200000 maximum"
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}

    whole = '{"id": "msg_1", "type": "message", "conte'
    busy, limited = "overloaded_error", "rate_limit_error"


class Responses:
    """What a server of the Responses format sends."""

    begun = event("response.created", response={"id": "resp_1", "error": None})

    def said(self, text: str) -> bytes:
        return self.begun + event("response.output_text.delta", output_index=0, delta=text)

    def ended(self, reason: str | None = None) -> bytes:
        kind = "response.completed" if reason is None else "response.incomplete"
        details = {"reason": reason}
        return event(kind, response={"usage": USAGE, "incomplete_details": details, "error": None})

    def error(self, code: str) -> dict[str, Any]:
        return {"error": {"code": code, "message": f"no, and it is {KEY}"}}

    def failed(self, code: str) -> bytes:
        return event("response.failed", response={"status": "failed", **self.error(code)})

    def too_long(self) -> dict[str, Any]:
        return {"error": {"code": "context_length_exceeded", "message": "too long"}}

    whole = '{"id": "resp_1", "status": "compl'
    busy, limited = "server_is_overloaded", "rate_limit_exceeded"


WIRES: dict[Wire, Messages | Responses] = {"messages": Messages(), "responses": Responses()}
Fault = Callable[[Any], Behaviour]
FAULTS: dict[str, Fault] = {
    "hang after headers": lambda w: says(w.begun, then=forever),
    "hang mid-stream": lambda w: says(w.said(HELLO), then=forever),
    "reset before output": lambda w: says(w.begun, then=reset),
    "reset mid-stream": lambda w: says(w.said(HELLO), then=reset),
    "end before output": lambda w: says(w.begun),
    "end mid-stream": lambda w: says(w.said(HELLO)),
    "truncated JSON": lambda w: document(w.whole),
    "truncated JSON in a stream": lambda w: says(w.begun[:60] + b"\n\n"),
    "truncated JSON mid-stream": lambda w: says(w.said(HELLO), w.begun[:60] + b"\n\n"),
    "200 with an error body": lambda w: document(w.error(w.busy)),
    "error mid-stream": lambda w: says(w.said(HELLO), w.failed(w.limited)),
    "empty answer": lambda w: says(w.begun + w.ended()),
    "finish reason error": lambda w: says(w.begun + w.ended("out of order")),
    "prompt too long": lambda w: document(w.too_long(), number=400),
    **{str(n): lambda w, n=n: document(w.error("x"), number=n) for n in (400, 401, 404, 429, 529)},
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("wire", WIRES)
async def test_fault(wire: Wire, name: str):
    """Each fault moves on to the next place or ends, and ends in the error that the table says."""
    asked, code, number = rows()[name]
    speech = WIRES[wire]
    async with AsyncExitStack() as stack:
        bad = await stack.enter_async_context(serving(FAULTS[name](speech)))
        spare = await stack.enter_async_context(serving(says(speech.said(FINE), speech.ended())))
        house = House([bad.url, spare.url], wire=wire)
        stack.push_async_callback(house.http.close)
        if asked == "yes":
            text, route = await house.ask()
            assert text == FINE
            assert route == (f"first/glm-4.7-flash {code}", "second/glm-4.7-flash")
        else:
            error = await house.fail()
            assert (error.code, error.status) == (code, number)
            assert spare.requests == []
        if asked == "goes on" and wire == "messages":
            able = House([bad.url, spare.url], kind="glimt", wire=wire)
            stack.push_async_callback(able.http.close)
            text, route = await able.ask()
            assert text == HELLO + FINE
            assert route == (f"first/glm-4.7-flash {code} mid-answer", "second/glm-4.7-flash")
            last = json.loads(spare.requests[-1].body)["messages"][-1]
            assert last == {"role": "assistant", "content": HELLO}
        alone = House([bad.url], wire=wire)
        stack.push_async_callback(alone.http.close)
        error = await alone.fail()
        assert (error.code, error.status) == (code, number)
        assert KEY not in error.message


async def after_the_end(exchange: Exchange) -> None:
    speech = Messages() if b"/v1/messages" in exchange.head else Responses()
    await exchange.open()
    await exchange.send(speech.said(FINE) + speech.ended() + b"data: [DONE]\n\n")
    await forever(exchange)


@pytest.mark.parametrize("wire", WIRES)
async def test_nothing_is_awaited_after_the_end(wire: Wire):
    """The last event ends an answer, whatever the connection does; the key and path are right."""
    async with serving(after_the_end) as server:
        house = House([server.url], wire=wire)
        assert await house.ask() == (FINE, ("first/glm-4.7-flash",))
        await house.http.close()
        head = server.requests[0].head.decode().lower()
    if wire == "messages":
        assert head.startswith("post /v1/messages ")
        assert f"x-api-key: {KEY}\r\n" in head
        assert "anthropic-version: 2023-06-01\r\n" in head
    else:
        assert head.startswith("post /v1/responses ")
        assert f"authorization: bearer {KEY}\r\n" in head
