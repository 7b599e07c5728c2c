"""Many clients at once, and what became of every request, judged by what it should have been.

The client is the openai package, which tries nothing again. Every request ends in one of four ways:
answered with the right words, refused with an error that the documents name, with wrong words, or
lost: neither ended nor refused as the format has it.
"""

import asyncio
import functools
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
from openai import APIConnectionError, APIError, AsyncOpenAI
from questions import Answer, Question

MODEL: Final = "glimt/nano"
TIMEOUT_S: Final = 60.0
PLAIN: Final = 0.2
"""This share is asked without a stream."""
DOCS: Final = Path(__file__).parents[2] / "docs"
RESUMED: Final = "gone on with elsewhere"


@dataclass
class Outcome:
    """One request. `how` is "answered", "refused", "wrong" or "lost"; times are seconds."""

    question: str
    how: str = "lost"
    why: str = ""
    resumed: bool = False
    first_s: float | None = None
    whole_s: float = 0.0


@dataclass
class Said:
    """What came so far."""

    thought: str = ""
    text: str = ""
    names: dict[int, str] = field(default_factory=dict)
    arguments: dict[int, str] = field(default_factory=dict)
    finish: str = ""
    warnings: str = ""

    def answer(self) -> Answer:
        """As one compares it."""
        calls = tuple((name, self.arguments[index]) for index, name in self.names.items())
        return Answer(self.thought, self.text, calls, self.finish)

    def take(self, choice: Any, part: Any) -> None:
        """A choice, with its delta or its message."""
        self.thought += getattr(part, "reasoning_content", None) or ""
        self.text += part.content or ""
        for place, call in enumerate(part.tool_calls or ()):
            index = getattr(call, "index", place)
            self.names[index] = self.names.get(index, "") + (call.function.name or "")
            more = call.function.arguments or ""
            self.arguments[index] = self.arguments.get(index, "") + more
        self.finish = choice.finish_reason or self.finish


@functools.cache
def documented() -> frozenset[str]:
    """The codes that the documents name."""
    pages = (DOCS / "reference" / "errors.md", DOCS / "concepts" / "fallbacks.md")
    return frozenset(
        code for page in pages for code in re.findall(r"`([a-z_]+)` \|", page.read_text("utf-8"))
    )


async def reference(client: AsyncOpenAI, question: Question) -> Answer:
    """What is said where nothing goes wrong."""
    said = Said()
    answer = await client.chat.completions.create(model=MODEL, **question.fields)
    said.take(answer.choices[0], answer.choices[0].message)
    return said.answer()


async def ask(
    client: AsyncOpenAI, question: Question, right: Answer, order: Sequence[str], *, stream: bool
) -> Outcome:
    """One request and its judgement."""
    outcome, said = Outcome(question.text), Said()
    fields = dict(question.fields)
    if order:
        fields["extra_body"] = {**fields["extra_body"], "provider": {"order": list(order)}}
    begun_s = time.monotonic()
    try:
        answer = await client.chat.completions.create(model=MODEL, stream=stream, **fields)
        if stream:
            async for chunk in answer:
                if outcome.first_s is None:
                    outcome.first_s = time.monotonic() - begun_s
                read(said, chunk)
        else:
            read(said, answer)
    except (APIConnectionError, httpx2.HTTPError) as error:
        outcome.why = f"{type(error).__name__}: {error}"
    except APIError as error:
        judge_error(outcome, error, said, right)
    else:
        judge(outcome, said, right)
    outcome.whole_s = time.monotonic() - begun_s
    outcome.resumed = RESUMED in said.warnings
    return outcome


def read(said: Said, body: Any) -> None:
    """A chunk of a stream, or a whole answer."""
    for choice in body.choices:
        said.take(choice, choice.message if hasattr(choice, "message") else choice.delta)
    if extension := (body.model_extra or {}).get("glimt"):
        said.warnings += "; ".join(extension.get("warnings") or ())


def judge(outcome: Outcome, said: Said, right: Answer) -> None:
    """It came to an end: with a reason, and with the right words?"""
    if not said.finish:
        outcome.why = f"it ended without saying so, after {said.answer()}"
    elif said.answer() == right:
        outcome.how = "answered"
    else:
        outcome.how, outcome.why = "wrong", f"{said.answer()} in place of {right}"


def judge_error(outcome: Outcome, error: APIError, said: Said, right: Answer) -> None:
    """It was refused, or broke off: with a code that is documented, and nothing wrong before?"""
    if not said.answer().begins(right):
        outcome.how, outcome.why = "wrong", f"{said.answer()} before {error.code}"
    elif error.code not in documented() or not error.message:
        outcome.why = f"an error that no document names: {error.code!r}: {error}"
    else:
        outcome.how, outcome.why = "refused", error.code


async def crowd(
    url: str,
    pairs: Sequence[tuple[Question, Answer]],
    names: Sequence[str],
    *,
    streams: int,
    seconds: float,
    seed: int,
) -> list[Outcome]:
    """So many clients, each with one request after the other for so long."""
    end_s = time.monotonic() + seconds
    outcomes: list[Outcome] = []

    async def one(client: AsyncOpenAI, rng: random.Random) -> None:
        while time.monotonic() < end_s:
            question, right = rng.choice(pairs)
            # Half of them name whom to ask first, in any order; the gateway decides for the others.
            order = rng.sample(list(names), len(names)) if rng.random() < 0.5 else ()
            stream = rng.random() >= PLAIN
            outcomes.append(await ask(client, question, right, order, stream=stream))

    async with AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=TIMEOUT_S
    ) as client:
        await asyncio.gather(
            *(one(client, random.Random(f"{seed}-{number}")) for number in range(streams))
        )
    return outcomes
