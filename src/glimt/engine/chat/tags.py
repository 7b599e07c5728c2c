"""The tags of GLM-4.7's answer format, and how to find them in text that came without token ids.

Where ids are known, tags are control tokens and this scanner is not needed: a look-alike that the
model spelled in pieces is then text.
"""

import enum
import re
from collections.abc import Iterable
from typing import TypeAlias


class Tag(enum.Enum):
    """A tag; its value is how it is spelled."""

    THINK = "<think>"
    END_THINK = "</think>"
    CALL = "<tool_call>"
    END_CALL = "</tool_call>"
    KEY = "<arg_key>"
    END_KEY = "</arg_key>"
    VALUE = "<arg_value>"
    END_VALUE = "</arg_value>"


Piece: TypeAlias = str | Tag


def spell(pieces: Iterable[Piece]) -> str:
    """Pieces as text, tags spelled out."""
    return "".join(piece.value if isinstance(piece, Tag) else piece for piece in pieces)


class TagScanner:
    """Finds tags in text, holding back what may become one."""

    def __init__(self, tags: Iterable[Tag] = Tag) -> None:
        self._tags = {tag.value: tag for tag in tags}
        self._pattern = re.compile("(" + "|".join(map(re.escape, self._tags)) + ")")
        self._heads = {text[:length] for text in self._tags for length in range(1, len(text))}
        self._reach = max(map(len, self._tags)) - 1
        self._held = ""

    def push(self, text: str) -> list[Piece]:
        """Text and tags, as far as they are certain."""
        text = self._held + text
        longest = min(self._reach, len(text))
        keep = next((n for n in range(longest, 0, -1) if text[-n:] in self._heads), 0)
        self._held = text[len(text) - keep :]
        pieces = self._pattern.split(text[: len(text) - keep])
        return [self._tags.get(piece, piece) for piece in pieces if piece]

    def flush(self) -> list[Piece]:
        """The end: what was held back is text after all."""
        held, self._held = self._held, ""
        return [held] if held else []
