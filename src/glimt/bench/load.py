"""Load: a fixed number of clients, each asking again as soon as it was answered.

Keeps when every piece of every answer came; `report` says what it means. Knows nothing of HTTP
(`client`) beyond "a stream of events".
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from glimt.bench.prompts import Prompts
from glimt.core.clock import Clock
from glimt.core.errors import GlimtError
from glimt.core.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from glimt.core.parts import Message, TextPart
from glimt.core.request import Request, Sampling, Thinking

_CALIBRATION_WORDS: Final = 64


class Server(Protocol):
    """Whoever answers; `client.ChatServer` is one."""

    def answer(self, request: Request) -> AsyncIterator[Event]:
        """The answer to `request`, event by event."""
        ...


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What every request of a measurement has in common.

    Attributes:
        prompt_tokens: Aimed at, by way of words; the report says what the server counted.
        output_tokens: The most that an answer may have, and with `exact` also the least.
        shared_tokens: How much of each prompt is the same in all of them.
        exact: Ask the server to go on past the model's own end (`ignore_eos`, `min_tokens`).
        thinking: Ask for thinking or against it; `None` leaves it to the server.
    """

    model: str
    prompt_tokens: int = 256
    output_tokens: int = 128
    shared_tokens: int = 0
    exact: bool = True
    temperature: float = 0.0
    thinking: bool | None = None
    seed: int = 0


@dataclass(slots=True)
class Sample:
    """One request, in seconds of the injected clock. `arrivals_s` holds each piece with output."""

    started_s: float
    ended_s: float = 0.0
    arrivals_s: list[float] = field(default_factory=list[float])
    num_prompt: int = 0
    num_cached: int = 0
    num_output: int = 0
    is_counted: bool = False
    model: str = ""
    error: str | None = None


@dataclass(slots=True, frozen=True)
class Level:
    """All requests of one concurrency."""

    concurrency: int
    started_s: float
    ended_s: float
    samples: list[Sample]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A server, a shape of load and a supply of prompts, ready to be run."""

    server: Server
    shape: Shape
    prompts: Prompts
    words_per_token: float
    clock: Clock

    @classmethod
    async def prepare(cls, server: Server, shape: Shape, clock: Clock) -> "Bench":
        """Warm the server up, and learn how many words make a token there.

        Raises:
            GlimtError: The server cannot answer such a request.
        """
        words = await _words_per_token(server, shape)
        shared_words = round(shape.shared_tokens * words)
        prompts = Prompts(seed=shape.seed, shared_words=shared_words)
        return cls(server=server, shape=shape, prompts=prompts, words_per_token=words, clock=clock)

    async def run(
        self, concurrency: int, num_requests: int, on_done: Callable[[], None] = lambda: None
    ) -> Level:
        """`num_requests` requests, `concurrency` at a time; `on_done` is called after each."""
        num_words = max(1, round(self.shape.prompt_tokens * self.words_per_token))
        waiting = [self.prompts.make(num_words) for _ in range(num_requests)]
        samples: list[Sample] = []

        async def client() -> None:
            while waiting:
                samples.append(await self._ask(waiting.pop()))
                on_done()

        started = self.clock.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, num_requests)):
                group.create_task(client())
        return Level(concurrency, started, self.clock.monotonic(), samples)

    async def _ask(self, prompt: str) -> Sample:
        sample = Sample(started_s=self.clock.monotonic())
        try:
            async for event in self.server.answer(_request(self.shape, prompt)):
                match event:
                    case TextDelta() | ReasoningDelta() | ToolCallStarted() | ToolCallDelta():
                        sample.arrivals_s.append(self.clock.monotonic())
                    case Started():
                        sample.model = event.model
                    case Finished(usage=usage):
                        sample.num_prompt = usage.prompt_tokens
                        sample.num_cached = usage.cached_tokens
                        sample.num_output = usage.completion_tokens
                        sample.is_counted = usage.completion_tokens > 0
                    case _:
                        pass
        except GlimtError as error:
            sample.error = str(error)
        if not sample.is_counted:
            sample.num_output = len(sample.arrivals_s)
        sample.ended_s = self.clock.monotonic()
        return sample


def _request(shape: Shape, prompt: str) -> Request:
    return Request(
        model=shape.model,
        messages=(Message(role="user", parts=(TextPart(prompt),)),),
        sampling=Sampling(
            max_tokens=shape.output_tokens,
            min_tokens=shape.output_tokens if shape.exact else None,
            ignore_eos=shape.exact,
            temperature=shape.temperature,
        ),
        thinking=Thinking(enabled=shape.thinking),
    )


async def _words_per_token(server: Server, shape: Shape) -> float:
    """Ask for a short and a longer prompt; the difference leaves the chat template out."""
    short = msgspec.structs.replace(shape, output_tokens=1)
    prompts = Prompts(seed=shape.seed + 1)
    counts: list[int] = []
    for num_words in (1, 1 + _CALIBRATION_WORDS):
        request = _request(short, prompts.make(num_words))
        counts += [
            event.usage.prompt_tokens
            async for event in server.answer(request)
            if isinstance(event, Finished)
        ]
    if len(counts) < 2 or counts[1] <= counts[0]:
        return 1.0
    return _CALIBRATION_WORDS / (counts[1] - counts[0])
