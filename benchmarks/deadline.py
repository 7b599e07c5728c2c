"""What a deadline costs each event of an answer, against the plain ways to set one.

The same events are read through the gateway's closing loop without a deadline, with ours (one timer
an answer) and with an `asyncio.timeout` around each event. Microseconds of CPU time an event, of
several rounds the best. The last line of stdout is one JSON document.

    python benchmarks/deadline.py [--events 200000] [--rounds 5]
"""

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable

import uvloop

from glimt.core.clock import SystemClock
from glimt.core.events import Batch, TextDelta
from glimt.gateway.closing import closing
from glimt.gateway.deadline import Deadline

LIMIT_S = 1000.0
CLOCK = SystemClock()


async def events(number: int) -> AsyncIterator[Batch]:
    """An answer that never has to wait."""
    event = TextDelta(text="a")
    for _ in range(number):
        yield [event]


async def passed_on(stream: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    """What every step of the gateway does."""
    async with closing(stream):
        async for event in stream:
            yield event


async def timed_each(stream: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    """A timeout around each event."""
    end_s = CLOCK.monotonic() + LIMIT_S
    while True:
        async with asyncio.timeout(end_s - CLOCK.monotonic()):
            event = await anext(stream, None)
        if event is None:
            return
        yield event


def with_deadline(stream: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    """One timer for all of them."""
    return Deadline(stream, LIMIT_S, start_s=CLOCK.monotonic(), clock=CLOCK)


WAYS: dict[str, Callable[[AsyncIterator[Batch]], AsyncIterator[Batch]]] = {
    "without": lambda stream: stream,
    "one_timer": with_deadline,
    "timeout_each": timed_each,
}


async def measure(number: int, rounds: int) -> dict[str, float]:
    """Microseconds an event, by way; the ways take turns."""
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(rounds):
        for name, way in WAYS.items():
            start_s = time.process_time()
            async for _event in passed_on(way(events(number))):
                pass
            best[name] = min(best[name], (time.process_time() - start_s) / number * 1e6)
    return {name: round(value, 2) for name, value in best.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.events, arguments.rounds))
    for name, value in found.items():
        sys.stdout.write(f"{name:>14}  {value:6.2f} µs\n")
    about = {"python": platform.python_version(), "machine": platform.processor()}
    document = {"benchmark": "deadline", "us_per_event": found, **about}
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
