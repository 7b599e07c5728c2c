"""Identifiers: a readable prefix and 120 random bits."""

import secrets

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def new_id(prefix: str) -> str:
    """Return e.g. `chatcmpl-4fQ…`: the prefix as given, then 20 characters of base 62."""
    number = secrets.randbits(119)
    characters: list[str] = []
    for _ in range(20):
        number, digit = divmod(number, 62)
        characters.append(_ALPHABET[digit])
    return prefix + "".join(characters)
