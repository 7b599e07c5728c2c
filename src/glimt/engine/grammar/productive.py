"""Which nodes a finite text can satisfy.

A string whose patterns exclude each other has no text, a tree whose every node needs a child has no
finite one. A grammar must not begin what it cannot finish, so such nodes are found beforehand.
"""

from typing import Final

from glimt.engine.grammar.definitions import Definitions
from glimt.engine.grammar.nodes import Array, Branch, Node, Number, Object, Reference, Text, item_of
from glimt.engine.grammar.numbers import EmptyRange, integer_terminal, number_terminal
from glimt.engine.grammar.probe import matches_something
from glimt.engine.grammar.regex import Dialect, render

JSON_CHARACTER: Final = r'([^"\\\x00-\x1F\x7F]|\\["\\bfnrt])'
"""One character of a JSON string. Each has one spelling."""


def whole_text(branch: Text, dialect: Dialect, any_character: str) -> list[str]:
    """Regular expressions that all match a string of this branch, without quotes."""
    terms = [render(pattern.node, dialect) for pattern in branch.patterns]
    if branch.least or branch.most is not None or not terms:
        bounds = f"{{{branch.least},{'' if branch.most is None else branch.most}}}"
        terms.append(f"(?s:{any_character}){bounds}")
    return terms


def text_exists(branch: Text) -> bool:
    """Whether any string satisfies a branch; `False` also where that is too hard to say."""
    if branch.most is not None and branch.least > branch.most:
        return False
    terms = whole_text(branch, "json", JSON_CHARACTER)
    return len(terms) < 2 or matches_something(quoted_terms(terms))


def quoted_terms(terms: list[str]) -> str:
    """A terminal for a JSON string that matches every term."""
    return " & ".join(f'/"(?:{term})"/' for term in terms)


def number_expression(branch: Number) -> str | None:
    """The terminal of a number, `None` when there is none."""
    try:
        if not branch.integer and not branch.multiples:
            return number_terminal(branch.interval)
        multiple = 1
        for factor in branch.multiples:
            multiple = _least_common(multiple, factor)
        return integer_terminal(branch.interval, multiple)
    except EmptyRange:
        return None


def _least_common(one: int, other: int) -> int:
    first, second = one, other
    while second:
        first, second = second, first % second
    return one * other // first


class Productive:
    """Which nodes a finite text can satisfy; recursion without an end cannot."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._proved: set[str] = set()
        self._known: dict[Node, bool] = {}

    def __call__(self, node: Node) -> bool:
        """Whether anything satisfies `node`."""
        if node not in self._known:
            # Every round proves at least one more reference, or nothing new can be proved.
            while not (result := self._any(node, set())) and self._grew:
                pass
            self._known[node] = result
        return self._known[node]

    _grew = False

    def _any(self, node: Node, visited: set[str]) -> bool:
        if not visited:
            self._grew = False
        return any(self._branch(branch, visited) for branch in node)

    def _branch(self, branch: Branch, visited: set[str]) -> bool:
        match branch:
            case Reference(name):
                return self._reference(name, visited)
            case Object():
                return len(branch.required) <= (
                    len(branch.required) if branch.most is None else branch.most
                ) and all(
                    self._any(self._definitions.property_of(branch, name), visited | {""})
                    for name in branch.required
                )
            case Array():
                count = min(branch.least, len(branch.prefix) + 1)
                return all(
                    self._any(item_of(branch, at), visited | {""}) for at in range(count)
                ) and (branch.most is None or branch.least <= branch.most)
            case Text():
                return text_exists(branch)
            case Number():
                return number_expression(branch) is not None
            case _:
                return True

    def _reference(self, name: str, visited: set[str]) -> bool:
        if name in self._proved:
            return True
        if name in visited:
            return False
        if self._any(self._definitions.body(name), visited | {name}):
            self._proved.add(name)
            self._grew = True
            return True
        return False
