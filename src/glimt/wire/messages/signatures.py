"""Proof that a thought is ours: what a codec needs of whoever holds the key."""

from typing import Protocol


class Signatures(Protocol):
    """Signs the thoughts that leave, and knows them when they come back."""

    def sign(self, text: str) -> str:
        """The signature of a thought."""
        ...

    def verify(self, text: str, signature: str) -> bool:
        """Whether `sign` gave this signature to this very text."""
        ...
