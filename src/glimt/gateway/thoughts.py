"""Thoughts that leave and come back: signed, or sealed so that only we can read them.

Clients of Anthropic's and of OpenAI's formats keep the thoughts of an answer and send them back
unread. A signature tells a thought of ours from one that was made up or altered on the way; a seal
hides it as well. Knows a secret and texts; not where the secret is kept, nor any wire format.
"""

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable
from functools import cached_property
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

_SIGNED: Final = "glimt1."
"""What our signatures begin with, so that another vendor's is not even compared."""
MAX_THOUGHT_BYTES: Final = 8_000_000
"""A sealed thought unpacks to no more than this."""


class ThoughtKey:
    """Signs and seals with one secret. Whoever has the same secret can tell and read both.

    Args:
        secret: Gives 32 random bytes or more; asked once, when the first thought needs them.
    """

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._read = secret

    def sign(self, text: str) -> str:
        """A proof that this server produced `text`: ASCII, 51 characters."""
        digest = hmac.digest(self._secret, b"sign\0" + _utf8(text), hashlib.sha256)
        return _SIGNED + base64.b64encode(digest).decode("ascii")

    def verify(self, text: str, signature: str) -> bool:
        """Whether `signature` is ours, of exactly this text."""
        if not signature.startswith(_SIGNED):
            return False
        return hmac.compare_digest(self.sign(text).encode(), signature.encode("utf-8", "replace"))

    def close(self, text: str) -> str:
        """A thought as opaque text, which `open` reads."""
        return self._fernet.encrypt(zlib.compress(_utf8(text))).decode("ascii")

    def open(self, sealed: str) -> str | None:
        """The thought; None when it was not sealed here, or was tampered with."""
        try:
            packed = self._fernet.decrypt(sealed.encode("utf-8", "replace"))
        except InvalidToken:
            return None
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(packed, MAX_THOUGHT_BYTES)
        return text.decode("utf-8", "surrogatepass") if unpacker.eof else None

    @cached_property
    def _secret(self) -> bytes:
        return self._read()

    @cached_property
    def _fernet(self) -> Fernet:
        key = hmac.digest(self._secret, b"seal", hashlib.sha256)
        return Fernet(base64.urlsafe_b64encode(key))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
