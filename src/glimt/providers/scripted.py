"""The shipped double of a provider: plays back events, errors and pauses that it was given.

For tests of whoever sits above providers, and for demonstrations without a model. Remembers what it
was asked and how each answer ended. Time passes through an injected `sleep`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from glimt.core.errors import GlimtError, Unavailable
from glimt.core.events import (
    Batch,
    ChoiceFinished,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
)
from glimt.core.parts import ToolCallPart
from glimt.core.provider import ModelInfo
from glimt.core.request import Request
from glimt.core.usage import Usage

SCRIPTED_MODEL = ModelInfo(
    id="scripted",
    owned_by="glimt",
    created=1_700_000_000,
    context_length=8192,
    max_output_tokens=8192,
    description="Plays back what it was given",
)


class Pause(msgspec.Struct, frozen=True):
    """Say nothing for so many seconds; infinity waits until the answer is closed."""

    seconds: float


Step: TypeAlias = Event | GlimtError | Pause
Script: TypeAlias = Sequence[Step]
Ending: TypeAlias = Literal["finished", "failed", "closed"]


def say(
    *texts: str,
    reasoning: Sequence[str] = (),
    calls: Sequence[ToolCallPart] = (),
    reason: FinishReason | None = None,
    usage: Usage | None = None,
    started: Started | None = None,
) -> list[Step]:
    """A script of one well-formed answer: the thought, the texts, then the calls.

    `usage` defaults to one token per delta, after a prompt of 10 tokens.
    """
    opening = started or Started(
        id="scripted-1",
        model=SCRIPTED_MODEL.id,
        created=SCRIPTED_MODEL.created,
        provider="scripted",
        prompt_tokens=10,
        cached_tokens=0,
    )
    deltas: list[Step] = [ReasoningDelta(text=text) for text in reasoning]
    deltas.extend(TextDelta(text=text) for text in texts)
    for index, call in enumerate(calls):
        deltas.append(ToolCallStarted(index=index, id=call.id, name=call.name))
        deltas.append(ToolCallDelta(index=index, arguments=call.arguments))
        deltas.append(ToolCallFinished(index=index))
    bill = usage or Usage(
        prompt_tokens=10,
        completion_tokens=len(reasoning) + len(texts) + len(calls),
        reasoning_tokens=len(reasoning),
    )
    ending = reason or ("tool_calls" if calls else "stop")
    return [opening, *deltas, ChoiceFinished(reason=ending), Finished(usage=bill)]


class ScriptedProvider:
    """Answers the first request with the first script, and so on; the last script repeats.

    A function in place of scripts makes one for each request.

    Attributes:
        requests: What was asked, in order.
        endings: How the answers ended, in the order in which they did.
        num_open: Answers under way.
    """

    def __init__(
        self,
        *scripts: Script,
        write: Callable[[Request], Script] | None = None,
        name: str = "scripted",
        models: tuple[ModelInfo, ...] = (SCRIPTED_MODEL,),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not scripts and write is None:
            raise ValueError("give at least one script, or a function that writes them")
        self.name = name
        self.requests: list[Request] = []
        self.endings: list[Ending] = []
        self.num_open = 0
        self._scripts = scripts
        self._write = write
        self._models = models
        self._sleep = sleep
        self._closed = asyncio.Event()

    def models(self) -> tuple[ModelInfo, ...]:
        """The models it was given."""
        return self._models

    async def answer(self, request: Request) -> AsyncIterator[Batch]:
        """Play a script, event by event.

        Raises:
            GlimtError: The script says so, or the provider was closed.
        """
        script = self._script(request)
        self.requests.append(request)
        self.num_open += 1
        ending: Ending = "closed"
        try:
            for step in script:
                if self._closed.is_set():
                    raise Unavailable("this provider was closed")
                if isinstance(step, Pause):
                    await self._pause(step.seconds)
                elif isinstance(step, GlimtError):
                    raise step
                else:
                    yield [step]
            ending = "finished"
        except GlimtError:
            ending = "failed"
            raise
        finally:
            self.num_open -= 1
            self.endings.append(ending)

    async def count_tokens(self, request: Request) -> int:
        """A token for each word of the messages' texts: enough to tell prompts apart."""
        texts = [getattr(part, "text", "") for m in request.messages for part in m.parts]
        return sum(len(text.split()) for text in texts)

    async def close(self) -> None:
        """End running answers with an error, and all later ones."""
        self._closed.set()

    def _script(self, request: Request) -> Script:
        if self._write is not None:
            return self._write(request)
        return self._scripts[min(len(self.requests), len(self._scripts) - 1)]

    async def _pause(self, seconds: float) -> None:
        if seconds == float("inf"):
            await self._closed.wait()
        else:
            await self._sleep(seconds)
