"""Token ids to text, one at a time.

Never shows half a character: bytes of an unfinished UTF-8 sequence wait for the next token, and
become U+FFFD only once it is certain that they can never be one. Control tokens come out as what
they are, never as text. Knows nothing of what they mean (`glimt.engine.chat.parser`).
"""

import codecs
from typing import TypeAlias

from glimt.engine.chat.tokenizer import ControlToken, Tokenizer

Piece: TypeAlias = str | ControlToken

_decoder = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """The text of one sequence, as its tokens arrive."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = _decoder("replace")

    def push(self, token: int) -> list[Piece]:
        """What became certain with it: nothing, text, a control token, or text before one."""
        control = self._tokenizer.control.get(token)
        if control is not None:
            return [*self.flush(), control]
        text = self._utf8.decode(self._tokenizer.token_bytes(token))
        return [text] if text else []

    def flush(self) -> list[Piece]:
        """The end, or a control token: an unfinished character becomes U+FFFD."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return [text] if text else []
