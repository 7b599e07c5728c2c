"""Guessers for tests of speculation, and a core that asks them."""

import random
from typing import Any

from glimt.engine.core import EngineCore
from glimt.engine.messages import Submit
from glimt.engine.runner import Runner
from glimt.engine.sequence import Sequence
from glimt.engine.settings import EngineSettings
from glimt.engine.speculation import Guesser
from tests.engine.fake_runner import FakeRunner
from tests.engine.test_core import ask

VOCAB = 32


class Oracle:
    """Guesses right as often as it is told to, because it was given the answers.

    Attributes:
        asked: How many guesses it made.
    """

    def __init__(
        self, answers: dict[int, list[int]], *, share: float = 1.0, vocab_size: int = VOCAB
    ) -> None:
        self.answers = answers
        self.share = share
        self.vocab_size = vocab_size
        self.asked = 0
        self._random = random.Random(0)

    def guess(self, sequences: list[Sequence]) -> list[int]:
        return [self._guess(sequence) for sequence in sequences]

    def _guess(self, sequence: Sequence) -> int:
        self.asked += 1
        token = self.answers[sequence.id][sequence.num_generated]
        is_right = self._random.random() < self.share
        return token if is_right else (token + 1) % self.vocab_size


class Anything:
    """Guesses at random."""

    def __init__(self, vocab_size: int) -> None:
        self._random = random.Random(0)
        self._vocab_size = vocab_size

    def guess(self, sequences: list[Sequence]) -> list[int]:
        return [self._random.randrange(self._vocab_size) for _ in sequences]


class Through:
    """Lets the prediction layer do its work and returns what another guesser says."""

    def __init__(self, runner: Runner, other: Guesser) -> None:
        self._runner = runner
        self._other = other

    def guess(self, sequences: list[Sequence]) -> list[int]:
        assert len(self._runner.guess(sequences)) == len(sequences)
        return self._other.guess(sequences)


def make_core(
    runner: FakeRunner | Runner | None = None,
    guesser: Guesser | None = None,
    *,
    context_length: int = 1024,
    **settings: Any,
) -> EngineCore:
    limits = {"max_sequences": 8, "max_step_tokens": 128, "speculation_max_sequences": 8}
    return EngineCore(
        runner or FakeRunner(),
        EngineSettings(**{**limits, **settings}),
        context_length=context_length,
        guesser=guesser,
    )


def solve(requests: list[Submit], runner: FakeRunner | Runner | None = None, **settings: Any):
    """What each request gets without speculation, by its id."""
    answers = ask(make_core(runner, **settings), requests)
    return {request.id: tokens for request, tokens in zip(requests, answers, strict=True)}
