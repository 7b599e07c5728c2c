"""Places that nobody asked lately are asked a short question, so that a plan knows them.

A place without traffic has no numbers: nobody knows that it is down until a client finds out, nor
that it is the fastest. What a probe finds is recorded as any attempt is, circuit included, but is
no answer of the gateway's. It costs a few tokens each time, so it is off unless the house wants it.
Knows when to ask and what; who is asked, and how, is for `gateway.roads`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from glimt.core.parts import Message, TextPart
from glimt.core.request import Request, Sampling, Thinking

MAX_TOKENS: Final = 16
"""The least that every format takes."""


def question(model: str) -> Request:
    """What a place is asked: a word, without a thought before it."""
    return Request(
        model=model,
        messages=(Message(role="user", parts=(TextPart("Say yes."),)),),
        sampling=Sampling(max_tokens=MAX_TOKENS, temperature=0.0),
        thinking=Thinking(enabled=False),
    )


class Probes:
    """Asks every so often, beside the requests."""

    def __init__(self, ask: Callable[[float], Awaitable[None]], every_s: float) -> None:
        """`ask` asks those of whom nothing was seen for so many seconds; it raises nothing."""
        self._ask = ask
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, a whole interval from now: what was seen before is read meanwhile."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End, in the middle of a question too."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._ask(self._every_s)
