"""What the person in front of the terminal sees: messages, dimmed text, safe output.

Knows whether there is a terminal and whether it wants colour (https://no-color.org); knows nothing
of models or servers.
"""

import os
import sys
from typing import IO, Final

_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"

_ALLOWED_CONTROLS: Final = {"\n", "\t"}
_CONTROLS: Final = {
    code: None for code in [*range(0x20), *range(0x7F, 0xA0)] if chr(code) not in _ALLOWED_CONTROLS
}


class CommandError(Exception):
    """A command cannot do what was asked; the message is for the person who asked."""


def say(message: str) -> None:
    """Tell the person something that is not the command's data."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person reads or types here."""
    return stream.isatty()


def harmless(text: str) -> str:
    """`text` without control characters: a model must not move the cursor or set the title."""
    return text.translate(_CONTROLS)


class Painter:
    """Writes to one stream; dims and emboldens where the stream is a terminal that wants it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.is_terminal = is_terminal(stream)
        self._styled = (
            self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )

    def write(self, text: str) -> None:
        """Write `text` as it is."""
        self._put(text, "")

    def dim(self, text: str) -> None:
        """Write `text`, dimmed where possible."""
        self._put(text, _DIM)

    def bold(self, text: str) -> None:
        """Write `text`, bold where possible."""
        self._put(text, _BOLD)

    def _put(self, text: str, style: str) -> None:
        if self.is_terminal:
            text = harmless(text)
        self._stream.write(f"{style}{text}{_RESET}" if style and self._styled else text)
        self._stream.flush()
