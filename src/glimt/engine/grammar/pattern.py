r"""Regular expressions of JSON Schema's `pattern`, reduced to what every dialect agrees on.

Schemas mean ECMA-262 (https://262.ecma-international.org/#sec-patterns), many validators run
Python's `re`, llguidance runs Rust's syntax. A pattern is parsed here, once; where the dialects
differ (`.`, `\d`, `\w`, `\s` outside ASCII) it comes out as what all of them accept. What cannot be
promised (look-around, back-references, word boundaries, flags) is refused.

A search becomes a match of the whole text: unanchored ends are filled up.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TypeAlias

from glimt.engine.grammar.probe import matches
from glimt.engine.grammar.regex import (
    ANY,
    DOT,
    EMPTY,
    Chars,
    Choice,
    Edge,
    Join,
    Node,
    Repeat,
    characters,
    complement,
    literal,
    merged,
    render,
    shorthand,
)

MAX_TEXT = 4096
"""The longest pattern that is read, in characters."""
MAX_WEIGHT = 5000
"""The most characters that a pattern may have once its repetitions are written out."""

_TOP = 0x10FFFF
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}


class UnsupportedPattern(ValueError):
    """A pattern that is malformed, or that cannot be enforced exactly."""


class MalformedPattern(UnsupportedPattern):
    """A pattern that is no regular expression."""


# Reading


class _Reader:
    """Recursive descent over one pattern."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            raise MalformedPattern(f"unbalanced ')' at position {self._at}")
        return node

    def _peek(self, count: int = 1) -> str:
        return self._text[self._at : self._at + count]

    def _take(self, count: int = 1) -> str:
        taken = self._peek(count)
        if len(taken) < count:
            raise MalformedPattern("it ends too early")
        self._at += count
        return taken

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > 50:
            raise UnsupportedPattern("it is nested too deeply")
        options = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            options.append(self._sequence())
        self._depth -= 1
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        items: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            items.append(self._repeated(self._atom()))
        return items[0] if len(items) == 1 else Join(tuple(items))

    def _repeated(self, item: Node) -> Node:
        bounds = self._quantifier()
        if bounds is None:
            return item
        if isinstance(item, Edge):
            raise UnsupportedPattern("an anchor cannot be repeated")
        if self._peek() == "?":  # a lazy quantifier matches the same texts
            self._at += 1
        elif self._peek() == "+" or self._quantifier() is not None:
            raise UnsupportedPattern(f"a quantifier follows a quantifier at position {self._at}")
        least, most = bounds
        if most is not None and most < least:
            raise MalformedPattern(f"{{{least},{most}}} is empty")
        return Repeat(item, least, most)

    def _quantifier(self) -> tuple[int, int | None] | None:
        simple = _QUANTIFIERS.get(self._peek())
        if simple is not None:
            self._at += 1
            return simple
        found = re.compile(r"\{([0-9]{1,6})(,([0-9]{0,6}))?\}").match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        least = int(found[1])
        if found[2] is None:
            return least, least
        return least, int(found[3]) if found[3] else None

    def _atom(self) -> Node:
        character = self._take()
        match character:
            case "^" | "$":
                return Edge(character == "^")
            case ".":
                return DOT
            case "(":
                return self._group()
            case "[":
                return self._set()
            case "\\":
                return self._escape(inside=False)
            case "*" | "+" | "?":
                raise MalformedPattern(f"nothing to repeat at position {self._at - 1}")
            case "{" if re.compile(r",?[0-9]*,?[0-9]*\}").match(self._text, self._at):
                raise UnsupportedPattern(f"an unclear '{{' at position {self._at - 1}; write \\{{")
            case _:
                return literal(character)

    def _group(self) -> Node:
        if self._peek() == "?":
            opening = re.compile(r"\?(:|P?<[A-Za-z_]\w*>)").match(self._text, self._at)
            if opening is None:
                head = self._peek(3)
                raise UnsupportedPattern(f"'({head}' (look-around, flags) cannot be enforced")
            self._at = opening.end()
        node = self._choice()
        if self._peek() != ")":
            raise MalformedPattern("missing ')'")
        self._at += 1
        return node

    def _set(self) -> Node:
        negated = self._peek() == "^"
        self._at += negated
        if self._peek() == "]":
            raise UnsupportedPattern("dialects disagree on ']' at the start of a set; write \\]")
        lower: list[tuple[int, int]] = []
        upper: list[tuple[int, int]] = []
        while self._peek() != "]":
            chars = self._member()
            if self._peek() == "-" and self._peek(2) not in ("-]", "-"):
                self._at += 1
                chars = self._range(chars, self._member())
            lower.extend(chars.ranges)
            upper.extend(chars.upper)
        self._at += 1
        least, most = merged(lower), merged(upper)
        return Chars(complement(most), complement(least)) if negated else Chars(least, most)

    def _member(self) -> Chars:
        character = self._take()
        if character == "\\":
            node = self._escape(inside=True)
            assert isinstance(node, Chars)
            return node
        return Chars(characters(character), characters(character))

    @staticmethod
    def _range(first: Chars, last: Chars) -> Chars:
        ends = [c.ranges[0] for c in (first, last) if c.ranges == c.upper and len(c.ranges) == 1]
        if len(ends) != 2 or any(low != high for low, high in ends) or ends[0][0] > ends[1][0]:
            raise MalformedPattern("a set holds a range that is no range of characters")
        ranges = ((ends[0][0], ends[1][0]),)
        return Chars(ranges, ranges)

    def _escape(self, *, inside: bool) -> Node:
        letter = self._take()
        if letter in "dwsDWS":
            return shorthand(letter)
        if letter in _CONTROLS:
            code = ord(_CONTROLS[letter])
        elif letter == "b" and inside:
            code = 8
        elif letter == "0" and not self._peek().isdigit():
            code = 0
        elif letter == "x":
            code = self._hex(2)
        elif letter == "u":
            code = self._unicode()
        elif letter.isalnum():
            raise UnsupportedPattern(f"'\\{letter}' cannot be enforced")
        else:
            code = ord(letter)
        if 0xD800 <= code <= 0xDFFF:
            raise UnsupportedPattern("half a surrogate pair is no character")
        return Chars(((code, code),), ((code, code),))

    def _hex(self, digits: int) -> int:
        text = self._take(digits)
        if not re.fullmatch("[0-9a-fA-F]+", text):
            raise MalformedPattern(f"'{text}' is not hexadecimal")
        return int(text, 16)

    def _unicode(self) -> int:
        braces = re.compile(r"\{([0-9a-fA-F]{1,6})\}").match(self._text, self._at)
        if braces is not None:
            self._at = braces.end()
            code = int(braces[1], 16)
            if code > _TOP:
                raise MalformedPattern("there is no such character")
            return code
        code = self._hex(4)
        if 0xD800 <= code <= 0xDBFF and self._peek(2) == "\\u":
            self._at += 2
            low = self._hex(4)
            if 0xDC00 <= low <= 0xDFFF:
                return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return code


# From a search to a match of the whole text


def _has_edge(node: Node) -> bool:
    match node:
        case Edge():
            return True
        case Chars():
            return False
        case Join(items):
            return any(map(_has_edge, items))
        case Choice(options):
            return any(map(_has_edge, options))
        case Repeat(item):
            return _has_edge(item)


_Anchored: TypeAlias = tuple[bool, bool, Node]


def _anchored(node: Node, *, left: bool, right: bool) -> list[_Anchored]:
    """The same without anchors, as options that say at which ends they are anchored."""
    if not _has_edge(node):
        return [(False, False, node)]
    match node:
        case Edge(start):
            if not (left if start else right):
                raise UnsupportedPattern("an anchor that is not at an end cannot be enforced")
            return [(start, not start, EMPTY)]
        case Choice(options):
            return [a for option in options for a in _anchored(option, left=left, right=right)]
        case Join(items):
            edges = [isinstance(item, Edge) for item in items]
            options = [
                _anchored(item, left=left and all(edges[:n]), right=right and all(edges[n + 1 :]))
                for n, item in enumerate(items)
            ]
            combined: list[_Anchored] = []
            for parts in product(*options):
                if len(combined) == 64:
                    raise UnsupportedPattern("it has too many anchored alternatives")
                joined = Join(tuple(part[2] for part in parts))
                combined.append((any(p[0] for p in parts), any(p[1] for p in parts), joined))
            return combined
        case _:
            raise UnsupportedPattern("an anchor inside a repetition cannot be enforced")


def _weight(node: Node) -> int:
    match node:
        case Chars() | Edge():
            return 1
        case Join(items):
            return 1 + sum(map(_weight, items))
        case Choice(options):
            return 1 + sum(map(_weight, options))
        case Repeat(item, least, most):
            return _weight(item) * max(1, least, most or 0)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that matches whole texts.

    Attributes:
        node: Without anchors.
        exact: Every dialect agrees on it; otherwise it matches less than some dialect would.
    """

    node: Node
    exact: bool = True

    def matches(self, text: str, *, generous: bool = False) -> bool:
        """Whether it matches the whole of `text`; `generous`: in some dialect, or perhaps."""
        dialect = "raw-generous" if generous else "raw"
        found = matches(f"/(?:{render(self.node, dialect)})/", text)
        return generous if found is None else found


@lru_cache(maxsize=512)
def parse(text: str, *, whole: bool = False) -> Pattern:
    """Read a pattern that is searched for, or, with `whole`, one that is to match everything.

    Raises:
        UnsupportedPattern: It is malformed or cannot be enforced.
    """
    if len(text) > MAX_TEXT:
        raise UnsupportedPattern(f"it is longer than {MAX_TEXT} characters")
    node = _Reader(text).whole()
    if _weight(node) > MAX_WEIGHT:
        raise UnsupportedPattern("it is too large once its repetitions are written out")
    rest = Repeat(ANY, 0, None)
    options: list[Node] = []
    for starts, ends, inner in _anchored(node, left=True, right=True):
        before = EMPTY if starts or whole else rest
        after = EMPTY if ends or whole else rest
        options.append(Join((before, inner, after)))
    return Pattern(options[0] if len(options) == 1 else Choice(tuple(options)), _exact(node))


def _exact(node: Node) -> bool:
    match node:
        case Chars(ranges, upper):
            return ranges == upper
        case Join(items):
            return all(map(_exact, items))
        case Choice(options):
            return all(map(_exact, options))
        case Repeat(item):
            return _exact(item)
        case Edge():
            return True
