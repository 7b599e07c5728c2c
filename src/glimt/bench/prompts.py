"""Prompts for measuring: of a chosen length, each different, the same for the same seed.

Different first words keep a server's prefix cache from answering for it; a shared opening lets the
cache show what it is worth. Knows nothing of any tokenizer: lengths are in words, and `load`
finds out how many tokens a word makes.
"""

import random
from typing import Final

_WORDS: Final = (
    "river", "lantern", "winter", "market", "copper", "garden", "signal", "harbor", "paper",
    "window", "silver", "engine", "valley", "candle", "bridge", "orange", "forest", "stone",
    "letter", "island", "thunder", "kitchen", "mirror", "ladder", "meadow", "rocket", "cotton",
    "summer", "pencil", "anchor", "violin", "desert",
)  # fmt: skip

_TASK: Final = "Go on with this list of words:"


class Prompts:
    """A supply of prompts."""

    def __init__(self, *, seed: int, shared_words: int = 0) -> None:
        self._random = random.Random(seed)
        self._shared = self._words(shared_words)
        self._num_shared = shared_words

    def make(self, num_words: int) -> str:
        """One prompt of `num_words` words, opening with the shared ones."""
        own = self._words(max(1, num_words - self._num_shared))
        return f"{self._shared} {own}\n{_TASK}".strip()

    def _words(self, count: int) -> str:
        return " ".join(self._random.choices(_WORDS, k=count))
