"""Many clients at once, and what became of every request, judged by what it should have been.

Every request ends in one of four ways: answered with the right words, refused with an error that is
documented, with wrong words, or lost: neither ended nor refused as the format has it.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dialects import ChatCompletions, Dialect, Lost, Messages, Refused, Said
from questions import Answer, Question

ORDERED: Final = 0.8
"""This share names whom to ask first, in any order; the gateway decides for the others."""
PLAIN: Final = 0.2
"""This share is asked without a stream."""
MESSAGES: Final = 0.3
"""This share is asked as messages, if it can be."""


@dataclass
class Outcome:
    """One request. `how` is "answered", "refused", "wrong" or "lost"; times are seconds.

    `who` is where its last words come from, `drawn` that it could not be asked anew.
    """

    question: str
    drawn: bool
    how: str = "lost"
    why: str = ""
    who: str = ""
    resumed: bool = False
    first_s: float | None = None
    whole_s: float = 0.0


async def reference(url: str, question: Question) -> Answer:
    """What is said where nothing goes wrong. Raises what the dialect does."""
    said, client = Said(), ChatCompletions(url)
    try:
        async for _ in client.ask(question, (), said, stream=False):
            pass
    finally:
        await client.close()
    return said.answer()


async def ask(
    client: Dialect, pair: tuple[Question, Answer], order: Sequence[str], *, stream: bool
) -> Outcome:
    """One request and its judgement."""
    question, right = pair
    outcome, said = Outcome(question.text, drawn=question.drawn), Said()
    begun_s = time.monotonic()
    try:
        async for _ in client.ask(question, order, said, stream=stream):
            if outcome.first_s is None:
                outcome.first_s = time.monotonic() - begun_s
    except Lost as error:
        outcome.why = f"{error}, after {said.answer()}"
    except Refused as error:
        judge_error(outcome, error, said, right)
    else:
        judge(outcome, said, right)
    outcome.whole_s = time.monotonic() - begun_s
    outcome.resumed, outcome.who = said.resumed, said.who()
    return outcome


def judge(outcome: Outcome, said: Said, right: Answer) -> None:
    """It came to an end: with a reason, and with the right words?"""
    if not said.finish:
        outcome.why = f"it ended without saying so, after {said.answer()}"
    elif said.answer() == right:
        outcome.how = "answered"
    else:
        outcome.how, outcome.why = "wrong", f"{said.answer()} in place of {right}"


def judge_error(outcome: Outcome, error: Refused, said: Said, right: Answer) -> None:
    """It was refused, or broke off: with a code that is documented, and nothing wrong before?"""
    if not said.answer().begins(right):
        outcome.how, outcome.why = "wrong", f"{said.answer()} before {error.code}"
    elif not error.known:
        outcome.why = f"an error that no document names: {error.code}: {error}"
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
    chat, messages = ChatCompletions(url), Messages(url)

    async def one(rng: random.Random) -> None:
        while time.monotonic() < end_s:
            pair = rng.choice(pairs)
            order = rng.sample(list(names), len(names)) if rng.random() < ORDERED else ()
            as_messages = rng.random() < MESSAGES and messages.takes(pair[0])
            client = messages if as_messages else chat
            outcomes.append(await ask(client, pair, order, stream=rng.random() >= PLAIN))

    try:
        await asyncio.gather(*(one(random.Random(f"{seed}-{n}")) for n in range(streams)))
    finally:
        await chat.close()
        await messages.close()
    return outcomes
