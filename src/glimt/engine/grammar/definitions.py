"""What references stand for, and what nodes have in common.

Intersection is worked out here, so that a grammar never needs to express one. References stay
references: an intersection with one becomes a new definition, which keeps recursive schemas finite.
A budget stands against schemas that multiply out.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from glimt.engine.grammar.nodes import (
    ANY,
    NEVER,
    Anything,
    Array,
    Boolean,
    Branch,
    Constant,
    Node,
    Null,
    Number,
    Object,
    Reference,
    Text,
    equal,
    item_of,
    kind_of,
    type_name,
)

MAX_MEETS = 20_000
"""Intersections of branches in one schema; beyond it the schema counts as hostile."""
_MAX_DEPTH = 32


class TooComplex(ValueError):
    """The schema multiplies out to more than we are willing to look at."""


class Circular(ValueError):
    """A reference leads back to itself before any value begins."""


class Definitions:
    """What references stand for, worked out when it is first asked for."""

    def __init__(self) -> None:
        self._bodies: dict[str, Node] = {}
        self._waiting: dict[str, Callable[[], Node]] = {}
        self._open: set[str] = set()
        self._meets: dict[tuple[str, Branch], Reference] = {}
        self._num_meets = 0

    def define(self, name: str, body: Callable[[], Node]) -> Reference:
        """A reference to `body`, which is not called yet."""
        if name not in self._bodies and name not in self._open:
            self._waiting.setdefault(name, body)
        return Reference(name)

    def body(self, name: str) -> Node:
        """What a reference stands for.

        Raises:
            Circular: It stands for itself.
        """
        if name in self._open:
            raise Circular(name)
        if name not in self._bodies:
            self._open.add(name)
            try:
                self._bodies[name] = self._waiting.pop(name)()
            finally:
                self._open.discard(name)
        return self._bodies[name]

    def complete(self) -> None:
        """Work out everything that waits."""
        while self._waiting:
            self.body(next(iter(self._waiting)))

    def resolved(self, node: Node) -> Node:
        """The same without references at the top.

        Raises:
            Circular: A reference stands for itself.
        """
        seen: set[str] = set()
        result: list[Branch] = []
        todo = list(reversed(node))
        while todo:
            branch = todo.pop()
            if not isinstance(branch, Reference):
                result.append(branch)
            elif branch.name not in seen:
                seen.add(branch.name)
                todo.extend(reversed(self.body(branch.name)))
        return tuple(result)

    # Intersection

    def meet(self, one: Node, other: Node) -> Node:
        """What both admit."""
        if one in (ANY, other):
            return other
        if other == ANY:
            return one
        result: dict[Branch, None] = {}
        for first in one:
            for second in other:
                for branch in self._meet(first, second):
                    result[branch] = None
        return tuple(result)

    def _meet(self, one: Branch, other: Branch) -> Node:  # noqa: PLR0911 - a table
        self._num_meets += 1
        if self._num_meets > MAX_MEETS:
            raise TooComplex("its combinations multiply beyond what can be worked out")
        if one == other or isinstance(other, Anything):
            return (one,)
        if isinstance(one, Anything):
            return (other,)
        if isinstance(one, Reference):
            return (self._meet_reference(one, other),)
        if isinstance(other, Reference):
            return (self._meet_reference(other, one),)
        if isinstance(one, Constant):
            return (one,) if self.admits((other,), one.value) else NEVER
        if isinstance(other, Constant):
            return (other,) if self.admits((one,), other.value) else NEVER
        return self._meet_types(one, other)

    def _meet_reference(self, one: Reference, other: Branch) -> Reference:
        key = (one.name, other)
        if key not in self._meets:
            name = f"{one.name} & {len(self._meets)}"
            self._meets[key] = self.define(name, lambda: self.meet(self.body(one.name), (other,)))
        return self._meets[key]

    def _meet_types(self, one: Branch, other: Branch) -> Node:
        implied = one.implied and other.implied
        most = _least_of(getattr(one, "most", None), getattr(other, "most", None))
        match one, other:
            case (Null(), Null()) | (Boolean(), Boolean()):
                return (replace(one, implied=implied),)
            case Number(), Number():
                interval = one.interval.meet(other.interval)
                multiples = tuple(dict.fromkeys(one.multiples + other.multiples))
                integer = one.integer or other.integer
                return NEVER if interval.empty else (Number(interval, integer, multiples, implied),)
            case Text(), Text():
                patterns = tuple(dict.fromkeys(one.patterns + other.patterns))
                return (Text(patterns, max(one.least, other.least), most, implied),)
            case Array(), Array():
                return (self._meet_arrays(one, other, most=most, implied=implied),)
            case Object(), Object():
                return (self._meet_objects(one, other, most=most, implied=implied),)
            case _:
                return NEVER

    def _meet_arrays(self, one: Array, other: Array, *, most: int | None, implied: bool) -> Array:
        length = max(len(one.prefix), len(other.prefix))
        prefix = tuple(
            self.meet(item_of(one, position), item_of(other, position))
            for position in range(length)
        )
        rest = _meet_optional(self, one.rest, other.rest)
        return Array(prefix, rest, max(one.least, other.least), most, implied)

    def _meet_objects(
        self, one: Object, other: Object, *, most: int | None, implied: bool
    ) -> Object:
        first, second = dict(one.properties), dict(other.properties)
        names = dict.fromkeys([*first, *second])
        properties = tuple(
            (name, self.meet(self.property_of(one, name), self.property_of(other, name)))
            for name in names
        )
        patterns = (
            *(
                (p, node if _open(other) else self.meet(node, other.others))
                for p, node in one.patterns
            ),
            *(
                (p, node if _open(one) else self.meet(node, one.others))
                for p, node in other.patterns
            ),
        )
        return Object(
            properties,
            tuple(dict.fromkeys(one.required + other.required)),
            patterns,
            _meet_optional(self, one.rest, other.rest),
            max(one.least, other.least),
            most,
            one.closed or other.closed,
            implied,
        )

    def closed(self, node: Node) -> Node:
        """The same, its objects without properties that nothing mentions."""
        return tuple(self._closed(branch) for branch in node)

    def _closed(self, branch: Branch) -> Branch:
        match branch:
            case Object():
                return replace(branch, closed=True)
            case Reference(name):
                return self.define(f"{name} closed", lambda: self.closed(self.body(name)))
            case _:
                return branch

    def property_of(self, branch: Object, name: str) -> Node:
        """What a property of an object may be."""
        declared = dict(branch.properties).get(name)
        if declared is not None:
            return declared
        bound = [node for pattern, node in branch.patterns if pattern.matches(name, generous=True)]
        if not bound:
            return branch.others
        result = ANY
        for node in bound:
            result = self.meet(result, node)
        return result

    # Membership and disjointness

    def admits(self, node: Node, value: object) -> bool:
        """Whether a value is valid."""
        return any(self._admits(branch, value) for branch in self.resolved(node))

    def _admits(self, branch: Branch, value: Any) -> bool:  # noqa: ANN401, PLR0911 - a table
        kind = kind_of(branch)
        if kind is None:
            return True
        if kind != type_name(value):
            return False
        most = getattr(branch, "most", None)
        match branch:
            case Constant():
                return equal(branch.value, value)
            case Number(interval, integer, multiples):
                whole = isinstance(value, int) or value.is_integer()
                return interval.contains(value) and (
                    whole and all(int(value) % m == 0 for m in multiples)
                    if integer or multiples
                    else True
                )
            case Text(patterns):
                return _within(len(value), branch.least, most) and all(
                    pattern.matches(value) for pattern in patterns
                )
            case Array():
                return _within(len(value), branch.least, most) and all(
                    self.admits(item_of(branch, at), item) for at, item in enumerate(value)
                )
            case Object(_, required):
                return (
                    _within(len(value), branch.least, most)
                    and all(name in value for name in required)
                    and all(self.admits(self.property_of(branch, n), v) for n, v in value.items())
                )
            case _:
                return True

    def disjoint(self, one: Node, other: Node, depth: int = 0) -> bool:
        """Whether it is certain that no value is in both."""
        if depth > _MAX_DEPTH:
            return False
        try:
            first, second = self.resolved(one), self.resolved(other)
        except Circular:
            return False
        return all(self._disjoint(a, b, depth) for a in first for b in second)

    def _disjoint(self, one: Branch, other: Branch, depth: int) -> bool:  # noqa: PLR0911 - a table
        self._num_meets += 1
        if self._num_meets > MAX_MEETS:
            raise TooComplex("its alternatives multiply beyond what can be compared")
        kinds = (kind_of(one), kind_of(other))
        if None in kinds:
            return False
        if kinds[0] != kinds[1]:
            return True
        if isinstance(other, Constant):
            one, other = other, one
        match one, other:
            case Constant(), Constant():
                return not equal(one.value, other.value)
            case Constant(), Text(patterns):
                return not patterns and not self._admits(other, one.value)
            case (Constant(), Number()):
                return not self._admits(other, one.value)
            case Number(), Number():
                return one.interval.meet(other.interval).empty
            case (Text(), Text()) | (Array(), Array()) if _apart(one, other):
                return True
            case Array(), Array():
                return any(
                    self.disjoint(item_of(one, at), item_of(other, at), depth + 1)
                    for at in range(min(max(one.least, other.least), 64))
                )
            case Object(), Object():
                return any(
                    self.disjoint(_certain(one, name), _certain(other, name), depth + 1)
                    for name in dict.fromkeys(one.required + other.required)
                )
            case _:
                return False


def _certain(branch: Object, name: str) -> Node:
    """A property's node, or everything where patterns may have a say."""
    declared = dict(branch.properties).get(name)
    if declared is not None:
        return declared
    return ANY if branch.patterns else branch.others


def _open(branch: Object) -> bool:
    return branch.others == ANY


def _apart(one: Text | Array, other: Text | Array) -> bool:
    return (one.most is not None and one.most < other.least) or (
        other.most is not None and other.most < one.least
    )


def _meet_optional(definitions: Definitions, one: Node | None, other: Node | None) -> Node | None:
    if one is None or other is None:
        return other if one is None else one
    return definitions.meet(one, other)


def _least_of(one: int | None, other: int | None) -> int | None:
    bounds = [bound for bound in (one, other) if bound is not None]
    return min(bounds, default=None)


def _within(size: int, least: int, most: int | None) -> bool:
    return least <= size and (most is None or size <= most)
