"""What a JSON Schema admits, as values: a node is a union of branches, each of one JSON type.

Values only. What a reference stands for, and what two nodes have in common, is `definitions`'s
concern; keywords are `schema`'s.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from glimt.engine.grammar.numbers import EVERYWHERE, Interval
from glimt.engine.grammar.pattern import Pattern


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value."""

    implied: bool = False


@dataclass(frozen=True, slots=True)
class Null:
    """`null`."""

    implied: bool = False


@dataclass(frozen=True, slots=True)
class Boolean:
    """`true` or `false`."""

    implied: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """Numbers of an interval; `multiples` are whole numbers, and make it an integer."""

    interval: Interval = EVERYWHERE
    integer: bool = False
    multiples: tuple[int, ...] = ()
    implied: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Strings that match every pattern; lengths in characters."""

    patterns: tuple[Pattern, ...] = ()
    least: int = 0
    most: int | None = None
    implied: bool = False


@dataclass(frozen=True, slots=True)
class Array:
    """`rest` is `None` where the schema says nothing about further items."""

    prefix: tuple["Node", ...] = ()
    rest: "Node | None" = None
    least: int = 0
    most: int | None = None
    implied: bool = False


@dataclass(frozen=True, slots=True)
class Object:
    """`rest` is `None` where the schema says nothing about further properties.

    `patterns` bind properties that are not declared; for declared ones they are part of the
    property's node. `closed` forbids what is neither declared nor covered by patterns or `rest`.
    """

    properties: tuple[tuple[str, "Node"], ...] = ()
    required: tuple[str, ...] = ()
    patterns: tuple[tuple[Pattern, "Node"], ...] = ()
    rest: "Node | None" = None
    least: int = 0
    most: int | None = None
    closed: bool = False
    implied: bool = False

    @property
    def others(self) -> "Node":
        """What a property that nobody mentions may be."""
        if self.rest is not None:
            return self.rest
        return NEVER if self.closed else ANY


@dataclass(frozen=True, slots=True)
class Constant:
    """One value, by its JSON text."""

    text: str
    implied: bool = False

    @classmethod
    def of(cls, value: object) -> "Constant":
        """The constant of a JSON value."""
        return cls(json.dumps(value, ensure_ascii=False, allow_nan=False))

    @property
    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """The value itself."""
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a definition stands for, by its name."""

    name: str
    implied: bool = False


Branch: TypeAlias = (
    Anything | Null | Boolean | Number | Text | Array | Object | Constant | Reference
)
Node: TypeAlias = tuple[Branch, ...]

ANY: Node = (Anything(),)
NEVER: Node = ()


def kind_of(branch: Branch) -> str | None:  # noqa: PLR0911 - a table
    """The JSON type of a branch; `None` for what may be of any type. Integers are numbers."""
    match branch:
        case Null():
            return "null"
        case Boolean():
            return "boolean"
        case Number():
            return "number"
        case Text():
            return "string"
        case Array():
            return "array"
        case Object():
            return "object"
        case Constant():
            return type_name(branch.value)
        case Anything() | Reference():
            return None


def type_name(value: object) -> str:
    """The JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def equal(one: object, other: object) -> bool:
    """Equality of JSON: `1` is `1.0`, but `true` is not `1`."""
    if type_name(one) != type_name(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(cast("list[Any]", one), cast("list[Any]", other), strict=False)
        return len(cast("list[Any]", one)) == len(cast("list[Any]", other)) and all(
            equal(a, b) for a, b in pairs
        )
    if isinstance(one, dict) and isinstance(other, dict):
        first, second = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    return one == other


def item_of(array: Array, position: int) -> Node:
    """What the item at a position may be."""
    if position < len(array.prefix):
        return array.prefix[position]
    return ANY if array.rest is None else array.rest


def union(nodes: Iterable[Node]) -> Node:
    """What any of them admits."""
    branches = dict.fromkeys(branch for node in nodes for branch in node)
    if any(isinstance(branch, Anything) for branch in branches):
        return ANY
    return tuple(branches)
