"""Identifiers: a readable prefix and 120 random bits."""

import secrets

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FOUR = 62**4
_TWO = [first + second for first in _ALPHABET for second in _ALPHABET]


def new_id(prefix: str) -> str:
    """Return e.g. `chatcmpl-4fQ…`: the prefix as given, then 20 characters of base 62."""
    number = secrets.randbits(119)
    pairs = [prefix]
    for _ in range(5):
        number, four = divmod(number, _FOUR)
        pairs += _TWO[four // len(_TWO)], _TWO[four % len(_TWO)]
    return "".join(pairs)
