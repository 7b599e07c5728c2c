"""Regular expressions as values: sets of characters, joined, alternated and repeated.

Knows how to write one down: raw, as it looks inside a JSON string (where each character has exactly
one spelling), or as the most generous dialect reads it. Knows nothing of how people write them
(`pattern`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, TypeAlias

_TOP = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
Ranges: TypeAlias = tuple[tuple[int, int], ...]
Dialect: TypeAlias = Literal["raw", "json", "raw-generous"]
"""The generous one takes every character that some dialect would accept."""


class EmptySet(ValueError):
    """A set of characters without a member: nothing can match."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set. `upper` is what the most generous dialect would accept."""

    ranges: Ranges
    upper: Ranges


@dataclass(frozen=True, slots=True)
class Join:
    """One after the other."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same, from `least` to `most` times; without end when that is None."""

    item: "Node"
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Edge:
    """`^` or `$`."""

    start: bool


Node: TypeAlias = Chars | Join | Choice | Repeat | Edge

EMPTY = Join(())


# Sets of characters


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same set, its ranges in order and apart."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return tuple(result)


def complement(ranges: Ranges) -> Ranges:
    """Every other character; surrogates are none."""
    result: list[tuple[int, int]] = []
    at = 0
    for low, high in (*merged([*ranges, _SURROGATES]), (_TOP + 1, _TOP + 1)):
        if low > at:
            result.append((at, low - 1))
        at = high + 1
    return tuple(result)


def characters(text: str) -> Ranges:
    """The characters of a text, as a set."""
    return merged((ord(c), ord(c)) for c in text)


@cache
def _where(kind: str) -> Ranges:
    r"""Every character that some dialect counts among `\d`, `\w` or `\s`."""
    # One pass in C over all characters: their runs are the ranges.
    everything = "".join(map(chr, range(_TOP + 1)))
    found = ((run.start(), run.end() - 1) for run in re.finditer(rf"\{kind}+", everything))
    return merged([*found, *(characters("\ufeff") if kind == "s" else ())])


_ASCII: dict[str, Ranges] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": characters(" \t\n\r\f\v"),
}
_ALL: Ranges = complement(())
ANY = Chars(_ALL, _ALL)


def shorthand(letter: str) -> Chars:
    r"""The set of `\d`, `\w`, `\s` or of their opposites."""
    kind = letter.lower()
    if letter == kind:
        return Chars(_ASCII[kind], _where(kind))
    return Chars(complement(_where(kind)), complement(_ASCII[kind]))


DOT = Chars(complement(characters("\n\r\u2028\u2029")), complement(characters("\n")))


def literal(text: str) -> Node:
    """Exactly this text."""
    return Join(tuple(Chars(characters(c), characters(c)) for c in text))


# Writing

_JSON_ESCAPES = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_JSON_PLAIN = complement(merged([(0, 0x1F), *characters('"\\\x7f')]))


def render(node: Node, dialect: Dialect) -> str:
    """The text of a regular expression that matches the whole.

    In the dialect "json" control characters without a short escape are left out.

    Raises:
        EmptySet: A set has no character that can be written.
    """
    match node:
        case Chars(ranges, upper):
            return _set(upper if dialect == "raw-generous" else ranges, dialect)
        case Join(items):
            return "".join(render(item, dialect) for item in items)
        case Choice(options):
            return "(?:" + "|".join(render(option, dialect) for option in options) + ")"
        case Repeat(item, least, most):
            return f"(?:{render(item, dialect)}){_bounds(least, most)}"
        case Edge():
            raise AssertionError("anchors are resolved before")


def render_literal(text: str) -> str:
    """A regular expression for exactly this text, as it stands."""
    return "".join(_character(ord(character)) for character in text)


def _bounds(least: int, most: int | None) -> str:
    if most is None and least <= 1:
        return "+" if least else "*"
    return f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"


@lru_cache(maxsize=1024)
def _set(ranges: Ranges, dialect: Dialect) -> str:
    if dialect != "json":
        return _brackets(ranges)
    plain = _intersection(ranges, _JSON_PLAIN)
    options = [_brackets(plain)] if plain else []
    for character, letter in _JSON_ESCAPES.items():
        if any(low <= ord(character) <= high for low, high in ranges):
            options.append(r"\\" + _character(ord(letter)))
    if not options:
        return _brackets(())
    return options[0] if len(options) == 1 else "(?:" + "|".join(options) + ")"


def _intersection(one: Ranges, other: Ranges) -> Ranges:
    return complement(merged([*complement(one), *complement(other)]))


def _brackets(ranges: Ranges) -> str:
    if not ranges:
        raise EmptySet("a set of characters is empty")
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _character(ranges[0][0])
    parts = [
        _character(low) + ("" if low == high else "-" + _character(high)) for low, high in ranges
    ]
    return "[" + "".join(parts) + "]"


def _character(code: int) -> str:
    character = chr(code)
    if character.isascii() and character.isalnum():
        return character
    return f"\\x{{{code:x}}}"
