"""Nodes as rules for JSON text.

Decisions: properties come in the schema's order; where a schema says nothing about undeclared
properties, or items after a tuple, there are none; branches that only the letter of the
specification admits (a number for `{"minLength": 1}`) are left out. Whitespace is what people and
models write: a space, or a line break with indentation, never more, so that no answer can go on
with nothing. A character has one spelling, so a declared property cannot come back in disguise.
"""

from collections.abc import Callable, Iterable

from glimt.engine.grammar.definitions import Definitions
from glimt.engine.grammar.nodes import (
    ANY,
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
)
from glimt.engine.grammar.numbers import UnsupportedRange
from glimt.engine.grammar.pattern import Pattern
from glimt.engine.grammar.productive import (
    JSON_CHARACTER,
    Productive,
    number_expression,
    quoted_terms,
    whole_text,
)
from glimt.engine.grammar.regex import render, render_literal
from glimt.engine.grammar.rules import Rules, choice, quoted

MAX_COUNTED = 16
"""The largest minProperties or maxProperties that is counted out."""

_SPACE = r"( |\n[ \t]{0,40})?"
_NAME = r'/"[^"\\\x00-\x1F\x7F]{0,128}"/'
Complain = Callable[[str], None]


class Unsatisfiable(ValueError):
    """Nothing can be written that satisfies the schema."""


def constants(branches: Iterable[Branch]) -> list[Constant]:
    """The constants among branches."""
    return [branch for branch in branches if isinstance(branch, Constant)]


def any_of_texts(texts: Iterable[str]) -> str:
    """A terminal for one of several texts; one terminal is far cheaper than a rule of many."""
    return "/" + "|".join(render_literal(text) for text in texts) + "/"


def named(branches: Node) -> Node:
    """The branches that the schema names, or all where it names none."""
    return tuple(branch for branch in branches if not branch.implied) or branches


class JsonText:
    """Writes rules for values.

    Args:
        rules: Where they go.
        definitions: What references in the nodes stand for.
        complain: Called with what cannot be enforced; raises, or takes note.
    """

    def __init__(self, rules: Rules, definitions: Definitions, complain: Complain) -> None:
        self._rules = rules
        self.definitions = definitions
        self._complain = complain
        self.productive = Productive(definitions)
        self._nodes: dict[Node, str] = {}
        self._references: dict[str, str] = {}
        space = _SPACE
        self._comma = rules.terminal(f"/,{space}/")
        self._string = rules.terminal(f'/"{JSON_CHARACTER}*"/')

    def value(self, node: Node) -> str:
        """An expression for the JSON texts of a node.

        Raises:
            Unsatisfiable: There are none.
        """
        if node not in self._nodes:
            branches = [b for b in named(node) if self.productive((b,))]
            options = [self._branch(b) for b in branches if not isinstance(b, Constant)]
            if fixed := constants(branches):
                options.append(self._rules.terminal(any_of_texts(c.text for c in fixed)))
            if not options:
                raise Unsatisfiable("nothing can satisfy the schema")
            expression = choice(list(dict.fromkeys(options)))
            self._nodes[node] = self._rules.rule(expression) if len(options) > 1 else expression
        return self._nodes[node]

    def _branch(self, branch: Branch) -> str:  # noqa: PLR0911 - a table
        match branch:
            case Anything():
                return self._anything()
            case Null():
                return quoted("null")
            case Boolean():
                return self._rules.terminal("/true|false/")
            case Constant(text):
                return quoted(text)
            case Number():
                return self._rules.terminal(self.number(branch))
            case Text():
                return self._text(branch)
            case Array():
                return self._array(branch)
            case Object():
                return self._object(branch)
            case Reference(name):
                return self._reference(name)

    def number(self, branch: Number) -> str:
        """A terminal for a number."""
        try:
            expression = number_expression(branch)
        except UnsupportedRange as error:
            self._complain(str(error))
            expression = number_expression(Number(integer=branch.integer))
        if expression is None:
            raise Unsatisfiable("no number satisfies the schema")
        return expression

    def _text(self, branch: Text) -> str:
        if branch == Text(implied=branch.implied):
            return self._string
        terms = whole_text(branch, "json", JSON_CHARACTER)
        return self._rules.terminal(quoted_terms(terms))

    def _reference(self, name: str) -> str:
        if name not in self._references:
            rule = self._references[name] = self._rules.reserve()
            self._rules.define(rule, self.value(self.definitions.body(name)))
        return self._references[name]

    def _anything(self) -> str:
        if "" not in self._references:
            rule = self._references[""] = self._rules.reserve()
            kinds: Node = (Null(), Boolean(), Number(), Text(), Array(rest=ANY), Object(rest=ANY))
            self._rules.define(rule, self.value(kinds))
        return self._references[""]

    # Arrays

    def _array(self, branch: Array) -> str:
        opening = self._rules.terminal(rf"/\[{_SPACE}/")
        closing = self._rules.terminal(rf"/{_SPACE}\]/")
        return self._rules.rule(f"{opening} {self._items(branch)} {closing}".replace("  ", " "))

    def _items(self, branch: Array) -> str:
        least, most = branch.least, branch.most
        rest = branch.rest
        if rest is None:
            rest = ANY if not branch.prefix or least > len(branch.prefix) else ()
        prefix = list(branch.prefix if most is None else branch.prefix[:most])
        for position, node in enumerate(prefix):
            if not self.productive(node):
                prefix, rest = prefix[:position], ()
                break
        if not self.productive(rest):
            most, rest = len(prefix) if most is None else min(most, len(prefix)), ()
        if not prefix:
            return self._repeated(rest, least, most)
        tail = ""
        if rest and (most is None or most > len(prefix)):
            low = max(0, least - len(prefix))
            high = "" if most is None else str(most - len(prefix))
            tail = f"({self._comma} {self.value(rest)}){{{low},{high}}}"
        for position in range(len(prefix) - 1, 0, -1):
            tail = f"{self._comma} {self.value(prefix[position])} {tail}".rstrip()
            if position >= least:
                tail = f"({tail})?"
            tail = self._rules.rule(tail)
        whole = f"{self.value(prefix[0])} {tail}".rstrip()
        return whole if least else f"({whole})?"

    def _repeated(self, node: Node, least: int, most: int | None) -> str:
        if most == 0 or not node:
            return ""
        item = self.value(node)
        high = "" if most is None else str(most - 1)
        more = f"{item} ({self._comma} {item}){{{max(0, least - 1)},{high}}}"
        return more if least else f"({more})?"

    # Objects

    def _object(self, branch: Object) -> str:
        opening = self._rules.terminal(rf"/\{{{_SPACE}/")
        closing = self._rules.terminal(rf"/{_SPACE}\}}/")
        writer = _Properties(self, self._rules, branch, self._comma)
        return self._rules.rule(f"{opening} {writer.all()} {closing}")

    def declared(self, branch: Object) -> tuple[list[tuple[str, Node]], list[str]]:
        """The properties that can be written, and every name that is spoken for."""
        names = dict.fromkeys([name for name, _ in branch.properties])
        names.update(dict.fromkeys(branch.required))
        pairs = [(name, self.definitions.property_of(branch, name)) for name in names]
        return [(name, node) for name, node in pairs if self.productive(node)], list(names)

    def others(self, branch: Object) -> Node:
        """What undeclared properties may be, once silence is read as there being none."""
        if branch.rest is not None or branch.closed:
            return branch.others
        return () if branch.properties or branch.patterns else ANY

    def bounds(self, branch: Object, num_declared: int, *, more: bool) -> tuple[int, int | None]:
        """`minProperties` beyond the required ones, and `maxProperties`, where they bind."""
        least = max(0, branch.least - len(branch.required))
        most = branch.most
        if most is not None and not more and num_declared <= most:
            most = None
        if least > 1 and more:
            # Undeclared names may repeat, and then count once.
            self._complain("minProperties cannot be enforced among undeclared properties")
            least = 1
        if max(least, most or 0) > MAX_COUNTED:
            self._complain(f"minProperties and maxProperties are counted up to {MAX_COUNTED}")
            least, most = min(least, 1), None
        return least, most

    def undeclared(self, branch: Object, taken: list[str]) -> list[str]:
        """Expressions for a property with an undeclared name: its name, and its value."""
        result: list[str] = []
        for position, (pattern, node) in enumerate(branch.patterns):
            if self.productive(node):
                others = [p for at, (p, _) in enumerate(branch.patterns) if at != position]
                result.append(self._pair(pattern, others, taken, node))
        node = self.others(branch)
        if self.productive(node):
            result.append(self._pair(None, [p for p, _ in branch.patterns], taken, node))
        return result

    def _pair(
        self, pattern: Pattern | None, others: list[Pattern], taken: list[str], node: Node
    ) -> str:
        terms = [_NAME]
        if pattern is not None:
            terms.append(f'/"(?:{render(pattern.node, "json")})"/')
        if any(not other.exact for other in others):
            self._complain(
                "patternProperties cannot be combined with others where dialects of regular"
                r" expressions disagree on a pattern (., \d, \w, \s)"
            )
        terms.extend(f'~/"(?:{render(other.node, "json")})"/' for other in others)
        if taken:
            terms.append("~(" + " | ".join(quoted(quoted(name)) for name in taken) + ")")
        name = self._rules.terminal(" & ".join(terms))
        return f"{name} {self._rules.terminal('/: ?/')} {self.value(node)}"

    def pair(self, name: str, node: Node) -> str:
        """An expression for a declared property."""
        key = self._rules.terminal(f"{quoted(quoted(name) + ':')} / ?/")
        return f"{key} {self.value(node)}"


class _Properties:
    """Writes what stands between the braces of one object.

    A state is how many declared properties are behind, whether anything was written, how many
    optional ones are still owed (`minProperties`) and how many may still come (`maxProperties`).
    """

    def __init__(self, text: JsonText, rules: Rules, branch: Object, comma: str) -> None:
        self._rules = rules
        self._comma = comma
        self._required = set(branch.required)
        pairs, taken = text.declared(branch)
        if not self._required.issubset(name for name, _ in pairs):
            raise Unsatisfiable("a required property can have no value")
        self._pairs = [(name, text.pair(name, node)) for name, node in pairs]
        self._more = text.undeclared(branch, taken)
        self._owed, self._left = text.bounds(branch, len(pairs), more=bool(self._more))
        self._states: dict[tuple[int, bool, int, int | None], str | None] = {}

    def all(self) -> str:
        """Everything between the braces."""
        # From the back, so that every state finds its followers: schemas can be long.
        for at, states in reversed(list(enumerate(self._reachable()))):
            for started, owed, left in states:
                self._from(at, started=started, owed=owed, left=left)
        expression = self._from(0, started=False, owed=self._owed, left=self._left)
        if expression is None:
            raise Unsatisfiable("minProperties, maxProperties and required contradict each other")
        return expression

    def _reachable(self) -> list[dict[tuple[bool, int, int | None], None]]:
        """The states that can be met before each property, and after the last."""
        levels: list[dict[tuple[bool, int, int | None], None]] = [
            {(False, self._owed, self._left): None}
        ]
        for name, _ in self._pairs:
            required = name in self._required
            following: dict[tuple[bool, int, int | None], None] = {}
            for started, owed, left in levels[-1]:
                if left != 0:
                    less = owed if required else max(0, owed - 1)
                    following[True, less, None if left is None else left - 1] = None
                if not required:
                    following[started, owed, left] = None
            levels.append(following)
        return levels

    def _from(self, at: int, *, started: bool, owed: int, left: int | None) -> str | None:
        """A rule for what may follow in a state; `None` when nothing can."""
        key = (at, started, owed, left)
        if key not in self._states:
            if at == len(self._pairs):
                expression = self._tail(started=started, owed=owed, left=left)
            else:
                expression = self._step(at, started=started, owed=owed, left=left)
            self._states[key] = None if expression is None else self._rules.rule(expression)
        return self._states[key]

    def _step(self, at: int, *, started: bool, owed: int, left: int | None) -> str | None:
        name, pair = self._pairs[at]
        required = name in self._required
        options: list[str] = []
        if left is None or left > 0:
            rest = self._from(
                at + 1,
                started=True,
                owed=owed if required else max(0, owed - 1),
                left=None if left is None else left - 1,
            )
            if rest is not None:
                options.append(f"{self._comma} {pair} {rest}" if started else f"{pair} {rest}")
        if not required:
            rest = self._from(at + 1, started=started, owed=owed, left=left)
            if rest is not None:
                options.append(rest)
        return " | ".join(options) if options else None

    def _tail(self, *, started: bool, owed: int, left: int | None) -> str | None:
        if not self._more or left == 0:
            return None if owed else '""'
        if owed > 1:
            return None
        pair = self._rules.rule(choice(self._more))
        high = "" if left is None else str(left)
        if started:
            return f"({self._comma} {pair}){{{owed},{high}}}"
        high = "" if left is None else str(left - 1)
        some = f"{pair} ({self._comma} {pair}){{0,{high}}}"
        return some if owed else f"({some})?"
