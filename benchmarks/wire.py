"""What a wire format costs: an agent's request of 100 kB, and one chunk of a stream, both ways.

Processor time of one thread, p50 and p99 over rounds, for every format in `FORMATS`, against what
reading the same body by `json.loads` and by the official SDK's own types costs. (pydantic leaves
the types' iterables, messages and tools among them, to whoever reads them, so its figure is less
than a whole check.) The last line of output is JSON.

    python benchmarks/wire.py --rounds 400
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from glimt.core.events import Event, Started, TextDelta
from glimt.core.parts import Message, TextPart, ToolCallPart, ToolResultPart
from glimt.core.request import Request, Tool
from glimt.wire.chat_completions import asking as chat
from glimt.wire.formats import FORMATS, Format
from glimt.wire.sse import EventDecoder

REQUEST_TARGET_MS = 0.5
CHUNK_TARGET_US = 10.0
BODY_BYTES = 100_000


def agent_request() -> Request:
    """A conversation of an agent: tools, and turn after turn a call and what came of it."""
    properties = {
        f"argument_{i}": {"type": "string", "description": "One of them."} for i in range(6)
    }
    schema = {"type": "object", "properties": properties}
    tools = tuple(
        Tool(name=f"tool_{i}", description="Does one thing. " * 8, parameters=schema)
        for i in range(20)
    )
    messages = [Message(role="system", parts=(TextPart("You are an agent. " * 100),))]
    turn = 0
    while sum(len(str(message)) for message in messages) < BODY_BYTES * 0.85:
        arguments = json.dumps({"argument_0": "a/path/to/some/file.py", "argument_1": "x" * 80})
        call = ToolCallPart(id=f"call_{turn}", name=f"tool_{turn % 20}", arguments=arguments)
        result = ToolResultPart(call_id=call.id, content=(TextPart('line of a "file"\n' * 60),))
        messages += [
            Message(role="assistant", parts=(TextPart("Let me look at it."), call)),
            Message(role="tool", parts=(result,)),
        ]
        turn += 1
    return Request(model="glm-4.7-flash", messages=tuple(messages), tools=tools)


def cost_us(work: Callable[[], object], rounds: int, repeat: int = 1) -> tuple[float, float]:
    """Processor time of one call in µs: p50 and p99 over rounds."""
    times: list[float] = []
    for _ in range(rounds):
        start = time.thread_time_ns()
        for _ in range(repeat):
            work()
        times.append((time.thread_time_ns() - start) / 1000 / repeat)
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


def measure(found: Format, request: Request, rounds: int) -> dict[str, tuple[float, float]]:
    """What one format costs, in µs."""
    headers, body = found.ask(request)
    codec = found.codec(headers)
    call = codec.decode(body)
    encoder, reader = codec.stream(call), found.reader()
    delta: Event = TextDelta(text=" word")
    started = Started(id="glimt-1", model="m", created=5, provider="p")
    opened = encoder.encode(started)
    first, chunk = encoder.encode(delta), encoder.encode(delta)
    for event in EventDecoder().feed(opened + first):
        reader.feed(event.data)
    [event] = EventDecoder().feed(chunk)
    text = event.data
    return {
        "request read": cost_us(lambda: found.codec(headers).decode(body), rounds),
        "request written": cost_us(lambda: found.ask(request), rounds),
        "chunk written": cost_us(lambda: encoder.encode(delta), rounds, 50),
        "chunk read": cost_us(lambda: reader.feed(text), rounds, 50),
    }


def peers(request: Request, rounds: int) -> dict[str, tuple[float, float]]:
    """What reading the same body of chat completions costs by other means, in µs."""
    body = chat.encode_request(request)
    adapter = TypeAdapter(CompletionCreateParamsNonStreaming)
    adapter.validate_json(body)
    return {
        "json.loads": cost_us(lambda: json.loads(body), rounds),
        "msgspec, unchecked": cost_us(lambda: msgspec.json.decode(body), rounds),
        "openai's types, pydantic": cost_us(lambda: adapter.validate_json(body), rounds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    request = agent_request()
    result: dict[str, Any] = {"body_bytes": {}, "us": {}, "peers_us": peers(request, rounds)}
    base = result["peers_us"]["json.loads"][0]
    print(f"{'':<44}{'p50 µs':>10}{'p99 µs':>10}{'of json.loads':>15}  target")
    for name, (p50, p99) in result["peers_us"].items():
        print(f"{name:<44}{p50:>10.1f}{p99:>10.1f}{p50 / base:>15.2f}")
    for found in FORMATS:
        result["body_bytes"][found.name] = len(found.ask(request)[1])
        result["us"][found.name] = measured = measure(found, request, rounds)
        both = measured["request read"][0] + measured["request written"][0]
        measured["request both ways"] = (both, sum(m[1] for m in list(measured.values())[:2]))
        for what, (p50, p99) in measured.items():
            target = CHUNK_TARGET_US if what.startswith("chunk") else REQUEST_TARGET_MS * 1000
            met = "met" if p50 < target else "missed"
            of_base = f"{p50 / base:>15.2f}" if "request" in what else f"{'':>15}"
            label = f"{found.name}: {what}"
            print(f"{label:<44}{p50:>10.1f}{p99:>10.1f}{of_base}  < {target:g} {met}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
