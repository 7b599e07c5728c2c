"""Drawing from a seeded source: choices, grammars of alternatives, and the train/held-out split.

Knows how text variants are spelled (`[a|b]` is a choice, brackets nest) and how a key decides which
side of the split it falls on. Knows nothing of any skill.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

HELD_OUT_PERCENT = 10
_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_NOISE = re.compile(r"[\W_]+")


class Draw:
    """A seeded random source with the few operations the generators need.

    `usual_share` is how often things bear the name that comes first in their list; a few others
    in training keep the model reading what a request calls them.
    """

    def __init__(self, seed: str, usual_share: float = 1.0) -> None:
        self.random = random.Random(seed)
        self.usual_share = usual_share

    def usual(self) -> bool:
        """Whether things go their usual way this time."""
        return self.random.random() < self.usual_share

    def name(self, names: Sequence[T]) -> T:
        """The usual name, which is the first, or now and then any of them."""
        return names[0] if self.usual() else self.pick(names)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.random.random() * len(options))]

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """Different options, in random order."""
        return self.random.sample(list(options), count)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random.random() < probability

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.random.random() * (high - low + 1))

    def text(self, grammar: str, **slots: object) -> str:
        """Resolve the choices of a grammar, then fill `<slot>` names."""
        while "[" in grammar:
            grammar = _INNERMOST.sub(lambda found: self.pick(found[1].split("|")), grammar)
        for name, value in slots.items():
            grammar = grammar.replace(f"<{name}>", str(value))
        return " ".join(grammar.split(" ")) if "  " not in grammar else re.sub(" +", " ", grammar)

    def one(self, grammars: Sequence[str], **slots: object) -> str:
        """A text from one of several grammars."""
        return self.text(self.pick(grammars), **slots).strip()


def normalised(text: str) -> str:
    """Lower case without punctuation or spaces, so that trivial variants share one side."""
    return _NOISE.sub("", text.lower())


def is_held_out(key: str) -> bool:
    """Whether a problem belongs to evaluation; a pure function of its content."""
    digest = hashlib.blake2b(normalised(key).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 100 < HELD_OUT_PERCENT


def typed_carelessly(draw: Draw, text: str) -> str:
    """Small deviations a person makes: case, a missing full stop, a swapped pair of letters."""
    roll = draw.random.random()
    if roll < 0.05:
        return text.lower() if text[:1].isascii() else text
    if roll < 0.10 and text[-1:] in ".?!。？！":
        return text[:-1]
    if roll < 0.12 and text[-1:] in "?？":
        return text + text[-1]
    if roll < 0.15:
        words = [
            index for index, word in enumerate(text.split(" "))
            if len(word) > 4 and word.isascii() and word.isalpha() and word.islower()
        ]  # fmt: skip
        if words:
            pieces = text.split(" ")
            index = draw.pick(words)
            word, at = pieces[index], draw.number(1, len(pieces[index]) - 3)
            pieces[index] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            return " ".join(pieces)
    return text
